//! dial: from a host's name to a TCP connection.
//!
//! Promises: names are resolved anew for each connection, so that no answer outlives its time to live; all addresses
//! are tried, IPv6 and IPv4 in turn, the next one when one fails or hesitates (RFC 8305); an address that failed comes
//! last for a while, so that a dead one costs one attempt.
//! Must not know: what is spoken over the connection.
use super::{CONNECT, Failed};
use crate::destination::Boxed;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

/// An address that hesitates so long gets company (RFC 8305: 250 ms).
const HESITATION: Duration = Duration::from_millis(250);
/// An address that failed comes last for so long.
const DEAD: Duration = Duration::from_secs(60);
/// Most addresses that are remembered as dead.
const DEAD_MAX: usize = 1024;
/// A connection on which nothing comes is asked whether it lives after so long.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Who knows the addresses of hosts.
pub trait Resolve: Send + Sync {
    /// The addresses of a host's port, the preferred first.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Boxed<'a, io::Result<Vec<SocketAddr>>>;
}

/// The resolver of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Makes TCP connections.
pub(super) struct Dialer {
    resolver: Arc<dyn Resolve>,
    /// Addresses that failed, and until when that counts.
    dead: Mutex<HashMap<SocketAddr, Instant>>,
}

impl Dialer {
    pub(super) fn new(resolver: Arc<dyn Resolve>) -> Dialer {
        Dialer { resolver, dead: Mutex::default() }
    }

    /// A connection to one of the host's addresses, and to which.
    pub(super) async fn dial(&self, host: &str, port: u16) -> Result<(TcpStream, SocketAddr), Failed> {
        let until = Instant::now() + CONNECT;
        let found = self.addresses(host, port, until).await?;
        let mut race = Race {
            dialer: self,
            host,
            waiting: self.order(found, Instant::now()).into(),
            under_way: Vec::new(),
        };
        let (stream, address) = race.run(until).await?;
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
        let prepared = prepare(&stream);
        prepared.map_err(|e| Failed::new("closed", format!("{address}: {e}")))?;
        Ok((stream, address))
    }

    /// Remembers that there was nothing to be had at an address.
    pub(super) fn failed(&self, address: SocketAddr) {
        self.failed_at(address, Instant::now());
    }

    fn failed_at(&self, address: SocketAddr, now: Instant) {
        let mut dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        dead.retain(|_, until| *until > now);
        if dead.len() < DEAD_MAX {
            dead.insert(address, now + DEAD);
        }
    }

    pub(super) async fn addresses(
        &self,
        host: &str,
        port: u16,
        until: Instant,
    ) -> Result<Vec<SocketAddr>, Failed> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let failed = |why: String| Failed::new("dns", format!("{host} does not resolve: {why}"));
        match timeout_at(until, self.resolver.resolve(host, port)).await {
            Ok(Ok(found)) if found.is_empty() => Err(failed("it has no address".into())),
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("no answer within {} s", CONNECT.as_secs()))),
        }
    }

    /// Each address once: the families in turn, as the resolver prefers them, and those that failed lately last.
    fn order(&self, found: Vec<SocketAddr>, now: Instant) -> Vec<SocketAddr> {
        let first = found.first().is_some_and(SocketAddr::is_ipv6);
        let (mut one, mut other): (VecDeque<_>, VecDeque<_>) =
            found.into_iter().partition(|address| address.is_ipv6() == first);
        let mut order: Vec<SocketAddr> = Vec::with_capacity(one.len() + other.len());
        while !(one.is_empty() && other.is_empty()) {
            for address in one.pop_front().into_iter().chain(other.pop_front()) {
                if !order.contains(&address) {
                    order.push(address);
                }
            }
        }
        let dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        order.sort_by_key(|address| dead.get(address).is_some_and(|until| *until > now));
        order
    }
}

/// Attempts at the addresses of one host.
struct Race<'a> {
    dialer: &'a Dialer,
    host: &'a str,
    waiting: VecDeque<SocketAddr>,
    /// In the order in which they began.
    under_way: Vec<SocketAddr>,
}

impl Race<'_> {
    async fn run(&mut self, until: Instant) -> Result<(TcpStream, SocketAddr), Failed> {
        let mut attempts = JoinSet::new();
        let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
        loop {
            if let Some(next) = self.waiting.pop_front() {
                self.under_way.push(next);
                attempts.spawn(async move { (next, TcpStream::connect(next).await) });
            }
            let hesitates = Instant::now() + HESITATION;
            tokio::select! {
                ended = attempts.join_next() => match ended {
                    Some(Ok((address, Ok(stream)))) => {
                        self.won(address);
                        return Ok((stream, address));
                    }
                    Some(Ok((address, Err(error)))) => {
                        self.under_way.retain(|other| *other != address);
                        self.dialer.failed(address);
                        failures.push((address, error));
                    }
                    // An attempt is neither cancelled nor can it panic; without any, nobody is left to try.
                    Some(Err(_)) => {}
                    None => return Err(self.nobody(&failures)),
                },
                () = sleep_until(hesitates), if !self.waiting.is_empty() => {}
                () = sleep_until(until) => {
                    self.under_way.iter().for_each(|address| self.dialer.failed(*address));
                    let all = self.under_way.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
                    let why = format!("no connection to {}({all}) within {} s", self.of(), CONNECT.as_secs());
                    return Err(Failed::new("timeout", why));
                }
            }
        }
    }

    /// Those that began before the winner and are still silent are as good as dead.
    fn won(&self, winner: SocketAddr) {
        let before = self.under_way.iter().take_while(|address| **address != winner);
        before.for_each(|address| self.dialer.failed(*address));
    }

    fn nobody(&self, failures: &[(SocketAddr, io::Error)]) -> Failed {
        let refused = failures.iter().any(|(_, error)| error.kind() == io::ErrorKind::ConnectionRefused);
        let each = failures.iter().map(|(address, error)| format!("{address}: {error}"));
        let all = each.collect::<Vec<_>>().join("; ");
        Failed::new(
            if refused { "refused" } else { "connect" },
            format!("no connection to {}({all})", self.of()),
        )
    }

    /// The host's name, where it is one.
    fn of(&self) -> String {
        let literal = self.host.starts_with('[') || self.host.parse::<IpAddr>().is_ok();
        if literal { String::new() } else { format!("{} ", self.host) }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_keepalive(stream, true)?;
    rustix::net::sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<SocketAddr> {
        text.split_whitespace().map(|address| address.parse().expect("an address")).collect()
    }

    #[test]
    fn families_take_turns_and_the_dead_come_last_for_a_while() {
        let (dialer, now) = (Dialer::new(Arc::new(SystemResolver)), Instant::now());
        let found = addresses("[::1]:1 [::2]:1 [::1]:1 127.0.0.1:1 127.0.0.2:1 127.0.0.3:1");
        let turns = addresses("[::1]:1 127.0.0.1:1 [::2]:1 127.0.0.2:1 127.0.0.3:1");
        assert_eq!(dialer.order(found.clone(), now), turns);
        dialer.failed_at(turns[0], now);
        dialer.failed_at(turns[3], now);
        let late = addresses("127.0.0.1:1 [::2]:1 127.0.0.3:1 [::1]:1 127.0.0.2:1");
        assert_eq!(dialer.order(found.clone(), now + DEAD / 2), late);
        assert_eq!(dialer.order(found, now + DEAD), turns);
    }
}
