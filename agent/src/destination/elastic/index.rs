//! index: the name of the index that a batch goes to.
//!
//! Promises: what is wrong with a name is told when the destination is made; what a placeholder brings that no index may
//! have is replaced.
//! Must not know: requests.
use super::super::text;

/// Beside blanks and control characters, what no name of an index may have.
const FORBIDDEN: &str = "\\/*?\"<>|,#:";
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 255;

/// Says all that is wrong with a template.
///
/// # Errors
/// In plain words.
pub(super) fn check(template: &str) -> Result<(), String> {
    if template.is_empty() {
        return Err("names no index; write the last part of the path as in /logs-{DATE}".into());
    }
    // Placeholders are in upper case.
    let fixed: String = template
        .split('{')
        .flat_map(|part| part.split_once('}').map(|(_, rest)| rest).or(Some(part)))
        .collect();
    let mut wrong = Vec::new();
    if fixed.chars().any(char::is_uppercase) {
        wrong.push("an index has no upper-case letters".to_owned());
    }
    if let Some(bad) = fixed.chars().find(|c| is_forbidden(*c) || *c == '%') {
        wrong.push(format!("an index has no {bad:?}"));
    }
    if template.starts_with(['-', '_', '+']) {
        wrong.push("an index does not begin with -, _ or +".to_owned());
    }
    if template.len() > NAME_BYTES_MAX {
        wrong.push(format!("an index has at most {NAME_BYTES_MAX} bytes"));
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!("{} (here `{template}`)", wrong.join(", "))),
    }
}

fn is_forbidden(c: char) -> bool {
    c.is_whitespace() || c.is_control() || FORBIDDEN.contains(c)
}

/// The index of a batch, as a segment of a URL. `name`: the batch's, which begins with its index.
pub(super) fn of(name: &str) -> String {
    let index = name.rsplit_once('/').map_or(name, |(index, _)| index);
    // What a host or a job is called is not what an index may be called.
    let fit = |c: char| if is_forbidden(c) { "_".to_owned() } else { c.to_lowercase().collect() };
    text::encode_all(&index.chars().map(fit).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_with_a_name_is_told() {
        for good in ["logs", "logs-{DATE}", "{DATASET}", "a.b_c-{JOB}-{HOST}", "métriques-{DATE}"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, word) in [
            ("", "names no index"),
            ("Logs-{DATE}", "upper-case"),
            ("logs {DATE}", "' '"),
            ("logs%20", "'%'"),
            ("logs:{DATE}", "':'"),
            ("_logs", "begin"),
            ("+{DATE}", "begin"),
        ] {
            let told = check(bad).expect_err(bad);
            assert!(told.contains(word), "{bad}: {told}");
        }
        let both = check("-A*").unwrap_err();
        assert!(both.contains("upper-case") && both.contains("'*'") && both.contains("begin"), "{both}");
        assert!(check(&"x".repeat(256)).is_err() && check(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn a_batchs_name_begins_with_its_index() {
        for (name, index) in [
            ("logs-20261121/20261121T101112Z_20261121T101113Z_00ff.log.gz", "logs-20261121"),
            ("Edge 1-12-My Job/x/y.log", "edge_1-12-my_job_x"),
            ("é/x.log", "%C3%A9"),
        ] {
            assert_eq!(of(name), index);
        }
    }
}
