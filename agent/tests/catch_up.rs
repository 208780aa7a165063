//! The reader of parked groups by itself: what it makes of one gap, whatever stands in the file, and of files that moved or
//! are gone.
#![allow(clippy::single_range_in_vec_init, reason = "a list of ranges that has one")]
#![allow(clippy::unwrap_used)]
use bytes::Bytes;
use edgepush::protocol::*;
use edgepush::source::evidence::{head_of, tail_hash};
use edgepush::source::{CatchUp, CatchUpAction, CatchUpEvent, OpenError, OpenStat, ReadBack};
use edgepush_shard::chunk::{Audience, Chunk, ChunkKind};
use proptest::prelude::*;
use std::ops::Range;
use std::time::Duration;

const GROUP: GroupId = GroupId::FIRST_PARKED;
const IDENT: FileIdent = FileIdent { dev: 1, ino: 7, btime: None };
const LINE_MAX: usize = 40;

/// A driver with one file, and a ledger that believes every chunk.
struct Driver {
    machine: CatchUp,
    now: Duration,
    /// `None`: gone.
    data: Option<Vec<u8>>,
    /// Its name, when it is not the row's.
    moved: bool,
    gaps: Vec<Gap>,
    chunks: Vec<Chunk>,
    lost: Vec<Range<u64>>,
    found: u32,
    merged: bool,
}

impl Driver {
    fn new(data: Vec<u8>, ranges: Vec<Range<u64>>) -> Driver {
        let tails = ranges.iter().flat_map(|r| [r.start, r.end]);
        let tails = tails.map(|at| (at, tail_hash(&data[..at as usize]))).collect();
        let gap = Gap {
            source: SourceId(3),
            seed: 5,
            ident: IDENT,
            path: "/log/a".into(),
            head: head_of(&data),
            ranges,
            tails,
        };
        Driver {
            machine: CatchUp::new(LINE_MAX),
            now: Duration::from_secs(1),
            data: Some(data),
            moved: false,
            gaps: vec![gap],
            chunks: Vec::new(),
            lost: Vec::new(),
            found: 0,
            merged: false,
        }
    }

    /// Runs until the group may merge, or for so long.
    fn run(&mut self, limit: Duration) {
        let mut events = vec![CatchUpEvent::Room { chunks: 1 }, CatchUpEvent::Begin(GROUP)];
        let end = self.now + limit;
        let mut wake = None;
        while !self.merged {
            let event = match events.is_empty() {
                false => events.remove(0),
                true => {
                    self.now = wake.take().unwrap_or(end);
                    if self.now >= end {
                        return;
                    }
                    CatchUpEvent::Tick
                }
            };
            let mut actions = Vec::new();
            self.machine.step(Now { mono: self.now, wall: 0 }, event, &mut actions);
            for action in actions {
                self.perform(action, &mut events, &mut wake);
            }
            if self.machine.wants_still() {
                events.push(CatchUpEvent::Still);
            }
        }
    }

    fn perform(
        &mut self,
        action: CatchUpAction,
        events: &mut Vec<CatchUpEvent>,
        wake: &mut Option<Duration>,
    ) {
        match action {
            CatchUpAction::Gaps(group) => {
                events.push(CatchUpEvent::Gaps { group, gaps: self.gaps.clone(), ahead: false });
            }
            CatchUpAction::Open { file, path, ident } => {
                assert_eq!(ident, IDENT);
                let there = self.moved == (path != std::path::Path::new("/log/a"));
                let stat = |data: &Vec<u8>| OpenStat {
                    ident,
                    size: data.len() as u64,
                    mtime: 0,
                    nlink: 1,
                    head: Bytes::copy_from_slice(&data[..data.len().min(1024)]),
                    packed: None,
                };
                let result = self.data.as_ref().filter(|_| there).map(stat).ok_or(OpenError::Gone);
                events.push(CatchUpEvent::Opened { file, result });
            }
            CatchUpAction::Find { .. } => {
                self.found += 1;
                events.push(CatchUpEvent::Found(self.moved.then(|| "/log/other".into())));
            }
            CatchUpAction::Read { file, offset, len } => {
                let data = self.data.as_ref().unwrap();
                let end = data.len().min(offset as usize + len);
                let back = ReadBack {
                    bytes: Bytes::copy_from_slice(&data[offset as usize..end]),
                    size_after: data.len() as u64,
                    nlink: 1,
                    head: Bytes::copy_from_slice(&data[..data.len().min(1024)]),
                    packed: None,
                };
                events.push(CatchUpEvent::Read { file, result: Ok(back) });
            }
            CatchUpAction::Emit(chunk) => {
                self.cut(chunk.start..chunk.end);
                self.chunks.push(chunk);
                events.push(CatchUpEvent::Caught { group: GROUP, chunks: 1 });
                events.push(CatchUpEvent::Room { chunks: 1 });
            }
            CatchUpAction::Lost { group, ranges, .. } => {
                ranges.iter().for_each(|range| self.cut(range.clone()));
                self.lost.extend(ranges);
                events.push(CatchUpEvent::Lost(group));
            }
            CatchUpAction::Merge(_) => self.merged = true,
            CatchUpAction::Wake { after } => *wake = Some(self.now + after),
            CatchUpAction::Close(_) | CatchUpAction::SealSoon | CatchUpAction::Stand(_) => {}
        }
    }

    /// The ledger has decided a range: it must be the beginning of what is left of a gap.
    fn cut(&mut self, decided: Range<u64>) {
        let ranges = &mut self.gaps[0].ranges;
        let at = ranges.iter().position(|range| range.start == decided.start).expect("the start of a gap");
        assert!(decided.end <= ranges[at].end, "P1: {decided:?} crosses the edge of {:?}", ranges[at]);
        ranges[at].start = decided.end;
        self.gaps[0].ranges.retain(|range| range.start < range.end);
        if self.gaps[0].ranges.is_empty() {
            self.gaps.clear();
        }
    }
}

/// Lines, some too long, and runs of NUL; where each begins.
fn text() -> impl Strategy<Value = (Vec<u8>, Vec<u64>)> {
    let piece = prop_oneof![
        6 => "[a-z]{1,38}\n".prop_map(String::into_bytes),
        1 => "[a-z]{41,200}\n".prop_map(String::into_bytes),
        1 => (1usize..100).prop_map(|n| vec![0; n]),
        1 => Just(b"\n".to_vec()),
    ];
    proptest::collection::vec(piece, 4..40).prop_map(|pieces| {
        let (mut data, mut starts) = (b"the first line\n".to_vec(), vec![0]);
        for piece in pieces {
            starts.push(data.len() as u64);
            data.extend(piece);
        }
        starts.push(data.len() as u64);
        (data, starts)
    })
}

proptest! {
    #[test]
    fn chunks_tile_the_gap_and_nothing_else((data, starts) in text(), picks in proptest::collection::vec(any::<prop::sample::Index>(), 2..9)) {
        let mut edges: Vec<u64> = picks.iter().map(|pick| *pick.get(&starts)).collect();
        edges.sort_unstable();
        edges.dedup();
        // Every second stretch between edges is missing.
        let ranges: Vec<Range<u64>> = edges.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
        prop_assume!(!ranges.is_empty());
        let mut driver = Driver::new(data.clone(), ranges);
        driver.run(Duration::from_secs(60));
        prop_assert!(driver.merged && driver.lost.is_empty(), "{:?}", driver.machine);
        for chunk in &driver.chunks {
            let bytes = &data[chunk.start as usize..chunk.end as usize];
            prop_assert_eq!(chunk.audience, Audience::Parked(GROUP));
            prop_assert_eq!(chunk.evidence.tail_hash, tail_hash(&data[..chunk.end as usize]));
            match chunk.kind {
                ChunkKind::Lines => prop_assert_eq!(&chunk.bytes[..], bytes),
                ChunkKind::Nul => prop_assert!(bytes.iter().all(|byte| *byte == 0)),
                ChunkKind::TooLong { length } => {
                    prop_assert!(length as usize > LINE_MAX);
                    prop_assert!(!bytes[..length as usize].contains(&b'\n'));
                }
            }
        }
    }
}

fn lines() -> Vec<u8> {
    (0..300).flat_map(|n| format!("line {n:04}\n").into_bytes()).collect()
}

#[test]
fn a_file_with_another_name_is_found_by_its_inode() {
    let mut driver = Driver::new(lines(), vec![100..500, 700..1000]);
    driver.moved = true;
    driver.run(Duration::from_secs(60));
    assert!(driver.merged && driver.found > 0 && driver.lost.is_empty());
    assert_eq!(driver.chunks.iter().map(|c| c.end - c.start).sum::<u64>(), 700);
}

#[test]
fn a_file_that_is_gone_is_given_up_after_a_while_and_not_before() {
    let mut driver = Driver::new(lines(), vec![100..500, 700..1000]);
    driver.data = None;
    driver.run(Duration::from_secs(70));
    assert!(!driver.merged && driver.lost.is_empty(), "a copy of it may turn up");
    driver.run(Duration::from_secs(30));
    assert!(driver.merged);
    assert_eq!((driver.lost, driver.chunks.len()), (vec![100..500, 700..1000], 0));
}

#[test]
fn another_content_is_not_taken_for_the_one_that_the_others_read() {
    for at in [50, 1480, 1990, 2100] {
        let mut driver = Driver::new(lines(), vec![1500..2000]);
        driver.data.as_mut().unwrap()[at] = b'X';
        driver.run(Duration::from_secs(60));
        let taken = at == 2100;
        // Its head, the bytes before the gap, or those before its end have changed. What lies behind is no concern.
        assert_eq!((driver.merged, driver.chunks.len()), (taken, usize::from(taken)), "changed at {at}");
    }
}
