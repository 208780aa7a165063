//! stand-in
use crate::protocol::*;
use bytes::Bytes;
use edgepush_shard::chunk::*;
use std::collections::*;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey(pub u32);
#[derive(Clone, Debug)]
pub struct Seen { pub path: PathBuf, pub origin: u16, pub ident: FileIdent, pub size: u64 }
#[derive(Clone, Debug, Default)]
pub struct Look { pub seen: Vec<Seen> }
#[derive(Clone, Debug)]
pub struct ReadBack { pub bytes: Bytes, pub size_after: u64, pub nlink: u64, pub head: Bytes }
#[derive(Debug)]
pub enum SourceEvent { Start { rows: Vec<SourceRow> }, Looked(Look), Opened { file: FileKey, result: Result<(), String> }, Read { file: FileKey, offset: u64, result: Result<ReadBack, String> }, Registered(Vec<(u64, SourceId, u64)>), Durable(Vec<(SourceId, u64)>), Room { chunks: usize }, Dirty, Tick }
#[derive(Debug)]
pub enum SourceAction { Look, Open { file: FileKey, path: PathBuf }, Close { file: FileKey }, Read { file: FileKey, offset: u64, len: usize, cold: bool }, Register(Vec<NewSource>), Change(SourceChange), Emit(Chunk), SealNow, Wake { after: Duration }, Attach { source: SourceId, file: FileKey }, Detach { source: SourceId }, Notice(String) }
struct F { key: FileKey, path: PathBuf, origin: u16, ident: FileIdent, size: u64, pos: u64, id: Option<(SourceId, u64)>, reading: bool, open: bool }
pub struct FileSource { files: Vec<F>, rows: Vec<SourceRow>, room: usize, once: bool, looked: bool }
impl FileSource {
    pub fn new(once: bool) -> FileSource { FileSource { files: vec![], rows: vec![], room: 0, once, looked: false } }
    pub fn idle(&self) -> bool { self.looked && self.files.iter().all(|f| f.pos >= f.size) }
    pub fn step(&mut self, _now: Now, event: SourceEvent, out: &mut Vec<SourceAction>) {
        match event {
            SourceEvent::Start { rows } => { self.rows = rows; out.push(SourceAction::Look); }
            SourceEvent::Looked(look) => {
                let mut new = vec![];
                for s in look.seen {
                    if let Some(f) = self.files.iter_mut().find(|f| f.ident == s.ident) { if !self.once { f.size = s.size; } f.path = s.path; continue; }
                    let key = FileKey(self.files.len() as u32);
                    let row = self.rows.iter().find(|r| r.ident == s.ident);
                    let mut f = F { key, path: s.path.clone(), origin: s.origin, ident: s.ident, size: s.size, pos: 0, id: None, reading: false, open: false };
                    match row { Some(r) => { f.pos = r.progress.low; f.id = Some((r.id, r.seed)); }
                      None => new.push(NewSource { token: key.0.into(), ident: s.ident, path: s.path.clone(), head: Head::default(), size: s.size, begin: 0 }) }
                    out.push(SourceAction::Open { file: key, path: s.path });
                    self.files.push(f);
                }
                out.push(SourceAction::Register(new));
                self.looked = true;
                out.push(SourceAction::Wake { after: Duration::from_millis(50) });
            }
            SourceEvent::Opened { file, .. } => { let f = &mut self.files[file.0 as usize]; f.open = true; if let Some((id, _)) = f.id { out.push(SourceAction::Attach { source: id, file }); } }
            SourceEvent::Registered(rows) => for (t, id, seed) in rows { let f = &mut self.files[t as usize]; f.id = Some((id, seed)); out.push(SourceAction::Attach { source: id, file: f.key }); },
            SourceEvent::Read { file, offset, result } => {
                let f = &mut self.files[file.0 as usize]; f.reading = false;
                let r = result.unwrap();
                if let Some(n) = r.bytes.iter().rposition(|&b| b == b'\n') {
                    let (id, seed) = f.id.unwrap();
                    f.pos = offset + n as u64 + 1; self.room -= 1;
                    out.push(SourceAction::Emit(Chunk { source: id, path: f.path.display().to_string().into(), origin: f.origin, seed, start: offset, end: f.pos, bytes: r.bytes.slice(..n + 1), kind: ChunkKind::Lines, skip: GroupSet::EMPTY, evidence: Evidence { head_len: 10, head_hash: 1, tail_hash: 2, size_seen: r.size_after } }));
                } else { f.size = f.pos; }
            }
            SourceEvent::Room { chunks } => self.room = chunks,
            SourceEvent::Dirty | SourceEvent::Tick => if !self.once { out.push(SourceAction::Look) },
            SourceEvent::Durable(_) => {}
        }
        let flying = self.files.iter().filter(|f| f.reading).count();
        for f in self.files.iter_mut() { if f.open && f.id.is_some() && !f.reading && f.pos < f.size && flying == 0 && self.room > 0 { f.reading = true; out.push(SourceAction::Read { file: f.key, offset: f.pos, len: 256 << 10, cold: f.size - f.pos > 8 << 20 }); break; } }
    }
}
pub mod os {
    use super::*;
    use std::os::unix::fs::*;
    pub fn look(globs: &[String]) -> Look {
        let mut seen = vec![];
        for (i, g) in globs.iter().enumerate() { for p in glob::glob(g).unwrap().flatten() { let m = std::fs::metadata(&p).unwrap(); if m.is_file() { seen.push(Seen { path: p, origin: i as u16, ident: FileIdent { dev: m.dev(), ino: m.ino(), btime: None }, size: m.len() }); } } }
        Look { seen }
    }
    pub fn read_back(f: &std::fs::File, offset: u64, len: usize) -> std::io::Result<ReadBack> {
        let mut b = vec![0; len]; let n = f.read_at(&mut b, offset)?; b.truncate(n);
        Ok(ReadBack { bytes: b.into(), size_after: f.metadata()?.len(), nlink: 1, head: Bytes::new() })
    }
}
