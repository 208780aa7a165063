//! Known: the formats that have a name.
//!
//! Promises: they compile.
//! Must not know: files.
use super::field::{Absent, Escape, Field, Kind, Piece, kind_of};
use super::layout::{Layout, Lead};
use super::{apache, nginx};
use std::sync::{Arc, LazyLock};

const COMMON: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent"#;
/// The same of a server that asks clients who they are (RFC 1413), which nobody does any more.
const COMMON_IDENT: &str =
    r#"$remote_addr $remote_logname $remote_user [$time_local] "$request" $status $body_bytes_sent"#;
const COMBINED_END: &str = r#" "$http_referer" "$http_user_agent""#;
/// What nginx's own packages call `main`.
const MAIN_END: &str = r#" "$http_referer" "$http_user_agent" "$http_x_forwarded_for""#;
const VHOST_COMBINED: &str = r#"%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i""#;

/// Formats without parameters that lines may be recognised as, the more particular ones first.
pub(super) const NAMES: [&str; 6] = ["vhost_combined", "main", "combined", "common", "haproxy", "squid"];

/// The layout of a name, compiled once; none: there is no such format.
pub(super) fn layout(name: &str) -> Option<Arc<Layout>> {
    static ALL: LazyLock<[Option<Arc<Layout>>; NAMES.len()]> =
        LazyLock::new(|| NAMES.map(|name| compiled(name).map(Arc::new)));
    ALL[NAMES.iter().position(|known| *known == name)?].clone()
}

fn compiled(name: &str) -> Option<Layout> {
    let (lead, ways) = match name {
        "combined" => (Lead::Nothing, either_ident(COMBINED_END)),
        "common" => (Lead::Nothing, either_ident("")),
        "main" => (Lead::Nothing, vec![nginx::read(&format!("{COMMON}{MAIN_END}"))]),
        "vhost_combined" => (Lead::Nothing, vec![apache::read(VHOST_COMBINED, apache::Server::Apache)]),
        "haproxy" => (Lead::Syslog, HAPROXY_CAPTURES.map(|captures| Ok(haproxy(captures))).into()),
        "squid" => (Lead::Nothing, vec![Ok(squid())]),
        _ => return None,
    };
    let ways: Result<Vec<_>, String> = ways.into_iter().collect();
    let layout = ways.and_then(|ways| Layout::new(lead, ways));
    Some(layout.expect("INVARIANT: what stands here compiles; a test compiles it all"))
}

fn either_ident(end: &str) -> Vec<Result<Vec<Piece>, String>> {
    [COMMON, COMMON_IDENT].map(|common| nginx::read(&format!("{common}{end}"))).into()
}

/// HAProxy writes captures when it is configured to; which of the two one is, the line does not say.
const HAPROXY_CAPTURES: [&[&str]; 3] =
    [&[], &["captured_headers"], &["captured_request_headers", "captured_response_headers"]];

/// The httplog of HAProxy (its manual, 8.2.3), whose words the names are.
fn haproxy(captures: &[&str]) -> Vec<Piece> {
    let mut line = Line::of(Escape::Hash);
    line.field("client_ip", Kind::Word, ":").field("client_port", Kind::Digits, " [");
    line.field("request_date", Kind::Time, "] ").field("frontend_name", Kind::Word, " ");
    line.field("backend_name", Kind::Word, "/").field("server_name", Kind::Word, " ");
    for (name, behind) in [("TR", "/"), ("Tw", "/"), ("Tc", "/"), ("Tr", "/"), ("Ta", " ")] {
        line.field(name, Kind::Number, behind);
    }
    line.field("status_code", Kind::Number, " ").field("bytes_read", Kind::Number, " ");
    line.field("captured_request_cookie", Kind::Text, " ").field("captured_response_cookie", Kind::Text, " ");
    line.field("termination_state", Kind::Word, " ");
    let queues = ["actconn", "feconn", "beconn", "srv_conn", "retries", "srv_queue", "backend_queue"];
    for (name, behind) in queues.into_iter().zip(["/", "/", "/", "/", " ", "/", " "]) {
        line.field(name, Kind::Number, behind);
    }
    for name in captures {
        line.literal("{").field(name, Kind::Braced, "} ");
    }
    line.literal("\"").field("http_request", Kind::Request, "\"");
    line.0
}

/// Squid's native access log.
fn squid() -> Vec<Piece> {
    let mut line = Line::of(Escape::None);
    line.field("time", Kind::Number, " ").padded("elapsed", Kind::Number, " ");
    line.field("remote_addr", Kind::Word, " ").field("result_code", Kind::Word, "/");
    line.field("status", Kind::Number, " ").field("bytes_sent", Kind::Number, " ");
    line.field("request_method", Kind::Word, " ").field("request_uri", Kind::Word, " ");
    line.field("remote_user", Kind::Word, " ").field("hierarchy_code", Kind::Word, "/");
    line.field("peer_host", Kind::Word, " ").field("content_type", Kind::Word, "");
    line.0
}

struct Line(Vec<Piece>, Escape);

impl Line {
    fn of(escape: Escape) -> Line {
        Line(Vec::new(), escape)
    }

    fn literal(&mut self, text: &str) -> &mut Line {
        if !text.is_empty() {
            self.0.push(Piece::Literal(text.into()));
        }
        self
    }

    fn field(&mut self, name: &str, kind: Kind, behind: &str) -> &mut Line {
        let (escape, name, spelled) = (self.1, name.to_owned(), name.to_owned());
        self.0.push(Piece::Field(Field { name, spelled, kind, escape, absent: Absent::Dash, padded: false }));
        self.literal(behind)
    }

    fn padded(&mut self, name: &str, kind: Kind, behind: &str) -> &mut Line {
        self.field(name, kind, "");
        if let Some(Piece::Field(field)) = self.0.last_mut() {
            field.padded = true;
        }
        self.literal(behind)
    }
}

/// What a column of a table is.
pub(super) fn column_kind(name: &str) -> Kind {
    match kind_of(name) {
        kind if kind.is_number() => kind,
        _ => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_layout() {
        for name in NAMES {
            assert!(layout(name).is_some_and(|layout| layout.names().len() >= 7), "{name}");
        }
        assert!(layout("nginx").is_none());
    }
}
