//! rsyslog with omhttp, gzip level 1, and a queue that lets batches grow to 5 MB.
use super::{Ends, Job, Launch, Peer, configure};
use std::io;
use std::path::Path;
use std::process::Command;

/// Lines as they are.
pub const PEER: Peer = Peer {
    name: "rsyslog, no parsing",
    programs: &["rsyslogd"],
    package: "with the module omhttp",
    ends: Ends::Quiet,
    marks: &["gzip 1", "no parsing"],
    launch: raw,
    can: |codec, fields| codec != "zstd" && !fields,
    writes_anew: false,
};

/// Lines parsed and written anew.
pub const PARSED: Peer = Peer {
    name: "rsyslog, JSON",
    marks: &["gzip 1", "values by id only"],
    launch: parsed,
    can: |codec, _| codec != "zstd",
    writes_anew: true,
    ..PEER
};

fn raw(job: &Job, program: &Path) -> io::Result<Launch> {
    launch(job, program, "template(name=\"line\" type=\"string\" string=\"%msg%\")", "")
}

fn parsed(job: &Job, program: &Path) -> io::Result<Launch> {
    let template = if job.fields.is_empty() {
        "template(name=\"line\" type=\"list\") { property(name=\"$!all-json-plain\") }".to_owned()
    } else {
        let one = |f: &String| format!("  property(name=\"$!{f}\" outname=\"{f}\" format=\"jsonf\")\n");
        let list: String = job.fields.iter().map(one).collect();
        format!("template(name=\"line\" type=\"list\" option.jsonf=\"on\") {{\n{list}}}")
    };
    launch(job, program, &template, "  action(type=\"mmjsonparse\" mode=\"find-json\")\n")
}

fn launch(job: &Job, program: &Path, template: &str, parse: &str) -> io::Result<Launch> {
    let compress = match job.codec {
        "none" => "compress=\"off\"",
        _ => "compress=\"on\" compress.level=\"1\"",
    };
    let text = format!(
        "global(workDirectory=\"{}\" maxMessageSize=\"64k\" parser.escapeControlCharactersOnReceive=\"off\")\n\
         module(load=\"imfile\" mode=\"inotify\") module(load=\"omhttp\") module(load=\"mmjsonparse\")\n\
         {template}\n\
         input(type=\"imfile\" File=\"{}\" Tag=\"edge\" Ruleset=\"ship\" readMode=\"0\"\n  \
           persistStateInterval=\"0\" needParse=\"off\" addMetadata=\"off\")\n\
         ruleset(name=\"ship\" queue.type=\"fixedArray\" queue.size=\"50000\" queue.dequeueBatchSize=\"7000\"\n  \
           queue.workerThreads=\"1\") {{\n{parse}  \
           action(type=\"omhttp\" server=\"127.0.0.1\" serverport=\"{}\" restpath=\"ingest\" usehttps=\"off\"\n    \
             template=\"line\" batch=\"on\" batch.format=\"newline\" batch.maxbytes=\"5m\" batch.maxsize=\"100000\"\n    \
             {compress} httpcontenttype=\"application/x-ndjson\" retry=\"off\" action.resumeRetryCount=\"-1\")\n}}\n",
        job.dir.display(),
        job.log.display(),
        job.port
    );
    let path = configure(job, "rsyslog.conf", &text)?;
    let mut command = Command::new(program);
    command.arg("-n").arg("-f").arg(path).arg("-i").arg(job.dir.join("pid"));
    Ok(Launch { command, config: text })
}
