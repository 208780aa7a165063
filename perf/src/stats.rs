//! Two sets of samples: is one faster, or is it noise?
//!
//! Promises: distribution-free and exact for small numbers: the Hodges-Lehmann estimate with the interval that the
//! signed-rank test (pairs) or the rank-sum test (no pairs) gives, on logarithms, so that it reads as a ratio. Too few
//! samples for the confidence asked are said, not guessed. Must not know: what the samples are.

/// Most that chance alone may give a wrong "faster" or "slower": 5 %, both sides together.
const ALPHA: f64 = 0.05;

/// A ratio b/a and where it lies with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The estimate.
    pub ratio: f64,
    /// Its interval; `None` when there are too few samples for one.
    pub range: Option<(f64, f64)>,
}

/// What is said in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// B is better, beyond noise.
    Better,
    /// B is worse, beyond noise.
    Worse,
    /// The interval holds what is no difference.
    Same,
    /// Not enough samples.
    TooFew,
}

/// The middle of samples in any order of direction; they must be sorted.
pub fn median(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    if n == 0 {
        return f64::NAN;
    }
    (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0
}

/// The ratio b/a of samples that were taken in pairs.
pub fn paired(a: &[f64], b: &[f64]) -> Interval {
    let logs: Vec<f64> = a.iter().zip(b).map(|(a, b)| (b / a).ln()).filter(|l| l.is_finite()).collect();
    let mut walsh = Vec::new();
    for (i, x) in logs.iter().enumerate() {
        walsh.extend(logs[i..].iter().map(|y| (x + y) / 2.0));
    }
    // How many subsets of the ranks 1..=n have each sum.
    let mut ways = vec![1.0];
    for rank in 1..=logs.len() {
        ways = add(&ways, rank);
    }
    interval(walsh, &ways)
}

/// The ratio b/a of samples that have nothing to do with one another.
pub fn unpaired(a: &[f64], b: &[f64]) -> Interval {
    let ratios = a.iter().flat_map(|a| b.iter().map(move |b| (b / a).ln()));
    let (n, m) = (a.len(), b.len());
    // How many orders of n and m samples have each count of inversions: the Gaussian binomial coefficient.
    let mut ways = vec![1.0];
    for i in 1..=n {
        ways = divide(&times(&ways, m + i), i);
    }
    interval(ratios.filter(|l| l.is_finite()).collect(), &ways)
}

/// `p(x) (1 + x^k)`.
fn add(p: &[f64], k: usize) -> Vec<f64> {
    let mut out = vec![0.0; p.len() + k];
    for (i, value) in p.iter().enumerate() {
        out[i] += value;
        out[i + k] += value;
    }
    out
}

/// `p(x) (1 - x^k)`.
fn times(p: &[f64], k: usize) -> Vec<f64> {
    let mut out = vec![0.0; p.len() + k];
    for (i, value) in p.iter().enumerate() {
        out[i] += value;
        out[i + k] -= value;
    }
    out
}

/// `p(x) / (1 - x^k)`, which is known to come out even.
fn divide(p: &[f64], k: usize) -> Vec<f64> {
    let mut out: Vec<f64> = p[..p.len() - k].to_vec();
    for i in k..out.len() {
        out[i] += out[i - k];
    }
    out
}

/// The estimate is the median; the interval leaves out as many at both ends as chance allows under `ways`.
fn interval(mut differences: Vec<f64>, ways: &[f64]) -> Interval {
    differences.sort_by(f64::total_cmp);
    let total: f64 = ways.iter().sum();
    let (mut tail, mut outside) = (0.0, 0);
    for way in ways {
        tail += way / total;
        if tail * 2.0 > ALPHA {
            break;
        }
        outside += 1;
    }
    let complete = differences.len() + 1 == ways.len();
    let range = (outside > 0 && complete && outside * 2 <= differences.len())
        .then(|| (differences[outside - 1].exp(), differences[differences.len() - outside].exp()));
    Interval { ratio: median(&differences).exp(), range }
}

/// What an interval says when differences below `floor` (0.01 is 1 %) mean nothing.
pub fn verdict(interval: Interval, more_is_better: bool, floor: f64) -> Verdict {
    let Some((low, high)) = interval.range else { return Verdict::TooFew };
    let (above, below) = (low > 1.0 + floor, high < 1.0 / (1.0 + floor));
    match (above, below) {
        (true, _) if more_is_better => Verdict::Better,
        (_, true) if !more_is_better => Verdict::Better,
        (false, false) => Verdict::Same,
        _ => Verdict::Worse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(x: f64, y: f64) -> bool {
        (x - y).abs() < 1e-9
    }

    #[test]
    fn the_exact_distributions_are_those_of_the_books() {
        let mut ways = vec![1.0];
        (1..=3).for_each(|rank| ways = add(&ways, rank));
        assert_eq!(ways, [1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0]);
        let mut ways = vec![1.0];
        for i in 1..=2 {
            ways = divide(&times(&ways, 2 + i), i);
        }
        assert_eq!(ways, [1.0, 1.0, 2.0, 1.0, 1.0]);
    }

    #[test]
    fn six_pairs_are_the_least_for_a_verdict_and_four_against_four_without() {
        let a = [1.0; 6];
        let b = [1.10, 1.11, 1.12, 1.09, 1.10, 1.13];
        assert_eq!(paired(&a[..5], &b[..5]).range, None);
        let six = paired(&a, &b);
        let (low, high) = six.range.unwrap();
        assert!(near(low, 1.09) && near(high, 1.13), "{six:?}");
        assert_eq!(unpaired(&a[..3], &b[..3]).range, None);
        let four = unpaired(&a[..4], &b[..4]);
        assert!(near(four.range.unwrap().0, 1.09), "{four:?}");
        assert_eq!(unpaired(&[], &[]).range, None);
    }

    #[test]
    fn verdicts_know_noise_direction_and_the_floor() {
        let a = [100.0, 104.0, 97.0, 101.0, 99.0, 103.0, 98.0];
        let scaled = |by: f64| a.map(|x| x * by);
        let check = |b: &[f64], more, floor, expected| {
            assert_eq!(verdict(paired(&a, b), more, floor), expected, "{b:?}");
        };
        check(&scaled(1.05), true, 0.01, Verdict::Better);
        check(&scaled(1.05), false, 0.01, Verdict::Worse);
        check(&scaled(0.9), false, 0.01, Verdict::Better);
        check(&scaled(0.9), true, 0.01, Verdict::Worse);
        check(&scaled(1.005), true, 0.01, Verdict::Same);
        check(&[103.0, 98.0, 101.0, 97.0, 104.0, 100.0, 99.0], true, 0.0, Verdict::Same);
        check(&[200.0], true, 0.01, Verdict::TooFew);
    }

    #[test]
    fn equal_builds_are_called_different_in_no_more_than_one_of_twenty() {
        let mut state = 7_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            100.0 + (state >> 40) as f64 / (1 << 24) as f64 * 20.0
        };
        let mut wrong = 0;
        for _ in 0..2000 {
            let a: Vec<f64> = (0..8).map(|_| noise()).collect();
            let b: Vec<f64> = (0..8).map(|_| noise()).collect();
            wrong += usize::from(verdict(unpaired(&a, &b), true, 0.0) != Verdict::Same);
        }
        assert!((20..=120).contains(&wrong), "{wrong} of 2000");
    }
}
