//! `http(s)://`: a batch becomes the body of one POST (INTERFACE 5).
