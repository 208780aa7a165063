//! demo: the whole agent on realistic traffic, with a proof.
use crate::cli::{DemoArgs, Exit, complain};

/// Runs the demo.
pub fn demo(_flags: DemoArgs) -> Exit {
    complain("edgepush: demo is not joined yet\n");
    Exit::Failed
}
