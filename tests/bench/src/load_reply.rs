//! The requests of the load, and what their answers mean.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Full;
use serde::Deserialize;

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A good answer from this release.
    Release(u8),
    /// No good answer.
    Failed(Failure),
}

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection broke, or there was none.
    Transport,
    /// Not a 2xx status, or an answer that cannot be read: nobody of ours meant to send that.
    Status,
    /// The service itself said that the call failed: a JSON-RPC error, or `isError`.
    Service,
}

const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"vault_stats","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;

/// Makes a request a call of `vault_stats` in the current protocol, which needs no session.
pub(crate) fn make_tool_call(request: &mut Request<Full<Bytes>>) {
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static("/mcp");
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.insert(VERSION, HeaderValue::from_static("2026-07-28"));
    headers.insert(METHOD, HeaderValue::from_static("tools/call"));
    headers.insert(NAME, HeaderValue::from_static("vault_stats"));
    *request.body_mut() = Full::new(Bytes::from_static(CALL.as_bytes()));
}

#[derive(Deserialize)]
struct Reply {
    error: Option<serde::de::IgnoredAny>,
    result: Option<ToolResult>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolResult {
    #[serde(default)]
    is_error: bool,
    structured_content: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    release: u8,
}

/// What the answer to a tool call means.
pub(crate) fn tool(status: StatusCode, body: &[u8]) -> Answer {
    if !status.is_success() {
        return Answer::Failed(Failure::Status);
    }
    match serde_json::from_slice::<Reply>(body) {
        Ok(Reply { error: Some(_), .. } | Reply { result: Some(ToolResult { is_error: true, .. }), .. }) => {
            Answer::Failed(Failure::Service)
        }
        Ok(Reply { result: Some(ToolResult { structured_content: Some(Named { release }), .. }), .. }) => {
            Answer::Release(release)
        }
        _ => Answer::Failed(Failure::Status),
    }
}

/// What the answer of `/healthz` means.
pub(crate) fn health(status: StatusCode, body: &[u8]) -> Answer {
    match serde_json::from_slice::<Named>(body) {
        Ok(Named { release }) if status.is_success() => Answer::Release(release),
        _ => Answer::Failed(Failure::Status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_good_answer_counts_as_one() {
        let good = br#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"structuredContent":{"release":2,"inbox":1}}}"#;
        assert_eq!(tool(StatusCode::OK, good), Answer::Release(2));
        assert_eq!(tool(StatusCode::BAD_GATEWAY, good), Answer::Failed(Failure::Status));
        let error = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"m"}}"#;
        assert_eq!(tool(StatusCode::OK, error), Answer::Failed(Failure::Service));
        let failed = br#"{"jsonrpc":"2.0","id":1,"result":{"isError":true,"structuredContent":{"release":3}}}"#;
        assert_eq!(tool(StatusCode::OK, failed), Answer::Failed(Failure::Service));
        assert_eq!(tool(StatusCode::OK, b"{}"), Answer::Failed(Failure::Status));
        assert_eq!(tool(StatusCode::OK, b"<html>"), Answer::Failed(Failure::Status));
        assert_eq!(health(StatusCode::OK, br#"{"service":"capture","release":1}"#), Answer::Release(1));
        assert_eq!(health(StatusCode::OK, b""), Answer::Failed(Failure::Status));
    }
}
