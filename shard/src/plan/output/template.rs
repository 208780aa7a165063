//! Template: the part of Go's text/template that a `record_template` may use.
//!
//! Fields `{{ .Name }}`, constants `{{ "text" }}` and ``{{ `text` }}``, comments `{{/* … */}}`, and text around them.
//! Promises: whatever else Go's templates have is refused by its name; nothing is guessed.
//! Must not know: which fields there are, how values are written.

/// A template that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// As it was written.
    pub source: String,
    /// What it is made of; neighbouring texts are one.
    pub tokens: Vec<Token>,
}

/// One part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// Text as it goes out.
    Text(String),
    /// A field's value.
    Field(String),
}

/// Words by which Go's template language does more than we do.
const KEYWORDS: [&str; 10] =
    ["if", "range", "with", "template", "define", "block", "end", "else", "break", "continue"];

impl Template {
    /// Reads a template; the error is a sentence for whoever wrote it.
    pub fn parse(source: &str) -> Result<Template, String> {
        let mut tokens = Vec::new();
        let mut rest = source;
        while let Some(open) = rest.find("{{") {
            text(&mut tokens, &rest[..open]);
            let at = source.len() - rest.len() + open;
            let place =
                |problem: String| format!("{problem} (at character {})", source[..at].chars().count() + 1);
            rest = action(&rest[open + 2..], &mut tokens).map_err(place)?;
        }
        text(&mut tokens, rest);
        Ok(Template { source: source.to_owned(), tokens })
    }

    /// The fields that it names.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Field(name) => Some(name.as_str()),
            Token::Text(_) => None,
        })
    }
}

fn text(tokens: &mut Vec<Token>, more: &str) {
    match tokens.last_mut() {
        _ if more.is_empty() => {}
        Some(Token::Text(text)) => text.push_str(more),
        _ => tokens.push(Token::Text(more.to_owned())),
    }
}

/// Reads an action from behind its `{{`; what follows its `}}`.
fn action<'a>(rest: &'a str, tokens: &mut Vec<Token>) -> Result<&'a str, String> {
    if rest.starts_with('-') {
        return Err(TRIMS.into());
    }
    if let Some(comment) = rest.strip_prefix("/*") {
        let (_, rest) = comment.split_once("*/").ok_or("a comment `{{/*` without its `*/}}`")?;
        return rest.strip_prefix("}}").ok_or("a comment must end with `*/}}`, nothing between".into());
    }
    let inside = rest.trim_start();
    let rest = match inside.chars().next() {
        Some('"') => {
            let (constant, rest) = interpreted(&inside[1..])?;
            text(tokens, &constant);
            rest
        }
        Some('`') => {
            let (constant, rest) = inside[1..].split_once('`').ok_or("a constant without its closing ```")?;
            // As Go has it: carriage returns are no part of a raw string.
            text(tokens, &constant.replace('\r', ""));
            rest
        }
        Some('.') => {
            let (name, rest) = field(&inside[1..])?;
            tokens.push(Token::Field(name.to_owned()));
            rest
        }
        _ => return Err(refused(inside)),
    };
    let end = rest.trim_start();
    if end.starts_with("-}}") {
        return Err(TRIMS.into());
    }
    if end.starts_with('|') {
        return Err("pipes (`|`) are not supported: an action is one field or one constant".into());
    }
    end.strip_prefix("}}").ok_or("an action is one field or one constant, then `}}`".into())
}

const TRIMS: &str = "`{{-` and `-}}` are not supported: leave the spaces out of the template instead";

/// The name behind a dot.
fn field(rest: &str) -> Result<(&str, &str), String> {
    let named = |c: char| c.is_alphanumeric() || "_.@-/".contains(c);
    let end = rest.find(|c| !named(c)).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    // `{{ .A -}}` is a trim, and so is `{{.A-}}` to whoever writes it.
    match name.strip_suffix('-') {
        Some(_) if rest.starts_with("}}") => Err(TRIMS.into()),
        _ if name.is_empty() => Err("`{{.}}`, the whole record, is not supported: name a field".into()),
        _ if name.split('.').any(str::is_empty) => Err(format!("`.{name}` is no field name")),
        _ => Ok((name, rest)),
    }
}

/// Why an action that is neither field nor constant nor comment is refused.
fn refused(inside: &str) -> String {
    let word: String = inside.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    match inside.chars().next() {
        None => "`{{` without its `}}`; to write the braces themselves: {{\"{{\"}}".into(),
        Some('}') if inside.starts_with("}}") => "an empty action `{{}}`: name a field".into(),
        Some('$') => "variables (`$…`) are not supported".into(),
        Some('(') => "parentheses are not supported: an action is one field or one constant".into(),
        _ if KEYWORDS.contains(&word.as_str()) => {
            format!("`{word}` is not supported: a template has fields, constants and comments only")
        }
        _ if word.starts_with(|c: char| c.is_ascii_digit()) => {
            "numbers are no constants here: write them as text, outside the braces".into()
        }
        _ if word.is_empty() => "an action is `{{ .Field }}` or `{{ \"constant\" }}`".into(),
        _ => format!("functions are not supported; the field `{word}` is written {{{{ .{word} }}}}"),
    }
}

/// An interpreted string of Go's, from behind its quote; what follows its closing quote.
fn interpreted(rest: &str) -> Result<(String, &str), String> {
    let mut bytes = Vec::new();
    let mut at = 0;
    loop {
        match rest[at..].chars().next() {
            None | Some('\n') => return Err("a constant without its closing `\"`".into()),
            Some('"') => break,
            Some('\\') => {
                let (piece, len) = escape(&rest[at + 1..]).ok_or_else(|| {
                    let shown: String = rest[at..].chars().take(2).collect();
                    format!("`{shown}` is no escape of Go's strings; for text without escapes use `…`")
                })?;
                bytes.extend(piece);
                at += 1 + len;
            }
            Some(c) => {
                bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                at += c.len_utf8();
            }
        }
    }
    let constant =
        String::from_utf8(bytes).map_err(|_| "a constant's escapes give bytes that are no UTF-8")?;
    Ok((constant, &rest[at + 1..]))
}

/// What an escape stands for, and its length, from behind its backslash.
fn escape(rest: &str) -> Option<(Vec<u8>, usize)> {
    let first = rest.chars().next()?;
    let number = |from: usize, len: usize, radix: u32| {
        let digits = rest.get(from..from + len).filter(|digits| digits.chars().all(|c| c.is_digit(radix)))?;
        u32::from_str_radix(digits, radix).ok()
    };
    let one = |byte: u8| Some((vec![byte], 1));
    let text = |code: u32, len| Some((char::from_u32(code)?.to_string().into_bytes(), len));
    match first {
        'a' => one(7),
        'b' => one(8),
        't' => one(b'\t'),
        'n' => one(b'\n'),
        'v' => one(11),
        'f' => one(12),
        'r' => one(b'\r'),
        '\\' | '"' => one(first as u8),
        '0'..='7' => Some((vec![u8::try_from(number(0, 3, 8)?).ok()?], 3)),
        'x' => Some((vec![number(1, 2, 16)? as u8], 3)),
        'u' => text(number(1, 4, 16)?, 5),
        'U' => text(number(1, 8, 16)?, 9),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(source: &str) -> Vec<Token> {
        Template::parse(source).unwrap_or_else(|problem| panic!("{source}: {problem}")).tokens
    }

    fn one(source: &str) -> String {
        match tokens(source).as_slice() {
            [Token::Text(text)] => text.clone(),
            other => panic!("{source}: {other:?}"),
        }
    }

    #[test]
    fn fields_texts_and_comments() {
        let text = |text: &str| Token::Text(text.into());
        let field = |name: &str| Token::Field(name.into());
        assert_eq!(tokens(""), []);
        assert_eq!(tokens("{{/* nothing {{ */}}"), []);
        assert_eq!(
            tokens("\"ip\":{{ .ClientIP }},{{/* a */}}\"x\":{{.a.b.0}}}}"),
            [text("\"ip\":"), field("ClientIP"), text(",\"x\":"), field("a.b.0"), text("}}")]
        );
        assert_eq!(tokens("{{\n.@timestamp\t}}{{.user-agent }}"), [field("@timestamp"), field("user-agent")]);
    }

    #[test]
    fn constants_are_gos() {
        assert_eq!(one(r#"a{{ "{{" }}b{{`}}\n"`}}"#), r#"a{{b}}\n""#);
        assert_eq!(one(r#"{{"\a\b\t\n\v\f\r\\\""}}"#), "\x07\x08\t\n\x0b\x0c\r\\\"");
        assert_eq!(one(r#"{{"\x41\101\u00e9\U0001f600\xc3\xa9"}}"#), "AA\u{e9}\u{1f600}\u{e9}");
        assert_eq!(one("{{`a\r\nb`}}"), "a\nb");
    }

    #[test]
    fn what_is_more_than_that_is_refused_by_name() {
        for (source, word) in [
            ("{{", "without"),
            ("ab{{ }}", "empty action"),
            ("{{.}}", "whole record"),
            ("{{ . }}", "whole record"),
            ("{{.a..b}}", "no field name"),
            ("{{.a.}}", "no field name"),
            ("{{- .a }}", "`{{-`"),
            ("{{ .a -}}", "`-}}`"),
            ("{{.a-}}", "`-}}`"),
            ("{{- /* c */ -}}", "`{{-`"),
            ("{{/* c */ }}", "comment"),
            ("{{/* c", "comment"),
            ("{{if .a}}x{{end}}", "`if`"),
            ("{{range .a}}", "`range`"),
            ("{{ template \"x\" }}", "`template`"),
            ("{{printf .a}}", "functions"),
            ("{{ClientIP}}", "{{ .ClientIP }}"),
            ("{{.a | html}}", "pipes"),
            ("{{.a .b}}", "one field"),
            ("{{(.a)}}", "parentheses"),
            ("{{$x}}", "variables"),
            ("{{12}}", "numbers"),
            ("{{'a'}}", "an action is"),
            ("{{\"a}}", "closing"),
            ("{{\"a\nb\"}}", "closing"),
            ("{{`a}}", "closing"),
            (r#"{{"\q"}}"#, "no escape"),
            (r#"{{"\xff"}}"#, "UTF-8"),
            (r#"{{"\ud800"}}"#, "no escape"),
            ("{{.a", "then `}}`"),
        ] {
            let problem = Template::parse(source).expect_err(source);
            assert!(problem.contains(word), "{source}: {problem}");
        }
        assert!(Template::parse("é{{.}}").expect_err("a dot").ends_with("(at character 2)"));
    }
}
