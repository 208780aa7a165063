//! error: why the agent did not start, with its exit code (INTERFACE 1).
use crate::cli::Exit;
use std::fmt;

/// Why the agent did not start.
#[derive(Debug)]
pub struct StartError {
    exit: Exit,
    text: String,
}

impl StartError {
    pub(super) fn new(exit: Exit, text: impl Into<String>) -> StartError {
        StartError { exit, text: text.into() }
    }

    pub(super) fn coded(code: u8, why: &dyn fmt::Display) -> StartError {
        let exit = match code {
            2 => Exit::Operator,
            3 => Exit::Held,
            _ => Exit::Failed,
        };
        StartError::new(exit, why.to_string())
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
