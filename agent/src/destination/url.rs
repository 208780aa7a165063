//! Destination URLs: which kind a URL names, its own parameters, and what may be shown of it.
//!
//! Promises: a wrong URL is told with all that is wrong and the remedy, and never with its secrets; what is sent is
//! the URL as written, without our own parameters; `Debug` and `Display` show no secret.
//! Must not know: the environment, jobs, how uploads are made.
use super::client::{Identity, Link, Trust};
use super::http::HttpTarget;
use super::kind::{Caps, DESTINATIONS, Form, Kind, Opening};
use super::parameter::{self, Options, Taker};
use super::redact::{self, Secrets};
use super::{Destination, text};
use edgepush_shard::batch::Container;
use edgepush_shard::plan::Envelope;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A destination URL, understood.
#[derive(Clone)]
pub struct DestinationUrl {
    kind: &'static Kind,
    /// `SCHEME+http://`: a vendor's protocol without TLS.
    plain: bool,
    /// Without our own parameters.
    sent: String,
    /// The bucket of an object store, or the host that stands in its place.
    bucket: String,
    /// The static part of a directory.
    root: PathBuf,
    /// Its templated part, for the object names.
    naming_path: String,
    options: Options,
    shown: String,
    secrets: Secrets,
}

/// Most characters of a URL.
const URL_CHARS_MAX: usize = 4096;

/// Says what is wrong with a destination URL, without repeating its secrets.
pub fn validate(text: &str) -> Result<(), String> {
    DestinationUrl::parse(text).map(drop)
}

impl DestinationUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it and how to write it, without its secrets.
    pub fn parse(text: &str) -> Result<DestinationUrl, String> {
        let text = text.trim();
        if text.chars().count() > URL_CHARS_MAX {
            return Err(format!("is longer than {URL_CHARS_MAX} characters"));
        }
        let (kind, plain) = kind_of(text)?;
        if text.contains('#') {
            return Err("has a # part, which is never sent; write %23 for a # that belongs to it".into());
        }
        let (front, query) = match text.split_once('?') {
            Some((front, query)) => (front, query),
            None => (text, ""),
        };
        let network = kind.is_remote();
        let taker =
            Taker { scheme: kind.scheme, http: kind.http, network, passes: kind.passes, own: kind.own };
        let own = parameter::take(taker, query)?;
        let mut url = DestinationUrl {
            kind,
            plain,
            sent: String::new(),
            bucket: String::new(),
            root: PathBuf::new(),
            naming_path: String::new(),
            options: own.options,
            shown: String::new(),
            secrets: own.secrets,
        };
        let rest = front.split_once(':').map_or("", |(_, rest)| rest);
        match kind.form {
            Form::Web => url.take_web(rest, &own.sent)?,
            Form::Index => {
                // The slashes before the host are not those before an index.
                let parts = rest.rsplit_once('/').filter(|(front, _)| front.len() > 1);
                let (front, index) = parts.unwrap_or((rest, ""));
                url.take_template(index)?;
                url.take_web(front, &own.sent)?;
                url.shown.truncate(url.shown.trim_end_matches('/').len());
                url.shown.push_str(&format!("/{}", url.naming_path));
            }
            Form::Bucket => url.take_bucket(rest, &own.sent)?,
            Form::Directory => url.take_directory(rest)?,
            Form::Bare => match rest.trim_matches('/') {
                "" => url.shown = format!("{}:", kind.scheme),
                _ => return Err(format!("has something after `{0}:`; write just `{0}:`", kind.scheme)),
            },
        }
        url.options.check()?;
        if url.options.insecure {
            let mark = if url.shown.contains('?') { '&' } else { '?' };
            url.shown.push_str(&format!("{mark}insecure-skip-verify=true"));
        }
        Ok(url)
    }

    fn take_web(&mut self, rest: &str, query: &str) -> Result<(), String> {
        let (scheme, wire) = (self.scheme(), self.wire());
        let scheme = scheme.as_str();
        let Some(rest) = rest.strip_prefix("//") else {
            return Err(format!("must be written {scheme}://host/path"));
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        check_host(scheme, host)?;
        if let Some(user) = user {
            self.options.take_user(user, &mut self.secrets)?;
        }
        let path = if path.is_empty() { "/" } else { path };
        let mark = if query.is_empty() { "" } else { "?" };
        self.sent = text::encode_specials(&format!("{wire}://{host}{path}{mark}{query}"));
        let behind = self.kind.secret_behind.and_then(|mark| Some(path.find(mark)? + mark.len()));
        let (path, hidden) = path.split_at(behind.unwrap_or(path.len()));
        self.secrets.add(hidden.trim_end_matches('/'));
        self.secrets.add_path(path);
        self.secrets.add_query(query);
        let user = if user.is_some() { "…@" } else { "" };
        let shown_query = redact::query(query);
        let hidden = if hidden.is_empty() { "" } else { "…" };
        self.shown = format!("{scheme}://{user}{host}{}{hidden}{mark}{shown_query}", redact::path(path));
        match self.sent.parse::<hyper::Uri>() {
            Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(()),
            _ => Err(format!("is not a URL; write {scheme}://host:port/path")),
        }
    }

    /// `//bucket/path`: a path with placeholders behind a name that has none.
    fn take_bucket(&mut self, rest: &str, query: &str) -> Result<(), String> {
        let scheme = self.kind.scheme;
        let Some(rest) = rest.strip_prefix("//") else {
            return Err(format!("must be written {scheme}://bucket/path"));
        };
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains('@') {
            return Err(format!("has a user part, which {scheme}: does not know; give keys as parameters"));
        }
        let letters = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
        if bucket.is_empty() || !bucket.bytes().all(letters) {
            return Err(format!("names no bucket; write {scheme}://bucket/path"));
        }
        self.bucket = bucket.to_owned();
        self.take_template(&text::decode(path)?)?;
        self.sent = query.to_owned();
        self.secrets.add_query(query);
        let mark = if query.is_empty() { "" } else { "?" };
        self.shown = format!("{scheme}://{bucket}/{}{mark}{}", self.naming_path, redact::query(query));
        Ok(())
    }

    /// The part of a path that belongs to the names of objects.
    fn take_template(&mut self, path: &str) -> Result<(), String> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if parts.iter().any(|part| *part == "." || *part == "..") || path.contains(char::is_control) {
            return Err("must have a path without `.`, `..` and control characters".into());
        }
        check_template(&parts)?;
        self.naming_path = parts.join("/");
        Ok(())
    }

    /// As it was written, `+http` included.
    fn scheme(&self) -> String {
        format!("{}{}", self.kind.scheme, if self.plain { PLAIN } else { "" })
    }

    /// What is spoken: every vendor's protocol is HTTP underneath.
    fn wire(&self) -> &'static str {
        if self.plain || self.kind.scheme == "http" { "http" } else { "https" }
    }

    fn take_directory(&mut self, rest: &str) -> Result<(), String> {
        let scheme = self.kind.scheme;
        let Some(path) = rest.strip_prefix("//").filter(|path| path.starts_with('/')) else {
            return Err(format!("must name an absolute directory with three slashes: {scheme}:///directory"));
        };
        let path = text::decode(path)?;
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if parts.iter().any(|part| *part == "." || *part == "..") {
            return Err("must name its directory without `.` and `..`".into());
        }
        if path.contains('\0') {
            return Err("has a zero byte in its path".into());
        }
        let fixed = parts.iter().take_while(|part| !part.contains(['{', '}'])).count();
        if fixed == 0 {
            return Err(format!("must begin with a fixed directory: {scheme}:///directory/…"));
        }
        check_template(&parts[fixed..])?;
        self.root = Path::new("/").join(parts[..fixed].join("/"));
        self.naming_path = parts[fixed..].join("/");
        self.shown = format!("{scheme}:///{}", parts.join("/"));
        Ok(())
    }

    /// Makes the destination. Touches nothing.
    ///
    /// # Errors
    /// A header that cannot be sent.
    pub fn open(&self, with: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
        (self.kind.build)(self, with)
    }

    /// Where to and with what, of a URL that HTTP is spoken to; `None`: of another.
    pub(super) fn web(&self) -> Option<HttpTarget> {
        self.kind.http.then(|| HttpTarget {
            url: self.sent.clone(),
            headers: self.options.headers.clone(),
            shown: self.shown.clone(),
            secrets: self.secrets.clone(),
            proof: self.options.proof.clone(),
        })
    }

    /// How it is connected to.
    pub(super) fn link(&self) -> Link {
        let options = &self.options;
        let trust = match &options.ca {
            _ if self.wire() != "https" => Trust::Plain,
            _ if options.insecure => Trust::Anyone,
            Some(file) => Trust::File(file.clone()),
            None => Trust::System,
        };
        let (cert, key) = (options.cert.clone(), options.cert_key.clone());
        let identity = cert.zip(key).map(|(cert, key)| Identity { cert, key });
        Link { trust, identity, version: options.version, proxying: options.proxying.clone() }
    }

    /// The same to another place that is known to have TLS, or to have none.
    pub(super) fn link_to(&self, tls: bool) -> Link {
        if tls { self.link() } else { Link { trust: Trust::Plain, ..self.link() } }
    }

    /// The value of a parameter of its kind's own.
    pub(super) fn own(&self, name: &str) -> Option<&str> {
        self.options.own.get(name).map(String::as_str)
    }

    /// Whether it sets a header, of a name in lower case.
    pub(super) fn has_header(&self, name: &str) -> bool {
        self.options.headers.iter().any(|(header, _)| header.as_str() == name)
    }

    /// Whether a parameter of this name is sent, in whatever case.
    pub(super) fn sends(&self, name: &str) -> bool {
        self.sent_value(name).is_some()
    }

    /// The value of a parameter that is sent, decoded; its name in whatever case.
    pub(super) fn sent_value(&self, name: &str) -> Option<String> {
        let (_, query) = self.sent.split_once('?')?;
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let (_, value) = pairs.into_iter().find(|(sent, _)| sent.eq_ignore_ascii_case(name))?;
        text::decode(value).ok()
    }

    /// The path that is sent.
    pub(super) fn path(&self) -> &str {
        let front = self.sent.split_once('?').map_or(&*self.sent, |(front, _)| front);
        let behind = front.split_once("://").map_or(front, |(_, rest)| rest);
        behind.find('/').map_or("/", |at| &behind[at..])
    }

    /// The bucket of an object store, or the host that stands in its place.
    pub(super) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Whether readers get a `Content-Encoding`.
    pub(super) fn content_encoding(&self) -> bool {
        self.options.content_encoding
    }

    /// What must not be shown of it.
    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// What its receiver wants around records; `None`: records as the job writes them.
    pub fn envelope(&self) -> Option<Envelope> {
        (self.kind.envelope)(self)
    }

    /// What its receiver never takes more of.
    pub fn caps(&self) -> Caps {
        self.kind.caps
    }

    /// Its row in the table.
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// What is sent to: the URL as written, without our own parameters. Holds secrets.
    pub fn exposed(&self) -> &str {
        &self.sent
    }

    /// The directory of `file://`, without its templated part.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The templated part of the path for [`crate::protocol::Naming::path`]: `{DATE}/{HOST}`, or empty.
    pub fn naming_path(&self) -> &str {
        &self.naming_path
    }

    /// How gzip bodies are joined: the URL's `gzip=`, else the setting, else `single` where a `Content-Encoding` is
    /// asked for, else as the kind has it.
    pub fn container(&self, setting: Option<Container>) -> Container {
        // Some vendors refuse a body of several members: the setting is for the others.
        let setting = setting.filter(|_| !self.kind.is_vendor());
        let encoded = self.options.content_encoding.then_some(Container::Single);
        self.options.gzip.or(setting).or(encoded).unwrap_or(self.kind.container)
    }

    /// The suffix that the URL asks for instead of `.log`, with its dot.
    pub fn suffix(&self) -> Option<&str> {
        self.options.suffix.as_deref()
    }

    /// Most uncompressed bytes of a batch when no setting says it.
    pub fn batch_bytes(&self) -> u32 {
        self.kind.batch_bytes
    }

    /// A parameter that names a file of this host: only who may read them may set it.
    pub fn names_file(&self) -> Option<&'static str> {
        self.options.names_file()
    }

    /// What an operator should know although it works.
    pub fn warning(&self, setting: Option<Container>) -> Option<String> {
        let encoded = self.kind.http || self.options.content_encoding;
        let members = (encoded && self.container(setting) == Container::Members).then_some(
            "gzip members under a Content-Encoding: `curl --compressed`, httpx, PHP gzdecode, Ruby GzipReader, Perl \
             and Tcl read only the first member; use gzip=single unless the receiver is known",
        );
        let insecure = self.options.insecure.then_some(
            "insecure-skip-verify=true: the receiver's certificate is not verified, so anybody on the way can read \
             and change what is sent; name the receiver's own certificate with ca= instead",
        );
        let said: Vec<&str> = members.into_iter().chain(insecure).collect();
        (!said.is_empty()).then(|| format!("{}: {}", self.shown, said.join("; ")))
    }
}

impl fmt::Display for DestinationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for DestinationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DestinationUrl").field("shown", &self.shown).field("options", &self.options).finish()
    }
}

/// Behind a vendor's scheme: without TLS.
const PLAIN: &str = "+http";

fn kind_of(text: &str) -> Result<(&'static Kind, bool), String> {
    let all = || DESTINATIONS.iter().map(example).collect::<Vec<_>>().join(", ");
    let Some((scheme, _)) = text.split_once(':') else {
        return Err(format!("has no scheme; it must begin with one of: {}", all()));
    };
    let known = |scheme: &str| DESTINATIONS.iter().find(|kind| kind.scheme == scheme);
    if let Some(kind) = known(scheme) {
        return Ok((kind, false));
    }
    let vendor = scheme.strip_suffix(PLAIN).and_then(known);
    if let Some(kind) = vendor.filter(|kind| kind.is_vendor()) {
        return Ok((kind, true));
    }
    // What stands before a colon may be anything that was pasted here, so only a scheme's look-alike is repeated.
    let plain = scheme.len() <= 20 && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    let said = if plain { format!("`{scheme}:` is no destination") } else { "is no destination".into() };
    let lower = scheme.to_ascii_lowercase();
    let near = text::nearest(&lower, DESTINATIONS.iter().map(|kind| kind.scheme));
    let near = near.filter(|_| plain).map(|near| format!(", nearest is `{near}:`")).unwrap_or_default();
    Err(format!("{said}{near}; it must begin with one of: {}", all()))
}

fn example(kind: &Kind) -> String {
    match kind.form {
        Form::Web | Form::Index | Form::Bucket => format!("{}://", kind.scheme),
        Form::Directory => format!("{}:///", kind.scheme),
        Form::Bare => format!("{}:", kind.scheme),
    }
}

fn check_host(scheme: &str, host: &str) -> Result<(), String> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    if name.is_empty() {
        return Err(format!("names no host; write {scheme}://host/path"));
    }
    if name.contains(':') && !(name.starts_with('[') && name.ends_with(']')) {
        return Err(format!("has an IPv6 address without brackets; write {scheme}://[::1]:8080/"));
    }
    match port.map(str::parse::<u16>) {
        None | Some(Ok(1..)) => Ok(()),
        Some(Ok(0) | Err(_)) => Err("has a port that is not 1 to 65535".into()),
    }
}

/// What may stand in braces in a path (INTERFACE 4).
const PLACEHOLDERS: [&str; 5] = ["DATE", "HOUR", "HOST", "JOB", "DATASET"];

fn check_template(parts: &[&str]) -> Result<(), String> {
    let known = || PLACEHOLDERS.map(|name| format!("{{{name}}}")).join(", ");
    for part in parts {
        let mut rest = *part;
        while let Some(at) = rest.find(['{', '}']) {
            let inner = rest[at..].strip_prefix('{').and_then(|rest| rest.split_once('}'));
            let Some((name, after)) = inner.filter(|(name, _)| !name.contains('{')) else {
                return Err(format!("has a brace without its partner in `{part}`; known are {}", known()));
            };
            if !PLACEHOLDERS.contains(&name) {
                let near = text::nearest(&name.to_ascii_uppercase(), PLACEHOLDERS.into_iter());
                let near = near.map(|near| format!(", nearest is {{{near}}}")).unwrap_or_default();
                return Err(format!("has an unknown {{{name}}} in its path{near}; known are {}", known()));
            }
            rest = after;
        }
    }
    Ok(())
}
