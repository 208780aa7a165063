//! receive: many datagrams with one call of `recvmmsg`, into memory that is used again and again.
//!
//! Promises: never waits; a message that is longer than a slot is told with its whole length; what the kernel says that it
//! dropped (`SO_RXQ_OVFL`) is kept.
//! Must not know: what messages mean.
#![allow(unsafe_code)] // recvmmsg has no safe wrapper that reads SO_RXQ_OVFL and uses its buffers again.
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;

/// Most messages of one call.
const MESSAGES_MAX: usize = 64;
/// Memory for messages, bytes. Only what is written is resident: a short message touches one page.
const BYTES_MAX: usize = 16 << 20;
/// Added to each slot, so that messages do not all lie in the same lines of the cache.
const STAGGER: usize = 576;

/// Room for the one control message that is asked for: a header and a `u32`.
type Control = [u64; 4];

/// Where messages are received.
pub struct Mailbag {
    bytes: Vec<u8>,
    slot: usize,
    messages: usize,
    dropped: u32,
}

/// One message.
pub struct Message<'a> {
    /// Its bytes, as far as they fit.
    pub bytes: &'a [u8],
    /// Its whole length.
    pub length: usize,
}

impl Mailbag {
    /// For messages of at most so many bytes.
    pub fn new(slot: usize) -> Mailbag {
        let messages = (BYTES_MAX / (slot + STAGGER)).clamp(1, MESSAGES_MAX);
        Mailbag { bytes: vec![0; messages * (slot + STAGGER)], slot, messages, dropped: 0 }
    }

    /// Most messages of one call.
    pub fn messages_max(&self) -> usize {
        self.messages
    }

    /// Datagrams that the kernel has dropped on this socket since it was opened, as far as messages have said it.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Takes the messages that are there, at most [`Mailbag::messages_max`]; none is `Ok(0)`.
    ///
    /// # Errors
    /// The socket's.
    pub fn receive(&mut self, fd: BorrowedFd<'_>, mut each: impl FnMut(Message<'_>)) -> io::Result<usize> {
        // SAFETY: all zero is a value of these plain C structures.
        let mut vectors: [libc::iovec; MESSAGES_MAX] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; MESSAGES_MAX] = unsafe { zeroed() };
        let mut controls = [Control::default(); MESSAGES_MAX];
        let slots = self.bytes.chunks_exact_mut(self.slot + STAGGER);
        for (((slot, vector), header), control) in
            slots.zip(&mut vectors).zip(&mut headers).zip(&mut controls)
        {
            vector.iov_base = slot.as_mut_ptr().cast();
            vector.iov_len = self.slot;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = size_of::<Control>() as _;
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        // SAFETY: the first `messages` headers point at one vector and one control each, which live until the end of this
        // function; each vector at a slot of its own, of at least its length.
        let received = unsafe {
            libc::recvmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), self.messages as u32, flags as _, null_mut())
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        }
        let received = received as usize;
        for (slot, header) in self.bytes.chunks_exact(self.slot + STAGGER).zip(&headers[..received]) {
            let length = header.msg_len as usize;
            each(Message { bytes: &slot[..length.min(self.slot)], length });
        }
        // The last one's count is the newest.
        if let Some(dropped) = headers[..received].last().and_then(|last| overflow(&last.msg_hdr)) {
            self.dropped = dropped;
        }
        Ok(received)
    }
}

/// What `SO_RXQ_OVFL` says of a received message; nothing was dropped before it: nothing.
fn overflow(header: &libc::msghdr) -> Option<u32> {
    // SAFETY: the kernel has filled the control buffer that the header points at, which is still there, and has set its
    // length; the macros stay within that length.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while !at.is_null() {
            if ((*at).cmsg_level, (*at).cmsg_type) == (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) {
                return Some(libc::CMSG_DATA(at).cast::<u32>().read_unaligned());
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
    None
}

/// Asks the kernel to say with each message how many it has dropped on this socket.
///
/// # Errors
/// A kernel that does not know it.
pub fn count_drops(fd: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is one int, which lives through the call.
    let set = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RXQ_OVFL,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn many_messages_come_at_once_and_long_ones_say_their_length() {
        let (to, from) = UnixDatagram::pair().unwrap();
        let mut bag = Mailbag::new(1000);
        assert_eq!(bag.receive(from.as_fd(), |_| panic!("nothing was sent")).unwrap(), 0);
        for round in 0..3 {
            for message in [&b"one"[..], b"", &[b'x'; 1500], b"four"] {
                to.send(message).unwrap();
            }
            let mut seen = Vec::new();
            let got = bag.receive(from.as_fd(), |m| seen.push((m.bytes.to_vec(), m.length))).unwrap();
            assert_eq!(got, 4, "round {round}");
            assert_eq!(seen[0], (b"one".to_vec(), 3));
            assert_eq!(seen[1], (Vec::new(), 0));
            assert_eq!(seen[2], (vec![b'x'; 1000], 1500));
            assert_eq!(seen[3], (b"four".to_vec(), 4));
        }
    }

    #[test]
    fn what_the_kernel_dropped_is_told() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
        count_drops(socket.as_fd()).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(socket.local_addr().unwrap()).unwrap();
        let mut bag = Mailbag::new(2000);
        let mut received = 0;
        for _ in 0..200 {
            sender.send(&[b'x'; 1000]).unwrap();
        }
        while let Ok(n @ 1..) = bag.receive(socket.as_fd(), |_| {}) {
            received += n;
        }
        assert!(received < 200, "the buffer holds only a few");
        sender.send(b"the next one says it").unwrap();
        assert_eq!(bag.receive(socket.as_fd(), |_| {}).unwrap(), 1);
        assert_eq!(received + bag.dropped() as usize, 200);
    }
}
