//! profile: the keys in `~/.aws/credentials` and `~/.aws/config`.
//!
//! Promises: reads only; a profile that needs something this agent does not do (an assumed role, SSO, a program) is
//! told by name and not passed over.
//! Must not know: when keys are needed, other sources of keys.
use super::sign::Keys;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where profiles are, and which one is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Whether somebody asked for it; `default` may be absent.
    pub wanted: bool,
    /// The file of credentials.
    pub credentials: Option<PathBuf>,
    /// The file of settings.
    pub config: Option<PathBuf>,
}

/// The settings of one section.
type Section = HashMap<String, String>;

/// What profiles may say that is not done here.
const OTHER_WAYS: [&str; 5] =
    ["role_arn", "source_profile", "credential_process", "sso_session", "sso_start_url"];

impl Profile {
    /// The keys of the profile; `None`: there is none, and nobody asked for it.
    ///
    /// # Errors
    /// It was asked for and is not there, cannot be read, or is half.
    pub fn keys(&self) -> Result<Option<Keys>, String> {
        let mut found = Section::new();
        // What the file of credentials says wins.
        for (file, section) in [
            (&self.config, format!("profile {}", self.name)),
            (&self.config, self.name.clone()),
            (&self.credentials, self.name.clone()),
        ] {
            // In the file of settings only the default stands without the word.
            let skipped = file == &self.config && section == self.name && self.name != "default";
            if let Some(file) = file.as_ref().filter(|_| !skipped) {
                found.extend(self.read(file, &section)?);
            }
        }
        let of = |name: &str| found.get(name).filter(|value| !value.is_empty()).cloned();
        match (of("aws_access_key_id"), of("aws_secret_access_key")) {
            (Some(id), Some(secret)) => Ok(Some(Keys { id, secret, token: of("aws_session_token") })),
            (None, None) => match OTHER_WAYS.iter().find(|way| found.contains_key(**way)) {
                Some(way) => Err(format!(
                    "profile `{}` gets its keys by {way}, which is not supported; give keys, a web identity or the \
                     role of the instance",
                    self.name
                )),
                None if self.wanted => {
                    Err(format!("there is no profile `{}` with keys in {}", self.name, self.files()))
                }
                None => Ok(None),
            },
            _ => Err(format!(
                "profile `{}` has only one of aws_access_key_id and aws_secret_access_key",
                self.name
            )),
        }
    }

    fn read(&self, file: &Path, section: &str) -> Result<Section, String> {
        match std::fs::read_to_string(file) {
            Ok(text) => Ok(section_of(&text, section)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Section::new()),
            // Without a wish the next source is asked: the home directory of a service is often closed to it.
            Err(_) if !self.wanted => Ok(Section::new()),
            Err(e) => Err(format!("{}: {e}", file.display())),
        }
    }

    fn files(&self) -> String {
        let files = self.credentials.iter().chain(&self.config);
        let files: Vec<String> = files.map(|file| file.display().to_string()).collect();
        if files.is_empty() { "any file (HOME is not set)".into() } else { files.join(" or ") }
    }
}

/// One section of a file `[name]`, `key = value`, with `#` and `;` at the beginning of comments.
fn section_of(text: &str, wanted: &str) -> Section {
    let mut found = Section::new();
    let mut inside = false;
    for line in text.lines() {
        // A line that begins with blanks belongs to the setting before it, such as `s3 =`.
        let nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            inside = name.0.split_whitespace().eq(wanted.split_whitespace());
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside && !nested) {
            found.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\u{23} comment\n[default]\naws_access_key_id = AK\naws_secret_access_key=S=K/1\n\n\
                        [ logs ]\nAWS_ACCESS_KEY_ID=AL\n; no\naws_secret_access_key = SL\n\
                        aws_session_token = T==\n[half]\naws_access_key_id=A\n[role]\nrole_arn = arn\n\
                        [s3]\ns3 =\n  aws_access_key_id = nested\n";

    fn profile(dir: &Path, name: &str, wanted: bool) -> Profile {
        std::fs::write(dir.join("credentials"), TEXT).expect("a file");
        let config = "[profile eu]\naws_access_key_id=AE\naws_secret_access_key=SE\n";
        std::fs::write(dir.join("config"), config).expect("a file");
        Profile {
            name: name.into(),
            wanted,
            credentials: Some(dir.join("credentials")),
            config: Some(dir.join("config")),
        }
    }

    #[test]
    fn keys_are_found_or_it_is_said_why_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = |name: &str, wanted| profile(dir.path(), name, wanted).keys();
        let of = |id: &str, secret: &str, token: Option<&str>| Keys {
            id: id.into(),
            secret: secret.into(),
            token: token.map(str::to_owned),
        };
        assert!(keys("default", false) == Ok(Some(of("AK", "S=K/1", None))));
        assert!(keys("logs", true) == Ok(Some(of("AL", "SL", Some("T==")))));
        assert!(keys("eu", true) == Ok(Some(of("AE", "SE", None))));
        assert!(keys("gone", false) == Ok(None));
        assert!(keys("s3", false) == Ok(None), "a nested setting is another's");
        for (name, word) in [("half", "only one of"), ("role", "role_arn"), ("gone", "no profile `gone`")] {
            let why = keys(name, true).err().unwrap_or_default();
            assert!(why.contains(word), "{name}: {why}");
        }
    }
}
