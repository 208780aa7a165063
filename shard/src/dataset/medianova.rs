//! The fields of Medianova's Real-Time Logpush, as far as its pages name them; its list is not complete there.
//!
//! Promises: sorted by name. The pages do not give types: numbers are what is counted or measured.
use super::{Field, FieldType, field};

/// All that are known.
pub(super) const FIELDS: &[Field] = &[
    field("account_type", FieldType::String, "Type of the customer's account."),
    field("asn", FieldType::Int, "Number of the autonomous system that the client's address belongs to."),
    field("body_bytes_sent", FieldType::Int, "Bytes of the response's body sent to the client."),
    field("body_received", FieldType::Int, "Bytes of the request's body received from the client."),
    field("bytes_sent", FieldType::Int, "Bytes sent to the client, headers and body."),
    field("content_type", FieldType::String, "Media type of the response."),
    field("country_code", FieldType::String, "Country of the client, two letters of ISO 3166-1."),
    field("http_host", FieldType::String, "Host that the request names."),
    field("http_protocol", FieldType::String, "Version of HTTP that the client speaks."),
    field("http_referrer", FieldType::String, "Page from which the request came, as the client says."),
    field("http_user_agent", FieldType::String, "Name of the client's software, as it says."),
    field("isp", FieldType::String, "Internet provider of the client."),
    field(
        "proxy_cache_status",
        FieldType::String,
        "What the cache said: HIT, MISS, BYPASS, EXPIRED or STALE.",
    ),
    field("remote_addr", FieldType::String, "Address of the client."),
    field("remote_port", FieldType::Int, "Port of the client."),
    field("request_id", FieldType::String, "Id of the request, given at the edge."),
    field("request_method", FieldType::String, "Method of the request."),
    field("request_param", FieldType::String, "Query string of the request."),
    field("request_time", FieldType::Float, "Seconds that the edge took for the whole request."),
    field(
        "request_uri",
        FieldType::String,
        "Path and query string of the request, as the client wrote them.",
    ),
    field("scheme", FieldType::String, "http or https."),
    field("sent_http_content_length", FieldType::Int, "Content-Length of the response."),
    field("server_name", FieldType::String, "Name of the virtual server that answered."),
    field("status", FieldType::Int, "Status code of the response."),
    field("tcp_info_rtt", FieldType::Int, "Round-trip time of the client's connection, ms."),
    field("tcp_info_rtt_var", FieldType::Int, "How much that round-trip time varies."),
    field("timestamp", FieldType::Time, "When the edge received the request, UTC."),
    field("upstream_response_time", FieldType::Float, "Seconds until the origin had answered."),
];
