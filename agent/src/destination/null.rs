//! `null:`: acknowledges and counts; for measuring.
