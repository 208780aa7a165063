//! Zones: which zone a host belongs to.
//!
//! Promises: a host belongs to at most one zone: to the one that names it, else to the one with the longest `*.` above
//! it. Looking up costs one hash for each label.
//! Must not know: where the list comes from, records.
use crate::config::ZoneHosts;
use std::collections::HashMap;

/// The zones of this agent.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    hosts: ZoneHosts,
    exact: HashMap<String, usize>,
    below: HashMap<String, usize>,
    names: Vec<String>,
    configured: bool,
}

impl Zones {
    /// The configured zones; `None`: they are not told apart.
    pub fn new(hosts: Option<ZoneHosts>) -> Zones {
        let configured = hosts.is_some();
        let mut zones = Zones { hosts: hosts.unwrap_or_default(), configured, ..Zones::default() };
        for (number, (zone, hosts)) in zones.hosts.iter().enumerate() {
            zones.names.push(zone.clone());
            for host in hosts {
                match host.strip_prefix("*.") {
                    Some(above) => zones.below.insert(above.into(), number),
                    None => zones.exact.insert(host.clone(), number),
                };
            }
        }
        zones
    }

    /// Whether zones are configured at all. If not, every zone exists and its jobs see every record.
    pub fn are_configured(&self) -> bool {
        self.configured
    }

    /// Whether a zone exists.
    pub fn knows(&self, zone: &str) -> bool {
        !self.configured || self.hosts.contains_key(zone)
    }

    /// The hosts of a zone, `*.x` among them, ascending; `None`: it is not configured.
    pub fn hosts(&self, zone: &str) -> Option<&[String]> {
        self.hosts.get(zone).map(Vec::as_slice)
    }

    /// The zone of a host: lower-cased, without port and trailing dot.
    pub fn zone_of(&self, host: &str) -> Option<&str> {
        let mut found = self.exact.get(host);
        let mut rest = host;
        while found.is_none() {
            let (_, above) = rest.split_once('.')?;
            found = self.below.get(above);
            rest = above;
        }
        found.map(|number| self.names[*number].as_str())
    }

    /// All ids, ascending.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_zone_has_the_host() {
        let list = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>();
        let zones = Zones::new(Some(ZoneHosts::from([
            ("a".into(), list(&["*.example", "a.example"])),
            ("b".into(), list(&["*.b.example", "www.a.example"])),
        ])));
        for (host, zone) in [
            ("a.example", Some("a")),
            ("x.y.example", Some("a")),
            ("b.example", Some("a")),
            ("x.b.example", Some("b")),
            ("www.a.example", Some("b")),
            ("example", None),
            ("other", None),
            ("", None),
            ("xexample", None),
        ] {
            assert_eq!(zones.zone_of(host), zone, "{host}");
        }
        assert!(zones.are_configured() && zones.knows("a") && !zones.knows("c"));
        assert_eq!(zones.hosts("a").unwrap(), ["*.example", "a.example"]);
        assert_eq!(zones.ids().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn without_zones_every_zone_exists() {
        let zones = Zones::new(None);
        assert!(zones.knows("anything") && !zones.are_configured());
        assert_eq!((zones.hosts("anything"), zones.zone_of("a.example")), (None, None));
    }
}
