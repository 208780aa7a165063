//! Destination URLs: which kind a URL names, its own parameters, and what may be shown of it.
//!
//! Promises: a wrong URL is told with all that is wrong and the remedy, and never with its secrets; what is sent is
//! the URL as written, without our own parameters; `Debug` and `Display` show no secret.
//! Must not know: the environment, jobs, how uploads are made.
use super::client::{Clients, Trust};
use super::file::FileDestination;
use super::http::{HttpDestination, HttpTarget};
use super::null::NullDestination;
use super::parameter::{self, Options, Taker};
use super::redact::{self, Secrets};
use super::{Destination, text};
use crate::config::Reserve;
use edgepush_shard::batch::Container;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What destinations are opened with.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The state directory: `archive:` lies below it.
    pub state: &'a Path,
    /// The HTTP clients of the agent.
    pub clients: &'a Clients,
    /// What the state directory's file system keeps free.
    pub keep_free: Reserve,
}

/// What stands behind the scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `scheme://host/path`, sent as written.
    Web,
    /// `scheme:///directory`, with a template.
    Directory,
    /// Nothing: `scheme:`.
    Bare,
}

/// Makes a destination of its URL.
type Build = fn(&DestinationUrl, &Opening<'_>) -> Result<Arc<dyn Destination>, String>;

/// One kind of destination.
pub struct Kind {
    /// What the URL begins with.
    pub scheme: &'static str,
    /// What follows it.
    pub form: Form,
    /// How its gzip bodies are joined unless the URL or a setting says otherwise (INTERFACE 4).
    pub container: Container,
    /// Most uncompressed bytes of a batch unless a setting says otherwise.
    pub batch_bytes: u32,
    /// Whether it speaks HTTP with a `Content-Encoding`.
    pub http: bool,
    /// Makes it. Touches nothing.
    pub build: Build,
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme)
    }
}

const fn web(scheme: &'static str) -> Kind {
    let (form, container) = (Form::Web, Container::Single);
    Kind { scheme, form, container, batch_bytes: 5_000_000, http: true, build: build_http }
}

const fn local(scheme: &'static str, form: Form, build: Build) -> Kind {
    Kind { scheme, form, container: Container::Members, batch_bytes: 50_000_000, http: false, build }
}

/// Every kind of destination.
pub const DESTINATIONS: [Kind; 5] = [
    web("https"),
    web("http"),
    local("file", Form::Directory, build_file),
    local("archive", Form::Bare, build_archive),
    local("null", Form::Bare, build_null),
];

fn build_http(url: &DestinationUrl, with: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    let target = url.web().expect("INVARIANT: this kind speaks HTTP");
    Ok(Arc::new(HttpDestination::new(target, with.clients.of(&url.trust())?)?))
}

fn build_file(url: &DestinationUrl, _: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    Ok(Arc::new(FileDestination::new(url.root.clone())))
}

fn build_archive(_: &DestinationUrl, with: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    Ok(Arc::new(FileDestination::new(with.state.join("archive")).keeping_free(with.keep_free)))
}

fn build_null(_: &DestinationUrl, _: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    Ok(Arc::new(NullDestination::default()))
}

/// A destination URL, understood.
#[derive(Clone)]
pub struct DestinationUrl {
    kind: &'static Kind,
    /// Without our own parameters.
    sent: String,
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
        let kind = kind_of(text)?;
        if text.contains('#') {
            return Err("has a # part, which is never sent; write %23 for a # that belongs to it".into());
        }
        let (front, query) = match text.split_once('?') {
            Some((front, query)) => (front, query),
            None => (text, ""),
        };
        let taker = Taker { scheme: kind.scheme, http: kind.http, passes: kind.form == Form::Web };
        let own = parameter::take(taker, query)?;
        let mut url = DestinationUrl {
            kind,
            sent: String::new(),
            root: PathBuf::new(),
            naming_path: String::new(),
            options: own.options,
            shown: String::new(),
            secrets: own.secrets,
        };
        let rest = &front[kind.scheme.len() + 1..];
        match kind.form {
            Form::Web => url.take_web(rest, &own.sent)?,
            Form::Directory => url.take_directory(rest)?,
            Form::Bare => match rest.trim_matches('/') {
                "" => url.shown = format!("{}:", kind.scheme),
                _ => return Err(format!("has something after `{0}:`; write just `{0}:`", kind.scheme)),
            },
        }
        Ok(url)
    }

    fn take_web(&mut self, rest: &str, query: &str) -> Result<(), String> {
        let scheme = self.kind.scheme;
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
        self.sent = text::encode_specials(&format!("{scheme}://{host}{path}{mark}{query}"));
        self.secrets.add_path(path);
        self.secrets.add_query(query);
        let user = if user.is_some() { "…@" } else { "" };
        let shown_query = redact::query(query);
        self.shown = format!("{scheme}://{user}{host}{}{mark}{shown_query}", redact::path(path));
        match self.sent.parse::<hyper::Uri>() {
            Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(()),
            _ => Err(format!("is not a URL; write {scheme}://host:port/path")),
        }
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
        })
    }

    /// Whose certificates are trusted.
    pub(super) fn trust(&self) -> Trust {
        match &self.options.ca {
            Some(file) => Trust::File(file.clone()),
            None if self.kind.scheme == "https" => Trust::System,
            None => Trust::Plain,
        }
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

    /// What an operator should know although it works.
    pub fn warning(&self, setting: Option<Container>) -> Option<String> {
        let encoded = self.kind.http || self.options.content_encoding;
        (encoded && self.container(setting) == Container::Members).then(|| {
            format!(
                "{}: gzip members under a Content-Encoding: `curl --compressed`, httpx, PHP gzdecode, Ruby \
                 GzipReader, Perl and Tcl read only the first member; use gzip=single unless the receiver is known",
                self.shown
            )
        })
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

fn kind_of(text: &str) -> Result<&'static Kind, String> {
    let all = || DESTINATIONS.iter().map(example).collect::<Vec<_>>().join(", ");
    let Some((scheme, _)) = text.split_once(':') else {
        return Err(format!("has no scheme; it must begin with one of: {}", all()));
    };
    if let Some(kind) = DESTINATIONS.iter().find(|kind| kind.scheme == scheme) {
        return Ok(kind);
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
        Form::Web => format!("{}://", kind.scheme),
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
