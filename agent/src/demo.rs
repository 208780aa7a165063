//! demo: the whole agent on realistic traffic, with a proof.
