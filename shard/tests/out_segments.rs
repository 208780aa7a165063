//! Segments → pieces → body → records again, on random input; rotten pieces; and the ring against a plain model.
use edgepush_shard::testing_out;
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_body_gives_its_records_again(bytes in vec(any::<u8>(), 0..3000)) {
        testing_out::segments(&bytes);
    }

    #[test]
    fn rotten_pieces_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        testing_out::rotten_pieces(&bytes);
    }

    #[test]
    fn the_ring_keeps_what_it_was_given(bytes in vec(any::<u8>(), 1000..9000)) {
        testing_out::ring(&bytes);
    }
}
