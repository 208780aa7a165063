//! Lines of four shapes in random order, as when several servers write into one log: two flat ones, one wide one and
//! a nested one. A parser that has learned one shape meets another at every second line.
use super::{AGENTS, HOSTS, Random, client, edge26, http_requests, id, nginx};
use std::io::Write;

/// Appends a line, with its newline.
pub fn line(random: &mut Random, seq: u64, at: u64, out: &mut Vec<u8>) {
    match random.next() % 4 {
        0 => edge26::line(random, seq, at, out),
        1 => nginx::line(random, seq, at, out),
        2 => http_requests::line(random, seq, at, out),
        _ => nested(random, seq, at, out),
    }
}

/// Objects in objects and arrays of one, as a proxy writes headers.
fn nested(random: &mut Random, seq: u64, at: u64, out: &mut Vec<u8>) {
    let (host, agent, client, r) = (random.of(&HOSTS), random.of(&AGENTS), client(random), random.next());
    let (head, tail) = id(seq);
    // Writing into a Vec cannot fail.
    let _ = writeln!(
        out,
        "{{\"level\":\"info\",\"ts\":{}.{:06},\"logger\":\"http.log.access\",\"msg\":\"handled request\",\
         \"request\":{{\"id\":\"{head:016x}{tail:016x}\",\"remote_ip\":\"{}.{}.{}.7\",\"remote_port\":\"{}\",\
         \"proto\":\"HTTP/2.0\",\"method\":\"GET\",\"host\":\"{host}\",\"uri\":\"/{:x}\",\"headers\":{{\
         \"User-Agent\":[\"{agent}\"],\"Accept\":[\"*/*\"],\"Accept-Encoding\":[\"gzip, br\"]}},\
         \"tls\":{{\"resumed\":{},\"version\":772,\"proto\":\"h2\"}}}},\"user_id\":\"\",\"duration\":{}e-06,\
         \"size\":{},\"status\":200,\"resp_headers\":{{\"Server\":[\"edge\"],\"Content-Type\":[\"text/html; charset=utf-8\"]}}}}",
        at / 1_000_000_000,
        at / 1000 % 1_000_000,
        client % 223 + 1,
        (client >> 8) % 256,
        (client >> 16) % 256,
        1024 + r % 60_000,
        (r >> 16) % 50_000,
        r % 2 == 0,
        (r >> 20) % 100_000,
        random.skewed(900_000),
    );
}
