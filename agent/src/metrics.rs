//! metrics: every counter, and how it is shown.
