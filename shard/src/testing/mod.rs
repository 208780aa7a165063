//! testing: corpora, oracles and properties for tests, benches, fuzzing and perf.
