//! Curve: speed against ratio of encoders over the same runs (feature `curve`).
//!
//! Promises: what an encoder makes is decoded and compared before it is timed; CPU time of this thread, the best of
//! the rounds, the encoders in turn in each round, so that what else the machine does hits all alike.
//! Must not know: which encoders there are.
pub mod coders;
#[cfg(feature = "isal")]
#[path = "../../../shard/src/codec/igzip.rs"]
mod igzip;
pub mod plot;
#[cfg(feature = "zlib-ng")]
mod zlib_ng;

use crate::cpu_ns;
use crate::runs::Records;
use edgepush_shard::codec::Run;

/// Appends what an encoder makes of a run.
pub type Encode = Box<dyn FnMut(&Run<'_>, &mut Vec<u8>)>;
/// What was encoded.
pub type Decode = fn(&[u8]) -> Vec<u8>;

/// An encoder at one of its points.
pub struct Point {
    /// The library: one line of the plot.
    pub family: &'static str,
    /// Its level or parameters.
    pub name: String,
    /// Appends what it makes of a run.
    pub encode: Encode,
    /// Reads it again.
    pub decode: Decode,
}

/// What a point achieved.
#[derive(Clone, Debug)]
pub struct Figure {
    /// As [`Point::family`].
    pub family: &'static str,
    /// As [`Point::name`].
    pub name: String,
    /// MB (10^6 bytes) taken in by CPU-second.
    pub speed: f64,
    /// Bytes in by bytes out.
    pub ratio: f64,
}

/// Encodes all slabs one by one; the bytes that came out.
fn pass(point: &mut Point, slabs: &[Records], out: &mut Vec<u8>) -> usize {
    let mut bytes = 0;
    for slab in slabs {
        out.clear();
        (point.encode)(&slab.run(), out);
        bytes += out.len();
    }
    bytes
}

fn verify(point: &mut Point, slabs: &[Records]) {
    for slab in slabs {
        let mut out = Vec::new();
        (point.encode)(&slab.run(), &mut out);
        assert!((point.decode)(&out) == slab.bytes, "{} {} loses bytes", point.family, point.name);
    }
}

/// Figures of all points over the slabs, the best of `rounds`.
pub fn measure(points: &mut [Point], slabs: &[Records], rounds: usize) -> Vec<Figure> {
    points.iter_mut().for_each(|point| verify(point, slabs));
    let bytes_in: usize = slabs.iter().map(|slab| slab.bytes.len()).sum();
    let mut best = vec![(u64::MAX, 0); points.len()];
    let mut out = Vec::with_capacity(4 << 20);
    for _ in 0..rounds {
        for (point, best) in points.iter_mut().zip(&mut best) {
            let before = cpu_ns();
            let bytes = pass(point, slabs, &mut out);
            *best = (best.0.min(cpu_ns() - before), bytes);
        }
    }
    let figure = |(point, (ns, bytes_out)): (&Point, (u64, usize))| Figure {
        family: point.family,
        name: point.name.clone(),
        speed: bytes_in as f64 * 1e3 / ns as f64,
        ratio: bytes_in as f64 / bytes_out as f64,
    };
    points.iter().zip(best).map(figure).collect()
}
