//! Numbers as their text: compared exactly, whatever their size and spelling.
//!
//! Promises: `1`, `1.0`, `10e-1` and `01` are one number; nothing is rounded; nothing is allocated to compare. Exponents
//! beyond ±10^15 count as ±10^15.
//! Must not know: fields, operators.
use std::cmp::Ordering;

const EXPONENT_MAX: i64 = 1_000_000_000_000_000;

/// A number of a filter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Number {
    text: Box<str>,
    /// The same when it is a whole number of at most 18 digits: most are.
    small: Option<i64>,
}

impl Number {
    /// Reads what is a number in JSON, leading zeros allowed (servers write a status `000`).
    pub(crate) fn read(text: &str) -> Option<Number> {
        Decimal::read(text.as_bytes())?;
        Some(Number { text: text.into(), small: small(text.as_bytes()) })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is spelled as a whole number.
    pub(crate) fn is_whole(&self) -> bool {
        !self.text.contains(['.', 'e', 'E'])
    }

    /// How `text` compares with this number; `None`: it is no number.
    pub(crate) fn order_of(&self, text: &[u8]) -> Option<Ordering> {
        if let (Some(ours), Some(theirs)) = (self.small, small(text)) {
            return Some(theirs.cmp(&ours));
        }
        Some(Decimal::read(text)?.order(&Decimal::read(self.text.as_bytes())?))
    }
}

fn small(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if !(1..=18).contains(&digits.len()) {
        return None;
    }
    let mut value = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(if digits.len() == text.len() { value } else { -value })
}

/// `0.DIGITS × 10^point`; the digits are `head` and then `tail`, without zeros at either end. Zero has none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decimal<'a> {
    pub(crate) negative: bool,
    pub(crate) point: i64,
    head: &'a [u8],
    tail: &'a [u8],
}

impl<'a> Decimal<'a> {
    pub(crate) fn read(text: &'a [u8]) -> Option<Decimal<'a>> {
        let unsigned = text.strip_prefix(b"-").unwrap_or(text);
        let (whole, rest) = digits(unsigned)?;
        let (fraction, rest) = match rest.strip_prefix(b".") {
            Some(rest) => digits(rest)?,
            None => (&[][..], rest),
        };
        let exponent = exponent(rest)?;
        let head = trim_start(whole);
        let tail = if head.is_empty() { trim_start(fraction) } else { fraction };
        let point =
            if head.is_empty() { tail.len() as i64 - fraction.len() as i64 } else { head.len() as i64 };
        let tail = trim_end(tail);
        let head = if tail.is_empty() { trim_end(head) } else { head };
        if head.is_empty() && tail.is_empty() {
            return Some(Decimal { negative: false, point: 0, head, tail });
        }
        Some(Decimal { negative: unsigned.len() < text.len(), point: point + exponent, head, tail })
    }

    pub(crate) fn digits(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.head.iter().chain(self.tail).copied()
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.head.is_empty() && self.tail.is_empty()
    }

    fn order(&self, other: &Decimal<'_>) -> Ordering {
        let sign = |number: &Decimal<'_>| match number.is_zero() {
            true => 0,
            false if number.negative => -1,
            false => 1,
        };
        let magnitude = || self.point.cmp(&other.point).then_with(|| self.digits().cmp(other.digits()));
        match (sign(self), sign(other)) {
            (0, 0) => Ordering::Equal,
            (1, 1) => magnitude(),
            (-1, -1) => magnitude().reverse(),
            (ours, theirs) => ours.cmp(&theirs),
        }
    }
}

/// At least one digit, and what follows.
fn digits(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count > 0).then(|| text.split_at(count))
}

/// What follows a number's digits: nothing, or an exponent.
fn exponent(text: &[u8]) -> Option<i64> {
    let [b'e' | b'E', rest @ ..] = text else { return text.is_empty().then_some(0) };
    let unsigned = rest.strip_prefix(b"-").or_else(|| rest.strip_prefix(b"+")).unwrap_or(rest);
    let (all, b"") = digits(unsigned)? else { return None };
    let add = |sum: i64, digit: &u8| (sum * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX);
    let size = all.iter().fold(0, add);
    Some(if rest[0] == b'-' { -size } else { size })
}

fn trim_start(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().take_while(|&&digit| digit == b'0').count()..]
}

fn trim_end(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().rev().take_while(|&&digit| digit == b'0').count();
    &digits[..digits.len() - zeros]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_exactly() {
        let order = |a: &str, b: &str| Number::read(b).expect("a number").order_of(a.as_bytes());
        // Ascending; what stands in one row is equal.
        let rows: [&[&str]; 14] = [
            &["-1e400"],
            &["-12345678901234567890123456789013"],
            &["-12345678901234567890123456789012", "-1234567890123456789012345678901.20e1"],
            &["-1.5", "-15e-1", "-0.15E1", "-001.50"],
            &["-1e-400"],
            &["0", "-0", "0.0", "0e9", "-0.00e-5", "000"],
            &["1e-400", "0.01e-398"],
            &["0.00000000000000000001"],
            &["0.1", "1e-1", "0.10"],
            &["0.1000000000000000000000001"],
            &["9007199254740992", "9.007199254740992e15"],
            &["9007199254740993", "9007199254740993.000"],
            &["999999999999999999999"],
            &["1e21", "1000000000000000000000", "1E+21"],
        ];
        for (at, left) in rows.iter().enumerate() {
            for (other, right) in rows.iter().enumerate() {
                for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (a, b))) {
                    assert_eq!(order(a, b), Some(at.cmp(&other)), "{a} and {b}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", "+1", " 1", "1 ", "1.", ".5", "1e", "1e+", "0x1", "1_0", "--1", "1e1.5", "nan"]
        {
            assert!(Number::read(text).is_none(), "{text:?}");
            assert_eq!(Number::read("1").and_then(|one| one.order_of(text.as_bytes())), None, "{text:?}");
        }
    }
}
