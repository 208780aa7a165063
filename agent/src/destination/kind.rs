//! Kind: the table of destinations, one row for each scheme.
//!
//! Promises: a new kind is one file and one row here; what the rest of the agent must know of a kind stands in its row.
//! Must not know: the text of URLs, how uploads are made.
use super::archive::ArchiveDestination;
use super::client::Clients;
use super::file::FileDestination;
use super::http::HttpDestination;
use super::null::NullDestination;
use super::{Destination, DestinationUrl, elastic, store, vendor};
use crate::config::Reserve;
use edgepush_shard::batch::Container;
use edgepush_shard::plan::Envelope;
use std::fmt;
use std::path::Path;
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
    /// `scheme://host/path/index`: the last part is a template, for the object names.
    Index,
    /// `scheme://bucket/path`: the path is a template, for the object names.
    Bucket,
    /// `scheme:///directory`, with a template.
    Directory,
    /// Nothing: `scheme:`.
    Bare,
}

/// Makes a destination of its URL.
type Build = fn(&DestinationUrl, &Opening<'_>) -> Result<Arc<dyn Destination>, String>;

/// What a receiver never takes more of in one request, whatever the job says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Records.
    pub records: u32,
    /// Uncompressed bytes of records.
    pub bytes: u32,
}

impl Caps {
    /// As much as the job says.
    pub const NONE: Caps = Caps { records: u32::MAX, bytes: u32::MAX };
}

/// A parameter that only one kind has. It leaves the URL.
#[derive(Clone, Copy, Debug)]
pub struct OwnParameter {
    /// Its name.
    pub name: &'static str,
    /// What it takes, for the message about a value that does not fit.
    pub takes: &'static str,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// Whether a value, decoded, fits.
    pub fits: fn(&str) -> bool,
}

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
    /// Whether parameters that are not ours are sent on.
    pub passes: bool,
    /// Whether its receiver reads zstd; if not, gzip takes its place.
    pub zstd: bool,
    /// What follows this in the path of its URL is a secret.
    pub secret_behind: Option<&'static str>,
    /// Parameters of its own.
    pub own: &'static [OwnParameter],
    /// What its receiver never takes more of.
    pub caps: Caps,
    /// What its receiver wants around records.
    pub envelope: fn(&DestinationUrl) -> Option<Envelope>,
    /// Makes it. Touches nothing.
    pub build: Build,
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme)
    }
}

impl Kind {
    /// Whether it is a vendor's protocol over HTTP: TLS unless the URL says `SCHEME+http://`.
    pub fn is_vendor(&self) -> bool {
        matches!(self.form, Form::Web | Form::Index) && !matches!(self.scheme, "http" | "https")
    }

    /// Whether it is reached over the network.
    pub fn is_remote(&self) -> bool {
        matches!(self.form, Form::Web | Form::Index | Form::Bucket)
    }
}

/// Records as the job writes them.
const fn as_written(_: &DestinationUrl) -> Option<Envelope> {
    None
}

/// Bodies of POSTs.
pub(super) const HTTP: Kind = Kind {
    scheme: "http",
    form: Form::Web,
    container: Container::Single,
    batch_bytes: 5_000_000,
    http: true,
    passes: true,
    zstd: true,
    secret_behind: None,
    own: &[],
    caps: Caps::NONE,
    envelope: as_written,
    build: build_http,
};

/// Files of this host.
const LOCAL: Kind = Kind {
    scheme: "file",
    form: Form::Directory,
    container: Container::Members,
    batch_bytes: 50_000_000,
    http: false,
    passes: false,
    zstd: true,
    secret_behind: None,
    own: &[],
    caps: Caps::NONE,
    envelope: as_written,
    build: build_file,
};

/// Objects in a bucket.
const STORE: Kind = Kind {
    scheme: "s3",
    form: Form::Bucket,
    container: Container::Members,
    batch_bytes: 50_000_000,
    http: false,
    passes: false,
    zstd: true,
    secret_behind: None,
    own: store::s3::S3,
    caps: Caps::NONE,
    envelope: as_written,
    build: store::s3::build,
};

/// The scheme of the archive: its jobs' records go to shelves.
pub const ARCHIVE: &str = "archive";

/// Every kind of destination.
pub const DESTINATIONS: [Kind; 18] = [
    Kind { scheme: "https", ..HTTP },
    HTTP,
    STORE,
    Kind { scheme: "r2", own: store::s3::R2, ..STORE },
    Kind { scheme: "gs", own: store::gcs::PARAMETERS, build: store::gcs::build, ..STORE },
    Kind { scheme: "azure", own: store::azure::PARAMETERS, build: store::azure::build, ..STORE },
    elastic::ELASTICSEARCH,
    elastic::OPENSEARCH,
    vendor::SPLUNK,
    vendor::DATADOG,
    vendor::SUMO,
    vendor::NEWRELIC,
    vendor::SENTINELONE,
    vendor::IBMCL,
    vendor::CLICKHOUSE,
    LOCAL,
    Kind { scheme: ARCHIVE, form: Form::Bare, zstd: false, build: build_archive, ..LOCAL },
    Kind { scheme: "null", form: Form::Bare, build: build_null, ..LOCAL },
];

fn build_http(url: &DestinationUrl, with: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    let target = url.web().expect("INVARIANT: this kind speaks HTTP");
    Ok(Arc::new(HttpDestination::new(target, with.clients.of(&url.link())?)?))
}

fn build_file(url: &DestinationUrl, _: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    Ok(Arc::new(FileDestination::new(url.root().to_owned())))
}

fn build_archive(_: &DestinationUrl, with: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    Ok(Arc::new(ArchiveDestination::new(with.state, with.keep_free)))
}

fn build_null(_: &DestinationUrl, _: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    Ok(Arc::new(NullDestination::default()))
}
