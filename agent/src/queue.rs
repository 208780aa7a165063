//! queue: bounded crossbeam queues with wake-ups between shards and the delivery plane.
