//! A proxy: CONNECT, absolute form, SOCKS 5. It writes down what it was asked for.
use super::Server;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// What it was asked for: the first line, and the credentials. Of SOCKS: `SOCKS host:port`, and `user:password`.
pub type Asked = (String, String);

pub struct Proxy {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Proxy {
    /// Whatever is asked for is fetched from `server`. With `wants`, only those whose `Proxy-Authorization` it is.
    pub async fn start(server: &Server, wants: Option<&'static str>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, to) = (Arc::new(Mutex::new(Vec::new())), server.address);
        let keeps = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let keeps = keeps.clone();
                tokio::spawn(async move { drop(serve(stream, to, wants, &keeps).await) });
            }
        });
        Proxy { address, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    to: SocketAddr,
    wants: Option<&'static str>,
    asked: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first == [5] {
        return socks(stream, to, asked).await;
    }
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let text = String::from_utf8(head.clone()).unwrap();
    let line = text.lines().next().unwrap().to_owned();
    let credentials = text.lines().find_map(|line| {
        line.to_ascii_lowercase().starts_with("proxy-authorization: ").then(|| line[21..].to_owned())
    });
    let credentials = credentials.unwrap_or_default();
    let welcome = wants.is_none_or(|wants| wants == credentials);
    asked.lock().unwrap().push((line.clone(), credentials));
    if !welcome {
        let no = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
        return stream.write_all(no).await;
    }
    let mut onward = TcpStream::connect(to).await?;
    if line.starts_with("CONNECT ") {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    } else {
        // The server takes the absolute form as it is (RFC 9112 3.2.2).
        onward.write_all(&head).await?;
    }
    copy_bidirectional(&mut stream, &mut onward).await.map(drop)
}

async fn socks(mut stream: TcpStream, to: SocketAddr, asked: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    async fn counted(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; stream.read_u8().await?.into()];
        stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    }
    stream.read_u8().await?;
    let methods = counted(&mut stream).await?;
    let mut credentials = String::new();
    if methods.contains(&2) {
        stream.write_all(&[5, 2]).await?;
        stream.read_u8().await?;
        let (user, password) = (counted(&mut stream).await?, counted(&mut stream).await?);
        credentials = format!("{}:{}", String::from_utf8_lossy(&user), String::from_utf8_lossy(&password));
        stream.write_all(&[1, 0]).await?;
    } else {
        stream.write_all(&[5, 0]).await?;
    }
    let mut start = [0; 4];
    stream.read_exact(&mut start).await?;
    let host = match start[3] {
        3 => String::from_utf8(counted(&mut stream).await?).unwrap(),
        1 => std::net::Ipv4Addr::from_bits(stream.read_u32().await?).to_string(),
        other => panic!("address type {other}"),
    };
    let port = stream.read_u16().await?;
    asked.lock().unwrap().push((format!("SOCKS {host}:{port}"), credentials));
    stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).await?;
    let mut onward = TcpStream::connect(to).await?;
    copy_bidirectional(&mut stream, &mut onward).await.map(drop)
}
