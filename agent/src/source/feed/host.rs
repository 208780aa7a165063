//! host: what the kernel says of sockets: its bounds, and what it dropped.
//!
//! Promises: what cannot be read is unknown, never a guess. Nothing is written.
//! Must not know: what is done about it.
use std::fs;
use std::net::SocketAddr;

/// Datagrams that the kernel keeps on a unix socket (`net.unix.max_dgram_qlen`): below this senders like nginx drop.
pub const QUEUE_LEAST: u64 = 512;
/// What an operator is told to set: a tenth of a second of a server at its full speed.
const QUEUE_WANTED: u64 = 4096;

/// A number below `/proc/sys/net`.
fn sysctl(name: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/net/{name}")).ok()?.trim().parse().ok()
}

/// `net.unix.max_dgram_qlen`: taken by a socket when it is made.
pub fn unix_queue() -> Option<u64> {
    sysctl("unix/max_dgram_qlen")
}

/// `net.core.rmem_max`: the largest receive buffer that a socket may ask for, bytes.
pub fn receive_buffer_max() -> Option<u64> {
    sysctl("core/rmem_max")
}

/// `net.core.wmem_max`: no unix datagram is longer than twice this, bytes.
pub fn send_buffer_max() -> Option<u64> {
    sysctl("core/wmem_max")
}

/// What an operator sets so that unix senders do not drop.
pub fn queue_remedy() -> String {
    format!(
        "sysctl -w net.unix.max_dgram_qlen={QUEUE_WANTED}, in /etc/sysctl.d/ too, then restart the agent: a socket takes \
         it when it is made"
    )
}

/// What an operator sets so that a UDP socket gets the buffer that is wanted.
pub fn buffer_remedy(wanted: u64) -> String {
    format!(
        "sysctl -w net.core.rmem_max={wanted}, in /etc/sysctl.d/ too, then restart the agent; or give it the capability \
         CAP_NET_ADMIN; or lower EDGEPUSH_SOCKET_BUFFER"
    )
}

/// What the kernel has dropped on the UDP socket of this inode since it was opened.
pub fn udp_drops(addr: &SocketAddr, inode: u64) -> Option<u64> {
    let table = fs::read_to_string(if addr.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" }).ok()?;
    drops_in(&table, inode)
}

fn drops_in(table: &str, inode: u64) -> Option<u64> {
    const INODE: usize = 9;
    const DROPS: usize = 12;
    let rows = table.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let mut ours = rows.filter(|row| row.get(INODE).and_then(|text| text.parse().ok()) == Some(inode));
    ours.next()?.get(DROPS)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_of_udp_sockets_is_understood() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             \x20 512: 0100007F:0202 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 31337 2 0000000000000000 17\n\
             \x20 513: 0100007F:0203 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 31338 2 0000000000000000 0\n";
        assert_eq!(drops_in(table, 31337), Some(17));
        assert_eq!(drops_in(table, 31338), Some(0));
        assert_eq!(drops_in(table, 1), None);
    }

    #[test]
    fn an_own_socket_stands_in_the_table() {
        use std::os::unix::fs::MetadataExt;
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
        let inode = fs::metadata(format!("/proc/self/fd/{fd}")).unwrap().ino();
        assert_eq!(udp_drops(&socket.local_addr().unwrap(), inode), Some(0));
    }
}
