//! config: what an operator said, and what it means.
