//! routes: the one table of the jobs API (LOGPUSH 1.2): paths, methods, what each needs, takes and gives. The server
//! and the OpenAPI document are made of it.
//!
//! Promises: a path leads to one row at most; ids in it have the letters that ids have.
//! Must not know: what a row does.
use crate::config::zones::id_fits;
use crate::jobs::Owner;

/// What every path begins with.
pub const ROOT: &str = "/client/v4";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// All jobs.
    ListJobs,
    /// A new job.
    CreateJob,
    /// One job.
    GetJob,
    /// Some keys of a job.
    UpdateJob,
    /// A job goes.
    DeleteJob,
    /// A job's figures.
    Health,
    /// The jobs of a data set.
    DatasetJobs,
    /// The fields of a data set.
    Fields,
    /// The fields that are sent when a job names none.
    DefaultFields,
    /// Write a token into a destination.
    Challenge,
    /// Whether a token is good.
    ValidateChallenge,
    /// Whether a destination takes batches.
    ValidateDestination,
    /// Whether a job goes there already.
    DestinationExists,
    /// Whether legacy options are right.
    ValidateOrigin,
}

/// The scope that a token needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// `read`
    Read,
    /// `write`
    Write,
}

/// One row.
#[derive(Debug)]
pub struct Route {
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// After `/zones/ID/logpush`; `{job_id}` and `{dataset_id}` stand for one segment.
    pub path: &'static str,
    /// What it asks.
    pub ask: Ask,
    /// The scope.
    pub needs: Needs,
    /// Whether it is there without a zone or account too: over all jobs.
    pub over_all: bool,
    /// Its name in the document.
    pub name: &'static str,
    /// One line for the document.
    pub summary: &'static str,
    /// The document's schema of the body.
    pub body: Option<&'static str>,
    /// The document's schema of the result.
    pub result: &'static str,
}

const fn row(
    (method, path): (&'static str, &'static str),
    (ask, needs, over_all): (Ask, Needs, bool),
    (name, summary): (&'static str, &'static str),
    (body, result): (Option<&'static str>, &'static str),
) -> Route {
    Route { method, path, ask, needs, over_all, name, summary, body, result }
}

use Needs::{Read, Write};

/// All rows.
pub static ROUTES: [Route; 14] = [
    row(
        ("GET", "/jobs"),
        (Ask::ListJobs, Read, true),
        ("listJobs", "All jobs, in the order of their ids, on one page"),
        (None, "Jobs"),
    ),
    row(
        ("POST", "/jobs"),
        (Ask::CreateJob, Write, true),
        ("createJob", "Create a job; its destination is asked first"),
        (Some("JobCreate"), "Job"),
    ),
    row(("GET", "/jobs/{job_id}"), (Ask::GetJob, Read, true), ("getJob", "One job"), (None, "Job")),
    row(
        ("PUT", "/jobs/{job_id}"),
        (Ask::UpdateJob, Write, true),
        ("updateJob", "Change the keys that are sent; null takes one back"),
        (Some("JobUpdate"), "Job"),
    ),
    row(
        ("DELETE", "/jobs/{job_id}"),
        (Ask::DeleteJob, Write, true),
        ("deleteJob", "Delete a job"),
        (None, "Deleted"),
    ),
    row(
        ("GET", "/jobs/{job_id}/health"),
        (Ask::Health, Read, true),
        ("jobHealth", "A job's figures since the agent started"),
        (None, "Health"),
    ),
    row(
        ("GET", "/datasets/{dataset_id}/jobs"),
        (Ask::DatasetJobs, Read, true),
        ("datasetJobs", "The jobs of a data set"),
        (None, "Jobs"),
    ),
    row(
        ("GET", "/datasets/{dataset_id}/fields"),
        (Ask::Fields, Read, true),
        ("datasetFields", "The fields of a data set, each with its description"),
        (None, "Fields"),
    ),
    row(
        ("GET", "/datasets/{dataset_id}/fields/default"),
        (Ask::DefaultFields, Read, true),
        ("defaultFields", "The fields that a job sends when it names none: all"),
        (None, "Fields"),
    ),
    row(
        ("POST", "/ownership"),
        (Ask::Challenge, Write, false),
        ("createOwnershipChallenge", "Write a token into the destination, to be read there"),
        (Some("Destination"), "OwnershipChallenge"),
    ),
    row(
        ("POST", "/ownership/validate"),
        (Ask::ValidateChallenge, Write, false),
        ("validateOwnershipChallenge", "Whether a token proves that the destination is ours"),
        (Some("OwnershipProof"), "Valid"),
    ),
    row(
        ("POST", "/validate/destination"),
        (Ask::ValidateDestination, Write, true),
        ("validateDestination", "Whether the destination would take batches: it is asked"),
        (Some("Destination"), "ValidWhy"),
    ),
    row(
        ("POST", "/validate/destination/exists"),
        (Ask::DestinationExists, Read, true),
        ("destinationExists", "Whether a job goes to that place already"),
        (Some("Destination"), "Exists"),
    ),
    row(
        ("POST", "/validate/origin"),
        (Ask::ValidateOrigin, Read, true),
        ("validateOrigin", "Whether legacy options are right"),
        (Some("Origin"), "ValidWhy"),
    ),
];

/// Where a path leads.
#[derive(Debug)]
pub struct Found<'a> {
    /// Whose part of the API; `None`: over all.
    pub owner: Option<Owner>,
    /// The rows of the path; one a method.
    pub rows: Vec<&'static Route>,
    /// What stands for `{job_id}` or `{dataset_id}`.
    pub id: &'a str,
}

/// Finds the rows of a path.
pub fn find(path: &str) -> Option<Found<'_>> {
    let rest = path.strip_prefix(ROOT)?.strip_prefix('/')?;
    let (owner, rest) = match rest.strip_prefix("logpush/") {
        Some(rest) => (None, rest),
        None => {
            let (scope, rest) = rest.split_once("/logpush/")?;
            (Some(scope.parse().ok()?), rest)
        }
    };
    let said: Vec<&str> = rest.split('/').collect();
    let mut id = "";
    let fits = |route: &&Route| {
        let pattern = route.path.trim_start_matches('/').split('/');
        let same =
            |(pattern, said): (&str, &&str)| pattern == *said || (pattern.starts_with('{') && id_fits(said));
        (owner.is_some() || route.over_all)
            && pattern.clone().count() == said.len()
            && pattern.zip(&said).all(same)
    };
    let rows: Vec<&'static Route> = ROUTES.iter().filter(fits).collect();
    let place = rows.first()?.path.trim_start_matches('/').split('/').position(|part| part.starts_with('{'));
    if let Some(place) = place {
        id = said[place];
    }
    Some(Found { owner, rows, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Option<(Option<String>, Vec<Ask>, String)> {
        let found = find(path)?;
        let owner = found.owner.map(|owner| owner.to_string());
        Some((owner, found.rows.iter().map(|row| row.ask).collect(), found.id.to_owned()))
    }

    #[test]
    fn paths_lead_to_their_rows() {
        let zone = || Some("zones/023e".to_owned());
        let all = [Ask::GetJob, Ask::UpdateJob, Ask::DeleteJob].to_vec();
        assert_eq!(found("/client/v4/zones/023e/logpush/jobs/7"), Some((zone(), all, "7".into())));
        assert_eq!(
            found("/client/v4/accounts/a/logpush/datasets/raw/fields/default"),
            Some((Some("accounts/a".into()), vec![Ask::DefaultFields], "raw".into()))
        );
        assert_eq!(
            found("/client/v4/logpush/jobs"),
            Some((None, vec![Ask::ListJobs, Ask::CreateJob], String::new()))
        );
        for path in [
            "/client/v4",
            "/client/v4/",
            "/client/v4/zones/logpush/jobs",
            "/client/v4/zones//logpush/jobs",
            "/client/v4/zones/a%2f/logpush/jobs",
            "/client/v4/zones/a/logpush/jobs/",
            "/client/v4/zones/a/logpush/jobs/1/2",
            "/client/v4/zones/a/logpush/edge/jobs",
            "/client/v4/zones/a/accounts/b/logpush/jobs",
            "/client/v4/logpush/ownership",
            "/client/v5/zones/a/logpush/jobs",
        ] {
            assert!(find(path).is_none(), "{path}");
        }
    }
}
