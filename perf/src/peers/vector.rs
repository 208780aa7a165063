//! Vector with reads of 1 MiB instead of 2 KiB, gzip level 1: what made it fastest.
use super::{Ends, Job, Launch, Peer, configure};
use std::io;
use std::path::Path;
use std::process::Command;

/// Lines as they are.
pub const PEER: Peer = Peer {
    name: "Vector, no parsing",
    programs: &["vector"],
    package: "",
    ends: Ends::Quiet,
    marks: &["gzip 1", "no parsing"],
    launch: raw,
    can: |_, fields| !fields,
    writes_anew: false,
};

/// Lines parsed and written anew.
pub const PARSED: Peer = Peer {
    name: "Vector, JSON",
    marks: &["gzip 1", "values by id only"],
    launch: parsed,
    can: |_, _| true,
    writes_anew: true,
    ..PEER
};

fn raw(job: &Job, program: &Path) -> io::Result<Launch> {
    launch(job, program, "", "in", "encoding.codec = \"text\"")
}

fn parsed(job: &Job, program: &Path) -> io::Result<Launch> {
    let parse = "[transforms.p]\ntype = \"remap\"\ninputs = [\"in\"]\nsource = \". = parse_json!(string!(.message))\"\n";
    let quoted: Vec<String> = job.fields.iter().map(|f| format!("{f:?}")).collect();
    let mut encoding = "encoding.codec = \"json\"".to_owned();
    if !quoted.is_empty() {
        encoding = format!("{encoding}\nencoding.only_fields = [{}]", quoted.join(", "));
    }
    launch(job, program, parse, "p", &encoding)
}

fn launch(job: &Job, program: &Path, parse: &str, input: &str, encoding: &str) -> io::Result<Launch> {
    let compression = match job.codec {
        "gzip" => "{ algorithm = \"gzip\", level = 1 }".to_owned(),
        other => format!("{other:?}"),
    };
    let text = format!(
        "data_dir = {:?}\n[sources.in]\ntype = \"file\"\ninclude = [{:?}]\nread_from = \"beginning\"\n\
         max_read_bytes = 1048576\n{parse}[sinks.out]\ntype = \"http\"\ninputs = [{input:?}]\n\
         uri = \"http://127.0.0.1:{}/ingest\"\nmethod = \"post\"\ncompression = {compression}\n{encoding}\n\
         framing.method = \"newline_delimited\"\nbatch.max_bytes = 5000000\nbatch.max_events = 100000\n\
         batch.timeout_secs = 1\n",
        job.dir.display().to_string(),
        job.log.display().to_string(),
        job.port
    );
    let path = configure(job, "vector.toml", &text)?;
    let mut command = Command::new(program);
    command.args(["--quiet", "--threads", "1", "--config"]).arg(path);
    Ok(Launch { command, config: text })
}
