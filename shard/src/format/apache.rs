//! Apache httpd's `LogFormat` and varnishncsa's `-F`: one language, two sets of directives.
//!
//! Promises: directives have the names that nginx gives to the same thing, so that filters and fields are the same for
//! all servers; a directive that is not known is named.
//! Must not know: how lines are read.
use super::field::{Absent, Escape, Field, Kind, Piece, plain_name};

/// Whose directives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    Apache,
    Varnish,
}

/// Reads a LogFormat: the directive, its quoted string, or the bare text.
///
/// # Errors
/// What is wrong and what to do.
pub(super) fn read(text: &str, server: Server) -> Result<Vec<Piece>, String> {
    let format = unquoted(text)?;
    let mut pieces = Vec::new();
    let mut literal = Vec::new();
    let mut rest = format.as_str();
    while let Some(at) = rest.find('%') {
        literal.extend(rest[..at].bytes());
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            literal.push(b'%');
            rest = after;
            continue;
        }
        let directive = Directive::read(rest)?;
        let field = directive.field(server)?;
        rest = &rest[directive.len..];
        let clock = field.kind == Kind::Time;
        literal.extend(if clock { &b"["[..] } else { b"" });
        push_literal(&mut literal, &mut pieces);
        pieces.push(Piece::Field(field));
        literal.extend(if clock { &b"]"[..] } else { b"" });
    }
    literal.extend(rest.bytes());
    push_literal(&mut literal, &mut pieces);
    Ok(pieces)
}

fn push_literal(literal: &mut Vec<u8>, pieces: &mut Vec<Piece>) {
    if !literal.is_empty() {
        pieces.push(Piece::Literal(std::mem::take(literal)));
    }
}

/// The text between a directive's quotes, or the whole text; `\"` is a quote in either.
fn unquoted(text: &str) -> Result<String, String> {
    let text = text.trim();
    let keyword = ["LogFormat", "TransferLog"].iter().find_map(|word| text.strip_prefix(word));
    let text = keyword.unwrap_or(text).trim_start();
    let quoted = keyword.is_some() || text.starts_with('"') && text.contains("\\\"");
    let body =
        if quoted { text.strip_prefix('"').ok_or("needs a quoted text behind LogFormat")? } else { text };
    let mut format = String::new();
    let mut chars = body.chars();
    loop {
        match chars.next() {
            Some('\\') => match chars.next() {
                Some('n') => format.push('\n'),
                Some('t') => format.push('\t'),
                Some(c @ ('"' | '\\')) => format.push(c),
                Some(c) => format.extend(['\\', c]),
                None => format.push('\\'),
            },
            Some('"') if quoted => return Ok(format),
            Some('\n') => return Err("has a line break: a LogFormat is one line".into()),
            Some(c) => format.push(c),
            None if quoted => return Err("has a quote that nothing closes".into()),
            None => return Ok(format),
        }
    }
}

/// `%>s`, `%{Referer}i`, `%400,501{User-agent}i`.
struct Directive<'a> {
    spelled: &'a str,
    original: bool,
    argument: Option<&'a str>,
    letter: &'a str,
    /// Bytes behind the percent sign.
    len: usize,
}

impl<'a> Directive<'a> {
    fn read(text: &'a str) -> Result<Directive<'a>, String> {
        let mut at =
            text.find(|c: char| !matches!(c, '0'..='9' | '!' | ',' | '<' | '>')).unwrap_or(text.len());
        let original = text[..at].contains('<');
        let mut argument = None;
        if let Some(rest) = text[at..].strip_prefix('{') {
            let end = rest.find('}').ok_or_else(|| format!("has %{text} without a }}"))?;
            argument = Some(&rest[..end]);
            at += end + 2;
        }
        let width = if text[at..].starts_with('^') { 3 } else { 1 };
        let letter = text.get(at..at + width).ok_or_else(|| format!("has %{text}, which ends too early"))?;
        let len = at + width;
        Ok(Directive { spelled: &text[..len], original, argument, letter, len })
    }

    fn field(&self, server: Server) -> Result<Field, String> {
        let (name, kind) = match server {
            Server::Apache => self.apache(),
            Server::Varnish => self.varnish(),
        }
        .ok_or_else(|| {
            let whose = if server == Server::Apache { "Apache's LogFormat" } else { "varnishncsa" };
            format!("has %{}, which is no directive of {whose}", self.spelled)
        })?;
        let spelled = format!("%{}", self.spelled);
        Ok(Field { name, spelled, kind, escape: Escape::C, absent: Absent::Dash, padded: false })
    }

    fn common(&self) -> Option<(String, Kind)> {
        let named = |prefix: &str| Some((prefix.to_owned() + &plain_name(self.argument?), Kind::Text));
        let (name, kind) = match self.letter {
            "h" => ("remote_addr", Kind::Word),
            "l" => ("remote_logname", Kind::Word),
            "u" => ("remote_user", Kind::Text),
            "t" => return Some(self.time()),
            "r" => ("request", Kind::Request),
            "s" => ("status", Kind::Number),
            "b" => ("body_bytes_sent", Kind::Number),
            "D" => ("request_time_us", Kind::Number),
            "T" => match self.argument {
                Some("ms") => ("request_time_ms", Kind::Number),
                Some("us") => ("request_time_us", Kind::Number),
                _ => ("request_time", Kind::Number),
            },
            "H" => ("server_protocol", Kind::Word),
            "I" => ("bytes_received", Kind::Number),
            "O" => ("bytes_sent", Kind::Number),
            "m" => ("request_method", Kind::Word),
            "q" => ("args", Kind::Text),
            "U" => ("uri", Kind::Text),
            "i" => return named("http_"),
            "o" => return named("sent_http_"),
            _ => return None,
        };
        Some((name.to_owned(), kind))
    }

    /// `%t` has its brackets around it; with an argument it is what strftime makes.
    fn time(&self) -> (String, Kind) {
        let Some(argument) = self.argument else { return ("time_local".into(), Kind::Time) };
        let format = argument.strip_prefix("begin:").or(argument.strip_prefix("end:")).unwrap_or(argument);
        match format {
            "sec" | "msec" | "usec" | "msec_frac" | "usec_frac" => (format!("time_{format}"), Kind::Number),
            _ => ("time".into(), Kind::Text),
        }
    }

    fn apache(&self) -> Option<(String, Kind)> {
        let named = |prefix: &str| Some((prefix.to_owned() + &plain_name(self.argument?), Kind::Text));
        let (name, kind) = match self.letter {
            "a" if self.argument == Some("c") => ("peer_addr", Kind::Word),
            "a" => ("remote_addr", Kind::Word),
            "A" => ("server_addr", Kind::Word),
            "B" => ("body_bytes_sent", Kind::Number),
            "f" => ("request_filename", Kind::Text),
            "h" if self.argument == Some("c") => ("peer_host", Kind::Word),
            "k" => ("keepalive_requests", Kind::Number),
            "L" => ("log_id", Kind::Text),
            "p" if self.argument == Some("remote") => ("remote_port", Kind::Digits),
            "p" => ("server_port", Kind::Digits),
            "P" if self.argument.is_some_and(|of| of != "pid") => ("tid", Kind::Text),
            "P" => ("pid", Kind::Number),
            "R" => ("handler", Kind::Text),
            "s" if self.original => ("status_original", Kind::Number),
            "S" => ("bytes_total", Kind::Number),
            "v" => ("server_name", Kind::Word),
            "V" => ("host", Kind::Text),
            "X" => ("connection_status", Kind::Text),
            "C" => return named("cookie_"),
            "e" => return named("env_"),
            "n" => return named("note_"),
            "x" => return named(""),
            "c" => return named("ssl_"),
            "^ti" => return named("trailer_"),
            "^to" => return named("sent_trailer_"),
            _ => return self.common(),
        };
        Some((name.to_owned(), kind))
    }

    fn varnish(&self) -> Option<(String, Kind)> {
        let (name, kind) = match (self.letter, self.argument) {
            ("F", _) => ("request_time_frac".to_owned(), Kind::Number),
            ("x", Some(argument)) => match argument.split_once(':') {
                Some(("Varnish", of @ ("time_firstbyte" | "vxid"))) => (of.to_owned(), Kind::Number),
                Some(("Varnish", of)) => (plain_name(of), Kind::Text),
                Some((of @ ("VCL_Log" | "VSL"), key)) => (plain_name(&format!("{of}_{key}")), Kind::Text),
                _ => return None,
            },
            _ => return self.common(),
        };
        Some((name, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, server: Server) -> String {
        match read(text, server) {
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
    fn a_format_may_be_pasted_as_it_stands_in_httpd_conf() {
        let expected = "<remote_addr> <remote_logname> <remote_user> [<time_local>] \"<request>\" <status> 5% <http_user_agent>";
        for text in [
            r#"LogFormat "%h %l %u %t \"%r\" %>s 5%% %{User-Agent}i" mine"#,
            r#""%h %l %u %t \"%r\" %>s 5%% %{User-Agent}i""#,
            r#"%h %l %u %t \"%r\" %>s 5%% %!400,501{User-Agent}i"#,
            r#"%h %l %u %t "%r" %>s 5%% %{User-Agent}i"#,
        ] {
            assert_eq!(shown(text, Server::Apache), expected, "{text}");
        }
        let odd = r"%v:%p %{c}a %<s %{ms}T %{%Y}t %{begin:usec}t %{SSL_PROTOCOL}x %^FB";
        assert!(shown(odd, Server::Apache).contains("%^FB, which is no directive"));
        assert_eq!(
            shown(&odd[..odd.len() - 5], Server::Apache),
            "<server_name>:<server_port> <peer_addr> <status_original> <request_time_ms> <time> <time_usec> <ssl_protocol>"
        );
    }

    #[test]
    fn varnish_has_directives_of_its_own() {
        let text = r#"%h %t "%r" %s %b %{Varnish:time_firstbyte}x %{Varnish:hitmiss}x %{VCL_Log:My-Key}x %{VSL:Begin[2]}x"#;
        assert_eq!(
            shown(text, Server::Varnish),
            r#"<remote_addr> [<time_local>] "<request>" <status> <body_bytes_sent> <time_firstbyte> <hitmiss> <vcl_log_my_key> <vsl_begin_2_>"#
        );
        assert!(shown("%v", Server::Varnish).contains("%v, which is no directive of varnishncsa"));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(shown("LogFormat %h", Server::Apache).contains("needs a quoted text"));
        assert!(shown("LogFormat \"%h", Server::Apache).contains("nothing closes"));
        assert!(shown("%{Referer", Server::Apache).contains("without a }"));
        assert!(shown("%h %", Server::Apache).contains("ends too early"));
        assert!(shown("%h\n%u", Server::Apache).contains("one line"));
    }
}
