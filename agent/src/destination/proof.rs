//! proof: what a request carries so that its receiver knows who sent it: a signature, a token of a file.
//!
//! Promises: the signature is over exactly the bytes that are sent and the time of this attempt; files are read again
//! when they change; no secret is shown.
//! Must not know: what bodies hold, connections.
use super::body::UploadBody;
use super::client::refresh::SecretFile;
use super::text::hex;
use hyper::Request;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use ring::hmac;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

const TIMESTAMP: HeaderName = HeaderName::from_static("x-edgepush-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("x-edgepush-signature");

/// What a URL's parameters say of it.
#[derive(Clone, Default)]
pub struct ProofOptions {
    /// `sign-key=`
    pub sign_key: Option<String>,
    /// `sign-key-file=`
    pub sign_key_file: Option<PathBuf>,
    /// `bearer-file=`
    pub bearer_file: Option<PathBuf>,
}

/// Signs requests and gives them their token.
#[derive(Default)]
pub struct Proof {
    sign: Option<SignKey>,
    bearer: Option<SecretFile>,
}

enum SignKey {
    Said(Arc<str>),
    File(SecretFile),
}

impl SignKey {
    fn current(&self) -> Arc<str> {
        match self {
            SignKey::Said(key) => key.clone(),
            SignKey::File(file) => file.current(),
        }
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("signs", &self.sign.is_some()).field("bearer", &self.bearer).finish()
    }
}

impl Proof {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read, or holds no secret; with its parameter and path.
    pub fn open(options: &ProofOptions) -> Result<Proof, String> {
        let sign = match (&options.sign_key, &options.sign_key_file) {
            (Some(key), _) => Some(SignKey::Said(key.as_str().into())),
            (None, Some(path)) => Some(SignKey::File(SecretFile::open("sign-key-file", path)?)),
            (None, None) => None,
        };
        let bearer = options.bearer_file.as_ref().map(|path| SecretFile::open("bearer-file", path));
        Ok(Proof { sign, bearer: bearer.transpose()? })
    }

    /// Puts them on a request that goes out now.
    pub(super) async fn put(&self, request: &mut Request<UploadBody>) {
        if let Some(bearer) = &self.bearer
            && let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", bearer.current()))
        {
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        if let Some(key) = &self.sign {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            let signature = signature(&key.current(), now, request.body()).await;
            let signature =
                HeaderValue::try_from(signature).expect("INVARIANT: hexadecimal digits are ASCII");
            request.headers_mut().insert(TIMESTAMP, HeaderValue::from(now));
            request.headers_mut().insert(SIGNATURE, signature);
        }
    }

    /// A text without the secrets of the files.
    pub(super) fn hide(&self, text: String) -> String {
        let files = match &self.sign {
            Some(SignKey::File(file)) => Some(file),
            _ => None,
        };
        let all = files.into_iter().chain(&self.bearer);
        all.fold(text, |text, file| text.replace(&*file.current(), "…"))
    }
}

/// Bytes that are hashed at a time: others have their turn on this thread in between.
const TURN_BYTES: usize = 1 << 20;

/// `v1=` and HMAC-SHA256 over the seconds, a dot and the body.
async fn signature(key: &str, seconds: u64, body: &UploadBody) -> String {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()));
    mac.update(format!("{seconds}.").as_bytes());
    for some in body.parts().flat_map(|part| part.chunks(TURN_BYTES)) {
        mac.update(some);
        tokio::task::yield_now().await;
    }
    format!("v1={}", hex(mac.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    /// By another implementation: `printf '1700000000.hello world' | openssl dgst -sha256 -hmac open-sesame-12345`.
    const KNOWN: &str = "v1=61d11504e3e2283bfb05a1ce04b6d6d79d9ecc4f5f9cdfa948ad3d309943407c";

    #[test]
    fn a_signature_is_that_of_other_implementations_however_the_body_is_cut() {
        for parts in [vec!["hello world"], vec!["", "hello", " ", "world"]] {
            let body = UploadBody::from(parts.into_iter().map(Bytes::from).collect::<Vec<_>>());
            let made = signature("open-sesame-12345", 1_700_000_000, &body);
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            assert_eq!(runtime.block_on(made), KNOWN);
        }
    }
}
