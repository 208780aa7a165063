//! Nearest: the name that somebody probably meant.
//!
//! Promises: none is suggested that shares less than about two thirds with what was written.
//! Must not know: what the names are of.
use crate::nearest::distance;

/// The nearest of `names`, if one is near.
pub(super) fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    let far = lower.chars().count() / 3 + 1;
    let with_distance = |name: &'a str| (distance(lower.chars(), name.to_lowercase().chars()), name);
    names.into_iter().map(with_distance).filter(|(distance, _)| *distance <= far).min().map(|(_, name)| name)
}

/// `, nearest is `name``, or nothing.
pub(super) fn hint<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wrong, names).map(|name| format!("; the nearest name is `{name}`")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_nonsense_is_not() {
        let names = ["field_names", "record_prefix", "record_suffix", "rename"];
        assert_eq!(nearest("fieldnames", names), Some("field_names"));
        assert_eq!(nearest("Record_Sufix", names), Some("record_suffix"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(distance("kitten".chars(), "sitting".chars()), 3);
    }
}
