//! `split`, `igzip -1` and `curl`: the cheapest way to post compressed lines. It follows nothing, keeps no state and
//! tries nothing twice.
use super::{Ends, Job, Launch, Peer};
use std::io;
use std::path::Path;
use std::process::Command;

/// As the agent's batches: 5 MB of whole lines a post.
pub const PEER: Peer = Peer {
    name: "split + igzip -1 + curl",
    programs: &["split", "igzip", "curl"],
    package: "Debian packages isal, curl",
    ends: Ends::Itself,
    marks: &["no state, no retry, no parsing"],
    launch,
    can: |codec, fields| codec == "gzip" && !fields,
    writes_anew: false,
};

fn launch(job: &Job, program: &Path) -> io::Result<Launch> {
    let filter = format!(
        "igzip -1 -c | curl -sS -f -o /dev/null -H 'Content-Type: application/x-ndjson' \
         -H 'Content-Encoding: gzip' -H 'Expect:' --data-binary @- http://127.0.0.1:{}/ingest",
        job.port
    );
    let mut command = Command::new(program);
    command.args(["-C", "5000000", &format!("--filter={filter}")]).arg(job.log);
    Ok(Launch { command, config: format!("split -C 5000000 --filter=\"{filter}\" LOG") })
}
