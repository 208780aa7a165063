//! temp
use edgepush_bench::cpu_ns;
use edgepush_bench::runs::{FIELDS, lines};
use edgepush_shard::codec::*;
use edgepush_shard::dataset::RAW;
use edgepush_shard::parse::Parser;
use edgepush_shard::plan::*;
use edgepush_shard::ring::*;
fn main() {
    let lines = lines(4_000_000);
    let key = HashKey::new(&[3; 32]);
    for (name, options) in [("12", OutputOptions::fields(&RAW, FIELDS)), ("26", OutputOptions::all(&RAW))] {
        for mode in 0..3 {
            let envelope = match mode {
                0 => Envelope::default(),
                1 => Envelope { id: true, ..Envelope::default() },
                _ => Envelope {
                    record_before: "{\"create\":{\"_id\":\"AAAAAAAAAAAAAAAAAAAAAA\"}}\n".into(),
                    ..Envelope::default()
                },
            };
            let options = options.clone().within(&envelope).unwrap();
            let mut f = Formatter::new(&options, &RAW, &key);
            let (mut parser, mut best_f, mut best_e) = (Parser::new(), u64::MAX, u64::MAX);
            let (mut raw, mut body_bytes, mut count) = (0, 0, 0);
            let mut codec = codec(CodecKind::Gzip, Level::Fast);
            for _ in 0..15 {
                let mut flat = Flat::default();
                let (mut ends, mut fends) = (vec![], vec![]);
                let t = cpu_ns();
                parser.lines(&lines, 0, |frame, parsed| {
                    let r = parsed.unwrap();
                    std::hint::black_box((f.bytes_max(&r), f.fields_max(&r)));
                    f.write(&r, (7, frame.offset as u64), &mut flat);
                    ends.push(flat.bytes.len() as u32);
                    fends.push(flat.values.len() as u32);
                });
                best_f = best_f.min(cpu_ns() - t);
                let run = Run::with_fields(&flat.bytes, &ends, &flat.values, &fends);
                (raw, body_bytes, count) = (0, 0, 0);
                let t = cpu_ns();
                let mut rest = run;
                let mut out = Vec::new();
                while !rest.is_empty() {
                    let n = rest.ends.iter().take_while(|e| (**e as usize) <= raw + (1 << 20)).count().max(1);
                    let (head, tail) = rest.split_at(n);
                    out.clear();
                    codec.encode(Form::ONLY, &head, &mut out);
                    raw += head.bytes.len();
                    body_bytes += out.len();
                    count += n;
                    rest = tail;
                }
                best_e = best_e.min(cpu_ns() - t);
            }
            println!(
                "{name} mode {mode}: {count} records, raw {raw}, gzip {body_bytes}, {:.1} B/record, format+parse {:.0} ns/record, encode {:.0} ns/record",
                body_bytes as f64 / count as f64,
                best_f as f64 / count as f64,
                best_e as f64 / count as f64
            );
        }
    }
}
