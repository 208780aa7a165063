//! A proxy of the tests: one request a connection, seen, spoilt, answered by itself or passed on.
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

/// What the proxy does with a request.
pub enum Do {
    /// Passes it on.
    Pass,
    /// Passes it on with another body of the same length.
    PassBody(Vec<u8>),
    /// Passes it on and closes without an answer.
    PassAndClose,
    /// Closes the connection.
    Close,
    /// Answers by itself: status, more headers, body.
    Say(u16, &'static str, String),
}

pub struct Proxy {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Proxy {
    /// `to`: the port of the server behind it. `script`: the request and how many came before it.
    pub fn new(to: u16, script: impl Fn(&Seen, usize) -> Do + Send + Sync + 'static) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, script) = (seen.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (log, script) = (log.clone(), script.clone());
                std::thread::spawn(move || {
                    let _ = serve(client, to, &log, &*script);
                });
            }
        });
        Proxy { port, seen }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(
    mut client: TcpStream,
    to: u16,
    log: &Mutex<Vec<Seen>>,
    script: &(dyn Fn(&Seen, usize) -> Do + Send + Sync),
) -> std::io::Result<()> {
    let (head, seen) = read(&mut client)?;
    let before = {
        let mut log = log.lock().unwrap();
        log.push(seen.clone());
        log.len() - 1
    };
    let done = script(&seen, before);
    let body = match done {
        Do::Close => return client.shutdown(Shutdown::Both),
        Do::Say(status, more, body) => {
            let len = body.len();
            let head =
                format!("HTTP/1.1 {status} Said\r\ncontent-length: {len}\r\nconnection: close\r\n{more}\r\n");
            client.write_all(head.as_bytes())?;
            return client.write_all(body.as_bytes());
        }
        Do::PassBody(ref body) => body,
        Do::Pass | Do::PassAndClose => &seen.body,
    };
    let mut server = TcpStream::connect(("127.0.0.1", to))?;
    server.write_all(head.trim_end_matches("\r\n").as_bytes())?;
    server.write_all(b"\r\nconnection: close\r\n\r\n")?;
    server.write_all(body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    match done {
        Do::PassAndClose => client.shutdown(Shutdown::Both),
        _ => client.write_all(&answer),
    }
}

fn read(client: &mut TcpStream) -> std::io::Result<(String, Seen)> {
    let (mut read, mut some) = (Vec::new(), [0; 65536]);
    let end = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        match client.read(&mut some)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => read.extend_from_slice(&some[..n]),
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let mut word = || first.next().unwrap_or_default().to_owned();
    let (method, target) = (word(), word());
    let pairs = lines.filter_map(|line| line.split_once(": "));
    let headers: HashMap<String, String> =
        pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = read.split_off(end);
    while body.len() < length {
        match client.read(&mut some)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => body.extend_from_slice(&some[..n]),
        }
    }
    Ok((head, Seen { method, target, headers, body }))
}
