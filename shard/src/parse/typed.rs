//! simd-json's opinion of a valid line: the types of its members.
//!
//! Promises: the line is never changed (simd-json unescapes in place, so it works on a copy); all buffers are reused.
//! Must not know: whether a line is valid. The strict scanner has decided that before; what simd-json refuses all the
//! same (`1e400`, lone surrogates) are named deviations (RULINGS 15), and the scanner's types stand.
use crate::limits::TYPED_BYTES_MAX;
use crate::record::{Member, ValueKind};
use simd_json::{Buffers, Node, StaticNode, Tape};

/// simd-json with its buffers.
pub(super) struct Typer {
    copy: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

impl Typer {
    pub(super) fn new() -> Typer {
        Typer { copy: Vec::new(), buffers: Buffers::default(), tape: Tape(Vec::new()) }
    }

    /// Types `members` of `text`. False when simd-json refuses the line, or was not asked because it
    /// is too long.
    pub(super) fn type_members(&mut self, text: &[u8], members: &mut [Member]) -> bool {
        if text.len() > TYPED_BYTES_MAX {
            return false;
        }
        self.copy.clear();
        self.copy.extend_from_slice(text);
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let taken = simd_json::fill_tape(&mut self.copy, &mut self.buffers, &mut tape).is_ok();
        let agrees = taken && apply(&tape.0, members);
        self.tape = tape.reset();
        agrees
    }
}

/// Writes the tape's types into the members.
fn apply(nodes: &[Node<'_>], members: &mut [Member]) -> bool {
    let Some(Node::Object { len, .. }) = nodes.first() else { return false };
    if *len != members.len() {
        return false;
    }
    let mut at = 1;
    for member in members {
        // A member is its key's node, then its value's nodes.
        let Some(node) = nodes.get(at + 1) else { return false };
        let (kind, nodes_below) = match node {
            Node::String(_) => (ValueKind::String, 0),
            Node::Object { count, .. } => (ValueKind::Object, *count),
            Node::Array { count, .. } => (ValueKind::Array, *count),
            Node::Static(StaticNode::Null) => (ValueKind::Null, 0),
            Node::Static(StaticNode::Bool(_)) => (ValueKind::Bool, 0),
            Node::Static(_) => (ValueKind::Number, 0),
        };
        member.kind = kind;
        at += 2 + nodes_below;
    }
    true
}
