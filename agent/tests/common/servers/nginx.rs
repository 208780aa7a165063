//! nginx as an HTTP(S) server that keeps every body, refuses as it is told to, and stands before servers without locks.
//!
//! Promises: what it says was kept stands in its access log and in body files that it wrote itself.
use super::{Server, free_ports, status_of, tries};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server on both ports, TLS 1.3 only and with HTTP/2, that keeps every body and answers 200.
pub const KEEPS: &str = "server { {listen} location / { {keep} } }";

/// The same, for clients with a certificate of ours only; others get 400.
pub const KEEPS_OF_CLIENTS: &str = "server { {listen} ssl_client_certificate {dir}/ca.pem; ssl_verify_client on; \
     location / { {keep} } }";

/// nginx, ready; its folder holds `ca.pem`, `server.pem`, `client.pem` with their `.key`, and `other.pem` with `other.key`,
/// a client's certificate of another authority.
pub struct Nginx {
    pub server: Server,
    /// With TLS.
    pub tls: u16,
    /// Without.
    pub plain: u16,
    /// Answers at once, and is not logged.
    answers: u16,
}

/// One request as nginx logged it once it was over.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Kept {
    pub method: String,
    pub uri: String,
    /// 499: the client went away.
    pub status: u16,
    /// `Idempotency-Key`.
    pub key: String,
    /// `Content-Encoding`.
    pub encoding: String,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: String,
    /// `TLSv1.3`, or empty.
    pub tls: String,
    /// The subject of the client's certificate.
    pub client: String,
    /// `Content-Length`; empty when there was none.
    pub length: String,
    /// Where the body stands; empty: there was none.
    pub file: PathBuf,
}

impl Kept {
    /// The body as it came.
    pub fn body(&self) -> Vec<u8> {
        if self.file.as_os_str().is_empty() { Vec::new() } else { std::fs::read(&self.file).unwrap() }
    }
    /// The body's lines.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        let body = self.body();
        super::super::lines_of(&if self.encoding == "gzip" { super::super::gunzip(&body) } else { body })
    }
}

impl Nginx {
    /// Starts it with these `server` blocks and what belongs beside them. In them stands `{dir}` for its folder, `{tls}`
    /// and `{plain}` for its ports, `{listen}` for listening on both with our certificate, `{keep}` for what a
    /// location needs to keep bodies and answer 200.
    pub fn start(blocks: &str) -> Option<Nginx> {
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
        let Some(program) = path.split(':').map(|dir| Path::new(dir).join("nginx")).find(|p| p.is_file())
        else {
            super::super::skipped("nginx", "it is not installed; .ci/install does it");
            return None;
        };
        Some(tries("nginx", || {
            let dir = Server::folder("nginx");
            certificates(dir.path());
            let [tls, plain, answers] = free_ports();
            let at = dir.path().display().to_string();
            std::fs::write(dir.path().join("nginx.conf"), config(blocks, &at, [tls, plain, answers]))
                .unwrap();
            let mut command = Command::new(&program);
            command.args(["-p", &at, "-c", &format!("{at}/nginx.conf"), "-e", &format!("{at}/error.log")]);
            let ready = || status_of(answers, "/") == Some(200);
            let server = Server::start("nginx", dir, &mut command, ready)?;
            Some(Nginx { server, tls, plain, answers })
        }))
    }
    /// A file of its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.server.dir().join(name)
    }
    /// `https://localhost:PORT`.
    pub fn https(&self) -> String {
        format!("https://localhost:{}", self.tls)
    }
    /// `http://127.0.0.1:PORT`.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.plain)
    }
    /// Every request that is over, in the order of their ends.
    pub fn requests(&self) -> Vec<Kept> {
        // It logs a request after its answer. One worker does one round of events after the other: when a second
        // connection has been answered, what was answered before the first one is in the log.
        for _ in 0..2 {
            status_of(self.answers, "/");
        }
        let log = std::fs::read_to_string(self.file("access.log")).unwrap_or_default();
        let whole = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
    /// What a receiver keeps that removes doubles by their key: the first that was taken of each. Panics when one key
    /// ever brought two contents.
    pub fn kept(&self) -> Vec<Kept> {
        let mut kept: BTreeMap<String, Kept> = BTreeMap::new();
        let requests = self.requests().into_iter();
        for request in requests.filter(|r| r.method == "POST" && (200..300).contains(&r.status)) {
            assert!(!request.key.is_empty(), "{request:?} has no Idempotency-Key");
            match kept.get(&request.key) {
                Some(first) => assert!(first.body() == request.body(), "{request:?} is not {first:?}"),
                None => drop(kept.insert(request.key.clone(), request)),
            }
        }
        kept.into_values().collect()
    }
    /// The lines of [`Nginx::kept`].
    pub fn lines(&self) -> Vec<Vec<u8>> {
        self.kept().iter().flat_map(Kept::lines).collect()
    }
    /// What it complained of.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.file("error.log")).unwrap_or_default()
    }
}

fn config(blocks: &str, dir: &str, [tls, plain, answers]: [u16; 3]) -> String {
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let listen = "listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl http2; ssl_protocols TLSv1.3; \
        ssl_certificate {dir}/server.pem; ssl_certificate_key {dir}/server.key;";
    // A body that was read whole counts, also when its client has gone since.
    let keep = format!(
        "client_body_in_file_only on; client_max_body_size 0; proxy_ignore_client_abort on; \
         proxy_pass_request_body off; proxy_set_header Content-Length \"\"; proxy_pass http://127.0.0.1:{answers};"
    );
    let blocks = blocks.replace("{listen}", listen).replace("{keep}", &keep).replace("{dir}", dir);
    let blocks = blocks.replace("{tls}", &tls.to_string()).replace("{plain}", &plain.to_string());
    format!(
        r#"daemon off; worker_processes 1; {user} pid {dir}/pid; error_log {dir}/error.log info;
events {{ worker_connections 512; }}
http {{
  log_format kept escape=json '{{"method":"$request_method","uri":"$request_uri","status":$status,'
    '"key":"$http_idempotency_key","encoding":"$http_content_encoding","protocol":"$server_protocol",'
    '"tls":"$ssl_protocol","client":"$ssl_client_s_dn","length":"$http_content_length",'
    '"file":"$request_body_file"}}';
  access_log {dir}/access.log kept;
  client_body_temp_path {dir}/bodies; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  server {{ listen 127.0.0.1:{answers}; access_log off; location / {{ return 200 "kept\n"; }} }}
  {blocks}
}}
"#
    )
}

/// An authority, what it signed, and a client that another one signed.
fn certificates(dir: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, other) = (authority("tests"), authority("others"));
    std::fs::write(dir.join("ca.pem"), ours.pem()).unwrap();
    let names = ["localhost", "127.0.0.1", "*.localhost"].map(str::to_owned).to_vec();
    let of_server = [("server", names, &ours)];
    let of_clients = [
        ("client", vec!["edge-client".to_owned()], &ours),
        ("other", vec!["edge-client".to_owned()], &other),
    ];
    for (file, names, issuer) in of_server.into_iter().chain(of_clients) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, file);
        std::fs::write(dir.join(format!("{file}.pem")), params.signed_by(&key, issuer).unwrap().pem())
            .unwrap();
        std::fs::write(dir.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }
}
