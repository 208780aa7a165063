//! Record: one parsed line; borrowed slices, nothing copied.
