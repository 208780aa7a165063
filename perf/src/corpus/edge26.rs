//! A CDN's access log: 26 fields, about 750 bytes a line, the id `request_id`.
//!
//! Promises: a line's number can be read back from its id, and its write time from `written_ns`. Must not know: the
//! other corpora.
use super::{AGENTS, COUNTRIES, HOSTS, Random, client, clock, id, mix};
use std::io::Write;

const POPS: [&str; 8] = ["IST01", "FRA02", "AMS01", "IAD03", "GRU01", "NRT02", "BOM01", "JNB01"];
const KINDS: [(&str, &str, &str); 6] = [
    ("assets/js", "js", "application/javascript"),
    ("img/products", "webp", "image/webp"),
    ("video/hls", "ts", "video/mp2t"),
    ("css", "css", "text/css"),
    ("api/v2/items", "json", "application/json"),
    ("fonts", "woff2", "font/woff2"),
];

/// Appends a line of one of twelve hosts, with its newline.
pub fn line(random: &mut Random, seq: u64, at: u64, out: &mut Vec<u8>) {
    let host = HOSTS[random.skewed(HOSTS.len())];
    of_host(host, random, seq, at, out);
}

/// Appends a line of one of so many hosts, each as busy as the others.
pub fn of_hosts(hosts: u32, random: &mut Random, seq: u64, at: u64, out: &mut Vec<u8>) {
    let host = host(random.next() % u64::from(hosts.max(1)));
    of_host(&host, random, seq, at, out);
}

/// The name of the `n`th host of many.
pub fn host(n: u64) -> String {
    format!("www.customer-{n:05}.example")
}

fn of_host(host: &str, random: &mut Random, seq: u64, at: u64, out: &mut Vec<u8>) {
    let agent = AGENTS[random.skewed(AGENTS.len())];
    let country = COUNTRIES[random.skewed(COUNTRIES.len())];
    let pop = POPS[random.skewed(POPS.len())];
    let (dir, suffix, kind) = KINDS[random.skewed(KINDS.len())];
    let object = mix(random.skewed(20_000) as u64) & 0xff_ffff;
    let [status, cache] = [
        ["200", "HIT"],
        ["206", "HIT"],
        ["304", "REVALIDATED"],
        ["200", "MISS"],
        ["404", "MISS"],
        ["503", "EXPIRED"],
    ][random.skewed(6)];
    let (r, bytes) = (random.next(), 200 + random.skewed(2_000_000));
    let client = client(random);
    let (c1, c2, c3) = (client % 223 + 1, (client >> 8) % 256, (client >> 16) % 256);
    let (head, tail) = id(seq);
    let us = r % 900_000;
    let (hour, minute, second, ms) = clock(at);
    // Writing into a Vec cannot fail.
    let _ = writeln!(
        out,
        "{{\"time\":\"2026-01-01T{hour:02}:{minute:02}:{second:02}.{:03}Z\",\"written_ns\":{at},\
             \"request_id\":\"{head:016x}{:016x}\",\"remote_addr\":\"{c1}.{c2}.{c3}.{}\",\"country\":\"{country}\",\
             \"asn\":{},\"host\":\"{host}\",\"method\":\"{}\",\"scheme\":\"https\",\
             \"uri\":\"/{dir}/{object:06x}/v{}.{suffix}\",\"query\":\"w={}&q={}\",\"protocol\":\"{}\",\
             \"status\":{status},\"bytes_sent\":{bytes},\"body_bytes\":{},\"request_time\":{}.{:03},\
             \"upstream_time\":\"0.{:03}\",\"upstream_addr\":\"10.{}.{}.7:8080\",\"cache_status\":\"{cache}\",\
             \"content_type\":\"{kind}\",\"referer\":\"https://{host}/{dir}\",\"user_agent\":\"{agent}\",\
             \"tls_version\":\"TLSv1.3\",\"tls_cipher\":\"TLS_AES_128_GCM_SHA256\",\"pop\":\"{pop}\",\
             \"server\":\"edge-{pop}-{:02}\"}}",
        ms,
        tail,
        (client >> 24) % 254 + 1,
        1000 + client % 60_000,
        if r % 40 == 0 { "POST" } else { "GET" },
        r % 30,
        [320, 640, 1080, 1920][(r >> 8) as usize % 4],
        (r >> 16) % 100,
        if r % 5 == 0 { "HTTP/1.1" } else { "HTTP/2.0" },
        bytes - 180,
        us / 1_000_000,
        us / 1000 % 1000,
        (r >> 20) % 400,
        (r >> 30) % 4,
        (r >> 33) % 16,
        (r >> 40) % 24,
    );
}

/// The line number behind a line's request id; `None` when the line has no id of a corpus.
pub fn sequence(line: &[u8]) -> Option<u64> {
    let id = field(line, b"\"request_id\":\"")?.get(..32)?;
    let half = |range| u64::from_str_radix(std::str::from_utf8(&id[range]).ok()?, 16).ok();
    let (head, tail) = (half(0..16)?, half(16..32)?);
    let seq = mix(head) ^ tail;
    (mix(seq ^ 0x5eed) == head).then_some(seq)
}

/// The write time of a line, ns since the epoch.
pub fn written_ns(line: &[u8]) -> Option<u64> {
    let digits = field(line, b"\"written_ns\":")?;
    let end = digits.iter().position(|b| !b.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

fn field<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let at = line.windows(key.len()).position(|w| w == key)?;
    Some(&line[at + key.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_and_write_time_can_be_read_back() {
        let (mut random, mut text) = (Random(1), Vec::new());
        for seq in 0..2000 {
            text.clear();
            line(&mut random, seq, seq * 7 + 1, &mut text);
            assert_eq!(sequence(&text), Some(seq));
            assert_eq!(written_ns(&text), Some(seq * 7 + 1));
        }
        assert_eq!(sequence(b"{\"request_id\":\"0000000000000000000000000000000f\"}"), None);
    }
}
