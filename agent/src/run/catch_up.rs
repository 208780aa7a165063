//! Drives the reader of parked groups beside the live one, on shard 0: performs what its machine asks for.
//!
//! Promises: what the page cache holds is read by plain `pread`s, what a disk must be waited for goes through the
//! runtime; opens and directories run on the blocking thread.
//! Must not know: which group is read (the machine does), when there is room (the driver of the live source does).
use super::unpack::Unpacker;
use crate::protocol::{GroupId, Now};
use crate::queue::Bell;
use crate::rt::Rt;
use crate::source::file::buffers::Buffers;
use crate::source::file::os;
use crate::source::{CatchUp, CatchUpAction, CatchUpEvent, FileKey, ReadBack};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What tasks of this shard have for the machine.
type Events = Rc<RefCell<VecDeque<CatchUpEvent>>>;

/// The machine with its files.
pub(super) struct Reader {
    pub(super) machine: CatchUp,
    rt: Rt,
    bell: Bell,
    events: Events,
    files: Rc<RefCell<HashMap<FileKey, Arc<File>>>>,
    /// Which of the open files are compressed.
    packed: Rc<RefCell<HashSet<FileKey>>>,
    unpacker: Unpacker,
    /// When the machine wants its next tick (monotonic).
    pub(super) wake: Option<Duration>,
    /// A seal is wanted once every chunk is processed.
    seal_soon: bool,
    room_said: usize,
    held_said: bool,
    busy_said: bool,
    behind_said: Vec<(GroupId, u64)>,
}

impl Reader {
    pub(super) fn new(line_max: usize, rt: &Rt, bell: Bell, unpacker: Unpacker) -> Reader {
        Reader {
            machine: CatchUp::new(line_max),
            rt: rt.clone(),
            bell,
            events: Rc::default(),
            files: Rc::default(),
            packed: Rc::default(),
            unpacker,
            wake: None,
            seal_soon: false,
            room_said: 0,
            held_said: false,
            busy_said: false,
            behind_said: Vec::new(),
        }
    }

    /// For the machine, by its own task.
    pub(super) fn push(&self, event: CatchUpEvent) {
        self.events.borrow_mut().push_back(event);
    }

    /// The clock moved on.
    pub(super) fn tick(&mut self, mono: Duration) {
        if self.wake.is_some_and(|at| mono >= at) {
            self.wake = None;
            self.push(CatchUpEvent::Tick);
        }
    }

    /// What the machine must hear next: first what is so now, of the chunks' room, of the live reader.
    pub(super) fn next_event(&mut self, (room, held, still): (usize, bool, bool)) -> Option<CatchUpEvent> {
        if held != self.held_said {
            self.held_said = held;
            return Some(CatchUpEvent::Hold(held));
        }
        if room != self.room_said {
            self.room_said = room;
            return Some(CatchUpEvent::Room { chunks: room });
        }
        if still {
            return Some(CatchUpEvent::Still);
        }
        self.events.borrow_mut().pop_front()
    }

    /// Whether [`Reader::next_event`] or [`Reader::seals_now`] has something.
    pub(super) fn has_work(&self, room: usize, all_processed: bool) -> bool {
        !self.events.borrow().is_empty() || room != self.room_said || self.seal_soon && all_processed
    }

    pub(super) fn step(&mut self, now: Now, event: CatchUpEvent) -> Vec<CatchUpAction> {
        let mut actions = Vec::new();
        self.machine.step(now, event, &mut actions);
        let emitted = actions.iter().filter(|action| matches!(action, CatchUpAction::Emit(_))).count();
        self.room_said = self.room_said.saturating_sub(emitted);
        actions
    }

    /// Whether the machine is busy, when that has changed.
    pub(super) fn busy_changed(&mut self) -> Option<bool> {
        let busy = self.machine.is_busy();
        (busy != std::mem::replace(&mut self.busy_said, busy)).then_some(busy)
    }

    /// What groups have still to read, when that has changed.
    pub(super) fn behind_changed(&mut self) -> Option<Vec<(GroupId, u64)>> {
        let behind: Vec<(GroupId, u64)> = self.machine.behind().collect();
        (behind != self.behind_said).then(|| {
            self.behind_said.clone_from(&behind);
            behind
        })
    }

    /// Whether a seal is wanted now. Says it once.
    pub(super) fn seals_now(&mut self, all_processed: bool) -> bool {
        all_processed && std::mem::take(&mut self.seal_soon)
    }

    /// What concerns only the files and the clock.
    pub(super) fn perform(&mut self, action: CatchUpAction, buffers: &Buffers, mono: Duration) {
        let (rt, events, bell) = (self.rt.clone(), self.events.clone(), self.bell.clone());
        match action {
            CatchUpAction::Open { file, path, ident } => {
                let (files, packed) = (self.files.clone(), self.packed.clone());
                self.rt.spawn_local(async move {
                    let result = rt.spawn_blocking(move || os::open(&path, ident)).await;
                    let result = result.map(|(handle, stat)| {
                        files.borrow_mut().insert(file, handle);
                        if stat.packed.is_some() {
                            packed.borrow_mut().insert(file);
                        }
                        stat
                    });
                    events.borrow_mut().push_back(CatchUpEvent::Opened { file, result });
                    bell.ring();
                });
            }
            CatchUpAction::Find { path, ident } => {
                self.rt.spawn_local(async move {
                    let found = rt.spawn_blocking(move || os::find(&path, ident)).await;
                    events.borrow_mut().push_back(CatchUpEvent::Found(found));
                    bell.ring();
                });
            }
            CatchUpAction::Read { file, offset, len } => self.read(file, offset, len, buffers),
            CatchUpAction::Close(file) => {
                self.files.borrow_mut().remove(&file);
                self.packed.borrow_mut().remove(&file);
                self.unpacker.forget(file);
            }
            CatchUpAction::SealSoon => self.seal_soon = true,
            CatchUpAction::Wake { after } => self.wake = Some(mono + after),
            CatchUpAction::Gaps(_)
            | CatchUpAction::Emit(_)
            | CatchUpAction::Lost { .. }
            | CatchUpAction::Stand(_)
            | CatchUpAction::Merge(_) => unreachable!("INVARIANT: the live source's driver performs these"),
        }
    }

    fn read(&self, file: FileKey, offset: u64, len: usize, buffers: &Buffers) {
        let handle = self.files.borrow()[&file].clone();
        if self.packed.borrow().contains(&file) {
            let (events, bell, unpacker) = (self.events.clone(), self.bell.clone(), self.unpacker.clone());
            return self.rt.spawn_local(async move {
                if let Some(result) = unpacker.read((file, handle), offset, len).await {
                    events.borrow_mut().push_back(CatchUpEvent::Read { file, result });
                    bell.ring();
                }
            });
        }
        match os::read_cached(&handle, offset, len, buffers) {
            Ok(None) => {}
            Ok(Some(back)) => return self.push(CatchUpEvent::Read { file, result: Ok(back) }),
            Err(error) => {
                return self.push(CatchUpEvent::Read { file, result: Err(error.to_string()) });
            }
        }
        let (rt, events, bell, buffers) =
            (self.rt.clone(), self.events.clone(), self.bell.clone(), buffers.clone());
        self.rt.spawn_local(async move {
            let (read, bytes) = rt.read_at(&handle, offset, buffers.take(len)).await;
            // The buffer may be longer than the read that was asked for.
            let verified = read.and_then(|read| os::verify(&handle, buffers.lend(bytes, read.min(len))));
            let result: Result<ReadBack, String> = verified.map_err(|error| error.to_string());
            events.borrow_mut().push_back(CatchUpEvent::Read { file, result });
            bell.ring();
        });
    }
}
