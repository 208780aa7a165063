//! Who may do what, and who sees secrets.
use super::kit::{JOBS, Server, Setup};
use edgepush::api::logpush::routes::{Needs, ROUTES};
use edgepush::config::ZoneHosts;
use serde_json::{Value, json};
use std::io::{Read, Write};

const TOKENS: &str = "read:R,write:W,read+secrets:S,write+zone=023e:Z,read+account=acc:A";

#[test]
fn every_token_opens_what_its_scopes_say() {
    let server = Server::start(Setup { token: Some("ALL"), tokens: TOKENS, ..Setup::default() });
    let places =
        [("/zones/023e", Some("Z")), ("/zones/other", None), ("/accounts/acc", Some("A")), ("", None)];
    for (place, own) in places {
        for row in ROUTES.iter().filter(|row| row.over_all || !place.is_empty()) {
            let path = row.path.replace("{job_id}", "99").replace("{dataset_id}", "raw");
            let path = format!("{place}/logpush{path}");
            for token in ["", "x", "R", "W", "S", "Z", "A", "ALL"] {
                let reply = server.ask_as(token, row.method, &path, row.body.map(|_| json!({})).as_ref());
                let writes = matches!(token, "W" | "Z" | "ALL");
                let there = !matches!(token, "Z" | "A") || own == Some(token);
                let wanted = match token {
                    "" | "x" => Some((401, 10000)),
                    _ if !there || (row.needs == Needs::Write && !writes) => Some((403, 1004)),
                    _ => None,
                };
                match wanted {
                    Some(wanted) => {
                        let (status, code, _, message) = reply.error();
                        assert_eq!((status, code), wanted, "{token} {} {path}", row.method);
                        assert!(
                            status == 401 || message.contains("job for product 'logpush' is not allowed")
                        );
                        assert_eq!(status == 401, reply.head.contains("www-authenticate: bearer"));
                    }
                    None => {
                        assert!(!matches!(reply.code, 401 | 403), "{token} {} {path}: {reply:?}", row.method)
                    }
                }
            }
        }
    }
    for (token, status) in [("R", 200), ("Z", 401), ("x", 401)] {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
        assert_eq!(server.send(request.as_bytes()).code, status, "{token}: figures are the whole host's");
    }
    let email =
        "GET /client/v4/logpush/jobs HTTP/1.1\r\nHost: x\r\nX-Auth-Email: a@b\r\nX-Auth-Key: R\r\n\r\n";
    assert_eq!(server.send(email.as_bytes()).code, 200);
}

#[test]
fn secrets_are_seen_with_their_scope_only() {
    let server = Server::start(Setup { token: Some("ALL"), tokens: TOKENS, ..Setup::default() });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let conf = format!("http://u:hunter22@{addr}/in?header_X-Key=hunter22&tag=a&Api-Key=hunter22");
    let shown = format!("http://…@{addr}/in?header_X-Key=…&tag=a&Api-Key=…");
    let body = json!({ "destination_conf": conf });
    let job = server.ask_as("W", "POST", JOBS, Some(&body)).result();
    assert_eq!(job["destination_conf"], shown);
    let path = format!("{JOBS}/{}", job["id"]);
    let seen = |token: &str| server.ask_as(token, "GET", &path, None).result()["destination_conf"].clone();
    assert_eq!(
        [seen("R"), seen("Z"), seen("S"), seen("ALL")],
        [&shown, &shown, &conf, &conf].map(|t| json!(t))
    );
    // Sent back as it was shown, the secret stays; with anything else changed it is asked for.
    let mut back = job.clone();
    back["enabled"] = json!(true);
    let put = |body: &Value| server.ask_as("W", "PUT", &path, Some(body));
    assert_eq!(put(&back).result()["enabled"], true);
    assert_eq!(seen("ALL"), conf);
    back["destination_conf"] = json!(shown.replace("tag=a", "tag=b"));
    let (_, code, pointer, message) = put(&back).error();
    assert_eq!((code, pointer.as_str()), (1001, "/destination_conf"));
    assert!(message.contains("send the whole URL"), "{message}");
    let open = Server::open();
    let env = open.get("/accounts/local/logpush/jobs/1").result();
    assert_eq!(
        env["destination_conf"], "https://h/in?header_X-Key=…",
        "without any token secrets stay hidden"
    );
}

#[test]
fn a_customers_token_writes_nothing_on_this_host() {
    let server = Server::start(Setup { tokens: TOKENS, ..Setup::default() });
    let conf = server.directory("out");
    let tried = |conf: &str| {
        let body = json!({ "destination_conf": conf });
        server.ask_as("Z", "POST", "/zones/023e/logpush/validate/destination", Some(&body)).result()
    };
    for name in ["/etc/shadow", "/nothing"] {
        let told = tried(&format!("https://127.0.0.1:1/?x=1&ca={name}"))["message"].to_string();
        assert!(told.contains("ca= is for tokens of the whole host"), "{told}: it tells nothing of files");
    }
    let told = tried("s3://bucket/p?endpoint=http://127.0.0.1:1")["message"].to_string();
    assert!(
        told.contains("without keys is for tokens of the whole host"),
        "{told}: the keys would be the host's"
    );
    for query in
        ["bearer-file=/etc/shadow", "sign-key-file=/etc/shadow", "cert=/etc/a.pem&cert-key=/etc/a.pem"]
    {
        let told = tried(&format!("https://127.0.0.1:1/?{query}"))["message"].to_string();
        assert!(told.contains("is for tokens of the whole host"), "{told}: it sends files away");
    }
    for conf in ["gs://bucket/p?service-account=/etc/shadow", "s3://bucket/p?region=r&profile=default"] {
        let told = tried(conf)["message"].to_string();
        assert!(told.contains("is for tokens of the whole host"), "{told}: it uses what is the agent's");
    }
    for conf in [conf.as_str(), "archive:", "null:"] {
        let body = json!({ "destination_conf": conf });
        assert_eq!(server.ask_as("Z", "POST", JOBS, Some(&body)).error().1, 1005, "{conf}");
        let tried =
            server.ask_as("Z", "POST", "/zones/023e/logpush/validate/destination", Some(&body)).result();
        assert!(tried["message"].as_str().unwrap().contains("tokens of the whole host"), "{tried}");
        let made = server.ask_as("Z", "POST", "/zones/023e/logpush/ownership", Some(&body)).result();
        assert_eq!(made["valid"], false);
        assert_eq!(server.ask_as("W", "POST", JOBS, Some(&body)).code, 200, "{conf}");
    }
}

#[test]
fn zones_are_those_that_are_configured() {
    let zones = ZoneHosts::from([("023e".into(), vec!["a.example".into()])]);
    let server = Server::start(Setup { zones: Some(zones), ..Setup::default() });
    assert_eq!(server.get(JOBS).code, 200);
    let (status, code, _, message) = server.get("/zones/other/logpush/jobs").error();
    assert_eq!((status, code), (404, 1003));
    assert!(message.contains("EDGEPUSH_ZONES does not name it"), "{message}");
    assert_eq!(server.get("/accounts/any/logpush/jobs").code, 200);
}

#[test]
fn a_page_in_a_browser_may_not_ask() {
    let server = Server::open();
    let send = |host: &str, more: &str| {
        let body = "{\"destination_conf\":\"null:\"}";
        let head = format!(
            "POST /client/v4{JOBS} HTTP/1.1\r\nHost: {host}\r\n{more}Content-Length: {}\r\n\r\n",
            body.len()
        );
        server.send(format!("{head}{body}").as_bytes())
    };
    assert_eq!(send("evil.example", "").error().1, 1004);
    assert_eq!(send("localhost:9600", "Origin: https://evil.example\r\n").error().1, 1004);
    assert_eq!(send("localhost:9600", "").code, 200);
}
