//! nginx's `log_format`, as an operator pastes it: the whole directive, its quoted strings, or the bare text.
//!
//! Promises: what nginx reads means the same here; a mistake is named with its place and the remedy.
//! Must not know: how lines are read.
use super::field::{Absent, Escape, Field, Piece, kind_of};

/// Reads a log_format.
///
/// # Errors
/// What is wrong, where, and what to do.
pub(super) fn read(text: &str) -> Result<Vec<Piece>, String> {
    let text = text.trim();
    let mut escape = "default".to_owned();
    let directive = text.strip_prefix("log_format").filter(|rest| rest.starts_with(char::is_whitespace));
    let format = match directive {
        Some(rest) => {
            let mut words = words(rest)?;
            if words.is_empty() {
                return Err("has log_format without a name and a text".into());
            }
            words.remove(0);
            take_escape(&mut words, &mut escape);
            words.concat()
        }
        None => bare(text, &mut escape)?,
    };
    pieces(&format, escape_of(&escape)?)
}

fn take_escape(words: &mut Vec<String>, escape: &mut String) {
    if let Some(of) = words.first().and_then(|word| word.strip_prefix("escape=")) {
        of.clone_into(escape);
        words.remove(0);
    }
}

/// A text without the directive around it: quoted strings as they stand in nginx.conf, or the format itself.
fn bare(text: &str, escape: &mut String) -> Result<String, String> {
    let mut rest = text;
    if let Some(after) = text.strip_prefix("escape=") {
        let end = after.find(char::is_whitespace).ok_or("has nothing behind escape=")?;
        after[..end].clone_into(escape);
        rest = after[end..].trim_start();
    }
    let one_string = || {
        rest.starts_with('"')
            && rest.trim_end_matches(';').trim_end().len() > 1
            && words(rest).is_ok_and(|words| words.len() == 1)
    };
    // A text that begins with a double quote may be the format itself: its first field is quoted.
    if rest.starts_with('\'') || rest.starts_with('"') && rest.contains('\n') || one_string() {
        return Ok(words(rest)?.concat());
    }
    match rest.find('\n') {
        Some(at) => Err(format!(
            "has a line break after \"{}\": paste the directive from log_format to its semicolon, with its quotes",
            rest[..at].trim_end()
        )),
        None => Ok(rest.to_owned()),
    }
}

/// The words of a directive up to its semicolon, unquoted as nginx does it.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some(&(at, first)) = chars.peek() {
        match first {
            _ if first.is_whitespace() => _ = chars.next(),
            ';' => return Ok(words),
            '#' => while chars.next_if(|(_, c)| *c != '\n').is_some() {},
            '\'' | '"' => {
                chars.next();
                words.push(quoted(&mut chars, first).ok_or_else(|| {
                    format!(
                        "has a {first} at character {} that nothing closes",
                        text[..at].chars().count() + 1
                    )
                })?);
            }
            _ => {
                let mut word = String::new();
                while let Some((_, c)) = chars.next_if(|(_, c)| !c.is_whitespace() && *c != ';') {
                    word.push(c);
                }
                words.push(word);
            }
        }
    }
    Ok(words)
}

fn quoted(chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>, quote: char) -> Option<String> {
    let mut word = String::new();
    loop {
        match chars.next()?.1 {
            c if c == quote => return Some(word),
            '\\' => match chars.next()?.1 {
                c @ ('"' | '\'' | '\\') => word.push(c),
                't' => word.push('\t'),
                'r' => word.push('\r'),
                'n' => word.push('\n'),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

fn escape_of(word: &str) -> Result<(Escape, Absent), String> {
    match word {
        "default" => Ok((Escape::C, Absent::Dash)),
        "json" => Ok((Escape::Json, Absent::Empty)),
        "none" => Ok((Escape::None, Absent::Empty)),
        other => Err(format!("has escape={other}, which must be default, json or none")),
    }
}

fn pieces(text: &str, (escape, absent): (Escape, Absent)) -> Result<Vec<Piece>, String> {
    if text.trim_start().starts_with('{') && text.trim_end().ends_with('}') && text.contains("\":") {
        return Err("is a log_format that writes JSON: set EDGEPUSH_FORMAT=json".into());
    }
    let mut pieces = Vec::new();
    let mut parts = text.split('$');
    let literal = |text: &str, pieces: &mut Vec<Piece>| {
        if !text.is_empty() {
            pieces.push(Piece::Literal(text.as_bytes().to_vec()));
        }
    };
    literal(parts.next().unwrap_or_default(), &mut pieces);
    for part in parts {
        let (name, rest) = match part.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or_else(|| format!("has ${{{braced} without a }}"))?,
            None => {
                let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
                part.split_at(end)
            }
        };
        if name.is_empty() {
            return Err(format!("has a $ without a name before \"{rest}\""));
        }
        let (name, spelled) = (name.to_owned(), format!("${name}"));
        let kind = kind_of(&name);
        pieces.push(Piece::Field(Field { name, spelled, kind, escape, absent, padded: false }));
        literal(rest, &mut pieces);
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match read(text) {
            Err(why) => format!("! {why}"),
            Ok(pieces) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Literal(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    Piece::Field(field) => format!("<{}>", field.name),
                })
                .collect(),
        }
    }

    #[test]
    fn a_format_may_be_pasted_as_it_stands_in_nginx_conf() {
        let expected = "<remote_addr> [<time_local>] \"<request>\" it's";
        for text in [
            r#"$remote_addr [$time_local] "$request" it's"#,
            r#"'$remote_addr [$time_local] "$request" it\'s'"#,
            r#"'$remote_addr [$time_local] "$request" it\'s';"#,
            "log_format main '$remote_addr [$time_local] '\n    '\"$request\" it\\'s';",
            "log_format  main escape=default  '$remote_addr ' # the client\n \"[${time_local}] \\\"$request\\\" it's\" ;\n",
            "escape=default '$remote_addr [$time_local] \"$request\" it\\'s'",
            r#"escape=default $remote_addr [$time_local] "$request" it's"#,
            r#""$remote_addr [$time_local] \"$request\" it's""#,
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        assert_eq!(shown(r#""$remote_addr" "$request""#), r#""<remote_addr>" "<request>""#);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(
            shown("log_format x '$a").contains("' at character 4 that nothing closes"),
            "{}",
            shown("log_format x '$a")
        );
        assert!(shown("$a $").contains("a $ without a name"));
        assert!(shown("${a b").contains("without a }"));
        assert!(shown("escape=xml '$a'").contains("default, json or none"));
        assert!(shown("$a\n$b").contains("line break after \"$a\""));
        assert!(shown("log_format x escape=json '{\"a\":\"$b\"}'").contains("EDGEPUSH_FORMAT=json"));
    }

    #[test]
    fn escapes_are_obeyed() {
        let escape = |text: &str| match &read(text).unwrap()[0] {
            Piece::Field(field) => (field.escape, field.absent),
            Piece::Literal(_) => unreachable!("a field comes first"),
        };
        assert_eq!(escape("log_format x escape=json '$a'"), (Escape::Json, Absent::Empty));
        assert_eq!(escape("escape=none '$a'"), (Escape::None, Absent::Empty));
        assert_eq!(escape("$a"), (Escape::C, Absent::Dash));
    }
}
