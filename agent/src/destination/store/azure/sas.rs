//! A shared access signature: what Azure prints behind the `?` of a URL, and what it says about itself.
//!
//! Promises: pure; its parameters are told from ours by their names; `sig` is never shown.
//! Must not know: requests, answers beyond their words.
use super::super::super::DestinationUrl;
use super::super::super::kind::OwnParameter;
use super::super::super::text;
use super::super::s3::Environment;
use super::is_endpoint;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Who should know that a signature ends, knows it so long before.
const SOON_DAYS: i64 = 30;
const DAY_SECONDS: i64 = 24 * 3600;

/// A parameter of a signature.
const fn signed(name: &'static str) -> OwnParameter {
    let fits = |value: &str| !value.is_empty() && value.is_ascii();
    OwnParameter { name, takes: "as Azure prints it", secret: false, fits }
}

/// The parameters of `azure://`: ours, and from `sig` on those of signatures, of accounts, services and users alike.
pub const PARAMETERS: &[OwnParameter] = &[
    OwnParameter {
        name: "account-key",
        takes: "the account's key in base64, percent-encoded",
        secret: true,
        fits: |value| text::unbase64(value).is_some_and(|key| !key.is_empty()),
    },
    OwnParameter {
        name: "endpoint",
        takes: "a URL without a query, like `http://127.0.0.1:10000/devstoreaccount1`",
        secret: false,
        fits: is_endpoint,
    },
    OwnParameter {
        name: "api-version",
        takes: "a date like `2019-12-12`",
        secret: false,
        fits: |value| value.parse::<Date>().is_ok(),
    },
    OwnParameter { secret: true, ..signed("sig") },
    signed("sv"),
    signed("ss"),
    signed("srt"),
    signed("sr"),
    signed("sp"),
    signed("st"),
    signed("se"),
    signed("spr"),
    signed("sip"),
    signed("si"),
    signed("sdd"),
    signed("ses"),
    signed("skoid"),
    signed("sktid"),
    signed("skt"),
    signed("ske"),
    signed("sks"),
    signed("skv"),
    signed("saoid"),
    signed("suoid"),
    signed("scid"),
    signed("sduoid"),
    signed("skdutid"),
    signed("srh"),
    signed("srq"),
];

/// A signature.
pub struct Sas {
    /// Decoded.
    pairs: Vec<(&'static str, String)>,
}

impl Sas {
    /// The signature of a URL, or of the environment.
    ///
    /// # Errors
    /// It is no whole one, or there is a key as well.
    pub fn of(url: &DestinationUrl, environment: Environment<'_>) -> Result<Option<Sas>, String> {
        let own = || PARAMETERS.iter().map(|own| own.name).skip_while(|name| *name != "sig");
        let mut pairs: Vec<_> = own().filter_map(|name| Some((name, url.own(name)?.to_owned()))).collect();
        let keyed = url.own("account-key").is_some();
        if keyed && !pairs.is_empty() {
            return Err("has both a SAS and an account-key; leave one out".into());
        }
        if pairs.is_empty() && !keyed {
            let said = environment("AZURE_STORAGE_SAS_TOKEN").unwrap_or_default();
            for pair in said.trim_start_matches('?').split('&').filter(|pair| !pair.is_empty()) {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let name = own().find(|own| *own == name);
                let name = name.ok_or("AZURE_STORAGE_SAS_TOKEN holds something that is no part of a SAS")?;
                let value = text::decode(value).map_err(|why| format!("AZURE_STORAGE_SAS_TOKEN {why}"))?;
                pairs.push((name, value));
            }
        }
        if pairs.is_empty() {
            return Ok(None);
        }
        let mut sas = Sas { pairs };
        if sas.get("sig").is_none() || sas.get("sv").is_none() {
            return Err(
                "has only a part of a SAS; copy all that Azure prints, from sv= or sp= to sig=".into()
            );
        }
        // Base64 has no spaces: somebody turned the + of a form into one.
        sas.pairs
            .iter_mut()
            .filter(|pair| pair.0 == "sig")
            .for_each(|pair| pair.1 = pair.1.replace(' ', "+"));
        Ok(Some(sas))
    }

    /// Its pairs, decoded.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (*name, value.as_str()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str())
    }

    /// Whether it allows something. What a policy in the container allows is not known here: as if it were nothing more
    /// than to create.
    pub fn may(&self, right: char) -> bool {
        self.get("sp").is_some_and(|rights| rights.contains(right))
    }

    fn time(&self, name: &str) -> Option<Timestamp> {
        self.get(name).and_then(time)
    }

    /// That it ends within 30 days.
    pub fn ends_soon(&self, now: Timestamp) -> Option<String> {
        let end = self.time("se")?;
        let left = end.as_second() - now.as_second();
        (left > 0 && left <= SOON_DAYS * DAY_SECONDS).then(|| {
            let left = match left / DAY_SECONDS {
                0 => "less than a day".to_owned(),
                1 => "a day".to_owned(),
                days => format!("{days} days"),
            };
            format!("the SAS ends on {}, in {left}: make a new one and put it into the URL", utc(end))
        })
    }

    /// What is wrong with it, after Azure refused it with these words.
    pub fn trouble(&self, now: Timestamp, why: &str) -> Option<String> {
        if let Some(end) = self.time("se").filter(|end| *end <= now) {
            return Some(format!("the SAS ended on {}: make a new one and put it into the URL", utc(end)));
        }
        if let Some(begin) = self.time("st").filter(|begin| *begin > now) {
            return Some(format!("the SAS is good from {} on: is the clock of this host right?", utc(begin)));
        }
        let may_write = self.get("sp").is_none_or(|may| may.contains(['c', 'w']));
        if !may_write {
            let may = self.get("sp").unwrap_or_default();
            return Some(format!("the SAS allows only `sp={may}`: it must allow c (create) or w (write)"));
        }
        if self.get("srt").is_some_and(|types| !types.contains('o')) {
            return Some("the SAS is not for objects: it must have srt=o".into());
        }
        // Azure's words; its emulator says the second.
        let refused = why.contains("AuthenticationFailed") || why.contains("AuthorizationFailure");
        refused.then(|| {
            "the signature of the SAS does not fit: copy it once more, all of it, or make a new one if the account's \
             keys were renewed"
                .into()
        })
    }
}

/// A time as signatures have it: with seconds, without, or a day.
fn time(text: &str) -> Option<Timestamp> {
    let whole = text.parse::<Timestamp>().ok();
    let minutes = || format!("{}:00Z", text.strip_suffix('Z')?).parse::<Timestamp>().ok();
    let day = || Some(text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    whole.or_else(minutes).or_else(day)
}

fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "azure://acc.blob.core.windows.net/logs/edge/{DATE}";

    fn sas(query: &str) -> Result<Option<Sas>, String> {
        Sas::of(&DestinationUrl::parse(&format!("{URL}?{query}")).expect("a URL"), &|_| None)
    }

    #[test]
    fn a_signature_is_taken_as_azure_prints_it_and_never_shown() {
        let query = "sv=2022-11-02&ss=b&srt=o&sp=wc&se=2027-01-02T03:04:05Z&st=2026-01-01&spr=https&sig=a%2Bb%2Fc%3D%3D";
        let url = DestinationUrl::parse(&format!("{URL}?{query}")).expect("a URL");
        assert_eq!(url.to_string(), URL);
        assert_eq!(url.naming_path(), "logs/edge/{DATE}");
        let sas = sas(query).expect("whole").expect("there");
        assert_eq!(sas.get("sig"), Some("a+b/c=="));
        assert_eq!(sas.pairs().count(), 8);
        assert!(!format!("{url:?}").contains("a+b"));
    }

    #[test]
    fn what_is_wrong_with_a_signature_is_said() {
        let wrong = |query| sas(query).err().unwrap_or_default();
        assert!(wrong("sv=2022-11-02&sp=c").contains("only a part"), "{}", wrong("sv=2022-11-02&sp=c"));
        assert!(wrong("sv=1&sig=x&account-key=QQ==").contains("leave one out"));
        let typo = DestinationUrl::parse(&format!("{URL}?sigg=x")).expect_err("a typo");
        assert!(typo.contains("nearest is `sig`"), "{typo}");
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().expect("a time");
        let says = |query: &str, why| {
            let sas = sas(&format!("sv=1&sig=x&{query}")).expect("whole").expect("there");
            sas.trouble(now, why).unwrap_or_default()
        };
        assert!(says("se=2026-11-21T11:59:59Z", "").contains("ended on 2026-11-21 11:59:59 UTC"));
        assert!(says("se=2026-11-21", "").contains("ended on 2026-11-21 00:00:00 UTC"));
        assert!(says("st=2026-11-22T00:00Z", "").contains("good from 2026-11-22 00:00:00 UTC"));
        assert!(says("sp=r", "").contains("allows only `sp=r`"));
        assert!(says("sp=c&srt=sc", "").contains("srt=o"));
        assert!(says("sp=c", "HTTP 403: AuthenticationFailed: x").contains("does not fit"));
        assert_eq!(says("sp=c", "HTTP 404: ContainerNotFound"), "");
        let soon = |end: &str| {
            let sas = sas(&format!("sv=1&sig=x&se={end}")).expect("whole").expect("there");
            sas.ends_soon(now).unwrap_or_default()
        };
        assert!(soon("2026-12-01").contains("in 9 days"), "{}", soon("2026-12-01"));
        assert_eq!((soon("2026-11-21"), soon("2027-01-01")), (String::new(), String::new()));
    }

    #[test]
    fn the_environment_can_hold_it() {
        let url = DestinationUrl::parse(URL).expect("a URL");
        let said = |said: &'static str| {
            move |name: &str| (name == "AZURE_STORAGE_SAS_TOKEN").then(|| said.to_owned())
        };
        let sas = Sas::of(&url, &said("?sv=1&sp=c&sig=a%2Bb")).expect("whole").expect("there");
        assert_eq!(sas.get("sig"), Some("a+b"));
        assert!(Sas::of(&url, &said("DefaultEndpointsProtocol=https")).is_err());
    }
}
