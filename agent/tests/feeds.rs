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
        // What the kernel holds of each kind while nobody reads (ten datagrams on a unix socket).
        let held = [8, 100, 40, 100];
        senders[1].line(&writer::line("r1", 100)).unwrap();
        senders[3].line(&writer::line("r3", 100)).unwrap();
        agent.wait_read(2);
        agent.signal(rustix::process::Signal::STOP);
        for (at, sender) in senders.iter_mut().enumerate() {
            for seq in 0..held[at] {
                sender.line(&writer::line(&format!("r{at}"), seq)).unwrap();
            }
        }
        agent.signal(rustix::process::Signal::TERM);
        agent.signal(rustix::process::Signal::CONT);
        agent.wait(PATIENCE).exits(0);
        drop(senders);
        setup.env("EDGEPUSH_SOURCES", &place.one_log()).once().exits(0);
        let lines = lines_in_dir(&place.out());
        let found: Vec<usize> = numbers(&lines, 4).iter().map(|found| found.len()).collect();
        assert_eq!(found, [8, 101, 40, 101], "everything that was sent before the stop");
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

/// Sends a line each millisecond until told to end; answers when each was sent.
fn at_a_steady_rate(
    to: &To,
    run: String,
    end: std::sync::Arc<std::sync::atomic::AtomicBool>,
) -> std::thread::JoinHandle<Vec<Instant>> {
    let mut sender = to.open();
    std::thread::spawn(move || {
        let (begin, mut sent) = (Instant::now(), Vec::new());
        while !end.load(std::sync::atomic::Ordering::Acquire) {
            if sender.line(&writer::line(&run, sent.len() as u64)).is_err() {
                break;
            }
            sent.push(Instant::now());
            let next = begin + Duration::from_millis(sent.len() as u64);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        sent
    })
}

/// The lines that were delivered, by the number of their sender; each once.
fn numbers(lines: &[Vec<u8>], runs: usize) -> Vec<std::collections::BTreeSet<u64>> {
    let mut found = vec![std::collections::BTreeSet::new(); runs];
    for line in lines {
        let text = String::from_utf8_lossy(line);
        let run = (0..runs).find(|at| text.contains(&format!("\"run\":\"r{at}\""))).expect("a line of ours");
        let seq = sequence(&format!("r{run}"), line);
        assert!(found[run].insert(seq), "line {seq} of r{run} came twice");
    }
    found
}

#[test]
fn a_crash_loses_what_came_in_its_last_second_and_doubles_nothing() {
    const SYNC: Duration = Duration::from_secs(1);
    for backend in backends("kill") {
        let place = Place::new();
        let recorder = Recorder::start();
        let kinds = [To::Gram(place.path("g.sock")), To::Udp(free_address()), To::Tcp(free_address())];
        let sources: Vec<String> = kinds.iter().map(To::source).collect();
        let setup = setup(&place, &sources.join(","), backend)
            .env("EDGEPUSH_DESTINATION", &recorder.url())
            .env("EDGEPUSH_SOCKET_SYNC", "1s")
            .env("EDGEPUSH_CORES", "2")
            // Nothing but the seals of feeds makes anything durable while the test runs.
            .env("EDGEPUSH_BATCH_INTERVAL", "10s")
            .env("EDGEPUSH_COMMIT_INTERVAL", "60s");
        let mut sent: Vec<Vec<Instant>> = vec![Vec::new(); kinds.len()];
        let mut killed = Vec::new();
        let mut runs = 0;
        for round in 0..3u64 {
            let agent = setup.start_ready();
            let end = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let senders: Vec<_> = kinds
                .iter()
                .map(|kind| {
                    runs += 1;
                    at_a_steady_rate(kind, format!("r{}", runs - 1), end.clone())
                })
                .collect();
            std::thread::sleep(Duration::from_millis(2_500 + 270 * round));
            let at = Instant::now();
            agent.kill();
            end.store(true, std::sync::atomic::Ordering::Release);
            sent.extend(senders.into_iter().map(|sender| sender.join().unwrap()));
            killed.extend([at; 3]);
        }
        let sent = sent.split_off(kinds.len());
        // The next start closes and delivers what the ledger has.
        let agent = setup.clone().env("EDGEPUSH_BATCH_INTERVAL", "200ms").start_ready();
        let mut before = 0;
        wait_until("nothing more comes", PATIENCE, || {
            std::thread::sleep(Duration::from_millis(1500));
            std::mem::replace(&mut before, recorder.records()) == recorder.records() && before > 0
        });
        agent.terminate().exits(0);
        let found = numbers(&recorder.lines(), runs);
        for (run, found) in found.iter().enumerate() {
            let lost: Vec<u64> = (0..sent[run].len() as u64).filter(|seq| !found.contains(seq)).collect();
            // Only what was sent before the kill counts: the senders may have gone on for a moment.
            let lost: Vec<u64> =
                lost.into_iter().filter(|seq| sent[run][*seq as usize] < killed[run]).collect();
            let early = lost.iter().filter(|seq| sent[run][**seq as usize] + SYNC < killed[run]).count();
            let first = lost.first().map(|seq| killed[run] - sent[run][*seq as usize]);
            say(&format!(
                "{backend} r{run}: {} sent, {} lost, from {first:?} before the kill",
                sent[run].len(),
                lost.len()
            ));
            assert!(sent[run].len() > 1500, "a steady rate, not {} lines", sent[run].len());
            assert_eq!(early, 0, "lost and older than a second: {}", ranges(&lost));
        }
    }
}

#[test]
fn datagrams_that_the_kernel_drops_are_counted() {
    for (backend, cores) in backends("drops").into_iter().zip(["1", "2"]) {
        let place = Place::new();
        let to = To::Udp(free_address());
        let setup = setup(&place, &to.source(), backend)
            .env("EDGEPUSH_SOCKET_BUFFER", "64kB")
            .env("EDGEPUSH_CORES", cores);
        let agent = setup.start_ready();
        let mut senders: Vec<Sender> = (0..4).map(|_| to.open()).collect();
        let sent = 4_000;
        agent.signal(rustix::process::Signal::STOP);
        for seq in 0..sent {
            senders[seq as usize % 4].line(&writer::line("r", seq)).unwrap();
        }
        agent.signal(rustix::process::Signal::CONT);
        let read = || agent.metrics().map_or(0.0, |m| m.sum("edgepush_lines_read_total"));
        let dropped = || agent.metrics().map_or(0.0, |m| m.sum("edgepush_socket_dropped_total"));
        wait_until("the kernel's drops are counted", PATIENCE, || read() + dropped() >= sent as f64);
        assert_eq!(read() + dropped(), sent as f64, "read {}, dropped {}", read(), dropped());
        assert!(dropped() > 0.0, "a buffer of 64 kB does not hold {sent} lines");
        arrived(&place, read() as u64);
        agent.terminate().exits(0);
    }
}

#[test]
fn a_stream_waits_while_the_spool_is_full_and_loses_nothing() {
    for backend in backends("back-pressure") {
        let place = Place::new();
        let mut recorder = Recorder::start();
        recorder.close();
        let to = To::Tcp(free_address());
        let setup = setup(&place, &to.source(), backend)
            .env("EDGEPUSH_DESTINATION", &recorder.url())
            .env("EDGEPUSH_CODEC", "none")
            .env("EDGEPUSH_SPOOL_MAX", "64MB");
        let agent = setup.start_ready();
        let To::Tcp(addr) = to else { unreachable!() };
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        let text = "x".repeat(4_000);
        let (mut seq, mut waited) = (0u64, 0);
        let begin = Instant::now();
        while waited < 2 {
            assert!(begin.elapsed() < Duration::from_secs(120), "the sender never had to wait");
            let line = format!("{{\"run\":\"r0\",\"seq\":{seq},\"x\":\"{text}\"}}\n");
            let mut rest = line.as_bytes();
            while !rest.is_empty() {
                match stream.write(rest) {
                    Ok(n) => rest = &rest[n..],
                    Err(_) => {
                        waited += 1;
                        // The second time it has stood still for long; then there is room.
                        if waited == 2 {
                            assert_eq!(agent.metrics().unwrap().sum("edgepush_backpressure"), 1.0);
                            recorder.open();
                        }
                    }
                }
            }
            seq += 1;
        }
        drop(stream);
        assert!(seq > 5_000, "some 64 MB fit, not {seq} lines");
        wait_until("all is delivered", Duration::from_secs(60), || recorder.records() >= seq);
        agent.terminate().exits(0);
        let found = numbers(&recorder.lines(), 1);
        assert_eq!(found[0].len() as u64, seq);
    }
}

#[test]
fn heads_of_syslog_are_kept_as_fields_and_bare_lines_as_they_are() {
    for backend in backends("heads") {
        let place = Place::new();
        let (gram, tcp) = (To::Gram(place.path("g.sock")), To::Tcp(free_address()));
        let sources = format!("{},{}", gram.source(), tcp.source());
        let agent = setup(&place, &sources, backend).start_ready();
        let mut sender = gram.open();
        // nginx: a head of RFC 3164; a bare datagram of two lines.
        sender.raw(b"<190>Nov 20 23:58:00 edge-3 nginx: {\"a\":1}");
        sender.raw(b"{\"b\":1}\n{\"b\":2}\n");
        // rsyslog: a counted frame with a head of RFC 5424, in two writes; then another one.
        let mut stream = tcp.open();
        let frame = |text: &str| format!("{} {text}", text.len());
        let first = frame("<165>1 2026-11-20T23:58:00.123456Z edge-4 app 7 - - {\"c\":1}");
        let second = frame("<165>1 - - app - - - {\"c\":2}");
        stream.raw(&first.as_bytes()[..10]);
        stream.raw([&first.as_bytes()[10..], second.as_bytes()].concat().as_slice());
        drop(stream);
        arrived(&place, 5);
        agent.terminate().exits(0);
        let mut lines: Vec<String> =
            lines_in_dir(&place.out()).into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
        lines.sort();
        assert!(lines[0].starts_with("{\"a\":1,\"syslog_time\":\"20"), "{lines:#?}");
        assert!(
            lines[0].ends_with("-11-20T23:58:00Z\",\"syslog_host\":\"edge-3\",\"syslog_tag\":\"nginx\"}"),
            "{lines:#?}"
        );
        assert_eq!(lines[1..3], ["{\"b\":1}", "{\"b\":2}"]);
        let expected = "{\"c\":1,\"syslog_time\":\"2026-11-20T23:58:00.123456Z\",\"syslog_host\":\"edge-4\",\"syslog_tag\":\"app\"}";
        assert_eq!(lines[3], expected);
        assert_eq!(lines[4], "{\"c\":2,\"syslog_tag\":\"app\"}");
    }
}

#[test]
fn connections_are_counted_and_check_leaves_a_running_agent_alone() {
    let place = Place::new();
    let (gram, tcp) = (To::Gram(place.path("g.sock")), To::Tcp(free_address()));
    let setup =
        setup(&place, &format!("{},{}", gram.source(), tcp.source()), "threads").env("EDGEPUSH_CORES", "2");
    let check = setup.finish(&["check"]);
    assert!(check.stdout.contains(&format!("{}: can be read", gram.source())), "{}", check.stdout);
    assert!(check.stdout.contains("net.unix.max_dgram_qlen is "), "{}", check.stdout);
    assert!(!place.path("g.sock").exists());
    let agent = setup.start_ready();
    let mut open: Vec<Sender> = (0..40).map(|_| tcp.open()).collect();
    for (seq, sender) in open.iter_mut().enumerate() {
        sender.line(&writer::line("r", seq as u64)).unwrap();
    }
    arrived(&place, 40);
    let connections = || agent.metrics().unwrap().sum("edgepush_socket_connections");
    assert_eq!(connections(), 40.0);
    let check = setup.finish(&["check"]);
    let held = format!("{}: the running agent (pid {}) has it", tcp.source(), agent.pid());
    assert!(check.stdout.contains(&held), "{}", check.stdout);
    gram.open().line(&writer::line("r", 40)).unwrap();
    arrived(&place, 41);
    open.truncate(10);
    wait_until("thirty have left", PATIENCE, || connections() == 10.0);
    agent.terminate().exits(0);
    drop(open);
    assert_exactly_once("r", 41, &lines_in_dir(&place.out()));
}
