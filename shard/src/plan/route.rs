//! Router: which jobs want a record.
//!
//! Each job is found by the narrowest thing that it says of its records: the hosts of its zone, else values that its
//! filter requires of a field; only a job that says neither is asked about every record. So a record costs the same
//! whether one or ten thousand jobs do not want it.
//!
//! Promises: what is wanted is exactly what zone, filter and sample of each job say: the look-up only leaves out jobs
//! that cannot want the record. Nothing is allocated per record after warm-up.
//! Must not know: what jobs do with records.
use super::digest::{Map, digest};
use super::fields::{FieldSlot, FieldTable, Resolved};
use super::filter::{Compiled, Filter};
use super::host::Hosts;
use super::sample::Sample;
use crate::record::{Record, ValueKind};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;

/// What routing must know of a job.
#[derive(Clone, Copy, Debug)]
pub struct RouteJob<'a> {
    /// The hosts of the job's zone; `*.x.y` = every name below `x.y`. `None` = records of every host.
    pub hosts: Option<&'a [String]>,
    /// Which of them it wants.
    pub filter: Option<&'a Filter>,
    /// Which share of those it takes.
    pub sample: Sample,
}

/// Says which jobs want a record; one per shard.
#[derive(Debug)]
pub struct Router {
    table: FieldTable,
    routes: Routes,
}

/// All but what records change.
#[derive(Debug)]
struct Routes {
    host_slots: Vec<FieldSlot>,
    jobs: Vec<Job>,
    positions: Positions,
    always: Run,
    hosts: Hosts,
    values: Vec<Values>,
}

#[derive(Debug)]
struct Job {
    filter: Option<Compiled>,
    sample: Sample,
}

/// Jobs by the value of a field.
#[derive(Debug)]
struct Values {
    slot: FieldSlot,
    runs: Map<u64, Run>,
}

/// Positions of jobs, in runs that ascend.
#[derive(Debug, Default)]
pub(super) struct Positions(Vec<u32>);

/// Some jobs: a range of [`Positions`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    start: u32,
    end: u32,
}

impl Positions {
    fn add(&mut self, run: impl Iterator<Item = u32>) -> Run {
        let start = self.0.len() as u32;
        self.0.extend(run);
        Run { start, end: self.0.len() as u32 }
    }

    /// The jobs of each key.
    pub(super) fn group<K: Ord + Hash>(&mut self, mut pairs: Vec<(K, u32)>) -> Map<K, Run> {
        pairs.sort_unstable();
        pairs.dedup();
        let mut groups = Map::with_capacity_and_hasher(pairs.len(), <_>::default());
        let mut rest = pairs.into_iter().peekable();
        while let Some((key, first)) = rest.next() {
            let start = self.0.len() as u32;
            self.0.push(first);
            while let Some((_, position)) = rest.next_if(|next| next.0 == key) {
                self.0.push(position);
            }
            groups.insert(key, Run { start, end: self.0.len() as u32 });
        }
        groups.shrink_to_fit();
        groups
    }

    fn of(&self, run: Run) -> &[u32] {
        &self.0[run.start as usize..run.end as usize]
    }
}

impl Router {
    /// A router for these jobs. `host_fields`: in which fields a record's host stands; the first that is there wins.
    pub fn new(host_fields: &[&str], jobs: &[RouteJob<'_>]) -> Router {
        let mut table = FieldTable::new();
        let mut positions = Positions::default();
        let plans = narrowest(jobs);
        let numbered = || (0..).zip(jobs.iter().zip(&plans));
        let hosts = numbered().flat_map(|(position, (job, _))| {
            job.hosts.unwrap_or_default().iter().map(move |host| (host.as_str(), position))
        });
        let hosts = Hosts::new(hosts, &mut positions);
        let always = numbered().filter(|(_, (job, plan))| job.hosts.is_none() && plan.is_none());
        let always = positions.add(always.map(|(position, _)| position));
        let mut fields: Vec<(&str, Vec<(u64, u32)>)> = Vec::new();
        for (position, (_, plan)) in numbered() {
            let Some((field, digests)) = plan else { continue };
            let pairs = digests.iter().map(|&digest| (digest, position));
            match fields.iter_mut().find(|known| known.0 == *field) {
                Some(known) => known.1.extend(pairs),
                None => fields.push((field, pairs.collect())),
            }
        }
        let host_slots = match hosts.is_empty() {
            true => Vec::new(),
            false => host_fields.iter().map(|name| table.intern(name)).collect(),
        };
        let mut values =
            |(field, pairs): (&str, _)| Values { slot: table.intern(field), runs: positions.group(pairs) };
        let values = fields.into_iter().map(&mut values).collect();
        let mut compile = |job: &RouteJob<'_>| Job {
            filter: job.filter.map(|filter| Compiled::new(filter, &mut table)),
            sample: job.sample,
        };
        let jobs = jobs.iter().map(&mut compile).collect();
        positions.0.shrink_to_fit();
        let routes = Routes { host_slots, jobs, positions, always, hosts, values };
        Router { table, routes }
    }

    /// Clears `wants` and fills it with the positions of the jobs that want the record, ascending. All records of a
    /// router come from one parser.
    pub fn wants(&mut self, record: &Record<'_>, seed: u64, offset: u64, wants: &mut Vec<u32>) {
        wants.clear();
        let (record, routes) = (self.table.resolve(record), &self.routes);
        wants.extend_from_slice(routes.positions.of(routes.always));
        routes.find_by_host(&record, wants);
        routes.find_by_values(&record, wants);
        if !wants.is_sorted_by(|a, b| a < b) {
            wants.sort_unstable();
            wants.dedup();
        }
        routes.keep_wanted(&record, (seed, offset), wants);
    }
}

impl Routes {
    /// Leaves the jobs whose sample and filter take the record.
    fn keep_wanted(&self, record: &Resolved<'_>, (seed, offset): (u64, u64), found: &mut Vec<u32>) {
        let mut draw = None;
        found.retain(|&position| {
            let job = &self.jobs[position as usize];
            // Both are pure, so the cheaper one comes first.
            let taken = job.sample == Sample::ALL
                || job.sample.takes_draw(*draw.get_or_insert_with(|| Sample::draw(seed, offset)));
            taken && job.filter.as_ref().is_none_or(|filter| filter.matches(record))
        });
    }

    fn find_by_host(&self, record: &Resolved<'_>, found: &mut Vec<u32>) {
        let present = self.host_slots.iter().find_map(|&slot| record.get(slot));
        if let Some(member) = present.filter(|member| member.kind == ValueKind::String) {
            record.with_value(member, |host| {
                self.hosts.find(host, |run| found.extend_from_slice(self.positions.of(run)));
            });
        }
    }

    fn find_by_values(&self, record: &Resolved<'_>, found: &mut Vec<u32>) {
        for values in &self.values {
            let digest = record.get(values.slot).map(|member| record.with_value(member, digest));
            if let Some(run) = digest.and_then(|digest| values.runs.get(&digest)) {
                found.extend_from_slice(self.positions.of(*run));
            }
        }
    }
}

/// A field, and digests of the values that a job wants of it.
type Narrow<'a> = Option<(&'a str, Vec<u64>)>;

/// By which field each job without hosts is found. A thousand jobs that all want status 200 of a host each are found by
/// host, not by status: few jobs share each value of it. And every field costs each record a look-up, so among fields
/// whose values are shared alike it is one that many jobs name.
fn narrowest<'a>(jobs: &[RouteJob<'a>]) -> Vec<Narrow<'a>> {
    let required = |job: &RouteJob<'a>| -> Vec<(&'a str, Vec<u64>)> {
        let filter = job.filter.filter(|_| job.hosts.is_none());
        let fields = filter.map(Filter::required_all).unwrap_or_default();
        let digests = |values: Vec<&str>| values.iter().map(|value| digest(value.as_bytes())).collect();
        fields.into_iter().map(|(field, values)| (field, digests(values))).collect()
    };
    let all: Vec<_> = jobs.iter().map(required).collect();
    let mut named: HashMap<&str, u32> = HashMap::new();
    let mut shared: HashMap<(&str, u64), u32> = HashMap::new();
    for (field, digests) in all.iter().flatten() {
        *named.entry(field).or_default() += 1;
        for &digest in digests {
            *shared.entry((field, digest)).or_default() += 1;
        }
    }
    let cost = |(field, digests): &(&'a str, Vec<u64>)| {
        let sharers: u32 = digests.iter().filter_map(|&digest| shared.get(&(*field, digest))).sum();
        // Alike: up to 7, up to 63, and so on.
        (sharers.max(1).ilog2() / 3, Reverse(named.get(field).copied()), sharers)
    };
    all.into_iter().map(|fields| fields.into_iter().min_by_key(cost)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::RAW;

    #[test]
    fn routers_move_to_their_shards() {
        fn moves<T: Send>() {}
        moves::<Router>();
    }

    fn filters(nodes: impl Iterator<Item = String>) -> Vec<Filter> {
        let parse = |node| Filter::parse(&format!(r#"{{"where":{node}}}"#), &RAW);
        nodes.map(|node| parse(node).expect("right").expect("a filter")).collect()
    }

    #[test]
    fn jobs_are_found_by_what_the_fewest_share() {
        let eq = |key: &str, value: u32| format!(r#"{{"key":"{key}","operator":"eq","value":{value}}}"#);
        let shared =
            (0..50).map(|n| format!(r#"{{"and":[{},{},{}]}}"#, eq("a", 1), eq("own", n), eq("b", n / 2)));
        let rest = [
            eq("a", 1),
            format!(r#"{{"or":[{},{}]}}"#, eq("a", 1), eq("b", 1)),
            format!(r#"{{"and":[{},{}]}}"#, eq("rare", 1), eq("own", 3)),
        ];
        let filters = filters(shared.chain(rest));
        let job = |filter| RouteJob { hosts: None, filter: Some(filter), sample: Sample::ALL };
        let found = narrowest(&filters.iter().map(job).collect::<Vec<_>>());
        let fields: Vec<Option<&str>> = found.iter().map(|narrow| narrow.as_ref().map(|n| n.0)).collect();
        assert!(fields[..50].iter().all(|field| *field == Some("own")), "{fields:?}");
        assert_eq!(
            fields[50..],
            [Some("a"), None, Some("own")],
            "a field of one job alone costs all records"
        );
        let hosts = ["x".to_owned()];
        let hosted = RouteJob { hosts: Some(&hosts), ..job(&filters[0]) };
        assert_eq!(narrowest(&[hosted]), [None], "a zone's job is found by its hosts");
    }
}
