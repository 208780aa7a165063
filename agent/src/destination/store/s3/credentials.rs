//! credentials: where the keys of a request to S3 come from.
//!
//! Promises: the order is URL, environment, profile file, web identity, container, instance; temporary keys are renewed
//! before they end; what is missing is told with every place that was looked at.
//! Must not know: what is signed, how URLs are read.
use super::super::super::client::{self, Clients, HttpClient};
use super::super::connector::{Connect, Link, Said, listening};
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
        builder.with_retry(once()).with_http_connector(Connect(Link::new(client)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;

    /// Stands for the metadata service of an instance: answers each request line of the table, and 404.
    fn instance(answers: &'static [(&str, &str)]) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let mut head = [0; 4096];
                let read = client.read(&mut head).unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let found =
                    answers.iter().find(|(line, _)| head.starts_with(&format!("{line} HTTP/1.1\r\n")));
                let (status, body) = found.map_or((404, ""), |(_, body)| (200, *body));
                log.lock().expect("no panic").push(head);
                let len = body.len();
                let head =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n");
                let _ = client.write_all(format!("{head}{body}").as_bytes());
            }
        });
        (at, seen)
    }

    fn keys(aws: bool, environment: Environment<'_>) -> Result<Keys, Said> {
        let clients = Clients::default();
        let seeking = Seeking { keys: None, profile: None, region: "eu-west-1", aws, clients: &clients };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(Credentials::find(&seeking, environment).expect("nothing is half").keys())
    }

    #[test]
    fn an_instance_has_keys_by_version_2_of_its_service() {
        let (at, seen) = instance(&[
            ("PUT /latest/api/token", "tok"),
            ("GET /latest/meta-data/iam/security-credentials/", "logs"),
            (
                "GET /latest/meta-data/iam/security-credentials/logs",
                r#"{"AccessKeyId":"AK","SecretAccessKey":"s","Token":"T","Expiration":"2100-01-01T00:00:00Z"}"#,
            ),
        ]);
        let var = |name: &str| (name == "AWS_EC2_METADATA_SERVICE_ENDPOINT").then(|| at.clone());
        let given = keys(true, &var).map(|keys| (keys.id, keys.token)).map_err(|said| format!("{said:?}"));
        assert_eq!(given, Ok(("AK".into(), Some("T".into()))));
        let seen = seen.lock().expect("no panic");
        assert!(seen[1].contains("x-aws-ec2-metadata-token: tok"), "{seen:?}");
        drop(seen);
        // No store but AWS gets them, and no host whose operator says so.
        assert!(matches!(keys(false, &var), Err(Said::Unable { .. })));
        let off = |name: &str| match name {
            "AWS_EC2_METADATA_DISABLED" => Some("true".into()),
            name => var(name),
        };
        assert!(matches!(keys(true, &off), Err(Said::Unable { .. })));
    }

    #[test]
    fn without_any_keys_it_is_said_where_they_were_looked_for() {
        let (at, _) = instance(&[]);
        let said = keys(true, &|name| (name == "AWS_EC2_METADATA_SERVICE_ENDPOINT").then(|| at.clone()));
        let Err(Said::Unable { why }) = said else { panic!("keys out of nothing") };
        for place in ["in the URL", "AWS_ACCESS_KEY_ID", "~/.aws/credentials", "metadata service: HTTP 404"] {
            assert!(why.contains(place), "{why}");
        }
    }
}
