//! proxy: through whom a host is reached.
//!
//! Promises: `proxy=` of a URL wins over the environment; what is no proxy's URL is told and never passed over in
//! silence, for then bytes would leave another way than they were meant to; credentials are never shown.
//! Must not know: sockets, TLS.
use crate::destination::text;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use std::fmt;
use std::net::IpAddr;

/// Which proxies a link asks.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Proxying {
    /// Those of the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, without those hosts that `NO_PROXY` names.
    #[default]
    Environment,
    /// None: `proxy=off`.
    Off,
    /// This one. Holds credentials.
    Url(String),
}

impl fmt::Debug for Proxying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Proxying::Environment => "Environment",
            Proxying::Off => "Off",
            Proxying::Url(_) => "Url(…)",
        })
    }
}

/// What the environment says of proxies. Holds credentials.
#[derive(Clone, Default)]
pub struct ProxyVariables {
    /// `HTTPS_PROXY`
    pub https: String,
    /// `HTTP_PROXY`
    pub http: String,
    /// `ALL_PROXY`
    pub all: String,
    /// `NO_PROXY`
    pub no: String,
}

impl ProxyVariables {
    /// Those of this process, in either spelling.
    pub fn of_process() -> ProxyVariables {
        ProxyVariables::from(|name| std::env::var(name).ok())
    }

    /// Those that `var` knows, in either spelling.
    pub fn from(var: impl Fn(&str) -> Option<String>) -> ProxyVariables {
        let either = |name: &str| {
            let said =
                |name: String| var(&name).map(|value| value.trim().to_owned()).filter(|v| !v.is_empty());
            said(name.to_owned()).or_else(|| said(name.to_ascii_lowercase())).unwrap_or_default()
        };
        ProxyVariables {
            https: either("HTTPS_PROXY"),
            http: either("HTTP_PROXY"),
            all: either("ALL_PROXY"),
            no: either("NO_PROXY"),
        }
    }
}

impl fmt::Debug for ProxyVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyVariables(no: {:?})", self.no)
    }
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP: absolute form for `http://`, CONNECT for `https://`.
    Http,
    /// HTTP over TLS.
    Https,
    /// SOCKS 5, and whether the proxy resolves names.
    Socks {
        /// `socks5h://`
        resolves: bool,
    },
}

/// A proxy on the way to a host.
pub(super) struct Via(Intercept);

impl Via {
    pub(super) fn speaks(&self) -> Speaks {
        match self.0.uri().scheme_str() {
            Some("https") => Speaks::Https,
            Some("socks5h") => Speaks::Socks { resolves: true },
            Some("socks5") => Speaks::Socks { resolves: false },
            _ => Speaks::Http,
        }
    }

    pub(super) fn host(&self) -> &str {
        self.0.uri().host().unwrap_or_default()
    }

    pub(super) fn port(&self) -> u16 {
        let usual = match self.speaks() {
            Speaks::Http => 80,
            Speaks::Https => 443,
            Speaks::Socks { .. } => 1080,
        };
        self.0.uri().port_u16().unwrap_or(usual)
    }

    /// `Proxy-Authorization`
    pub(super) fn basic(&self) -> Option<&HeaderValue> {
        self.0.basic_auth()
    }

    /// User and password for SOCKS.
    pub(super) fn user(&self) -> Option<(&str, &str)> {
        self.0.raw_auth()
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host(), self.port())
    }
}

/// The proxies of one link.
pub(super) struct Proxies {
    matcher: Option<Matcher>,
    /// The environment's proxies are not meant for this host itself; who names a proxy in a URL means it.
    spares_loopback: bool,
}

impl Proxies {
    /// # Errors
    /// What is no proxy's URL, without its credentials.
    pub(super) fn of(wish: &Proxying, environment: &ProxyVariables) -> Result<Proxies, String> {
        let built = Matcher::builder();
        match wish {
            Proxying::Off => Ok(Proxies { matcher: None, spares_loopback: false }),
            Proxying::Url(url) => {
                check("proxy", url)?;
                Ok(Proxies { matcher: Some(built.all(url.as_str()).build()), spares_loopback: false })
            }
            Proxying::Environment => {
                let said = [
                    ("HTTPS_PROXY", &environment.https),
                    ("HTTP_PROXY", &environment.http),
                    ("ALL_PROXY", &environment.all),
                ];
                for (name, url) in said.into_iter().filter(|(_, url)| !url.is_empty()) {
                    check(name, url)?;
                }
                let [https, http, all] = said.map(|(_, url)| url.as_str());
                let matcher = built.https(https).http(http).all(all).no(environment.no.as_str()).build();
                Ok(Proxies { matcher: Some(matcher), spares_loopback: true })
            }
        }
    }

    /// Whether TLS is spoken with any of them.
    pub(super) fn any_speaks_tls(&self) -> bool {
        let any = |to| self.matcher.as_ref().and_then(|matcher| matcher.intercept(&Uri::from_static(to)));
        let all = [any("http://host.invalid/"), any("https://host.invalid/")];
        all.into_iter().flatten().any(|via| Via(via).speaks() == Speaks::Https)
    }

    /// The proxy on the way to a URL's host; `None`: it is reached directly.
    pub(super) fn way(&self, to: &Uri) -> Option<Via> {
        if self.spares_loopback && is_loopback(to.host().unwrap_or_default()) {
            return None;
        }
        self.matcher.as_ref()?.intercept(to).map(Via)
    }
}

/// Whether a text is a proxy's URL, as an error that does not repeat it.
pub fn check(name: &str, url: &str) -> Result<(), String> {
    let any = Uri::from_static("http://host.invalid/");
    let schemes = ["http", "https", "socks5", "socks5h"];
    let found = Matcher::builder().all(url).build().intercept(&any);
    let uri = found.as_ref().map(Intercept::uri);
    let speaks = uri.and_then(Uri::scheme_str).unwrap_or_default();
    let authority = uri.and_then(Uri::authority).map_or("", |authority| authority.as_str());
    // What is no port would silently be the usual one.
    let port =
        authority == uri.and_then(Uri::host).unwrap_or_default() || uri.and_then(Uri::port_u16).is_some();
    if schemes.contains(&speaks) && port {
        return Ok(());
    }
    let all = schemes.map(|scheme| format!("{scheme}://")).join(", ");
    let near = url.split_once("://").and_then(|(scheme, _)| text::nearest(scheme, schemes.into_iter()));
    let near = near.map(|near| format!("; nearest is {near}://")).unwrap_or_default();
    Err(format!("{name} is not the URL of a proxy: write {{scheme}}://host:port with one of {all}{near}"))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(environment: &[(&str, &str)], to: &str) -> Option<String> {
        let said = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let proxies = Proxies::of(&Proxying::Environment, &ProxyVariables::from(said)).expect("proxies");
        proxies.way(&to.parse().expect("a URL")).map(|via| format!("{:?} {via}", via.speaks()))
    }

    #[test]
    fn the_environment_says_who_is_reached_how() {
        let all = [("https_proxy", "http://u:p@a:3128"), ("HTTP_PROXY", "b"), ("ALL_PROXY", "socks5h://c")];
        assert_eq!(way(&all, "https://h/").as_deref(), Some("Http a:3128"));
        assert_eq!(way(&all, "http://h/").as_deref(), Some("Http b:80"));
        assert_eq!(way(&all[2..], "http://h/").as_deref(), Some("Socks { resolves: true } c:1080"));
        let none = [("ALL_PROXY", "https://c"), ("no_proxy", "intern.example, 10.0.0.0/8")];
        assert_eq!(way(&none, "https://h/").as_deref(), Some("Https c:443"));
        for spared in
            ["https://a.intern.example/", "https://10.1.2.3/", "http://[::1]:9/", "http://localhost/"]
        {
            assert_eq!(way(&none, spared), None, "{spared}");
        }
        assert_eq!(way(&[], "https://h/"), None);
    }

    #[test]
    fn what_is_no_proxy_is_told_without_its_credentials() {
        for url in ["ftp://u:hunter2@h", "http://u:hunter2@", "http s://hunter2"] {
            let said = ProxyVariables { https: url.into(), ..ProxyVariables::default() };
            let error = Proxies::of(&Proxying::Environment, &said).err().expect("an error");
            assert!(error.contains("HTTPS_PROXY") && !error.contains("hunter2"), "{error}");
            assert!(Proxies::of(&Proxying::Url(url.into()), &ProxyVariables::default()).is_err());
        }
    }
}
