//! address: where a bucket is: region, endpoint, the bucket in the host or in the path; and what follows from it.
//!
//! Promises: pure; all that is wrong is told at once.
//! Must not know: keys, requests.
use super::super::Mode;
use super::credentials::Environment;
use crate::destination::DestinationUrl;

/// Where a bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Of the bucket, without a slash at its end; names of objects follow it.
    pub url: String,
    /// In whose scope requests are signed.
    pub region: String,
    /// Whether it is AWS.
    pub aws: bool,
    /// Whether it is Cloudflare R2.
    pub r2: bool,
}

impl Address {
    /// Which stores are asked for a new name only. AWS and R2 keep that promise; others may not know the header, some
    /// ignore it and some refuse the request, and there the same bytes replace the same object.
    pub fn mode(&self, overwrite: Option<&str>) -> Mode {
        match overwrite {
            Some("yes") => Mode::Overwrite,
            Some(_) => Mode::CreateOnly,
            None if self.aws || self.r2 => Mode::CreateOnly,
            None => Mode::Overwrite,
        }
    }

    /// Whether the end of an upload in parts may ask for it, too. R2 documents it for whole objects only.
    pub fn creates_parts(&self, overwrite: Option<&str>) -> bool {
        self.aws || overwrite == Some("no")
    }
}

/// Whether an endpoint is a host with a port, and perhaps a scheme, and nothing else.
pub fn is_endpoint(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let host = host.strip_suffix('/').unwrap_or(host);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    let address = format!("https://{host}/").parse::<hyper::Uri>();
    let port = address.ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    !host.is_empty() && host.bytes().all(plain) && port.is_some()
}

/// The address that a URL means.
///
/// # Errors
/// What is wrong with bucket, region and endpoint.
pub fn of(url: &DestinationUrl, environment: Environment<'_>) -> Result<Address, String> {
    match url.kind().scheme {
        "r2" => of_r2(url),
        "gs" => of_google(url),
        _ => of_s3(url, environment),
    }
}

/// Google's store with HMAC keys: one address, one name for all regions.
fn of_google(url: &DestinationUrl) -> Result<Address, String> {
    let endpoint = url.own("endpoint").unwrap_or("https://storage.googleapis.com").trim_end_matches('/');
    let address = format!("{endpoint}/{}", url.bucket());
    bucket_trouble(url.bucket()).map_or(Ok(()), Err)?;
    Ok(Address { url: address, region: "auto".into(), aws: false, r2: false })
}

fn of_r2(url: &DestinationUrl) -> Result<Address, String> {
    let mut wrong: Vec<String> = bucket_trouble(url.bucket()).into_iter().collect();
    let account = url.own("account-id").unwrap_or_else(|| {
        wrong.push("needs account-id=, the id of your Cloudflare account".into());
        ""
    });
    let jurisdiction = url.own("jurisdiction").map(|name| format!(".{name}")).unwrap_or_default();
    let url = format!("https://{account}{jurisdiction}.r2.cloudflarestorage.com/{}", url.bucket());
    match wrong.is_empty() {
        true => Ok(Address { url, region: "auto".into(), aws: false, r2: true }),
        false => Err(wrong.join("; ")),
    }
}

fn of_s3(url: &DestinationUrl, environment: Environment<'_>) -> Result<Address, String> {
    let bucket = url.bucket();
    let mut wrong: Vec<String> = bucket_trouble(bucket).into_iter().collect();
    let var = |name: &str| environment(name).filter(|value| !value.is_empty());
    let region = url.own("region").map(str::to_owned);
    let region = region.or_else(|| var("AWS_REGION")).or_else(|| var("AWS_DEFAULT_REGION"));
    let endpoint = url.own("endpoint").map(|text| text.trim_end_matches('/'));
    let region = match (region, endpoint) {
        (Some(region), _) => region,
        // Most stores that are not AWS have one region, and it has this name.
        (None, Some(_)) => "us-east-1".into(),
        (None, None) => {
            wrong.push("needs region=, such as region=eu-central-1".into());
            String::new()
        }
    };
    let (scheme, host) = match endpoint {
        Some(text) => text.split_once("://").unwrap_or(("https", text)),
        None => ("https", ""),
    };
    let china = if region.starts_with("cn-") { ".cn" } else { "" };
    let host = if host.is_empty() { format!("s3.{region}.amazonaws.com{china}") } else { host.to_owned() };
    let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
    let aws = name.ends_with(".amazonaws.com") || name.ends_with(".amazonaws.com.cn");
    // A dot in the bucket's name is one label too many for the certificate of AWS.
    let usual = endpoint.is_none() && !bucket.contains('.');
    let in_host = url.own("addressing").map_or(usual, |style| style == "virtual");
    if in_host && (name.starts_with('[') || name.parse::<std::net::Ipv4Addr>().is_ok()) {
        wrong.push("has addressing=virtual, which needs an endpoint with a name, not an address".into());
    }
    if !wrong.is_empty() {
        return Err(wrong.join("; "));
    }
    let url = match in_host {
        true => format!("{scheme}://{bucket}.{host}"),
        false => format!("{scheme}://{host}/{bucket}"),
    };
    Ok(Address { url, region, aws, r2: false })
}

/// Three to 63 of the characters that all stores take; AWS's older buckets may have capitals and underscores.
fn bucket_trouble(bucket: &str) -> Option<String> {
    let letters = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    let fits = (3..=63).contains(&bucket.len()) && bucket.bytes().all(letters);
    (!fits).then(|| {
        "names a bucket that cannot be one: 3 to 63 letters, digits, dots and hyphens; endpoint= takes the host of the \
         store"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Result<Address, String> {
        of(&DestinationUrl::parse(text).expect("a URL"), &|_| None)
    }

    #[test]
    fn buckets_are_found_where_their_store_has_them() {
        let id = "0123456789abcdef0123456789abcdef";
        for (url, want) in [
            ("s3://logs/p?region=eu-central-1", "https://logs.s3.eu-central-1.amazonaws.com"),
            ("s3://my.logs/p?region=eu-central-1", "https://s3.eu-central-1.amazonaws.com/my.logs"),
            ("s3://logs/p?region=cn-north-1", "https://logs.s3.cn-north-1.amazonaws.com.cn"),
            ("s3://logs/p?region=us-east-1&addressing=path", "https://s3.us-east-1.amazonaws.com/logs"),
            ("s3://logs/p?endpoint=minio.example:9000", "https://minio.example:9000/logs"),
            ("s3://logs/p?endpoint=http%3A%2F%2F127.0.0.1:9000/", "http://127.0.0.1:9000/logs"),
            ("s3://logs/p?endpoint=s3.example&addressing=virtual", "https://logs.s3.example"),
            (&format!("r2://logs/p?account-id={id}"), &format!("https://{id}.r2.cloudflarestorage.com/logs")),
            (
                &format!("r2://logs/p?account-id={id}&jurisdiction=eu"),
                &format!("https://{id}.eu.r2.cloudflarestorage.com/logs"),
            ),
        ] {
            assert_eq!(at(url).map(|address| address.url).as_deref(), Ok(want), "{url}");
        }
        let region = |url| at(url).map(|address| address.region);
        assert_eq!(region("s3://logs/p?endpoint=h").as_deref(), Ok("us-east-1"));
        let url = DestinationUrl::parse("s3://logs/p").expect("a URL");
        let from = of(&url, &|name| (name == "AWS_REGION").then(|| "eu-west-3".into()));
        assert_eq!(from.map(|address| address.region).as_deref(), Ok("eu-west-3"));
    }

    #[test]
    fn modes_are_those_of_the_table() {
        let mode = |url| at(url).map(|address| address.mode(None));
        assert_eq!(mode("s3://logs/p?region=eu-central-1"), Ok(Mode::CreateOnly));
        assert_eq!(
            mode("s3://logs/?region=eu-west-1&endpoint=vpce-1.s3.eu-west-1.vpce.amazonaws.com"),
            Ok(Mode::CreateOnly)
        );
        assert_eq!(mode("s3://logs/p?endpoint=minio.example:9000"), Ok(Mode::Overwrite));
        assert_eq!(mode("s3://logs/p?endpoint=amazonaws.com.evil.example"), Ok(Mode::Overwrite));
        let r2 = at("r2://logs/?account-id=0123456789abcdef0123456789abcdef").expect("an address");
        assert_eq!(r2.mode(None), Mode::CreateOnly);
        assert_eq!(r2.mode(Some("yes")), Mode::Overwrite);
        assert!(!r2.creates_parts(None));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let why = at("s3://lo/p").expect_err("two mistakes");
        assert!(why.contains("names a bucket") && why.contains("needs region="), "{why}");
        let why = at("r2://lo/p").expect_err("two mistakes");
        assert!(why.contains("names a bucket") && why.contains("needs account-id="), "{why}");
        let why = at("s3://logs/p?endpoint=127.0.0.1:9&addressing=virtual").expect_err("no name");
        assert!(why.contains("addressing=virtual"), "{why}");
        for good in ["minio", "minio:9000", "https://s3.example", "http://[::1]:9000/"] {
            assert!(is_endpoint(good), "{good}");
        }
        for bad in ["", "https://", "ftp://x", "h/path", "u:p@h", "h?x"] {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }
}
