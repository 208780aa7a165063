//! traffic: realistic edge access logs, deterministic in their seed.
