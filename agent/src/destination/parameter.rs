//! The parameters of destination URLs that are ours.
//!
//! Promises: what is in the table, and `header_X`, leaves the URL; everything else is sent as it was written, in its order.
//! Must not know: kinds of destinations, beyond what their row says.
use super::client::{HttpVersion, Proxying, proxy};
use super::kind::OwnParameter;
use super::proof::ProofOptions;
use super::redact::Secrets;
use super::text;
use edgepush_shard::batch::Container;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// What a URL's own parameters say.
#[derive(Clone, Default)]
pub struct Options {
    /// `gzip=`
    pub gzip: Option<Container>,
    /// `content-encoding=gzip`
    pub content_encoding: bool,
    /// `suffix=.txt`
    pub suffix: Option<String>,
    /// `ca=/file.pem`: the only certificates that are trusted.
    pub ca: Option<PathBuf>,
    /// `cert=/file.pem`: the certificate for receivers that ask for one.
    pub cert: Option<PathBuf>,
    /// `cert-key=/file.pem`: its key.
    pub cert_key: Option<PathBuf>,
    /// `insecure-skip-verify=true`: every certificate is taken.
    pub insecure: bool,
    /// `http-version=`
    pub version: HttpVersion,
    /// `proxy=`
    pub proxying: Proxying,
    /// `sign-key=`, `sign-key-file=`, `bearer-file=`
    pub proof: ProofOptions,
    /// Parameters of the kind's own, decoded.
    pub own: BTreeMap<&'static str, String>,
    /// `header_X=v`, and the `Authorization` of a user part.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Options")
            .field("gzip", &self.gzip)
            .field("content_encoding", &self.content_encoding)
            .field("suffix", &self.suffix)
            .field("ca", &self.ca)
            .field("cert", &self.cert)
            .field("insecure", &self.insecure)
            .field("version", &self.version)
            .field("proxying", &self.proxying)
            .field("signs", &(self.proof.sign_key.is_some() || self.proof.sign_key_file.is_some()))
            .field("bearer_file", &self.proof.bearer_file)
            .field("own", &self.own.keys().collect::<Vec<_>>())
            .field("headers", &names)
            .finish()
    }
}

/// One parameter of ours.
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: &'static str,
    /// Which destinations have it.
    pub of: Of,
    /// Whether its value must not be shown.
    pub secret: bool,
    set: Set,
}

/// Which destinations have a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// All.
    All,
    /// Those that are reached over the network: object stores too.
    Network,
    /// Those whose requests are POSTs of ours.
    Http,
}

/// How its value is kept; `false`: it does not fit.
enum Set {
    Word(fn(&mut Options, &str) -> bool),
    Path(SetPath),
}

/// Where a path is kept.
type SetPath = fn(&mut Options) -> &mut Option<PathBuf>;

impl Set {
    fn take(&self, options: &mut Options, value: &str) -> bool {
        match self {
            Set::Word(set) => set(options, value),
            Set::Path(place) => {
                *place(options) = Some(PathBuf::from(value));
                value.starts_with('/')
            }
        }
    }
}

/// All of them, beside `header_<Name>=<value>`.
pub const PARAMETERS: [Parameter; 12] = [
    // How compressed segments are joined.
    Parameter {
        name: "gzip",
        takes: "`members` or `single`",
        of: Of::All,
        secret: false,
        set: Set::Word(|options, value| {
            options.gzip = match value {
                "members" => Some(Container::Members),
                "single" => Some(Container::Single),
                _ => return false,
            };
            true
        }),
    },
    // Objects are read with a Content-Encoding: the default of gzip becomes single.
    Parameter {
        name: "content-encoding",
        takes: "`gzip`",
        of: Of::All,
        secret: false,
        set: Set::Word(|options, value| {
            options.content_encoding = value == "gzip";
            options.content_encoding
        }),
    },
    // Takes the place of .log in object names.
    Parameter {
        name: "suffix",
        takes: "a suffix with its dot, like `.txt`",
        of: Of::All,
        secret: false,
        set: Set::Word(|options, value| {
            let letters = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            let fits = value.len() <= 32 && value.starts_with('.') && value.bytes().all(letters);
            options.suffix = fits.then(|| value.to_owned());
            fits && !value.ends_with('.') && !value.contains("..")
        }),
    },
    // The certificates that are trusted, instead of the system's.
    path("ca", Of::Network, |options| &mut options.ca),
    // The certificate for receivers that ask for one, and its key.
    path("cert", Of::Network, |options| &mut options.cert),
    path("cert-key", Of::Network, |options| &mut options.cert_key),
    Parameter {
        name: "insecure-skip-verify",
        takes: "`true`, and left out where certificates are to be verified",
        of: Of::Network,
        secret: false,
        set: Set::Word(|options, value| {
            options.insecure = value == "true";
            options.insecure
        }),
    },
    Parameter {
        name: "http-version",
        takes: "`1.1` or `2`",
        of: Of::Network,
        secret: false,
        set: Set::Word(|options, value| {
            options.version = match value {
                "1.1" => HttpVersion::One,
                "2" => HttpVersion::Two,
                _ => return false,
            };
            true
        }),
    },
    // Through whom the receiver is reached, instead of what the environment says.
    Parameter {
        name: "proxy",
        takes: "`off` or the URL of a proxy: http://, https://, socks5:// or socks5h:// with host:port",
        of: Of::Network,
        secret: true,
        set: Set::Word(|options, value| {
            options.proxying = match value {
                "off" => Proxying::Off,
                url => Proxying::Url(url.to_owned()),
            };
            value == "off" || proxy::check("proxy", value).is_ok()
        }),
    },
    // Bodies are signed with this.
    Parameter {
        name: "sign-key",
        takes: "a secret of at least 16 characters",
        of: Of::Http,
        secret: true,
        set: Set::Word(|options, value| {
            options.proof.sign_key = Some(value.to_owned());
            value.chars().count() >= 16
        }),
    },
    path("sign-key-file", Of::Http, |options| &mut options.proof.sign_key_file),
    path("bearer-file", Of::Http, |options| &mut options.proof.bearer_file),
];

/// A parameter that names a file.
const fn path(name: &'static str, of: Of, set: SetPath) -> Parameter {
    Parameter { name, takes: "the absolute path of a file", of, secret: false, set: Set::Path(set) }
}

/// What must be known of the kind of destination that takes the parameters.
#[derive(Clone, Copy, Debug)]
pub struct Taker<'a> {
    /// What its URLs begin with.
    pub scheme: &'a str,
    /// Whether its requests are POSTs of ours.
    pub http: bool,
    /// Whether it is reached over the network.
    pub network: bool,
    /// Whether parameters that are not ours are sent on.
    pub passes: bool,
    /// Parameters that only this kind has.
    pub own: &'static [OwnParameter],
}

impl Taker<'_> {
    fn has(&self, parameter: &Parameter) -> bool {
        match parameter.of {
            Of::All => true,
            Of::Network => self.network,
            Of::Http => self.http,
        }
    }
}

/// What became of a query.
pub struct Taken {
    /// Our own parameters.
    pub options: Options,
    /// What is sent.
    pub sent: String,
    /// Values that must not be shown.
    pub secrets: Secrets,
}

/// Takes our own parameters out of a query.
pub fn take(kind: Taker<'_>, query: &str) -> Result<Taken, String> {
    let (mut options, mut secrets, mut sent) = (Options::default(), Secrets::default(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let Some(header) = name.strip_prefix("header_") {
            secrets.add(value);
            options.take_header(kind, header, value, &mut secrets)?;
            continue;
        }
        if let Some(own) = kind.own.iter().find(|own| own.name == name) {
            options.take_own(own, value, &mut secrets)?;
            continue;
        }
        let own = PARAMETERS.iter().find(|own| own.name == name && kind.has(own));
        match own {
            Some(own) => {
                let raw = value;
                let value = text::decode(raw).map_err(|why| format!("parameter `{name}` {why}"))?;
                if own.secret {
                    add_secrets(&value, raw, &mut secrets);
                }
                if !own.set.take(&mut options, &value) {
                    return Err(format!("parameter `{name}` must be {}", own.takes));
                }
            }
            None if kind.passes => sent.push(pair),
            None => return Err(unknown(kind, name)),
        }
    }
    Ok(Taken { options, sent: sent.join("&"), secrets })
}

/// A secret as it was written and as it is meant; of a URL also its user and its password.
fn add_secrets(value: &str, raw: &str, secrets: &mut Secrets) {
    let front = value.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    if let Some((user, _)) = front.and_then(|authority| authority.rsplit_once('@')) {
        for part in [user].into_iter().chain(user.split(':')) {
            secrets.add(part);
            secrets.add(&text::decode(part).unwrap_or_default());
            secrets.add(&text::base64(part.as_bytes()));
        }
    } else if front.is_none() && value != "off" {
        secrets.add(raw);
        secrets.add(value);
    }
}

fn unknown(kind: Taker<'_>, name: &str) -> String {
    let all = PARAMETERS.iter().filter(|own| kind.has(own)).map(|own| own.name);
    let own = || all.clone().chain(kind.own.iter().map(|own| own.name));
    let near = text::nearest(name, own()).map(|near| format!(", nearest is `{near}`")).unwrap_or_default();
    let plain = name.len() <= 30 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let said = if plain { format!(" `{name}`") } else { String::new() };
    let all = own().collect::<Vec<_>>().join(", ");
    format!("has a parameter{said} that {}: does not know{near}; known are {all}", kind.scheme)
}

/// Headers that are the transport's own.
const OURS: [&str; 6] =
    ["host", "content-length", "transfer-encoding", "connection", "content-encoding", "idempotency-key"];

/// Parameters of single kinds that name files of this host, or what stands in them.
const FILES_OF_KINDS: [&str; 2] = ["service-account", "profile"];

impl Options {
    /// A parameter that names a file of this host.
    pub fn names_file(&self) -> Option<&'static str> {
        let mut options = self.clone();
        let named = |own: &&Parameter| match own.set {
            Set::Path(place) => place(&mut options).is_some(),
            Set::Word(_) => false,
        };
        let own = self.own.keys().copied().find(|name| FILES_OF_KINDS.contains(name));
        PARAMETERS.iter().find(named).map(|own| own.name).or(own)
    }

    /// What does not go together.
    pub fn check(&self) -> Result<(), String> {
        let proof = &self.proof;
        let authorized = self.headers.iter().any(|(name, _)| name == AUTHORIZATION);
        let wrong = [
            (self.cert.is_some() != self.cert_key.is_some(), "has one of cert= and cert-key=; give both"),
            (self.insecure && self.ca.is_some(), "has both ca= and insecure-skip-verify=; leave one out"),
            (
                proof.sign_key.is_some() && proof.sign_key_file.is_some(),
                "has both sign-key= and sign-key-file=; leave one out",
            ),
            (
                proof.bearer_file.is_some() && authorized,
                "has both bearer-file= and a user part or header_Authorization; leave one out",
            ),
        ];
        let said: Vec<&str> = wrong.into_iter().filter(|(wrong, _)| *wrong).map(|(_, why)| why).collect();
        if said.is_empty() { Ok(()) } else { Err(said.join("; ")) }
    }

    fn take_own(&mut self, own: &OwnParameter, value: &str, secrets: &mut Secrets) -> Result<(), String> {
        let name = own.name;
        let decoded = text::decode(value).map_err(|why| format!("parameter `{name}` {why}"))?;
        if own.secret {
            secrets.add(value);
            secrets.add(&decoded);
        }
        if !(own.fits)(&decoded) {
            return Err(format!("parameter `{name}` must be {}", own.takes));
        }
        match self.own.insert(name, decoded) {
            Some(_) => Err(format!("parameter `{name}` is given twice")),
            None => Ok(()),
        }
    }

    fn take_header(
        &mut self,
        kind: Taker<'_>,
        name: &str,
        value: &str,
        secrets: &mut Secrets,
    ) -> Result<(), String> {
        if !kind.http {
            return Err(format!("has a header_ parameter, but {}: sends no headers", kind.scheme));
        }
        let shown: String = name.chars().filter(char::is_ascii_graphic).take(60).collect();
        let Some(header) = name.parse::<HeaderName>().ok().filter(|_| !name.contains('%')) else {
            return Err(format!("parameter `header_{shown}` does not name a header"));
        };
        if OURS.contains(&header.as_str()) {
            return Err(format!(
                "parameter `header_{shown}` cannot be set: this header is made for each batch"
            ));
        }
        let decoded = text::decode(value).map_err(|why| format!("parameter `header_{shown}` {why}"))?;
        secrets.add(&decoded);
        if let Some((_, credentials)) = decoded.split_once(' ') {
            secrets.add(credentials);
        }
        let Ok(mut value) = HeaderValue::from_str(&decoded) else {
            return Err(format!("parameter `header_{shown}` has a value that no header can have"));
        };
        value.set_sensitive(true);
        self.headers.push((header, value));
        Ok(())
    }

    /// Makes the user part of a URL the header that it means.
    pub fn take_user(&mut self, user: &str, secrets: &mut Secrets) -> Result<(), String> {
        if self.headers.iter().any(|(name, _)| name == AUTHORIZATION) {
            return Err("has both a user part and header_Authorization; leave one out".into());
        }
        let user = text::decode(user).map_err(|why| format!("its user part {why}"))?;
        let user = if user.contains(':') { user } else { format!("{user}:") };
        let encoded = text::base64(user.as_bytes());
        user.split(':').for_each(|part| secrets.add(part));
        secrets.add(&user);
        secrets.add(&encoded);
        let value = HeaderValue::from_str(&format!("Basic {encoded}"));
        let mut value = value.expect("INVARIANT: base64 is ASCII");
        value.set_sensitive(true);
        self.headers.push((AUTHORIZATION, value));
        Ok(())
    }
}
