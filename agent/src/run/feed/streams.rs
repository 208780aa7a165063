//! Reads one connection of a stream socket.
//!
//! Promises: it is read only while there is room, so a sender waits where the spool is full; what it had sent when it
//! ended is received, its last line too.
//! Must not know: what messages mean.
use super::Site;
use super::accept::Place;
use super::basin::Basin;
use edgepush_shard::syslog::{Cut, Splitter};
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

/// Bytes of one read: a thousand idle connections may each hold so many on io_uring.
const READ_BYTES: usize = 32 << 10;
/// Reads of a turn: then other tasks of the core have theirs.
const READS_A_TURN: usize = 4;
/// How long the end waits for bytes that a read may have taken.
pub(super) const LAST_READ: Duration = Duration::from_millis(3);
/// Most reads of a connection at the end of the agent.
pub(super) const LAST_READS: usize = 128;

/// Runs until the other side has ended, or nothing more is to be read.
pub(super) async fn read(site: Site, basin: Rc<RefCell<Basin>>, fd: OwnedFd, place: Place) {
    let mut splitter = Splitter::new(site.line_max);
    let mut reader = site.rt.fd_reader(fd);
    basin.borrow_mut().count_connection(true);
    let put = |splitter: &mut Splitter, bytes: &[u8]| {
        let mut basin = basin.borrow_mut();
        let (cut, first) = basin.collector.append(site.now(), |out| splitter.push(bytes, out));
        too_long(&site, &mut basin, splitter, cut);
        basin.emit();
        drop(basin);
        if first {
            site.poke();
        }
    };
    let mut reads = 0;
    loop {
        site.room(&basin).await;
        match site.gate.unless_closed(reader.read(READ_BYTES)).await {
            Some(Ok(bytes)) if !bytes.is_empty() => put(&mut splitter, &bytes),
            // A connection that is reset has ended as well.
            Some(_) => break,
            None => {
                for _ in 0..LAST_READS {
                    match site.rt.timeout(LAST_READ, reader.read(READ_BYTES)).await {
                        Some(Ok(bytes)) if !bytes.is_empty() => put(&mut splitter, &bytes),
                        _ => break,
                    }
                }
                break;
            }
        }
        reads += 1;
        if reads % READS_A_TURN == 0 {
            site.rt.pause().await;
        }
    }
    let mut ended = basin.borrow_mut();
    let (cut, _) = ended.collector.append(site.now(), |out| splitter.end(out));
    too_long(&site, &mut ended, &mut splitter, cut);
    ended.count_connection(false);
    drop((ended, place));
    site.poke();
}

/// Messages that were longer than a line may be become rejects.
fn too_long(site: &Site, basin: &mut Basin, splitter: &mut Splitter, cut: Cut) {
    if cut.too_long > 0 {
        for long in splitter.too_long() {
            basin.collector.too_long(site.now(), &long.kept, long.length);
        }
    }
}
