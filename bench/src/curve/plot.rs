//! Plot: ratio against speed, one line a library.
//!
//! Promises: an SVG without fonts or scripts of its own.
//! Must not know: how the figures were measured.
use super::Figure;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

const SIZE: (u32, u32) = (1100, 1000);
const COLOURS: [RGBColor; 7] = [
    RGBColor(200, 30, 30),
    RGBColor(230, 140, 0),
    RGBColor(30, 90, 200),
    RGBColor(0, 150, 170),
    RGBColor(20, 140, 50),
    RGBColor(140, 60, 170),
    RGBColor(110, 110, 110),
];

/// Draws one panel a title, one above the other.
pub fn draw(file: &Path, panels: &[(&str, Vec<Figure>)]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, (title, figures)) in root.split_evenly((panels.len(), 1)).iter().zip(panels) {
        panel(area, title, figures)?;
    }
    root.present()?;
    Ok(())
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    figures: &[Figure],
) -> Result<(), Box<dyn Error>> {
    let range = |of: fn(&Figure) -> f64| {
        let (low, high) =
            figures.iter().map(of).fold((f64::MAX, 0.0_f64), |(low, high), x| (low.min(x), high.max(x)));
        (low, high)
    };
    let ((slow, fast), (least, most)) = (range(|figure| figure.speed), range(|figure| figure.ratio));
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(52)
        .build_cartesian_2d((slow * 0.9..fast * 1.1).log_scale(), least * 0.95..most * 1.05)?;
    chart
        .configure_mesh()
        .x_desc("MB in per CPU-second (log)")
        .y_desc("ratio")
        .light_line_style(WHITE)
        .draw()?;
    let mut families: Vec<&str> = figures.iter().map(|figure| figure.family).collect();
    families.dedup();
    for (family, colour) in families.iter().zip(COLOURS.iter().cycle()) {
        let of_family = || figures.iter().filter(|figure| figure.family == *family);
        let ours = family.starts_with("edgepush");
        let size = if ours { 6 } else { 3 };
        let line =
            LineSeries::new(of_family().map(|figure| (figure.speed, figure.ratio)), colour.stroke_width(1));
        let legend = move |(x, y)| Circle::new((x + 8, y), size, colour.filled());
        chart.draw_series(line)?.label(*family).legend(legend);
        chart.draw_series(of_family().map(|figure| {
            let label =
                Text::new(figure.name.clone(), (6, -12), ("sans-serif", 13).into_font().color(colour));
            EmptyElement::at((figure.speed, figure.ratio))
                + Circle::new((0, 0), size, colour.filled())
                + label
        }))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()?;
    Ok(())
}
