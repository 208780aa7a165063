//! A socket to which messages are sent: 64 datagrams a call with `sendmmsg`, or a stream in large writes.
//!
//! Promises: each message is counted once, as taken or as refused. Must not know: rates.
use super::{BATCH, Messages, Sent};
use rustix::io::{Errno, IoSlice};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};
use serde::Deserialize;
use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Where messages go, as `EDGEPUSH_SOURCES` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A datagram socket of the file system.
    Unixgram(PathBuf),
    /// Datagrams over IP.
    Udp(SocketAddr),
    /// A stream socket of the file system.
    Unix(PathBuf),
    /// A TCP stream.
    Tcp(SocketAddr),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let forms = "unixgram:PATH, udp:ADDRESS:PORT, unix:PATH, tcp:ADDRESS:PORT";
        let (kind, rest) = text.split_once(':').ok_or(format!("one of {forms}"))?;
        let socket = |rest: &str| rest.parse().map_err(|e| format!("{rest}: {e}"));
        match kind {
            "unixgram" => Ok(Address::Unixgram(rest.into())),
            "unix" => Ok(Address::Unix(rest.into())),
            "udp" => Ok(Address::Udp(socket(rest)?)),
            "tcp" => Ok(Address::Tcp(socket(rest)?)),
            _ => Err(format!("{kind}: one of {forms}")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Address::Unixgram(path) => write!(f, "unixgram:{}", path.display()),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Udp(at) => write!(f, "udp:{at}"),
            Address::Tcp(at) => write!(f, "tcp:{at}"),
        }
    }
}

/// How a stream is cut into messages (RFC 6587).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// A newline ends a message.
    #[default]
    Lf,
    /// Its length stands before it.
    Octets,
}

/// An open socket.
pub struct Wire {
    socket: Socket,
    framing: Framing,
    text: Vec<u8>,
    ends: Vec<usize>,
}

enum Socket {
    Datagrams(OwnedFd),
    Stream(Box<dyn Write>),
}

impl Wire {
    /// Connects to a listener.
    pub fn open(to: &Address, framing: Framing) -> io::Result<Wire> {
        let socket = open(to).map_err(|e| io::Error::other(format!("{to}: {e}")))?;
        Ok(Wire { socket, framing, text: Vec::new(), ends: Vec::new() })
    }

    /// Sends these numbers, at most [`BATCH`], and adds what became of them.
    pub fn send(
        &mut self,
        messages: &mut Messages,
        numbers: Range<u64>,
        drop: bool,
        sent: &mut Sent,
    ) -> io::Result<()> {
        self.text.clear();
        self.ends.clear();
        let streamed = matches!(self.socket, Socket::Stream(_));
        for number in numbers {
            self.message(messages, number, streamed);
        }
        match &mut self.socket {
            Socket::Datagrams(fd) => datagrams(fd, &self.text, &self.ends, drop, sent),
            Socket::Stream(stream) => {
                stream.write_all(&self.text)?;
                sent.taken += self.ends.len() as u64;
                sent.bytes += self.text.len() as u64;
                Ok(())
            }
        }
    }

    fn message(&mut self, messages: &mut Messages, number: u64, streamed: bool) {
        let start = self.text.len();
        messages.write(number, &mut self.text);
        if streamed {
            match self.framing {
                Framing::Lf => self.text.push(b'\n'),
                Framing::Octets => {
                    let length = format!("{} ", self.text.len() - start);
                    self.text.splice(start..start, length.into_bytes());
                }
            }
        }
        self.ends.push(self.text.len());
    }
}

fn open(to: &Address) -> io::Result<Socket> {
    Ok(match to {
        Address::Unixgram(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            Socket::Datagrams(socket.into())
        }
        Address::Udp(at) => {
            let any: SocketAddr = if at.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
            let socket = UdpSocket::bind(any)?;
            socket.connect(at)?;
            Socket::Datagrams(socket.into())
        }
        Address::Unix(path) => Socket::Stream(Box::new(UnixStream::connect(path)?)),
        Address::Tcp(at) => Socket::Stream(Box::new(TcpStream::connect(at)?)),
    })
}

/// Sends datagrams that end at `ends` of `text`.
fn datagrams(fd: &OwnedFd, text: &[u8], ends: &[usize], drop: bool, sent: &mut Sent) -> io::Result<()> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let parts: Vec<[IoSlice; 1]> =
        starts.zip(ends).map(|(start, end)| [IoSlice::new(&text[start..*end])]).collect();
    let mut controls: Vec<SendAncillaryBuffer> =
        parts.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut all: Vec<MMsgHdr> =
        parts.iter().zip(&mut controls).map(|(part, control)| MMsgHdr::new(part, control)).collect();
    debug_assert!(all.len() as u64 <= BATCH);
    let flags = if drop { SendFlags::DONTWAIT } else { SendFlags::empty() };
    let mut at = 0;
    while at < all.len() {
        match sendmmsg(fd, &mut all[at..], flags) {
            Ok(taken) => {
                sent.taken += taken as u64;
                sent.bytes += parts[at..at + taken].iter().map(|p| p[0].len() as u64).sum::<u64>();
                at += taken;
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN | Errno::NOBUFS) if drop => {
                sent.refused += 1;
                at += 1;
            }
            Err(Errno::NOBUFS) => std::thread::sleep(Duration::from_micros(100)),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in ["unixgram:/run/e.sock", "udp:127.0.0.1:514", "unix:/x", "tcp:[::1]:601"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for (text, said) in [("udp:here", "here"), ("file:/x", "unixgram:PATH"), ("x", "tcp:ADDRESS")] {
            let e = text.parse::<Address>().unwrap_err();
            assert!(e.contains(said), "{e}");
        }
    }
}
