//! Fluent Bit with reads of 1 MiB; its gzip level cannot be chosen.
use super::{Ends, Job, Launch, Peer, configure};
use std::io;
use std::path::Path;
use std::process::Command;

/// Lines parsed and written anew: without parsing it wraps each line as text.
pub const PEER: Peer = Peer {
    name: "Fluent Bit, JSON",
    programs: &["fluent-bit"],
    package: "",
    ends: Ends::Quiet,
    marks: &["default gzip level", "values by id only"],
    launch,
    can: |_, _| true,
    writes_anew: true,
};

fn launch(job: &Job, program: &Path) -> io::Result<Launch> {
    let parsers = configure(job, "parsers.conf", "[PARSER]\n    name json\n    format json\n")?;
    let keys: String = job.fields.iter().map(|f| format!("    allowlist_key {f}\n")).collect();
    let filter = if keys.is_empty() {
        String::new()
    } else {
        format!("[FILTER]\n    name record_modifier\n    match *\n{keys}")
    };
    let compress = if job.codec == "none" { String::new() } else { format!("    compress {}\n", job.codec) };
    let text = format!(
        "[SERVICE]\n    flush 1\n    parsers_file {}\n[INPUT]\n    name tail\n    path {}\n    read_from_head true\n    \
         buffer_chunk_size 1m\n    buffer_max_size 1m\n    mem_buf_limit 64m\n    parser json\n{filter}\
         [OUTPUT]\n    name http\n    match *\n    host 127.0.0.1\n    port {}\n    uri /ingest\n    \
         format json_lines\n    json_date_key false\n{compress}    log_response_payload false\n    \
         retry_limit no_limits\n",
        parsers.display(),
        job.log.display(),
        job.port
    );
    let path = configure(job, "fluent-bit.conf", &text)?;
    let mut command = Command::new(program);
    command.arg("--quiet").arg("--config").arg(path);
    Ok(Launch { command, config: text })
}
