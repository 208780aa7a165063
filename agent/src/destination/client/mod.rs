//! client: the HTTP clients of the agent: pooled connections, TLS, proxies, time-outs of the connection (INTERFACE 5).
//!
//! Promises: connections are reused, but not for ever, so that what DNS and certificate files say takes effect; a
//! certificate that is not trusted is never talked to; certificates are read only when something speaks TLS.
//! Must not know: what is sent, what an answer means.
mod connect;
pub mod dial;
pub mod proxy;
pub mod refresh;
pub mod tls;

pub use connect::Failed;
pub use proxy::{ProxyVariables, Proxying};
pub use tls::{Identity, Trust};

use super::body::UploadBody;
use connect::{Born, Connector, Wire};
use dial::{Dialer, Resolve, SystemResolver};
use hyper::body::Incoming;
use hyper::header::PROXY_AUTHORIZATION;
use hyper::{Request, Response};
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use proxy::{Proxies, Speaks};
use refresh::Stamp;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Longest time for the TCP connection; for what follows it, TLS above all, as well.
pub const CONNECT: Duration = Duration::from_secs(10);
/// An idle connection is kept so long: shorter than what servers and balancers commonly allow.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// A connection of HTTP/2 is asked whether it lives, and has so long to answer: together less than an exchange may idle.
const PING: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(10));

/// So many clients are kept, whoever has them: one that was left comes back with its connections.
const CLIENTS_KEPT: usize = 64;

/// The version of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// 1.1
    #[default]
    One,
    /// 2 where TLS agrees on it, else 1.1; over plain connections 2 without asking.
    Two,
}

/// What makes one connection different from another to the same host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// Whose certificates are trusted.
    pub trust: Trust,
    /// Who the agent is.
    pub identity: Option<Identity>,
    /// What is spoken.
    pub version: HttpVersion,
    /// Through whom.
    pub proxying: Proxying,
}

impl Link {
    /// To a server of the world's: whom the system trusts, through whom the environment says; `tls`: or in plain text.
    pub fn public(tls: bool) -> Link {
        let trust = if tls { Trust::System } else { Trust::Plain };
        Link { trust, identity: None, version: HttpVersion::One, proxying: Proxying::default() }
    }

    /// To what hands out credentials on this very machine: no proxy stands between.
    pub fn machine() -> Link {
        Link { proxying: Proxying::Off, ..Link::public(false) }
    }

    /// What its files look like now.
    fn stamps(&self) -> Vec<Stamp> {
        let ca = match &self.trust {
            Trust::File(file) => Some(file.as_path()),
            _ => None,
        };
        let own: Option<[&Path; 2]> =
            self.identity.as_ref().map(|own| [own.cert.as_path(), own.key.as_path()]);
        ca.into_iter().chain(own.into_iter().flatten()).map(Stamp::of).collect()
    }
}

/// How the network is used. Tests have their own.
pub struct Network {
    /// Who knows the addresses of hosts.
    pub resolver: Arc<dyn Resolve>,
    /// What the environment says of proxies.
    pub proxies: ProxyVariables,
    /// A connection is not used again once it is so old: what DNS says now takes effect.
    pub connection_age_max: Duration,
    /// Certificate files are looked at again after so long.
    pub files_again: Duration,
}

impl Default for Network {
    fn default() -> Network {
        Network {
            resolver: Arc::new(SystemResolver),
            proxies: ProxyVariables::of_process(),
            connection_age_max: Duration::from_secs(300),
            files_again: Duration::from_secs(60),
        }
    }
}

/// The clients, one for each kind of link.
pub struct Clients {
    made: Mutex<HashMap<Link, HttpClient>>,
    network: Arc<Network>,
    dialer: Arc<Dialer>,
}

impl Default for Clients {
    fn default() -> Clients {
        Clients::new(Network::default())
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl Clients {
    /// None yet.
    pub fn new(network: Network) -> Clients {
        let dialer = Arc::new(Dialer::new(network.resolver.clone()));
        Clients { made: Mutex::default(), network: Arc::new(network), dialer }
    }

    /// The client for such links.
    ///
    /// # Errors
    /// Certificates or keys cannot be read, or what is said of proxies is wrong; in plain words.
    pub fn of(&self, link: &Link) -> Result<HttpClient, String> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(link) {
            return Ok(client.clone());
        }
        let client = HttpClient(Arc::new(Shared::new(link, self)?));
        if made.len() >= CLIENTS_KEPT {
            // Those that nobody has any more, such as of a URL that was only tried.
            made.retain(|_, client| Arc::strong_count(&client.0) > 1);
        }
        made.insert(link.clone(), client.clone());
        Ok(client)
    }
}

/// A client with its pool. Clones share it.
#[derive(Clone)]
pub struct HttpClient(Arc<Shared>);

struct Shared {
    link: Link,
    network: Arc<Network>,
    dialer: Arc<Dialer>,
    /// Whether a server has asked for a certificate that this link does not have.
    asked: tls::Asked,
    now: Mutex<Now>,
}

/// What the files of a link made of it.
struct Now {
    client: Client<Connector, UploadBody>,
    wire: Arc<Wire>,
    stamps: Vec<Stamp>,
    looked: Instant,
}

impl HttpClient {
    /// Sends one request; the answer's body is still to be read.
    ///
    /// # Errors
    /// There was no answer. [`Failed`] is among its sources where no connection could be made.
    pub async fn request(&self, mut request: Request<UploadBody>) -> Result<Response<Incoming>, Error> {
        let (client, wire) = self.0.current();
        if request.uri().scheme_str() == Some("http")
            && let Some(via) = wire.proxies.way(request.uri())
            && matches!(via.speaks(), Speaks::Http | Speaks::Https)
            && let Some(basic) = via.basic()
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, basic.clone());
        }
        let connection = capture_connection(&mut request);
        let response = client.request(request).await?;
        // It goes back to the pool and may lie there for a while before it is used again.
        let old = self.0.network.connection_age_max.saturating_sub(POOL_IDLE);
        let born = response.extensions().get::<Born>();
        if born.is_some_and(|born| born.0.elapsed() >= old)
            && let Some(connected) = connection.connection_metadata().as_ref()
        {
            connected.poison();
        }
        Ok(response)
    }

    /// Whether a server has asked for a certificate, and the link has none.
    pub fn lacks_certificate(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn new(link: &Link, clients: &Clients) -> Result<Shared, String> {
        let asked = tls::Asked::default();
        let now = Now::read(link, &clients.network, &clients.dialer, &asked)?;
        Ok(Shared {
            link: link.clone(),
            network: clients.network.clone(),
            dialer: clients.dialer.clone(),
            asked,
            now: Mutex::new(now),
        })
    }

    /// The client; made anew when its files have changed, so that certificates are replaced without a restart.
    fn current(&self) -> (Client<Connector, UploadBody>, Arc<Wire>) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if !now.stamps.is_empty() && now.looked.elapsed() >= self.network.files_again {
            now.looked = Instant::now();
            let stamps = self.link.stamps();
            if stamps != now.stamps {
                match Now::read(&self.link, &self.network, &self.dialer, &self.asked) {
                    Ok(read) => {
                        tracing::info!("certificate files have changed and were read again");
                        *now = read;
                    }
                    Err(why) => {
                        tracing::warn!("{why}; the certificates that were read before are used on");
                        now.stamps = stamps;
                    }
                }
            }
        }
        (now.client.clone(), now.wire.clone())
    }
}

impl Now {
    fn read(link: &Link, network: &Network, dialer: &Arc<Dialer>, asked: &tls::Asked) -> Result<Now, String> {
        // The stamps first: what changes in between is read again.
        let stamps = link.stamps();
        let proxies = Proxies::of(&link.proxying, &network.proxies)?;
        let mut tls = tls::config(link, &link.trust, asked)?;
        let proxy_tls = match &link.trust {
            // A proxy may speak TLS where its receiver does not.
            Trust::Plain if proxies.any_speaks_tls() => {
                Some(Arc::new(tls::config(link, &Trust::System, asked)?))
            }
            Trust::Plain => None,
            _ => Some(Arc::new(tls.clone())),
        };
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).timer(TokioTimer::new()).pool_idle_timeout(POOL_IDLE);
        if link.version == HttpVersion::Two {
            builder.http2_keep_alive_interval(PING.0).http2_keep_alive_timeout(PING.1);
            match link.trust {
                Trust::Plain => drop(builder.http2_only(true)),
                _ => tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            }
        }
        let wire = Arc::new(Wire { dialer: dialer.clone(), proxies, tls: Arc::new(tls), proxy_tls });
        let client = builder.build(Connector(wire.clone()));
        Ok(Now { client, wire, stamps, looked: Instant::now() })
    }
}
