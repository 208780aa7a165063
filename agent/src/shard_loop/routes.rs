//! Routes: brings a record to the jobs that want it.
//!
//! Promises: what several jobs get in the same form is formatted once and copied; nothing is allocated per record once
//! the buffers have grown to their working size.
//! Must not know: chunks' logs, epochs, codecs.
use super::plan::{PlanJob, ShardPlan};
use super::{Outlet, Text};
use crate::protocol::{GroupId, Now};
use edgepush_shard::chunk::Audience;
use edgepush_shard::dataset::Dataset;
use edgepush_shard::dataset::mapping::{Mapped, Mapper};
use edgepush_shard::plan::{Formatter, RouteJob, Router};
use edgepush_shard::record::Record;
use edgepush_shard::ring::{Flat, RecordSink};
use edgepush_shard::segment::FromShard;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Where records go under one plan.
pub(super) struct Routes {
    live: Vec<Route>,
    parked: Vec<(GroupId, Vec<Route>)>,
    /// Whom the chunk in work is for.
    audience: Audience,
    /// The configured source that it is from.
    origin: u16,
    /// One a data set that has one.
    mappers: Vec<Mapper>,
    desk: Desk,
}

/// Where records are written.
struct Desk {
    plan: Arc<ShardPlan>,
    formatters: Vec<Formatter>,
    wants: Vec<u32>,
    copied: Flat,
    /// Jobs that took a record of the chunk in work.
    touched: Vec<u32>,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Delivered {
    /// No job wanted it.
    ToNobody,
    /// Whoever wanted it has it.
    InTime,
    /// An archive wanted it, and it came too late for that.
    Late,
}

/// The jobs of one audience whose records are of one data set.
struct Route {
    /// Which mapper makes their records; none: they get what was read.
    mapper: Option<usize>,
    /// Their numbers in the plan, ascending.
    numbers: Vec<u32>,
    /// Finds those that want a record; `None`: all of them do.
    router: Option<Router>,
}

impl Route {
    /// One for each data set; `mapped`: those that have a mapper.
    fn all(plan: &ShardPlan, mapped: &[&'static Dataset], of: impl Fn(GroupId) -> bool) -> Vec<Route> {
        let numbered = || (0..).zip(&plan.jobs).skip(1).filter(|(_, job)| of(job.group));
        let mapper = |job: &PlanJob| mapped.iter().position(|known| std::ptr::eq(*known, plan.dataset(job)));
        let route = |wanted: Option<usize>| {
            let jobs = numbered().filter(|(_, job)| mapper(job) == wanted);
            Route::new(plan, wanted, jobs.map(|(number, _)| number).collect())
        };
        let routes = std::iter::once(None).chain((0..mapped.len()).map(Some)).map(route);
        routes.filter(|route| !route.numbers.is_empty()).collect()
    }

    fn new(plan: &ShardPlan, mapper: Option<usize>, numbers: Vec<u32>) -> Route {
        let jobs = || numbers.iter().map(|number| &plan.jobs[*number as usize]);
        let router = (!jobs().all(PlanJob::wants_all)).then(|| {
            let host_fields: Vec<&str> = plan.host_fields.iter().map(String::as_str).collect();
            Router::new(&host_fields, &jobs().map(PlanJob::route).collect::<Vec<RouteJob<'_>>>())
        });
        Route { mapper, numbers, router }
    }

    /// The numbers of the jobs that want a record.
    #[inline]
    fn wants(&mut self, record: &Record<'_>, (seed, offset): (u64, u64), wants: &mut Vec<u32>) {
        match &mut self.router {
            None => {
                wants.clear();
                wants.extend_from_slice(&self.numbers);
            }
            Some(router) => {
                router.wants(record, seed, offset, wants);
                wants.iter_mut().for_each(|position| *position = self.numbers[*position as usize]);
            }
        }
    }
}

impl Routes {
    pub(super) fn new(plan: &Arc<ShardPlan>) -> Routes {
        let mut groups: Vec<GroupId> =
            plan.jobs.iter().map(|job| job.group).filter(|g| !g.is_live()).collect();
        groups.sort_unstable();
        groups.dedup();
        let mut mapped: Vec<&'static Dataset> = Vec::new();
        for job in &plan.jobs[1..] {
            let dataset = plan.dataset(job);
            let known = mapped.iter().any(|known| std::ptr::eq(*known, dataset));
            if !known && Mapper::is_for(dataset, &plan.mappings) {
                mapped.push(dataset);
            }
        }
        let parked = |group| (group, Route::all(plan, &mapped, |of| of == group));
        Routes {
            live: Route::all(plan, &mapped, GroupId::is_live),
            parked: groups.into_iter().map(parked).collect(),
            audience: Audience::ALL,
            origin: 0,
            mappers: mapped.iter().map(|dataset| Mapper::new(dataset, plan.mappings.clone())).collect(),
            desk: Desk {
                formatters: plan
                    .outputs
                    .iter()
                    .map(|output| Formatter::new(&output.options, output.dataset, &plan.hash_key))
                    .collect(),
                wants: Vec::new(),
                copied: Flat::default(),
                touched: Vec::new(),
                plan: plan.clone(),
            },
        }
    }

    /// A chunk of a configured source begins, for these jobs.
    pub(super) fn begin(&mut self, audience: Audience, origin: u16) {
        (self.audience, self.origin) = (audience, origin);
    }

    /// Writes a record, which stands at `line` (the source's seed, the offset), into the slabs of the jobs that want it.
    #[inline]
    pub(super) fn deliver(
        &mut self,
        now: Now,
        record: &Record<'_>,
        line: (u64, u64),
        outlet: &mut Outlet,
        push: &mut Vec<FromShard>,
    ) -> Delivered {
        let Routes { live, parked, audience, origin, mappers, desk } = self;
        let (routes, hot_done) = match *audience {
            Audience::Live { hot_done } => (&mut live[..], hot_done),
            Audience::Parked(group) => match parked.iter_mut().find(|(of, _)| *of == group) {
                Some((_, routes)) => (&mut routes[..], false),
                None => return Delivered::ToNobody,
            },
        };
        let mut delivered = Delivered::ToNobody;
        for route in routes {
            let view = match route.mapper {
                None => Mapped { own: *record, whole: *record },
                Some(mapper) => mappers[mapper].map(record, *origin),
            };
            route.wants(&view.whole, line, &mut desk.wants);
            if hot_done {
                desk.wants.retain(|number| !outlet.lanes[*number as usize].hot);
            }
            delivered = delivered.max(desk.write_all(now, (&view, line), outlet, push));
        }
        delivered
    }

    /// Counts what jobs took of the chunk in work.
    pub(super) fn publish(&mut self, outlet: &mut Outlet) {
        let Desk { touched, plan, .. } = &mut self.desk;
        for number in touched.drain(..) {
            let taken = std::mem::take(&mut outlet.lanes[number as usize].matched);
            plan.jobs[number as usize].matched.fetch_add(u64::from(taken), Ordering::Relaxed);
        }
    }
}

impl Desk {
    /// Writes a record for all jobs that want it.
    #[inline]
    fn write_all(
        &mut self,
        now: Now,
        (view, line): (&Mapped<'_>, (u64, u64)),
        outlet: &mut Outlet,
        push: &mut Vec<FromShard>,
    ) -> Delivered {
        let mut delivered = if self.wants.is_empty() { Delivered::ToNobody } else { Delivered::InTime };
        if self.wants.iter().any(|number| outlet.lanes[*number as usize].shelved)
            && !outlet.shelve(now, &view.whole)
        {
            self.wants.retain(|number| !outlet.lanes[*number as usize].shelved);
            delivered = Delivered::Late;
        }
        let mut at = 0;
        while let Some(&number) = self.wants.get(at) {
            let output = outlet.lanes[number as usize].output;
            let same = |other: &&u32| outlet.lanes[**other as usize].output == output;
            let alike = self.wants[at..].iter().take_while(same).count();
            let takes_all = self.formatters[output as usize].takes_all();
            let record = if takes_all { &view.own } else { &view.whole };
            self.write(now, (record, line), at..at + alike, output as usize, outlet, push);
            at += alike;
        }
        delivered
    }

    /// Writes a record for jobs that get it in the same form.
    #[inline]
    fn write(
        &mut self,
        now: Now,
        (record, line): (&Record<'_>, (u64, u64)),
        jobs: std::ops::Range<usize>,
        output: usize,
        outlet: &mut Outlet,
        push: &mut Vec<FromShard>,
    ) {
        let formatter = &mut self.formatters[output];
        let alone = jobs.len() == 1;
        if !alone {
            self.copied.clear();
            formatter.write(record, line, &mut self.copied);
        }
        for &number in &self.wants[jobs] {
            let lane = &mut outlet.lanes[number as usize];
            if lane.matched == 0 {
                self.touched.push(number);
            }
            lane.matched += 1;
            let slab = outlet.slab_of(now, number, push);
            if alone {
                outlet.append(slab, &mut Formatted { formatter, record, line }, push);
            } else {
                outlet.append(slab, &mut self.copied, push);
            }
        }
    }
}

/// A record on its way into one slab.
struct Formatted<'a, 'r> {
    formatter: &'a mut Formatter,
    record: &'a Record<'r>,
    line: (u64, u64),
}

impl Text for Formatted<'_, '_> {
    fn size_max(&mut self) -> (usize, usize) {
        (self.formatter.bytes_max(self.record), self.formatter.fields_max(self.record))
    }
    fn write<S: RecordSink>(&mut self, sink: &mut S) {
        self.formatter.write(self.record, self.line, sink);
    }
}

/// A formatted record on its way into several slabs.
impl Text for Flat {
    fn size_max(&mut self) -> (usize, usize) {
        (self.bytes.len(), self.values.len())
    }
    fn write<S: RecordSink>(&mut self, sink: &mut S) {
        Flat::write(self, sink);
    }
}
