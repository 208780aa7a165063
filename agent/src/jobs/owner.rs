//! Owner: whose a job is, and where it comes from.
//!
//! Promises: both are written and read back as one text each (`zones/023e`, `file:customers.json#a`).
//! Must not know: what a zone's hosts are.
use crate::config::zones::id_fits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The account of the jobs that belong to nobody but the operator of this host.
pub const LOCAL: &str = "local";

/// Whose a job is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Owner {
    /// A zone: its job sees the records of the zone's hosts.
    Zone(String),
    /// An account: its job sees all records.
    Account(String),
}

impl Owner {
    /// The operator of this host: the environment job is theirs.
    pub fn local() -> Owner {
        Owner::Account(LOCAL.into())
    }

    /// `zone` or `account`.
    pub fn word(&self) -> &'static str {
        match self {
            Owner::Zone(_) => "zone",
            Owner::Account(_) => "account",
        }
    }

    /// The id without what it is the id of.
    pub fn id(&self) -> &str {
        match self {
            Owner::Zone(id) | Owner::Account(id) => id,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s/{}", self.word(), self.id())
    }
}

impl FromStr for Owner {
    type Err = String;
    fn from_str(text: &str) -> Result<Owner, String> {
        match text.split_once('/') {
            Some(("zones", id)) if id_fits(id) => Ok(Owner::Zone(id.into())),
            Some(("accounts", id)) if id_fits(id) => Ok(Owner::Account(id.into())),
            _ => Err("must be zones/ID or accounts/ID, an id being 1 to 64 of A-Z a-z 0-9 - _".into()),
        }
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> String {
        owner.to_string()
    }
}

impl TryFrom<String> for Owner {
    type Error = String;
    fn try_from(text: String) -> Result<Owner, String> {
        text.parse()
    }
}

/// Where a set of jobs that is not the API's comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OriginKind {
    /// `EDGEPUSH_JOBS` names a directory.
    File,
    /// `EDGEPUSH_JOBS` names a URL.
    Url,
}

/// Where a job comes from: only there it is changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Origin {
    /// The settings of the agent.
    Environment,
    /// The API.
    Api,
    /// A job file.
    File {
        /// Which job of which file; unique in the set.
        key: String,
    },
    /// A document that is polled.
    Url {
        /// Which job of which document; unique in the set.
        key: String,
    },
}

impl Origin {
    /// The origin of one job of a set.
    pub fn of(kind: OriginKind, key: &str) -> Origin {
        match kind {
            OriginKind::File => Origin::File { key: key.into() },
            OriginKind::Url => Origin::Url { key: key.into() },
        }
    }

    /// The key of a job that belongs to a set of this kind.
    pub fn key_in(&self, kind: OriginKind) -> Option<&str> {
        match (self, kind) {
            (Origin::File { key }, OriginKind::File) | (Origin::Url { key }, OriginKind::Url) => Some(key),
            _ => None,
        }
    }

    /// Why the API does not change such a job; `None`: it does.
    pub fn read_only(&self) -> Option<String> {
        match self {
            Origin::Api => None,
            Origin::Environment => Some(
                "this job is made by the settings of the agent (EDGEPUSH_DESTINATION and others): change it there"
                    .into(),
            ),
            Origin::File { key } => Some(format!("this job is kept in the job file {key}: change it there")),
            Origin::Url { key } => Some(format!("this job is kept in the document {key}: change it there")),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Environment => f.write_str("environment"),
            Origin::Api => f.write_str("api"),
            Origin::File { key } => write!(f, "file:{key}"),
            Origin::Url { key } => write!(f, "url:{key}"),
        }
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> String {
        origin.to_string()
    }
}

impl TryFrom<String> for Origin {
    type Error = String;
    fn try_from(text: String) -> Result<Origin, String> {
        match text.split_once(':') {
            Some(("file", key)) => Ok(Origin::File { key: key.into() }),
            Some(("url", key)) => Ok(Origin::Url { key: key.into() }),
            None if text == "environment" => Ok(Origin::Environment),
            None if text == "api" => Ok(Origin::Api),
            _ => Err("must be environment, api, file:KEY or url:KEY".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_and_origins_are_read_back() {
        for owner in [Owner::Zone("023e".into()), Owner::local()] {
            assert_eq!(owner.to_string().parse(), Ok(owner));
        }
        for text in ["zone/a", "zones/", "zones/a/b", "accounts/a b", "x", ""] {
            assert!(text.parse::<Owner>().is_err(), "{text}");
        }
        let key = || "a:b#c".to_string();
        for origin in
            [Origin::Environment, Origin::Api, Origin::File { key: key() }, Origin::Url { key: key() }]
        {
            assert_eq!(Origin::try_from(origin.to_string()), Ok(origin));
        }
        assert!(Origin::try_from("ftp:x".to_string()).is_err());
    }

    #[test]
    fn only_the_apis_jobs_are_changed_by_it() {
        assert_eq!(Origin::Api.read_only(), None);
        let file = Origin::of(OriginKind::File, "a.json#x");
        assert!(file.read_only().unwrap().contains("a.json#x"));
        assert_eq!((file.key_in(OriginKind::File), file.key_in(OriginKind::Url)), (Some("a.json#x"), None));
    }
}
