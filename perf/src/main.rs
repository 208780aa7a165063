//! edgepush-perf: the end-to-end harness that an operator runs on a host.
fn main() {}
