//! The generator of messages for a socket: numbered JSON lines at a rate, or as fast as they are taken.
//!
//! Promises: what the kernel took and what it refused is counted message by message; a message that is late is sent at
//! once, so that the rate holds over the whole flood. Must not know: who listens.
mod messages;
mod wire;

pub use messages::{Head, Messages};
pub use wire::{Address, Framing, Wire};

use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::Serialize;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Messages of one system call.
pub const BATCH: u64 = 64;
/// At a rate, messages are sent so long apart, or one by one: a burst would fill a socket that a steady flow does not.
const TICK: Duration = Duration::from_micros(250);

/// How a flood is sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Messages a second; 0 is as fast as they are taken.
    pub rate: u64,
    /// What the kernel does not take at once is dropped, as nginx does it, instead of waited for. Datagrams only.
    pub drop: bool,
}

/// What became of a flood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sent {
    /// Messages that the kernel took.
    pub taken: u64,
    /// Messages that it refused, and that were dropped.
    pub refused: u64,
    /// Bytes that it took, heads and framing included.
    pub bytes: u64,
    /// From the first to the last, s.
    pub seconds: f64,
    /// The longest time that a message was sent too late, ms: beyond a few the rate was no steady one.
    pub late_ms: f64,
}

impl Sent {
    /// Messages a second that were sent or dropped.
    pub fn per_second(&self) -> f64 {
        (self.taken + self.refused) as f64 / self.seconds
    }
}

/// Sends these numbers.
pub fn flood(wire: &mut Wire, messages: &mut Messages, numbers: Range<u64>, pace: Pace) -> io::Result<Sent> {
    let batch = batch(pace.rate);
    let (mut sent, mut at) = (Sent::default(), numbers.start);
    let (clock, start) = (clock_gettime(ClockId::Monotonic), Instant::now());
    while at < numbers.end {
        if pace.rate > 0 {
            let due = Duration::from_secs_f64((at - numbers.start) as f64 / pace.rate as f64);
            wait(clock, due)?;
            let late = start.elapsed().saturating_sub(due);
            sent.late_ms = sent.late_ms.max(late.as_secs_f64() * 1e3);
        }
        let next = (at + batch).min(numbers.end);
        wire.send(messages, at..next, pace.drop, &mut sent)?;
        at = next;
    }
    sent.seconds = start.elapsed().as_secs_f64();
    Ok(sent)
}

/// Messages of one call at a rate.
fn batch(rate: u64) -> u64 {
    if rate == 0 { BATCH } else { ((rate as f64 * TICK.as_secs_f64()) as u64).clamp(1, BATCH) }
}

/// Until so long after the beginning.
fn wait(start: Timespec, due: Duration) -> io::Result<()> {
    let nanos = start.tv_nsec + i64::from(due.subsec_nanos());
    let until = Timespec {
        tv_sec: start.tv_sec + due.as_secs().cast_signed() + nanos / 1_000_000_000,
        tv_nsec: nanos % 1_000_000_000,
    };
    loop {
        match clock_nanosleep_absolute(ClockId::Monotonic, &until) {
            Err(rustix::io::Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    fn place() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.sock");
        (dir, path)
    }

    #[test]
    fn a_rate_holds_and_every_datagram_is_a_line_of_its_number() {
        let (_dir, path) = place();
        let socket = UnixDatagram::bind(&path).unwrap();
        let reader = std::thread::spawn(move || {
            let (mut text, mut seen) = ([0; 2000], Vec::new());
            while seen.len() < 600 {
                let length = socket.recv(&mut text).unwrap();
                assert_eq!(length, 700);
                seen.push(crate::corpus::sequence(&text[..length]).unwrap());
            }
            seen
        });
        let mut wire = Wire::open(&Address::Unixgram(path), Framing::Lf).unwrap();
        let mut messages = Messages::new(700, Head::None).unwrap();
        let pace = Pace { rate: 2000, drop: false };
        let sent = flood(&mut wire, &mut messages, 1000..1600, pace).unwrap();
        assert_eq!(reader.join().unwrap(), (1000..1600).collect::<Vec<_>>());
        assert_eq!((sent.taken, sent.refused, sent.bytes), (600, 0, 600 * 700));
        assert!((0.29..0.6).contains(&sent.seconds), "{sent:?}");
    }

    #[test]
    fn what_a_full_socket_refuses_is_dropped_and_counted() {
        let (_dir, path) = place();
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut wire = Wire::open(&Address::Unixgram(path), Framing::Lf).unwrap();
        let mut messages = Messages::new(300, Head::Rfc3164).unwrap();
        let sent = flood(&mut wire, &mut messages, 0..5000, Pace { rate: 0, drop: true }).unwrap();
        assert!(sent.refused > 0 && sent.taken > 0, "nobody reads: {sent:?}");
        assert_eq!(sent.taken + sent.refused, 5000);
        socket.set_nonblocking(true).unwrap();
        let (mut text, mut came) = ([0; 2000], 0);
        while socket.recv(&mut text).is_ok() {
            came += 1;
        }
        assert_eq!(came, sent.taken);
    }

    #[test]
    fn a_stream_has_lines_or_counted_frames() {
        for (framing, head) in [(Framing::Lf, Head::None), (Framing::Octets, Head::Rfc5424)] {
            let (_dir, path) = place();
            let listener = UnixListener::bind(&path).unwrap();
            let reader = std::thread::spawn(move || {
                let mut text = Vec::new();
                listener.accept().unwrap().0.read_to_end(&mut text).unwrap();
                text
            });
            let mut messages = Messages::new(400, head).unwrap();
            let mut wire = Wire::open(&Address::Unix(path), framing).unwrap();
            let sent = flood(&mut wire, &mut messages, 0..200, Pace { rate: 0, drop: false }).unwrap();
            drop(wire);
            let (text, mut expected) = (reader.join().unwrap(), Vec::new());
            for number in 0..200 {
                let mut message = Vec::new();
                messages.write(number, &mut message);
                match framing {
                    Framing::Lf => message.push(b'\n'),
                    Framing::Octets => {
                        expected.extend_from_slice(format!("{} ", message.len()).as_bytes());
                    }
                }
                expected.extend(message);
            }
            assert!(text == expected, "{framing:?}");
            assert_eq!((sent.taken, sent.bytes), (200, expected.len() as u64));
        }
    }
}
