//! What nginx writes with `log_format … escape=json`: 22 short fields, about 450 bytes a line, the id `rid`.
use super::{AGENTS, HOSTS, Random, client, clock, id};
use std::io::Write;

/// Appends a line, with its newline.
pub fn line(random: &mut Random, seq: u64, at: u64, out: &mut Vec<u8>) {
    let (host, agent, client) = (random.of(&HOSTS), random.of(&AGENTS), client(random));
    let (hour, minute, second, ms) = clock(at);
    let ((head, tail), r) = (id(seq), random.next());
    let (path, kind) =
        [("static", "css"), ("img", "png"), ("api", "json"), ("nocache", "html")][random.skewed(4)];
    let (status, cache) = [(200, "HIT"), (200, "MISS"), (304, "HIT"), (404, "MISS")][random.skewed(4)];
    let body = random.skewed(60_000);
    // Writing into a Vec cannot fail.
    let _ = writeln!(
        out,
        "{{\"ts\":\"2026-01-01T{hour:02}:{minute:02}:{second:02}+00:00\",\"msec\":{}.{ms:03},\
         \"rid\":\"{head:016x}{tail:016x}\",\"ip\":\"{}.{}.{}.{}\",\"port\":\"{}\",\"method\":\"{}\",\
         \"scheme\":\"http\",\"host\":\"{host}\",\"uri\":\"/{path}/{}.{kind}?v={}\",\"proto\":\"HTTP/1.1\",\
         \"status\":{status},\"bytes\":{},\"body_bytes\":{body},\"req_len\":{},\"rt\":0.{:03},\
         \"ref\":\"https:\\/\\/{host}/\",\"ua\":\"{agent}\",\"cache\":\"{cache}\",\"up_addr\":\"127.0.0.1:{}\",\
         \"up_status\":\"{status}\",\"up_rt\":\"0.{:03}\",\"conn\":{}}}",
        at / 1_000_000_000,
        client % 223 + 1,
        (client >> 8) % 256,
        (client >> 16) % 256,
        (client >> 24) % 254 + 1,
        1024 + r % 60_000,
        if r % 30 == 0 { "POST" } else { "GET" },
        (r >> 16) % 5000,
        (r >> 30) % 9,
        body + 175,
        140 + (r >> 8) % 200,
        (r >> 20) % 300,
        18_100 + (r >> 40) % 4,
        (r >> 24) % 250,
        seq / 7,
    );
}
