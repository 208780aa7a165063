//! 60 fields of Cloudflare's Logpush dataset `http_requests`: strings, numbers, booleans, arrays; about 1,700 bytes a
//! line, the id `RayID`. Times are RFC 3339.
use super::{AGENTS, COUNTRIES, HOSTS, Random, client, clock, id};
use std::io::Write;

const COLOS: [&str; 8] = ["IST", "FRA", "AMS", "IAD", "GRU", "NRT", "BOM", "JNB"];
const CITIES: [&str; 8] = ["Istanbul", "Berlin", "Ankara", "São Paulo", "Mumbai", "Tokyo", "London", "Paris"];

/// Appends a line, with its newline.
pub fn line(random: &mut Random, seq: u64, at: u64, out: &mut Vec<u8>) {
    out.push(b'{');
    request(random, seq, out);
    edge(random, seq, at, out);
    origin_and_security(random, out);
    // Writing into a Vec cannot fail.
    let ((head, tail), r) = (id(seq), random.next());
    let _ = writeln!(
        out,
        "\"ParentRayID\":\"00\",\"RayID\":\"{head:016x}{tail:016x}\",\"SmartRouteColoID\":0,\"UpperTierColoID\":{},\
         \"ZoneName\":\"shop.example\",\"WorkerCPUTime\":{},\"WorkerScriptName\":\"\",\"WorkerStatus\":\"unknown\",\
         \"WorkerSubrequest\":false,\"WorkerSubrequestCount\":0,\"WorkerWallTimeUs\":{}}}",
        (r >> 8) % 300,
        (r >> 16) % 3 * 100,
        (r >> 18) % 3 * 250,
    );
}

/// 24 fields.
fn request(random: &mut Random, seq: u64, out: &mut Vec<u8>) {
    let (host, agent, country, city) =
        (random.of(&HOSTS), random.of(&AGENTS), random.of(&COUNTRIES), random.of(&CITIES));
    let (client, r, object) = (client(random), random.next(), random.skewed(20_000));
    let _ = write!(
        out,
        "\"BotScore\":{},\"BotScoreSrc\":\"Machine Learning\",\"BotTags\":[],\"CacheCacheStatus\":\"{}\",\
         \"CacheResponseBytes\":{},\"CacheTieredFill\":{},\"ClientASN\":{},\"ClientCity\":\"{city}\",\
         \"ClientCountry\":\"{country}\",\"ClientDeviceType\":\"desktop\",\"ClientIP\":\"{}.{}.{}.{}\",\
         \"ClientIPClass\":\"noRecord\",\"ClientRegionCode\":\"{}\",\"ClientRequestBytes\":{},\
         \"ClientRequestHost\":\"{host}\",\"ClientRequestMethod\":\"{}\",\"ClientRequestPath\":\"/item/{object}\",\
         \"ClientRequestProtocol\":\"HTTP/2\",\"ClientRequestReferer\":\"https://{host}/\",\
         \"ClientRequestScheme\":\"https\",\"ClientRequestSource\":\"eyeball\",\
         \"ClientRequestURI\":\"/item/{object}?page={}\",\"ClientRequestUserAgent\":\"{agent}\",\"ClientSrcPort\":{},",
        1 + r % 99,
        ["hit", "hit", "miss", "dynamic"][(r >> 7) as usize % 4],
        random.skewed(2_000_000),
        seq.is_multiple_of(3),
        1000 + client % 60_000,
        client % 223 + 1,
        (client >> 8) % 256,
        (client >> 16) % 256,
        (client >> 24) % 254 + 1,
        client % 81,
        300 + (r >> 10) % 3000,
        if r % 40 == 0 { "POST" } else { "GET" },
        (r >> 20) % 40,
        1024 + (r >> 30) % 60_000,
    );
}

/// 14 fields.
fn edge(random: &mut Random, seq: u64, at: u64, out: &mut Vec<u8>) {
    let ((hour, minute, second, ms), r, colo) = (clock(at), random.next(), random.skewed(8));
    let day = format!("2026-01-01T{hour:02}:{minute:02}:{second:02}");
    let _ = write!(
        out,
        "\"ClientSSLCipher\":\"AEAD-AES128-GCM-SHA256\",\"ClientSSLProtocol\":\"TLSv1.3\",\"ClientTCPRTTMs\":{},\
         \"EdgeColoCode\":\"{}\",\"EdgeColoID\":{colo},\"EdgeEndTimestamp\":\"{day}.{ms:03}Z\",\
         \"EdgePathingOp\":\"wl\",\"EdgePathingSrc\":\"macro\",\"EdgePathingStatus\":\"nr\",\
         \"EdgeResponseBytes\":{},\"EdgeResponseContentType\":\"text/html\",\"EdgeResponseStatus\":{},\
         \"EdgeStartTimestamp\":\"{day}Z\",\"EdgeTimeToFirstByteMs\":{},",
        r % 250,
        COLOS[colo],
        random.skewed(2_000_000),
        [200, 200, 304, 404, 503][random.skewed(5)],
        (seq ^ r) % 400,
    );
}

/// 11 fields.
fn origin_and_security(random: &mut Random, out: &mut Vec<u8>) {
    let r = random.next();
    let _ = write!(
        out,
        "\"OriginDNSResponseTimeMs\":{},\"OriginIP\":\"198.51.100.{}\",\"OriginResponseDurationMs\":{},\
         \"OriginResponseStatus\":200,\"OriginSSLProtocol\":\"TLSv1.3\",\"OriginTCPHandshakeDurationMs\":{},\
         \"SecurityAction\":\"\",\"SecurityActions\":[],\"SecurityRuleIDs\":[],\"SecuritySources\":[],\
         \"WAFAttackScore\":{},",
        r % 30,
        (r >> 8) % 32,
        (r >> 16) % 900,
        (r >> 26) % 60,
        1 + (r >> 36) % 99,
    );
}
