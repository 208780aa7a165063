//! talk: requests to the jobs API, and what its envelope says.
//!
//! Promises: every error of an answer is said, with its place; a mistake of the operator is exit 2, a disk or destination
//! that does not want exit 1.
//! Must not know: what is done with a result.
use crate::ask::Agent;
use crate::cli::{Exit, complain};
use serde_json::Value;

/// The part of the API that is over all zones and accounts.
pub(super) const OVER_ALL: &str = "/logpush";
/// What every path begins with.
const ROOT: &str = "/client/v4";

pub(crate) struct Talk(Agent);

impl Talk {
    pub(crate) fn new(agent: Agent) -> Talk {
        Talk(agent)
    }

    /// Asks for a result.
    ///
    /// # Errors
    /// How the command ends; said already. So with all of these.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Exit> {
        self.ask("GET", path, None)
    }

    pub(crate) fn send(&self, method: &str, path: &str, body: Value) -> Result<Value, Exit> {
        self.ask(method, path, Some(body.to_string()))
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Value, Exit> {
        self.ask("DELETE", path, None)
    }

    fn ask(&self, method: &str, path: &str, body: Option<String>) -> Result<Value, Exit> {
        let (code, said) = self.0.answer(method, &format!("{ROOT}{path}"), body)?;
        let mut answer: Value =
            serde_json::from_str(&said).map_err(|error| self.0.is_none(&error.to_string()))?;
        match answer["success"].as_bool() {
            Some(true) => Ok(answer["result"].take()),
            Some(false) => Err(failed(code, &answer["errors"])),
            None => Err(self.0.is_none(&format!("{code} {}: it has no jobs API", said.trim()))),
        }
    }
}

fn failed(code: u16, errors: &Value) -> Exit {
    for error in errors.as_array().into_iter().flatten() {
        let message = error["message"].as_str().unwrap_or("without a word");
        complain(&format!("edgepush: {message}\n"));
    }
    match code {
        400..=499 => Exit::Operator,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_it_is_decides_the_exit_code() {
        assert_eq!(failed(409, &Value::Null), Exit::Operator);
        assert_eq!(failed(503, &Value::Null), Exit::Failed);
    }
}
