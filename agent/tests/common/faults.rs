//! A TCP proxy that breaks what passes it, by a plan: the nth chance gets the nth fault, what comes after the plan is clean.
//!
//! Promises: a fault that says that the server took a request ends only after the server's answer was read; every fault that
//! was applied is told. In plain HTTP/1.1 a fault meets the next request with a body (looks and probes pass); those that
//! need no request, and all within TLS, meet the next connection. Must not know: what a request means.
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Nothing is done to this one.
    Clean,
    /// Reset before anything is read.
    ResetOnAccept,
    /// The head goes on to the server; reset.
    ResetAfterHead,
    /// The head and half of the body go on; reset.
    ResetInBody,
    /// The server takes it all and answers; reset instead of the answer.
    ResetBeforeAnswer,
    /// The server takes it all; half of its answer's head passes, then reset.
    ResetInAnswer,
    /// The server takes it all; the connection is closed in an orderly way, without an answer.
    SwallowAnswer,
    /// The server takes it all; this status is answered instead of its own.
    AnswerInstead(u16),
    /// The server takes it all; its answer passes byte by byte, with this time before each.
    SlowAnswer(Duration),
    /// The server never sees it: 307 to this place.
    Redirect(String),
    /// The server never sees it: a stranger's 200 with a page, as a portal or a wrong proxy answers.
    Portal,
    /// The server never sees it: this status and this `Retry-After`.
    Refuse(u16, &'static str),
    /// Accepted, everything is read, nothing is ever answered, and it is not closed.
    HalfOpen,
    /// The head is read, and nothing more, and it is not closed.
    Stall,
    /// The server takes it all and answers; nothing of the answer passes, and the connection stays open.
    Hang,
    /// Reset once so many bytes came from the client: within TLS, by its length, in the handshake or in the body.
    ResetAfterSent(u64),
    /// Once so many bytes came from the client nothing of the server's passes any more; reset a second after the client's
    /// last byte: within TLS, a whole request that is taken and not answered.
    MuteAfterSent(u64),
}

impl Fault {
    /// A plan in which a clean upload comes after each fault, so that no back-off grows.
    pub fn apart(faults: &[Fault]) -> Vec<Fault> {
        faults.iter().flat_map(|fault| [fault.clone(), Fault::Clean]).collect()
    }
    /// Whether it meets a connection and not a request.
    fn of_connections(&self) -> bool {
        use Fault::{HalfOpen, MuteAfterSent, ResetAfterSent, ResetOnAccept};
        matches!(self, ResetOnAccept | HalfOpen | ResetAfterSent(_) | MuteAfterSent(_))
    }
}

struct Plan {
    to: SocketAddr,
    left: Mutex<VecDeque<Fault>>,
    applied: Mutex<Vec<(Fault, String)>>,
    connections: AtomicUsize,
    stop: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Plan {
    /// The next fault, if it is one of this sort.
    fn next(&self, of_connections: bool) -> Option<Fault> {
        let mut left = self.left.lock().unwrap();
        left.pop_front_if(|fault| fault.of_connections() == of_connections)
    }
    fn applies(&self, fault: &Fault, to: &str) {
        self.applied.lock().unwrap().push((fault.clone(), to.to_owned()));
    }
    fn track(&self, stream: &TcpStream) {
        self.open.lock().unwrap().push(stream.try_clone().unwrap());
    }
}

/// The proxy; its end closes what it holds open.
pub struct Faults {
    address: SocketAddr,
    plan: Arc<Plan>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Faults {
    /// Listens on a free port of 127.0.0.1 before the server on port `to`.
    pub fn before(to: u16, plan: impl IntoIterator<Item = Fault>) -> Faults {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let plan = Arc::new(Plan {
            to: ([127, 0, 0, 1], to).into(),
            left: Mutex::new(plan.into_iter().collect()),
            applied: Mutex::default(),
            connections: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let shared = plan.clone();
        let thread = std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if shared.stop.load(Ordering::Acquire) {
                    return;
                }
                shared.connections.fetch_add(1, Ordering::AcqRel);
                shared.track(&client);
                let plan = shared.clone();
                std::thread::spawn(move || {
                    let open = client.try_clone();
                    let _ = connection(&plan, client);
                    // The clones that are tracked would keep it open.
                    let _ = open.map(|stream| stream.shutdown(Shutdown::Both));
                });
            }
        });
        Faults { address, plan, thread: Some(thread) }
    }
    pub fn port(&self) -> u16 {
        self.address.port()
    }
    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
    /// More faults, after those that are left.
    pub fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        self.plan.left.lock().unwrap().extend(faults);
    }
    /// Drops the rest of the plan: from now on all is clean.
    pub fn forget(&self) {
        self.plan.left.lock().unwrap().clear();
    }
    /// Faults that have met nothing yet.
    pub fn left(&self) -> usize {
        self.plan.left.lock().unwrap().len()
    }
    /// Which fault met which request (its first line), or a connection.
    pub fn applied(&self) -> Vec<(Fault, String)> {
        self.plan.applied.lock().unwrap().clone()
    }
    /// The faults among [`Faults::applied`].
    pub fn met(&self) -> Vec<Fault> {
        self.applied().into_iter().map(|(fault, _)| fault).collect()
    }
    /// Connections that were accepted so far.
    pub fn connections(&self) -> usize {
        self.plan.connections.load(Ordering::Acquire)
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.plan.stop.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        for stream in self.plan.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

type Ended = std::io::Result<()>;

/// Ends a connection without the courtesy of a FIN.
fn reset(stream: &TcpStream) -> Ended {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    // Only the close of the last clone resets; to be connected to nothing any more does it at once.
    Ok(rustix::net::connect_unspec(stream)?)
}

fn connection(plan: &Arc<Plan>, client: TcpStream) -> Ended {
    client.set_nodelay(true)?;
    match plan.next(true) {
        Some(fault @ Fault::ResetOnAccept) => {
            plan.applies(&fault, "");
            return reset(&client);
        }
        Some(fault @ Fault::HalfOpen) => {
            plan.applies(&fault, "");
            let mut client = client;
            return std::io::copy(&mut client, &mut std::io::sink()).map(drop);
        }
        Some(Fault::ResetAfterSent(bytes)) => return relay(plan, client, Some((bytes, true))),
        Some(Fault::MuteAfterSent(bytes)) => return relay(plan, client, Some((bytes, false))),
        _ => {}
    }
    let mut first = [0];
    if client.peek(&mut first)? == 0 {
        return Ok(());
    }
    // The first byte of every TLS handshake.
    if first[0] == 0x16 { relay(plan, client, None) } else { requests(plan, client) }
}

/// Whether the peer has closed, though nothing was read.
fn hung_up(stream: &TcpStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(stream, PollFlags::RDHUP | PollFlags::HUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut polled, Some(&now)), Ok(1..))
}

/// Passes bytes both ways, whatever they are, up to the limit of what the client sends; there it resets or goes mute.
fn relay(plan: &Arc<Plan>, mut client: TcpStream, limit: Option<(u64, bool)>) -> Ended {
    let mut server = TcpStream::connect(plan.to)?;
    server.set_nodelay(true)?;
    plan.track(&server);
    let sent = Arc::new(AtomicU64::new(0));
    let muted = limit.and_then(|(bytes, resets)| (!resets).then_some(bytes));
    let (mut from, mut into) = (server.try_clone()?, client.try_clone()?);
    let counted = sent.clone();
    let back = std::thread::spawn(move || {
        let mut part = [0; 16 * 1024];
        while let Ok(n @ 1..) = from.read(&mut part) {
            let mute = muted.is_some_and(|bytes| counted.load(Ordering::Acquire) >= bytes);
            if !mute && into.write_all(&part[..n]).is_err() {
                break;
            }
        }
        if muted.is_none() {
            let _ = into.shutdown(Shutdown::Write);
        }
        let _ = from.shutdown(Shutdown::Both);
    });
    let mut part = [0; 16 * 1024];
    loop {
        let passed = sent.load(Ordering::Acquire);
        let room = match limit {
            Some((bytes, true)) if passed >= bytes => {
                plan.applies(&Fault::ResetAfterSent(bytes), "");
                let _ = server.shutdown(Shutdown::Both);
                return reset(&client);
            }
            Some((bytes, true)) => part.len().min((bytes - passed) as usize),
            Some((bytes, false)) if passed >= bytes => {
                client.set_read_timeout(Some(Duration::from_secs(1)))?;
                part.len()
            }
            _ => part.len(),
        };
        match client.read(&mut part[..room]) {
            Ok(0) => break,
            Ok(n) => {
                // Counted first: what the server answers to these bytes must not pass.
                sent.fetch_add(n as u64, Ordering::AcqRel);
                server.write_all(&part[..n])?;
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                plan.applies(&Fault::MuteAfterSent(limit.map_or(0, |l| l.0)), "");
                let _ = server.shutdown(Shutdown::Write);
                let _ = back.join();
                return reset(&client);
            }
            Err(e) => return Err(e),
        }
    }
    let _ = server.shutdown(Shutdown::Write);
    let _ = back.join();
    Ok(())
}

/// A connection to the server, closed with its value: the clone that is tracked would keep it open.
struct Upstream(BufReader<TcpStream>);
impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.0.get_ref().shutdown(Shutdown::Both);
    }
}

/// Plain HTTP/1.1, request by request.
fn requests(plan: &Arc<Plan>, client: TcpStream) -> Ended {
    let mut from_client = BufReader::new(client.try_clone()?);
    let mut client = client;
    let mut server: Option<Upstream> = None;
    while let Some(head) = head(&mut from_client)? {
        let length = length_of(&head)?;
        let fault = if length > 0 { plan.next(false).unwrap_or(Fault::Clean) } else { Fault::Clean };
        let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
        if server.is_none() {
            let to = TcpStream::connect(plan.to)?;
            to.set_nodelay(true)?;
            plan.track(&to);
            server = Some(Upstream(BufReader::new(to)));
        }
        let Some(Upstream(to)) = &mut server else { unreachable!() };
        if fault == Fault::Stall {
            plan.applies(&fault, &line);
            // Until its peer gives up, or the test ends.
            while !plan.stop.load(Ordering::Acquire) && !hung_up(&client) {
                std::thread::sleep(Duration::from_millis(50));
            }
            return Ok(());
        }
        let taken = match fault {
            Fault::ResetAfterHead => 0,
            Fault::ResetInBody => length / 2,
            _ => length,
        };
        let mut body = vec![0; taken];
        from_client.read_exact(&mut body)?;
        let refusal = match &fault {
            Fault::Redirect(place) => Some(format!("307 Temporary Redirect\r\nLocation: {place}")),
            Fault::Refuse(status, after) => Some(format!("{status} Refused\r\nRetry-After: {after}")),
            _ => None,
        };
        if let Some(words) = refusal {
            plan.applies(&fault, &line);
            return last_words(&client, &words, "broken\n");
        }
        if fault == Fault::Portal {
            plan.applies(&fault, &line);
            let page = "<html><body>Please log in</body></html>";
            return last_words(&client, "200 OK\r\nContent-Type: text/html", page);
        }
        to.get_mut().write_all(&head)?;
        to.get_mut().write_all(&body)?;
        if taken < length {
            // The server has what it gets before the other side hears of it.
            std::thread::sleep(Duration::from_millis(20));
            let _ = reset(to.get_ref());
            plan.applies(&fault, &line);
            return reset(&client);
        }
        let answer = answer(to, head.starts_with(b"HEAD "))?;
        if fault != Fault::Clean {
            plan.applies(&fault, &format!("{line} -> {}", String::from_utf8_lossy(&answer[9..12])));
        }
        match fault {
            Fault::ResetBeforeAnswer => return reset(&client),
            Fault::Hang => return std::io::copy(&mut from_client, &mut std::io::sink()).map(drop),
            Fault::SwallowAnswer => return client.shutdown(Shutdown::Both),
            Fault::AnswerInstead(status) => {
                return last_words(&client, &format!("{status} Broken"), "broken\n");
            }
            Fault::ResetInAnswer => {
                client.write_all(&answer[..answer.len().min(20)])?;
                std::thread::sleep(Duration::from_millis(20));
                return reset(&client);
            }
            Fault::SlowAnswer(wait) => {
                for byte in &answer {
                    std::thread::sleep(wait);
                    client.write_all(&[*byte])?;
                }
            }
            _ => client.write_all(&answer)?,
        }
    }
    Ok(())
}

/// An answer of the proxy's own, and the end.
fn last_words(mut client: &TcpStream, words: &str, body: &str) -> Ended {
    let length = body.len();
    write!(client, "HTTP/1.1 {words}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")?;
    client.shutdown(Shutdown::Write)
}

/// A message's head with the empty line that ends it; `None`: the connection has ended.
fn head(from: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if from.read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

fn header(head: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(head).into_owned();
    let (_, value) =
        text.lines().filter_map(|l| l.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case(name))?;
    Some(value.trim().to_owned())
}

/// A request's body always says its length.
fn length_of(head: &[u8]) -> std::io::Result<usize> {
    if header(head, "transfer-encoding").is_some() {
        return Err(std::io::Error::other("this proxy takes no request in chunks"));
    }
    header(head, "content-length").map_or(Ok(0), |text| text.parse().map_err(std::io::Error::other))
}

/// A whole answer as it came, its framing included.
fn answer(from: &mut impl BufRead, to_head: bool) -> std::io::Result<Vec<u8>> {
    let mut all = head(from)?.ok_or(ErrorKind::UnexpectedEof)?;
    let status = &all[9..12];
    if to_head || status == b"204" || status == b"304" {
        return Ok(all);
    }
    if header(&all, "transfer-encoding").is_some() {
        loop {
            let mut size = Vec::new();
            from.read_until(b'\n', &mut size)?;
            let text = String::from_utf8_lossy(&size).trim().to_owned();
            let bytes = usize::from_str_radix(&text, 16).map_err(std::io::Error::other)?;
            let mut chunk = vec![0; bytes + 2];
            from.read_exact(&mut chunk)?;
            all.extend([size, chunk].concat());
            if bytes == 0 {
                return Ok(all);
            }
        }
    }
    match header(&all, "content-length") {
        Some(text) => {
            let mut body = vec![0; text.parse().map_err(std::io::Error::other)?];
            from.read_exact(&mut body)?;
            all.extend(body);
        }
        None => drop(from.read_to_end(&mut all)?),
    }
    Ok(all)
}
