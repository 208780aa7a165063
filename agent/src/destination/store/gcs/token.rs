//! Tokens of Google: who we are there, said by a file or by the machine, and good for an hour.
//!
//! Promises: one token is shared by all uploads and fetched anew before it ends; a token that the store refused is never
//! offered again; the file is read anew with each token, so that a new key needs no restart; no secret is ever said.
//! Must not know: buckets, batches, verdicts.
use super::super::super::redact::Secrets;
use super::super::super::text;
use super::super::connector::{Link, Reply, Said, unable, weather};
use super::super::s3::Clock;
use super::request;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use object_store::client::{HttpRequest, HttpRequestBody};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// What tokens are asked for: to write objects, and nothing else.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
/// Where a file that names no `token_uri` gets its tokens.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// What a signed statement is good for; Google allows no more.
const STATEMENT_SECONDS: i64 = 3600;
/// A token is not used for longer, whatever is said of it, seconds.
const LASTS_SECONDS_MAX: u64 = 86_400;
/// A token is fetched anew so long before it ends: longer than any upload waits for its first byte to be judged.
const EARLY: Duration = Duration::from_secs(120);
/// Longest time for a token.
const FETCH: Duration = Duration::from_secs(20);
/// A clock that is further off than this is not ours to trust.
const SKEW_SECONDS: i64 = 60;

/// Who says who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Identity {
    /// A credentials file: `service_account` or `authorized_user`.
    File(PathBuf),
    /// The machine, at this host.
    Machine(String),
    /// Nobody: a server of tests that asks for nothing.
    Nobody,
}

/// A credentials file as Google writes it.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Credentials {
    ServiceAccount {
        client_email: String,
        private_key: String,
        #[serde(default)]
        private_key_id: String,
        token_uri: Option<String>,
    },
    AuthorizedUser {
        client_id: String,
        client_secret: String,
        refresh_token: String,
        token_uri: Option<String>,
    },
}

/// What the token server answers.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

struct Held {
    token: Arc<str>,
    until: Instant,
}

/// The tokens of one destination.
pub struct Tokens {
    identity: Identity,
    link: Link,
    clock: Clock,
    /// Held over the fetch as well: many uploads ask for a token once.
    held: Mutex<Option<Held>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// Nothing is fetched yet.
    pub fn new(identity: Identity, link: Link, clock: Clock) -> Tokens {
        Tokens { identity, link, clock, held: Mutex::new(None) }
    }

    /// A token that is good for some minutes yet; `None`: nobody asks for one.
    pub async fn token(&self) -> Result<Option<Arc<str>>, Said> {
        if self.identity == Identity::Nobody {
            return Ok(None);
        }
        let mut held = self.held.lock().await;
        if let Some(held) = held.as_ref().filter(|held| held.until > Instant::now()) {
            return Ok(Some(held.token.clone()));
        }
        let granted = match timeout(FETCH, self.fetch()).await {
            Ok(granted) => granted?,
            Err(_) => return Err(weather(format!("no token within {} s", FETCH.as_secs()))),
        };
        let token: Arc<str> = granted.access_token.into();
        // A token of two minutes is used for one, and not for none.
        let lasts = Duration::from_secs(granted.expires_in.min(LASTS_SECONDS_MAX));
        let until = Instant::now() + lasts.saturating_sub(EARLY).max(lasts / 2);
        *held = Some(Held { token: token.clone(), until });
        Ok(Some(token))
    }

    /// This token was refused: the next one who asks gets another.
    pub async fn forget(&self, token: &str) {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|held| *held.token == *token) {
            *held = None;
        }
    }

    async fn fetch(&self) -> Result<Granted, Said> {
        match &self.identity {
            Identity::File(file) => match read(file).map_err(unable)? {
                Credentials::ServiceAccount { client_email, private_key, private_key_id, token_uri } => {
                    let uri = token_uri.as_deref().unwrap_or(TOKEN_URI);
                    let key = key(file, &private_key).map_err(unable)?;
                    let account = Account { email: &client_email, key_id: &private_key_id, key: &key, uri };
                    self.exchange(&account).await
                }
                Credentials::AuthorizedUser { client_id, client_secret, refresh_token, token_uri } => {
                    let form = [
                        ("grant_type", "refresh_token"),
                        ("client_id", &client_id),
                        ("client_secret", &client_secret),
                        ("refresh_token", &refresh_token),
                    ];
                    let uri = token_uri.as_deref().unwrap_or(TOKEN_URI);
                    granted(self.post(uri, &form).await?, uri)
                }
            },
            Identity::Machine(host) => self.ask_machine(host).await,
            Identity::Nobody => Err(unable("no credentials")),
        }
    }

    /// Trades a signed statement for a token (RFC 7523). A clock that is off is told by the server's.
    async fn exchange(&self, account: &Account<'_>) -> Result<Granted, Said> {
        let now = (self.clock)().as_second();
        let answer = self.post_statement(account, now).await?;
        let theirs = answer
            .reply
            .date
            .map(|date| date.as_second())
            .filter(|theirs| (theirs - now).abs() > SKEW_SECONDS);
        match theirs.filter(|_| answer.reply.status == StatusCode::BAD_REQUEST) {
            Some(theirs) => {
                tracing::warn!(
                    "the clock of this host is {} s off the clock of {}; tokens are signed with theirs: set the clock",
                    now - theirs,
                    account.uri
                );
                granted(self.post_statement(account, theirs).await?, account.uri)
            }
            None => granted(answer, account.uri),
        }
    }

    async fn post_statement(&self, account: &Account<'_>, now: i64) -> Result<Told, Said> {
        let statement = account.statement(now).map_err(unable)?;
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", statement.as_str()),
        ];
        self.post(account.uri, &form).await
    }

    async fn post(&self, uri: &str, form: &[(&str, &str)]) -> Result<Told, Said> {
        let pair = |(name, value): &(&str, &str)| format!("{name}={}", text::encode_all(value));
        let mut secrets = Secrets::default();
        for (_, value) in form.iter().filter(|(name, _)| *name != "grant_type") {
            secrets.add(value);
            secrets.add(&text::encode_all(value));
        }
        let form = form.iter().map(pair).collect::<Vec<_>>().join("&");
        let mut request = request(Method::POST, uri)?;
        *request.body_mut() = HttpRequestBody::from(form);
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        self.say(request, uri, &secrets).await
    }

    async fn ask_machine(&self, host: &str) -> Result<Granted, Said> {
        let uri = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
        let mut request = request(Method::GET, &uri)?;
        let value = HeaderValue::from_static("Google");
        request.headers_mut().insert("metadata-flavor", value);
        let told = self.say(request, &uri, &Secrets::default()).await.map_err(|said| match said {
            Said::Trouble { word, why } => {
                let why = format!("no credentials are named, and nobody says who this machine is: {why}");
                Said::Trouble { word, why }
            }
            other => other,
        })?;
        granted(told, &uri)
    }

    async fn say(&self, request: HttpRequest, uri: &str, secrets: &Secrets) -> Result<Told, Said> {
        let answer = self.link.send(request).await.map_err(|said| match said {
            Said::Trouble { word, why } => Said::Trouble { word, why: format!("no token from {uri}: {why}") },
            other => other,
        })?;
        let mut reply = Reply::of(&answer);
        reply.text = secrets.hide(&reply.text);
        let token = serde_json::from_slice(answer.body()).ok().filter(|_| answer.status() == StatusCode::OK);
        Ok(Told { reply, token })
    }
}

/// What a token server answered.
struct Told {
    /// Without our secrets.
    reply: Reply,
    token: Option<Granted>,
}

/// A service account, ready to sign.
struct Account<'a> {
    email: &'a str,
    key_id: &'a str,
    key: &'a RsaKeyPair,
    uri: &'a str,
}

impl Account<'_> {
    /// A JWT with RS256 (RFC 7519): that this account asks for a token, now.
    fn statement(&self, now: i64) -> Result<String, String> {
        let head = json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id});
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.uri, "iat": now, "exp": now + STATEMENT_SECONDS,
        });
        let said =
            format!("{}.{}", letters(head.to_string().as_bytes()), letters(claims.to_string().as_bytes()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        let signed = self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), said.as_bytes(), &mut signature);
        signed.map_err(|_| "the service account's key cannot sign".to_owned())?;
        Ok(format!("{said}.{}", letters(&signature)))
    }
}

/// Whether a file is one of credentials that we can use; says where its tokens are asked for.
///
/// # Errors
/// Why not, with the remedy, without its secrets.
pub fn check(file: &Path) -> Result<String, String> {
    let uri = match read(file)? {
        Credentials::ServiceAccount { private_key, token_uri, .. } => {
            key(file, &private_key)?;
            token_uri
        }
        Credentials::AuthorizedUser { token_uri, .. } => token_uri,
    };
    Ok(uri.unwrap_or_else(|| TOKEN_URI.to_owned()))
}

fn read(file: &Path) -> Result<Credentials, String> {
    let said = std::fs::read(file).map_err(|e| format!("the credentials file {}: {e}", file.display()))?;
    // What serde says could repeat a part of the file.
    serde_json::from_slice(&said).map_err(|_| {
        format!(
            "the credentials file {} is none that edgepush knows: it must be the JSON of a service account key, or of \
             `gcloud auth application-default login`, whole",
            file.display()
        )
    })
}

fn key(file: &Path, pem: &str) -> Result<RsaKeyPair, String> {
    let wrong = || {
        format!(
            "the credentials file {}: its private_key is no RSA key in PEM; make a new key",
            file.display()
        )
    };
    match PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| wrong())? {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| wrong()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

/// Base64 for URLs, without padding.
fn letters(bytes: &[u8]) -> String {
    text::base64(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// What an answer means: 4xx is what the operator can mend, all else is weather.
fn granted(answer: Told, uri: &str) -> Result<Granted, Said> {
    if let Some(token) = answer.token {
        return Ok(token);
    }
    let why = format!("no token from {uri}: HTTP {}: {}", answer.reply.status, answer.reply.words());
    match answer.reply.status.as_u16() {
        200..=299 => Err(weather(format!("{uri} answers without a token"))),
        408 | 425 | 429 | 500..=599 => Err(weather(why)),
        _ => Err(unable(why)),
    }
}
