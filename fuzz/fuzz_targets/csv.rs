//! Rows of csv are what the csv crate says of them.
#![no_main]
use edgepush_shard::testing::format::rows_are_cells;
use libfuzzer_sys::fuzz_target;

fn cells(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut reader = csv::ReaderBuilder::new();
    reader.has_headers(false).flexible(true).terminator(csv::Terminator::Any(b'\n'));
    let row = reader.from_reader(line).into_byte_records().next()?.ok()?;
    Some(row.iter().map(<[u8]>::to_vec).collect())
}

fuzz_target!(|line: &[u8]| rows_are_cells(line, cells));
