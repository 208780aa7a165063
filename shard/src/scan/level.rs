//! Level: which vector instructions this process uses.
//!
//! Promises: never more than the machine has; what is chosen holds for the whole process.
//! Must not know: what the instructions are used for.
use std::sync::atomic::{AtomicU8, Ordering};

/// Vector instructions, each level with those below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Simd {
    /// None: the oracle of the others.
    Scalar = 1,
    /// What the architecture's baseline has (SSE2 on x86-64), where a stage has no more.
    Baseline,
    /// AVX2 and BMI, x86-64.
    Avx2,
    /// AVX-512 F, BW, VL and VBMI2, x86-64.
    Avx512,
    /// NEON, aarch64.
    Neon,
}

/// 0: not looked for yet.
static LEVEL: AtomicU8 = AtomicU8::new(0);

impl Simd {
    /// The name, as in metrics and `/status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Simd::Scalar => "scalar",
            Simd::Baseline => "baseline",
            Simd::Avx2 => "avx2",
            Simd::Avx512 => "avx512",
            Simd::Neon => "neon",
        }
    }

    /// The most that this machine has.
    pub fn best() -> Simd {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("popcnt");
            let avx512 = has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512vbmi2");
            match (avx2, avx512) {
                (true, true) => return Simd::Avx512,
                (true, false) => return Simd::Avx2,
                _ => {}
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            return Simd::Neon;
        }
        Simd::Baseline
    }

    /// All levels that this machine has: what tests go through.
    pub fn all() -> impl Iterator<Item = Simd> {
        let best = Simd::best();
        [Simd::Scalar, Simd::Baseline, Simd::Avx2, Simd::Avx512, Simd::Neon].into_iter().filter(
            move |&level| level == best || level < best && (level <= Simd::Baseline || best != Simd::Neon),
        )
    }
}

/// Uses at most `level` from now on, in the whole process.
pub fn set(level: Simd) {
    let level = if Simd::all().any(|had| had == level) { level } else { Simd::best().min(level) };
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// The level in use.
#[inline]
pub fn get() -> Simd {
    match LEVEL.load(Ordering::Relaxed) {
        1 => Simd::Scalar,
        2 => Simd::Baseline,
        3 => Simd::Avx2,
        4 => Simd::Avx512,
        5 => Simd::Neon,
        _ => {
            set(Simd::best());
            Simd::best()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_among_all() {
        println!("best: {}", Simd::best().as_str());
        assert!(Simd::all().any(|level| level == Simd::best()));
        assert!(Simd::all().any(|level| level == Simd::Scalar), "the oracle is everywhere");
    }

    /// Every aarch64 has NEON: there, what goes through the levels goes through it.
    #[cfg(target_arch = "aarch64")]
    #[test]
    fn aarch64_uses_neon() {
        assert_eq!(Simd::best(), Simd::Neon);
        let all: Vec<Simd> = Simd::all().collect();
        assert_eq!(all, [Simd::Scalar, Simd::Baseline, Simd::Neon], "no level of another architecture");
    }
}
