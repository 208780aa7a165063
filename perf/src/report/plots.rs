//! Plots as SVG text: speeds as bars, ratio against speed, latency by load.
//!
//! Promises: every plot stands alone, names its axes and units, and can be read without colour. Must not know: files.
use crate::results::{Results, Row};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::error::Error;

type Drawn = Result<String, Box<dyn Error>>;

const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const UNIT: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
const PEER: RGBColor = RGBColor(0xd9, 0x8c, 0x3f);
const INK: RGBColor = RGBColor(0x22, 0x2b, 0x35);
const RULE: RGBColor = RGBColor(0xe3, 0xe7, 0xeb);
const WIDTH: u32 = 960;

fn colour(row: &Row) -> RGBColor {
    match row.who.as_str() {
        "edgepush" => OURS,
        crate::reference::NAME => UNIT,
        _ => PEER,
    }
}

fn style(size: u32) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size).into_font()).color(&INK)
}

/// A round number above a value, for the end of an axis.
fn above(value: f64) -> f64 {
    let step = 10_f64.powf(value.max(1e-9).log10().floor()) / 2.0;
    (value * 1.02 / step).ceil() * step
}

/// One bar a row, the best run; a thin line to its worst; a mark at the target.
pub fn speeds(results: &Results) -> Drawn {
    let rows: Vec<&Row> =
        results.rows.iter().filter(|r| r.error.is_none() && r.figures.contains_key("mb_per_cpu_s")).collect();
    let goal = |row: &Row| {
        row.targets.iter().find(|g| g.figure == "mb_per_cpu_s").and_then(|g| g.min).unwrap_or(0.0)
    };
    let best = |row: &Row| row.head("mb_per_cpu_s").unwrap_or((0.0, 0.0));
    let most = rows.iter().map(|r| best(r).0.max(goal(r))).fold(1.0, f64::max);
    let (line, left, height) = (24, 290, 24 * rows.len() as u32 + 56);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        let scale = f64::from(WIDTH as i32 - left - 80) / above(most);
        let x = |value: f64| left + (value * scale) as i32;
        for tick in 0..=4 {
            let value = above(most) * f64::from(tick) / 4.0;
            root.draw(&PathElement::new([(x(value), 6), (x(value), height as i32 - 46)], RULE))?;
            let at = style(13).pos(Pos::new(HPos::Center, VPos::Top));
            root.draw(&Text::new(format!("{value:.0}"), (x(value), height as i32 - 42), at))?;
        }
        let at = style(13).pos(Pos::new(HPos::Center, VPos::Top));
        let axis = "MB of input per CPU-second; bar: best run, dark tick: worst, dashed: target on this host";
        root.draw(&Text::new(axis, (x(above(most) / 2.0), height as i32 - 22), at))?;
        for (i, row) in rows.iter().enumerate() {
            let top = i as i32 * line + 8;
            let (head, worst) = best(row);
            root.draw(&Rectangle::new([(left, top), (x(head), top + 16)], colour(row).filled()))?;
            root.draw(&PathElement::new([(x(worst), top), (x(worst), top + 16)], INK.stroke_width(2)))?;
            let right = style(13).pos(Pos::new(HPos::Right, VPos::Center));
            let name = format!("{}, {}", row.case, row.who);
            root.draw(&Text::new(name, (left - 8, top + 8), right))?;
            let beside = style(13).pos(Pos::new(HPos::Left, VPos::Center));
            root.draw(&Text::new(format!("{head:.0}"), (x(head) + 6, top + 8), beside))?;
            if goal(row) > 0.0 {
                for dash in 0..4 {
                    let y = top - 2 + dash * 5;
                    root.draw(&PathElement::new(
                        [(x(goal(row)), y), (x(goal(row)), y + 3)],
                        INK.stroke_width(2),
                    ))?;
                }
            }
        }
        root.present()?;
    }
    Ok(text)
}

/// Ratio against speed: right and up is better. Points are numbered; the numbers stand beside.
pub fn ratios(results: &Results) -> Drawn {
    let has = |r: &&Row| r.figures.contains_key("ratio") && r.figures.contains_key("mb_per_cpu_s");
    let mut rows: Vec<&Row> = results.rows.iter().filter(has).collect();
    // The reference over one log is one point, in however many cases it took its turn.
    let mut seen = Vec::new();
    rows.retain(|row| {
        let again = row.who == crate::reference::NAME && seen.contains(&row.head("mb_out"));
        seen.push(row.head("mb_out"));
        !again
    });
    let point =
        |row: &Row| (row.head("mb_per_cpu_s").unwrap_or_default().0, row.head("ratio").unwrap_or_default().0);
    let (fast, small) =
        rows.iter().fold((1.0, 1.0), |(x, y): (f64, f64), row| (x.max(point(row).0), y.max(point(row).1)));
    let height = 420_u32.max(18 * rows.len() as u32 + 40);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        let (plot, names) = root.split_horizontally(WIDTH as i32 - 300);
        let mut chart = ChartBuilder::on(&plot)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..above(fast), 0.0..above(small))?;
        mesh(&mut chart, "MB of input per CPU-second", "ratio: record bytes / stored bytes")?;
        chart.draw_series(rows.iter().map(|row| Circle::new(point(row), 5, colour(row).filled())))?;
        for (i, row) in rows.iter().enumerate() {
            // Neighbours would write over one another: even numbers stand above, odd ones below.
            let (v, dy) = if i % 2 == 0 { (VPos::Bottom, -7) } else { (VPos::Top, 7) };
            let at = style(12).pos(Pos::new(HPos::Center, v));
            let number = EmptyElement::at(point(row)) + Text::new((i + 1).to_string(), (0, dy), at);
            chart.draw_series(std::iter::once(number))?;
            let name = format!("{}  {}, {}", i + 1, row.case, row.who);
            names.draw(&Text::new(name, (8, 18 * i as i32 + 16), style(13).color(&colour(row))))?;
        }
        root.present()?;
    }
    Ok(text)
}

fn mesh<DB: DrawingBackend>(
    chart: &mut ChartContext<
        '_,
        DB,
        Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
    >,
    x: &str,
    y: &str,
) -> Result<(), Box<dyn Error>>
where
    DB::ErrorType: 'static,
{
    chart
        .configure_mesh()
        .x_desc(x)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| {
            if *y < 10.0 && y.fract() != 0.0 { format!("{y:.1}") } else { format!("{y:.0}") }
        })
        .y_desc(y)
        .label_style(style(13))
        .axis_desc_style(style(14))
        .light_line_style(TRANSPARENT)
        .bold_line_style(RULE)
        .axis_style(INK)
        .draw()?;
    Ok(())
}

/// p50, p99 and latest by load; `None` without such a case.
pub fn latency(results: &Results) -> Option<Drawn> {
    let row = results.rows.iter().find(|r| r.figures.keys().any(|k| k.starts_with("p99_ms@")))?;
    Some(latency_of(row))
}

fn latency_of(row: &Row) -> Drawn {
    let curve = |name: &str| -> Vec<(f64, f64)> {
        let load = |key: &String| key.strip_prefix(name)?.strip_prefix('@')?.parse::<f64>().ok();
        let mut points: Vec<_> =
            row.figures.keys().filter_map(|key| Some((load(key)?, row.head(key)?.0))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let curves = [("p50_ms", "p50", UNIT), ("p99_ms", "p99", OURS), ("max_ms", "latest", PEER)];
    let most = curves.iter().flat_map(|c| curve(c.0)).map(|p| p.1).fold(1.0, f64::max);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, 340)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(80)
            .build_cartesian_2d(0.0..112.0, 0.0..above(most))?;
        mesh(&mut chart, "load, % of what the agent can follow", "written to acknowledged, ms")?;
        let mut lowest = f64::MAX;
        for (key, name, colour) in curves.iter().rev() {
            let points = curve(key);
            chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
            chart.draw_series(points.iter().map(|p| Circle::new(*p, 4, colour.filled())))?;
            let Some((x, y)) = points.last().copied() else { continue };
            // Names of curves that end at one height would cover one another.
            let y = y.min(lowest - above(most) / 16.0);
            lowest = y;
            let at = style(14).color(colour).pos(Pos::new(HPos::Left, VPos::Center));
            chart.draw_series(std::iter::once(Text::new((*name).to_owned(), (x + 2.0, y), at)))?;
        }
        root.present()?;
    }
    Ok(text)
}
