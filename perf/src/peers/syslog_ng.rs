//! syslog-ng with its HTTP destination, flow control on. Debian's 3.38 cannot compress: marked so.
use super::{Ends, Job, Launch, Peer, configure};
use std::io;
use std::path::Path;
use std::process::Command;

/// Lines as they are.
pub const PEER: Peer = Peer {
    name: "syslog-ng, no parsing",
    programs: &["syslog-ng"],
    package: "Debian packages syslog-ng-core, syslog-ng-mod-http",
    ends: Ends::Quiet,
    marks: &["UNCOMPRESSED", "no parsing"],
    launch: raw,
    can: |codec, fields| codec != "zstd" && !fields,
    writes_anew: false,
};

/// Lines parsed and written anew.
pub const PARSED: Peer = Peer {
    name: "syslog-ng, JSON",
    marks: &["UNCOMPRESSED", "values by id only"],
    launch: parsed,
    can: |codec, _| codec != "zstd",
    writes_anew: true,
    ..PEER
};

fn raw(job: &Job, program: &Path) -> io::Result<Launch> {
    launch(job, program, "", "$MSG")
}

fn parsed(job: &Job, program: &Path) -> io::Result<Launch> {
    let keys: String = job.fields.iter().map(|f| format!(" --key .j.{f}")).collect();
    let body = if keys.is_empty() {
        "$(format-json --subkeys .j.)".to_owned()
    } else {
        format!("$(format-json{keys} --rekey .j.* --shift-levels 2)")
    };
    launch(job, program, "parser { json-parser(prefix(\".j.\")); };", &body)
}

fn launch(job: &Job, program: &Path, parser: &str, body: &str) -> io::Result<Launch> {
    let text = format!(
        "@version: 3.38\n\
         options {{ stats-freq(0); log-msg-size(65536); use-dns(no); keep-hostname(yes); threaded(yes); }};\n\
         source s {{ file(\"{}\" follow-freq(1) flags(no-parse) read-old-records(yes)\n  \
           log-iw-size(50000) log-fetch-limit(1000)); }};\n\
         destination d {{ http(url(\"http://127.0.0.1:{}/ingest\") method(\"POST\")\n  \
           headers(\"Content-Type: application/x-ndjson\") batch-lines(100000) batch-bytes(5000000)\n  \
           batch-timeout(1000) delimiter(\"\\n\") body(\"{body}\") workers(1) log-fifo-size(200000) timeout(60)); }};\n\
         log {{ source(s); {parser} destination(d); flags(flow-control); }};\n",
        job.log.display(),
        job.port
    );
    let path = configure(job, "syslog-ng.conf", &text)?;
    let mut command = Command::new(program);
    let state = |option: &str, name: &str| format!("--{option}={}", job.dir.join(name).display());
    command
        .args(["--foreground", "--no-caps", "--process-mode=foreground"])
        .arg(format!("--cfgfile={}", path.display()))
        .arg(state("persist-file", "persist"))
        .arg(state("pidfile", "pid"))
        .arg(state("control", "control"));
    Ok(Launch { command, config: text })
}
