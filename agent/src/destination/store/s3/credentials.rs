//! credentials: where the keys of a request to S3 come from.
//!
//! Promises: the order is URL, environment, profile file, web identity, container, instance; temporary keys are renewed
//! before they end; what is missing is told with every place that was looked at.
//! Must not know: what is signed, how URLs are read.
use super::super::super::client::{self, Clients, HttpClient};
use super::super::connector::{Link, Said, listening};
use super::super::{Mode, answer, once};
use super::profile::Profile;
use super::sign::Keys;
use crate::destination::Verdict;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The environment, or what stands in its place in a test.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A profile file is read again so often: other programs write new keys into it.
const PROFILE_AGE: Duration = Duration::from_secs(60);

/// Where keys come from.
pub struct Credentials {
    /// Keys of the URL or of the environment.
    fixed: Option<Keys>,
    profile: Profile,
    profile_keys: Mutex<Option<(Instant, Keys)>>,
    remote: Option<Remote>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// Keys that somebody hands out for a time.
struct Remote {
    provider: AwsCredentialProvider,
    from: &'static str,
    /// Whether it is only tried because nothing else was found.
    last_resort: bool,
}

/// Whom keys are asked for, and with what.
pub struct Seeking<'a> {
    /// Keys in the URL.
    pub keys: Option<Keys>,
    /// `profile=`
    pub profile: Option<&'a str>,
    /// Region, for the token service.
    pub region: &'a str,
    /// Whether the store is AWS's own: only then the instance is asked.
    pub aws: bool,
    /// For the token service and the machine's own.
    pub clients: &'a Clients,
}

impl Credentials {
    /// Finds out who is to be asked. Asks nobody.
    ///
    /// # Errors
    /// The environment has half of what is needed.
    pub fn find(seeking: &Seeking<'_>, environment: Environment<'_>) -> Result<Credentials, String> {
        let var = |name: &str| environment(name).filter(|value| !value.is_empty());
        let fixed = match seeking.keys.clone() {
            Some(keys) => Some(keys),
            // A profile that the URL names is meant, whatever the environment has.
            None if seeking.profile.is_some() => None,
            None => match (var("AWS_ACCESS_KEY_ID"), var("AWS_SECRET_ACCESS_KEY")) {
                (Some(id), Some(secret)) => Some(Keys { id, secret, token: var("AWS_SESSION_TOKEN") }),
                (None, None) => None,
                _ => {
                    return Err("the environment has only one of AWS_ACCESS_KEY_ID and \
                                AWS_SECRET_ACCESS_KEY"
                        .into());
                }
            },
        };
        let home = var("HOME").map(PathBuf::from);
        let file = |name: &str, below: &str| {
            var(name).map(PathBuf::from).or_else(|| home.as_ref().map(|home| home.join(".aws").join(below)))
        };
        let wanted = seeking.profile.map(str::to_owned).or_else(|| var("AWS_PROFILE"));
        let profile = Profile {
            wanted: wanted.is_some(),
            name: wanted.unwrap_or_else(|| "default".into()),
            credentials: file("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            config: file("AWS_CONFIG_FILE", "config"),
        };
        let remote = if fixed.is_some() { None } else { remote(seeking, &var)? };
        Ok(Credentials { fixed, profile, profile_keys: Mutex::default(), remote })
    }

    /// The keys for a request.
    ///
    /// # Errors
    /// None were found, or who has them does not answer.
    pub async fn keys(&self) -> Result<Keys, Said> {
        if let Some(keys) = &self.fixed {
            return Ok(keys.clone());
        }
        if let Some(keys) =
            self.of_profile().map_err(|why| Said::Unable { why: format!("no credentials: {why}") })?
        {
            return Ok(keys);
        }
        let looked = "access-key-id= and secret-access-key= in the URL, AWS_ACCESS_KEY_ID and \
                      AWS_SECRET_ACCESS_KEY in the environment, a profile in ~/.aws/credentials";
        let Some(remote) = &self.remote else {
            return Err(Said::Unable { why: format!("no credentials; looked for: {looked}") });
        };
        // What the keys' giver says is not the store's answer.
        let (given, heard) = listening(remote.provider.get_credential()).await;
        let error = match given {
            Ok(given) => {
                let token = given.token.clone();
                return Ok(Keys { id: given.key_id.clone(), secret: given.secret_key.clone(), token });
            }
            Err(error) => error,
        };
        let verdict = answer::meaning(Mode::Overwrite, &heard, &error.to_string()).verdict;
        let weather = matches!(verdict, Verdict::Retry { .. });
        let told = verdict.why().unwrap_or_default();
        if remote.last_resort {
            let why =
                format!("no credentials; looked for: {looked}; and at last asked {}: {told}", remote.from);
            return Err(Said::Unable { why });
        }
        let why = format!("no credentials from {}: {told}", remote.from);
        Err(if weather { Said::Trouble { word: "credentials", why } } else { Said::Unable { why } })
    }

    fn of_profile(&self) -> Result<Option<Keys>, String> {
        let mut held = self.profile_keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, keys)) = held.as_ref().filter(|(at, _)| at.elapsed() < PROFILE_AGE) {
            return Ok(Some(keys.clone()));
        }
        let keys = self.profile.keys()?;
        *held = keys.clone().map(|keys| (Instant::now(), keys));
        Ok(keys)
    }
}

/// Who hands out keys, of those whom the environment names; at last the instance.
fn remote(seeking: &Seeking<'_>, var: &dyn Fn(&str) -> Option<String>) -> Result<Option<Remote>, String> {
    use AmazonS3ConfigKey as Key;
    let builder = |client: HttpClient| {
        let builder = AmazonS3Builder::new().with_bucket_name("none").with_region(seeking.region);
        builder.with_retry(once()).with_http_connector(Link::new(client))
    };
    let made = |builder: AmazonS3Builder, from, last_resort| {
        let store = builder.build().map_err(|e| format!("credentials: {e}"))?;
        Ok(Some(Remote { provider: store.credentials().clone(), from, last_resort }))
    };
    if let (Some(file), Some(role)) = (var("AWS_WEB_IDENTITY_TOKEN_FILE"), var("AWS_ROLE_ARN")) {
        let service = var("AWS_ENDPOINT_URL_STS");
        // The token service is AWS's own, whatever the store is.
        let tls = service.as_ref().is_none_or(|url| url.starts_with("https://"));
        let client = seeking.clients.of(&client::Link::public(tls))?;
        let mut builder =
            builder(client).with_config(Key::WebIdentityTokenFile, file).with_config(Key::RoleArn, role);
        for (key, value) in
            [(Key::RoleSessionName, var("AWS_ROLE_SESSION_NAME")), (Key::StsEndpoint, service)]
        {
            builder = value.into_iter().fold(builder, |builder, value| builder.with_config(key, value));
        }
        return made(builder, "the token service (AWS_WEB_IDENTITY_TOKEN_FILE)", false);
    }
    let builder = builder(seeking.clients.of(&client::Link::machine())?);
    if let Some(uri) = var("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        let builder = builder.with_config(Key::ContainerCredentialsRelativeUri, uri);
        return made(builder, "the container (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI)", false);
    }
    if let (Some(uri), Some(file)) =
        (var("AWS_CONTAINER_CREDENTIALS_FULL_URI"), var("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"))
    {
        let builder = builder
            .with_config(Key::ContainerCredentialsFullUri, uri)
            .with_config(Key::ContainerAuthorizationTokenFile, file);
        return made(builder, "the container (AWS_CONTAINER_CREDENTIALS_FULL_URI)", false);
    }
    let disabled = var("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if !seeking.aws || disabled {
        return Ok(None);
    }
    let endpoint = var("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let builder =
        endpoint.into_iter().fold(builder, |builder, url| builder.with_config(Key::MetadataEndpoint, url));
    made(builder, "the instance's metadata service", true)
}
