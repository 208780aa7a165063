//! Runs in which a socket is flooded: CPU per message, and the highest rate that loses nothing.
//!
//! Promises: every message that the kernel took is accounted for: it arrived once, as it should, or the kernel says that
//! it dropped it; else the run is an error. Must not know: how an agent reads a socket.
use super::Sample;
use super::whole::wait_records;
use crate::account::account;
use crate::bench::{Bench, Sink};
use crate::case::{Case, Destination, Flood, Socket};
use crate::expect::{By, Expected};
use crate::flood::{Address, Messages, Pace, Sent, Wire, flood};
use crate::process::Running;
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

/// What is read must be complete when nothing has moved for so long.
const QUIET: Duration = Duration::from_secs(2);
/// Time for an agent to settle, and for the last verdicts to become durable.
const SETTLE: Duration = Duration::from_millis(300);
/// A rate was not reached below this share of it.
const REACHED: f64 = 0.97;
/// The search ends when it knows the rate to this share.
const EXACT: f64 = 0.05;
/// Tries of a rate; one that loses nothing is enough, for a busy host may disturb the other.
const TRIES: usize = 2;

/// Messages so far, as the agent and the kernel count them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Stand {
    /// Lines that the agent read.
    read: u64,
    /// What the agent says of the kernel's drops.
    dropped: u64,
    /// What the kernel says, of UDP.
    proc_dropped: u64,
}

/// An agent that listens, with a sink, and who floods it.
struct Flooded<'a> {
    bench: &'a Bench,
    of: &'a Flood,
    running: Running,
    sink: Sink,
    port: Option<u16>,
    wire: Wire,
    messages: Messages,
    /// Numbers that were used.
    numbers: u64,
    taken: u64,
}

impl<'a> Flooded<'a> {
    fn start(bench: &'a Bench, case: &'a Case) -> io::Result<Flooded<'a>> {
        let of = case.flood.as_ref().ok_or_else(|| io::Error::other("this kind of case needs a flood"))?;
        let sink = bench.sink(case.destination == Destination::Https)?;
        let (address, port) = address(bench, of.socket)?;
        let mut command = bench.command(&["run"], &address.to_string(), &sink.url())?;
        command.env("EDGEPUSH_CORES", case.cores.to_string()).envs(&case.set);
        let running = bench.start_ready(command, case.cores)?;
        let wire = Wire::open(&address, of.framing)?;
        let messages = Messages::new(of.bytes, of.head)?;
        std::thread::sleep(SETTLE);
        Ok(Flooded { bench, of, running, sink, port, wire, messages, numbers: 0, taken: 0 })
    }

    /// The next messages.
    fn flood(&mut self, rate: u64, messages: u64) -> io::Result<Sent> {
        let numbers = self.numbers..self.numbers + messages;
        self.numbers = numbers.end;
        let pace = Pace { rate, drop: self.of.drop };
        let sent = flood(&mut self.wire, &mut self.messages, numbers, pace)?;
        self.taken += sent.taken;
        Ok(sent)
    }

    fn look(&self) -> io::Result<Stand> {
        let text = self.bench.metrics()?;
        let sum = |name| crate::bench::sum(&text, name) as u64;
        Ok(Stand {
            read: sum("edgepush_lines_read_total"),
            dropped: sum("edgepush_socket_dropped_total"),
            proc_dropped: self.port.map_or(Ok(0), proc_drops)?,
        })
    }

    /// Until all that was taken is read or dropped, or nothing moves any more.
    fn settle(&mut self) -> io::Result<Stand> {
        let (mut stand, mut moved) = (self.look()?, Instant::now());
        while stand.read + stand.proc_dropped < self.taken && moved.elapsed() < QUIET {
            std::thread::sleep(Duration::from_millis(20));
            if self.running.child().try_wait()?.is_some() {
                return Err(self.bench.failed("the agent ended"));
            }
            let now = self.look()?;
            if now != stand {
                (stand, moved) = (now, Instant::now());
            }
        }
        wait_records(self.bench, &mut self.running, &self.sink, stand.read)?;
        std::thread::sleep(SETTLE);
        self.look()
    }

    /// Ends the agent and holds what came against what was sent.
    fn finish(mut self) -> io::Result<(Stand, u64)> {
        let stand = self.settle()?;
        self.running.terminate();
        let ended = self.bench.ended(self.running, "run, at SIGTERM,")?;
        let by = if self.messages.bare() { By::Bytes } else { By::Id };
        let mut expected = Expected::new(by);
        (0..self.numbers).for_each(|number| expected.push(self.messages.line(number)));
        expected.lines.sort_unstable();
        let found = account(&self.sink.bodies()?, &expected, false)?;
        let never = self.numbers - found.lines;
        if found.doubled > 0 || found.foreign > 0 || found.lost != never || found.lines != stand.read {
            let foreign = &found.first_foreign;
            return Err(io::Error::other(format!(
                "wrong answer: {} doubled, {} changed or foreign ({foreign}), {} of {} read arrived",
                found.doubled, found.foreign, found.lines, stand.read
            )));
        }
        if stand.read + stand.proc_dropped != self.taken {
            return Err(io::Error::other(format!(
                "wrong answer: the kernel took {}, dropped {}, and {} were read",
                self.taken, stand.proc_dropped, stand.read
            )));
        }
        Ok((stand, ended.peak_rss))
    }
}

/// Where the agent listens, and its UDP port.
fn address(bench: &Bench, socket: Socket) -> io::Result<(Address, Option<u16>)> {
    let path = bench.memory.join("log.sock");
    Ok(match socket {
        Socket::Unixgram => (Address::Unixgram(path), None),
        Socket::Unix => (Address::Unix(path), None),
        Socket::Udp => {
            let at = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
            (Address::Udp(at), Some(at.port()))
        }
        Socket::Tcp => (Address::Tcp(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?), None),
    })
}

/// Datagrams that the kernel dropped at the sockets of a port that are open now.
fn proc_drops(port: u16) -> io::Result<u64> {
    Ok(drops(&std::fs::read_to_string("/proc/net/udp")?, port))
}

fn drops(table: &str, port: u16) -> u64 {
    let suffix = format!(":{port:04X}");
    let of_row = |row: &str| {
        let mut columns = row.split_ascii_whitespace();
        let local = columns.nth(1)?;
        if local.ends_with(&suffix) { columns.last()?.parse::<u64>().ok() } else { None }
    };
    table.lines().skip(1).filter_map(of_row).sum()
}

/// A note where the agent's count of drops is not the kernel's.
fn compare(sample: &mut Sample, stand: &Stand, port: Option<u16>) {
    if port.is_some() && stand.dropped != stand.proc_dropped {
        let (said, counted) = (stand.dropped, stand.proc_dropped);
        sample.marks.push(format!("the agent says {said} dropped, /proc/net/udp {counted}"));
    }
}

fn spent(before: &BTreeMap<String, Duration>, after: &BTreeMap<String, Duration>) -> BTreeMap<String, f64> {
    let of = |name: &String| before.get(name).copied().unwrap_or_default();
    after.iter().map(|(n, cpu)| (n.clone(), cpu.saturating_sub(of(n)).as_secs_f64() * 1e3)).collect()
}

/// One flood.
pub fn flooded(bench: &Bench, case: &Case) -> io::Result<Sample> {
    let mut agent = Flooded::start(bench, case)?;
    let (port, of) = (agent.port, agent.of);
    let before = agent.running.look();
    let sent = agent.flood(of.rate, of.messages)?;
    agent.settle()?;
    let mut sample = Sample { threads: spent(&before, &agent.running.look()), ..Sample::default() };
    let (stand, peak_rss) = agent.finish()?;
    sample.set("us_per_message", sample.threads.values().sum::<f64>() * 1e3 / stand.read.max(1) as f64);
    sample.set("messages_per_s", sent.per_second());
    sample.set("sent", sent.taken as f64);
    sample.set("refused", sent.refused as f64);
    sample.set("received", stand.read as f64);
    sample.set("dropped", stand.proc_dropped as f64);
    sample.set("peak_rss_mb", peak_rss as f64 / 1e6);
    if of.rate > 0 && sent.per_second() < of.rate as f64 * REACHED {
        sample.marks.push(format!("the sender reached {:.0} of {}/s", sent.per_second(), of.rate));
    }
    compare(&mut sample, &stand, port);
    Ok(sample)
}

/// What became of a rate.
enum Try {
    Lossless,
    Lost,
    /// The sender could send no faster than this, and nothing was lost.
    Unreached(f64),
}

fn attempt(agent: &mut Flooded, rate: f64, seconds: u64) -> io::Result<Try> {
    let mut outcome = Try::Lost;
    for _ in 0..TRIES {
        let before = agent.look()?;
        let sent = agent.flood(rate as u64, rate as u64 * seconds)?;
        let after = agent.settle()?;
        let lost = after.proc_dropped - before.proc_dropped + sent.refused;
        eprintln!("  {rate:.0}/s: sent at {:.0}/s, {lost} lost", sent.per_second());
        let reached = sent.per_second() >= rate * REACHED;
        match (lost, reached) {
            (0, true) => return Ok(Try::Lossless),
            (0, false) => outcome = Try::Unreached(sent.per_second()),
            _ => {}
        }
    }
    Ok(outcome)
}

/// The highest rate that loses nothing: doubled while it holds, then halved in between.
pub fn highest(bench: &Bench, case: &Case) -> io::Result<Sample> {
    let mut agent = Flooded::start(bench, case)?;
    let (mut sample, mut low, mut high) = (Sample::default(), 0.0, None::<f64>);
    let mut rate = agent.of.rate.max(1000) as f64;
    while high.is_none_or(|high| high - low > high * EXACT) {
        match attempt(&mut agent, rate, case.seconds)? {
            Try::Lossless => low = rate,
            Try::Lost => high = Some(rate),
            Try::Unreached(sent) => {
                low = f64::max(low, sent);
                sample.marks.push(format!("the sender can send no more than {sent:.0}/s"));
                break;
            }
        }
        rate = high.map_or(rate * 2.0, |high| f64::midpoint(low, high));
        if rate < 1000.0 {
            break;
        }
    }
    let port = agent.port;
    let (stand, _) = agent.finish()?;
    sample.set("lossless_per_s", low);
    compare(&mut sample, &stand, port);
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_summed_over_the_sockets_of_a_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            10: 0100007F:0202 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 21 2 0000000000000000 7\n\
            11: 0100007F:0202 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 22 2 0000000000000000 5\n\
            12: 0100007F:0203 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 23 2 0000000000000000 9\n";
        assert_eq!((drops(table, 0x202), drops(table, 0x203), drops(table, 1)), (12, 9, 0));
    }
}
