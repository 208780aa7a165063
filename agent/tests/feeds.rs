//! Sockets and pipes, seen from outside: each kind end to end, ends, stops, back-pressure, drops, and what a crash loses.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// An address of the loopback interface that nobody uses.
fn free_address() -> SocketAddr {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    // What UDP has free, TCP has too, most of the time.
    udp.local_addr().unwrap()
}

/// One kind of socket: how it is configured, and how one sends to it.
#[derive(Clone, Debug)]
enum To {
    Gram(PathBuf),
    Unix(PathBuf),
    Udp(SocketAddr),
    Tcp(SocketAddr),
}

impl To {
    fn all(place: &Place) -> Vec<To> {
        let (gram, unix) = (place.path("gram.sock"), place.path("unix.sock"));
        vec![To::Gram(gram), To::Unix(unix), To::Udp(free_address()), To::Tcp(free_address())]
    }
    fn source(&self) -> String {
        match self {
            To::Gram(path) => format!("unixgram:{}", path.display()),
            To::Unix(path) => format!("unix:{}", path.display()),
            To::Udp(addr) => format!("udp:{addr}"),
            To::Tcp(addr) => format!("tcp:{addr}"),
        }
    }
    fn open(&self) -> Sender {
        match self {
            To::Gram(path) => {
                let socket = UnixDatagram::unbound().unwrap();
                socket.connect(path).unwrap();
                Sender::Gram(socket)
            }
            To::Unix(path) => Sender::Stream(Box::new(UnixStream::connect(path).unwrap())),
            To::Udp(addr) => {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.connect(addr).unwrap();
                Sender::Udp(socket)
            }
            To::Tcp(addr) => Sender::Stream(Box::new(TcpStream::connect(addr).unwrap())),
        }
    }
}

enum Sender {
    Gram(UnixDatagram),
    Udp(UdpSocket),
    Stream(Box<dyn Write + Send>),
}

impl Sender {
    /// One line: a datagram without its end, or a line of a stream.
    fn line(&mut self, text: &str) -> std::io::Result<()> {
        match self {
            Sender::Gram(socket) => socket.send(text.as_bytes()).map(drop),
            Sender::Udp(socket) => socket.send(text.as_bytes()).map(drop),
            Sender::Stream(stream) => stream.write_all(format!("{text}\n").as_bytes()),
        }
    }
    fn raw(&mut self, bytes: &[u8]) {
        match self {
            Sender::Gram(socket) => socket.send(bytes).map(drop).unwrap(),
            Sender::Udp(socket) => socket.send(bytes).map(drop).unwrap(),
            Sender::Stream(stream) => stream.write_all(bytes).unwrap(),
        }
    }
}

fn setup(place: &Place, sources: &str, backend: &str) -> Setup {
    place
        .setup()
        .env("EDGEPUSH_SOURCES", sources)
        .env("EDGEPUSH_RUNTIME", backend)
        .env("EDGEPUSH_FORMAT", "json")
        .env("EDGEPUSH_BATCH_INTERVAL", "200ms")
}

fn arrived(place: &Place, lines: u64) {
    let mut delivered = Delivered::below(&place.out());
    wait_until("all lines are delivered", PATIENCE, || delivered.count() >= lines);
}

#[test]
fn every_kind_of_socket_delivers_its_lines_once() {
    for backend in backends("sockets") {
        for cores in ["1", "2"] {
            let place = Place::new();
            let kinds = To::all(&place);
            let sources: Vec<String> = kinds.iter().map(To::source).collect();
            let setup = setup(&place, &sources.join(","), backend).env("EDGEPUSH_CORES", cores);
            let agent = setup.start_ready();
            let each = 2_000;
            let senders: Vec<_> = kinds
                .iter()
                .enumerate()
                .map(|(at, kind)| {
                    let mut sender = kind.open();
                    std::thread::spawn(move || {
                        for seq in 0..each {
                            sender.line(&writer::line(&format!("r{at}"), seq)).unwrap();
                            if seq % 50 == 0 {
                                std::thread::sleep(Duration::from_millis(2));
                            }
                        }
                    })
                })
                .collect();
            senders.into_iter().for_each(|sender| sender.join().unwrap());
            arrived(&place, 4 * each);
            let metrics = agent.metrics().unwrap();
            for kind in &kinds {
                let label = format!("source=\"{}\"", kind.source());
                assert_eq!(metrics.sum_where("edgepush_lines_read_total", &label), each as f64, "{label}");
                assert!(metrics.sum_where("edgepush_bytes_read_total", &label) > 0.0);
            }
            let (_, status) = agent.get("/status").unwrap();
            assert!(status.contains(&sources[0]) && status.contains(&sources[3]), "{status}");
            let done = agent.terminate().exits(0);
            let lines = lines_in_dir(&place.out());
            for at in 0..kinds.len() {
                let run = format!("r{at}");
                let mark = format!("\"run\":\"{run}\"");
                let own: Vec<Vec<u8>> =
                    lines.iter().filter(|l| String::from_utf8_lossy(l).contains(&mark)).cloned().collect();
                assert_exactly_once(&run, each, &own);
            }
            assert!(!place.path("gram.sock").exists() && !place.path("unix.sock").exists());
            assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
        }
    }
}

#[test]
fn frames_and_ends_of_streams() {
    for backend in backends("frames") {
        let place = Place::new();
        let to = To::Tcp(free_address());
        let agent = setup(&place, &to.source(), backend).start_ready();
        let lines: Vec<String> = (0..10).map(|seq| writer::line("r", seq)).collect();
        // Newlines, the last one without its end.
        let mut bare = to.open();
        bare.raw(format!("{}\n{}", lines[0], lines[1]).as_bytes());
        drop(bare);
        // One byte at a time.
        let mut slow = to.open();
        for byte in format!("{}\r\n{}\n", lines[2], lines[3]).bytes() {
            slow.raw(&[byte]);
        }
        drop(slow);
        arrived(&place, 4);
        // A datagram's worth of lines at once, in several writes.
        let mut many = to.open();
        many.raw(lines[4..].join("\n").as_bytes());
        drop(many);
        arrived(&place, 10);
        agent.terminate().exits(0);
        assert_exactly_once("r", 10, &lines_in_dir(&place.out()));
    }
}

#[test]
fn a_line_above_the_maximum_is_a_reject_and_the_next_one_is_read() {
    let place = Place::new();
    let (gram, tcp) = (To::Gram(place.path("g.sock")), To::Tcp(free_address()));
    let sources = format!("{},{}", gram.source(), tcp.source());
    let agent = setup(&place, &sources, "threads").env("EDGEPUSH_LINE_MAX", "16kB").start_ready();
    let long = "x".repeat(100_000);
    for (at, to) in [gram, tcp].iter().enumerate() {
        let mut sender = to.open();
        sender.line(&long).unwrap();
        sender.line(&writer::line("r", at as u64)).unwrap();
    }
    arrived(&place, 2);
    let metrics = agent.metrics().unwrap();
    assert_eq!(metrics.sum_where("edgepush_records_rejected_total", "too_long"), 2.0);
    agent.terminate().exits(0);
    assert_exactly_once("r", 2, &lines_in_dir(&place.out()));
}

#[test]
fn a_stop_drains_what_was_sent() {
    for backend in backends("a stop drains") {
        let place = Place::new();
        let kinds = To::all(&place);
        let sources: Vec<String> = kinds.iter().map(To::source).collect();
        let setup = setup(&place, &sources.join(","), backend);
        let agent = setup.start_ready();
        let mut senders: Vec<Sender> = kinds.iter().map(To::open).collect();
        let each = 300;
        for (at, sender) in senders.iter_mut().enumerate() {
            for seq in 0..each {
                sender.line(&writer::line(&format!("r{at}"), seq)).unwrap();
            }
        }
        agent.terminate().exits(0);
        drop(senders);
        setup.env("EDGEPUSH_SOURCES", &place.one_log()).once().exits(0);
        let lines = lines_in_dir(&place.out());
        assert_eq!(lines.len() as u64, 4 * each, "everything that was sent before the stop");
    }
}

#[test]
fn standard_input_is_read_to_its_end() {
    for backend in backends("stdin") {
        for regular in [false, true] {
            let place = Place::new();
            let text = writer::text("r", 0..20_000);
            let text = text.trim_end().to_owned();
            let setup = setup(&place, "stdin:", backend);
            let agent = if regular {
                std::fs::write(place.log(), &text).unwrap();
                setup.spawn_reading(&["run", "--once"], std::fs::File::open(place.log()).unwrap())
            } else {
                let (reading, mut writing) = std::io::pipe().unwrap();
                let agent = setup.spawn_reading(&["run", "--once"], reading);
                writing.write_all(text.as_bytes()).unwrap();
                agent
            };
            let done = agent.wait(PATIENCE).exits(0);
            assert_eq!(done.count("lines_read"), 20_000, "the last line needs no end");
            assert_eq!(done.count("records_delivered"), 20_000);
            assert_eq!(done.count("undelivered_batches"), 0);
            assert_exactly_once("r", 20_000, &lines_in_dir(&place.out()));
        }
    }
}

#[test]
fn the_end_of_the_last_pipe_is_a_clean_stop() {
    for backend in backends("end of pipes") {
        let place = Place::new();
        let fifo = place.path("fifo");
        mkfifo(&fifo);
        let setup = setup(&place, &format!("stdin:,file:{}", fifo.display()), backend)
            .env("EDGEPUSH_BATCH_INTERVAL", "1h")
            .env("EDGEPUSH_API", "off");
        let (reading, mut writing) = std::io::pipe().unwrap();
        let agent = setup.spawn_reading(&["run"], reading);
        let mut named = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
        writing.write_all(writer::text("r", 0..10).as_bytes()).unwrap();
        named.write_all(writer::text("r", 10..20).as_bytes()).unwrap();
        drop(writing);
        std::thread::sleep(Duration::from_millis(300));
        named.write_all(writer::text("r", 20..30).as_bytes()).unwrap();
        drop(named);
        let done = agent.wait(PATIENCE).exits(0);
        assert!(done.stderr.contains("every pipe has ended"), "{}", done.stderr);
        assert_exactly_once("r", 30, &lines_in_dir(&place.out()));
    }
}

#[test]
fn a_named_pipe_beside_other_sources_is_read_again() {
    for backend in backends("named pipes") {
        let place = Place::new();
        let fifo = place.path("fifo");
        mkfifo(&fifo);
        let sources = format!("pipe:{},{}", fifo.display(), place.one_log());
        let mut agent = setup(&place, &sources, backend).start_ready();
        for round in 0..3 {
            let mut named = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
            let text = writer::text("r", round * 10..round * 10 + 10);
            // Without its last end: the next writer's first line must not run into it.
            named.write_all(text.trim_end().as_bytes()).unwrap();
            drop(named);
            arrived(&place, round * 10 + 10);
        }
        assert!(agent.alive());
        agent.terminate().exits(0);
        assert_exactly_once("r", 30, &lines_in_dir(&place.out()));
    }
}

fn mkfifo(path: &std::path::Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn mistakes_are_said_all_at_once() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sources = format!(
        "unixgram:{}/no/such/dir/s,tcp:{},pipe:{}/fifo",
        place.path("x").display(),
        taken.local_addr().unwrap(),
        place.path("x").display()
    );
    let done = setup(&place, &sources, "threads").finish(&["run"]).exits(2);
    for wanted in ["mkdir -p ", "is in use by another process", "mkfifo "] {
        assert!(done.stderr.contains(wanted), "{wanted} in\n{}", done.stderr);
    }
    let sock = place.path("s.sock");
    let done = setup(&place, &format!("unix:{}", sock.display()), "threads").once().exits(2);
    assert!(done.stderr.contains(&format!("unix:{} has no end", sock.display())), "{}", done.stderr);
    assert!(!sock.exists());
}

#[test]
fn a_socket_has_the_mode_that_was_asked_for() {
    let place = Place::new();
    let to = To::Gram(place.path("g.sock"));
    let agent = setup(&place, &to.source(), "threads").env("EDGEPUSH_SOCKET_MODE", "0620").start_ready();
    let mode = std::fs::metadata(place.path("g.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o620);
    agent.kill();
    assert!(place.path("g.sock").exists(), "what a killed agent leaves");
    let agent = setup(&place, &to.source(), "threads").start_ready();
    let mode = std::fs::metadata(place.path("g.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    agent.terminate().exits(0);
    let _ = Instant::now();
}
