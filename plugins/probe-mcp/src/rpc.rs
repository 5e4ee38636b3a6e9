//! JSON-RPC messages inside HTTP answers: plain, in a stream of events, or not there at all.

use basb_plugin::http::Response;
use serde_json::Value;

/// A JSON-RPC error.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    pub(crate) message: String,
    pub(crate) data: Value,
}

impl std::fmt::Display for RpcError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error {}: {}", self.code, self.message)
    }
}

/// What a request was answered with.
pub(crate) type Message = Result<Value, RpcError>;

/// The answer to the request with this id; nothing where the body is empty or not recognised.
pub(crate) fn answer(response: &Response, id: u64) -> Option<Message> {
    let kind = response.header("content-type").unwrap_or_default().to_ascii_lowercase();
    let text = response.text();
    if kind.starts_with("text/event-stream") {
        return events(&text).iter().find_map(|data| in_document(data, id));
    }
    // Servers forget the content type; what is JSON is taken as JSON.
    in_document(text.trim_start_matches('\u{feff}'), id)
}

fn in_document(text: &str, id: u64) -> Option<Message> {
    match serde_json::from_str(text).ok()? {
        // Protocol 2025-03-26 allows batches.
        Value::Array(batch) => batch.iter().find_map(|message| in_message(message, id)),
        message => in_message(&message, id),
    }
}

fn in_message(message: &Value, id: u64) -> Option<Message> {
    if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") || message.get("method").is_some() {
        return None;
    }
    let to = message.get("id").unwrap_or(&Value::Null);
    let ours = to.as_u64() == Some(id);
    if let Some(error) = message.get("error") {
        // A server that could not read the request does not know its id.
        let error = RpcError {
            code: error.get("code").and_then(Value::as_i64)?,
            message: error.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
            data: error.get("data").cloned().unwrap_or_default(),
        };
        return (ours || to.is_null()).then_some(Err(error));
    }
    if ours { message.get("result").cloned().map(Ok) } else { None }
}

/// The data of each event of a stream (WHATWG HTML, 9.2.6). A last event without its empty line counts as well: the
/// connection was closed after it.
fn events(text: &str) -> Vec<String> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    let mut events = Vec::new();
    let mut data: Vec<&str> = Vec::new();
    for line in text.split('\n').chain([""]) {
        if line.is_empty() {
            if !data.is_empty() {
                events.push(data.join("\n"));
                data.clear();
            }
            continue;
        }
        // A line that begins with a colon is a comment: its field has no name.
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            data.push(value.strip_prefix(' ').unwrap_or(value));
        }
    }
    events
}

/// A header's value, encoded where it is not plain (MCP 2026-07-28, Streamable HTTP, "Value Encoding").
pub(crate) fn header_value(value: &str) -> String {
    let plain = value.bytes().all(|byte| (0x20..=0x7e).contains(&byte) || byte == b'\t')
        && value.trim_matches([' ', '\t']) == value
        && !(value.starts_with("=?base64?") && value.ends_with("?="));
    if plain { value.to_owned() } else { format!("=?base64?{}?=", base64(value.as_bytes())) }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let six = (bits >> (18 - 6 * place)) & 63;
            let letter = ALPHABET.get(usize::try_from(six).unwrap_or(0)).copied().unwrap_or(b'A');
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// The headers that a tool wants its arguments mirrored into (`x-mcp-header`, the same document).
pub(crate) fn mirrored(tool: &Value, arguments: &Value) -> Result<Vec<(String, String)>, String> {
    let mut found: Vec<(String, String)> = Vec::new();
    if let Some(schema) = tool.get("inputSchema") {
        mirror(schema, Some(arguments), &mut found)?;
    }
    Ok(found)
}

fn mirror(schema: &Value, value: Option<&Value>, found: &mut Vec<(String, String)>) -> Result<(), String> {
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let value = value.and_then(|value| value.get(name));
        if let Some(header) = property.get("x-mcp-header") {
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            let header = header.as_str().filter(|name| !name.is_empty() && name.bytes().all(token));
            let header = format!("Mcp-Param-{}", header.ok_or_else(|| format!("`{name}` has no valid x-mcp-header"))?);
            if found.iter().any(|(known, _)| known.eq_ignore_ascii_case(&header)) {
                return Err(format!("two parameters are mirrored into {header}"));
            }
            match value {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => found.push((header, header_value(text))),
                Some(Value::Bool(_)) => found.push((header, value.map(Value::to_string).unwrap_or_default())),
                Some(Value::Number(number)) if !number.is_f64() => found.push((header, number.to_string())),
                Some(_) => return Err(format!("`{name}` cannot be mirrored into {header}")),
            }
        }
        mirror(property, value, found)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use basb_plugin::testing::Reply;
    use serde_json::json;

    fn stream(text: &str) -> Response {
        let mut response = Reply::text(200, text);
        response.headers = vec![("content-type".into(), "Text/Event-Stream; charset=utf-8".into())];
        response
    }

    #[test]
    fn an_answer_is_found_among_events() {
        let text = ": keep-alive\r\n\r\nid: 7\r\nevent: message\r\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\r\n\r\n\
            data: {\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"ping\"}\n\n:\n\ndata: {\"jsonrpc\":\"2.0\",\ndata:\"id\":9,\"result\":{\"a\":1}}\n";
        assert_eq!(answer(&stream(text), 9), Some(Ok(json!({"a": 1}))));
        assert_eq!(answer(&stream(text), 8), None);
        assert_eq!(answer(&stream(": nothing\n\n"), 9), None);
        assert_eq!(answer(&stream("data: {\"jsonrpc\":\"2.0\",\"id\":9,\"result\":{}}\r\r"), 9), Some(Ok(json!({}))));
    }

    #[test]
    fn plain_answers_are_read_whatever_they_are() {
        let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "no"}});
        assert_eq!(answer(&Reply::json(400, &error), 1).unwrap().unwrap_err().code, -32600);
        let batch = json!([{"jsonrpc": "2.0", "id": 2, "result": 2}, {"jsonrpc": "2.0", "id": 1, "result": 1}]);
        assert_eq!(answer(&Reply::json(200, &batch), 1), Some(Ok(json!(1))));
        for body in
            ["", "<html>404</html>", "{}", "[]", "null", "{\"jsonrpc\":\"2.0\",\"id\":1}", "{\"error\":\"not found\"}"]
        {
            assert_eq!(answer(&Reply::text(404, body), 1), None, "{body}");
        }
    }

    #[test]
    fn header_values_as_in_the_specification() {
        for (value, header) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(header_value(value), header);
        }
        // RFC 4648, section 10.
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn arguments_are_mirrored() {
        let tool = json!({"inputSchema": {"properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "gone": {"type": "string", "x-mcp-header": "Gone"},
            "deep": {"properties": {"n": {"type": "integer", "x-mcp-header": "N"}}},
            "plain": {"type": "string"}
        }}});
        let arguments = json!({"region": "ü", "deep": {"n": -7}, "plain": "x", "gone": null});
        let expected = vec![
            ("Mcp-Param-Region".to_owned(), "=?base64?w7w=?=".to_owned()),
            ("Mcp-Param-N".to_owned(), "-7".to_owned()),
        ];
        assert_eq!(mirrored(&tool, &arguments).unwrap(), expected);
        let bad = json!({"inputSchema": {"properties": {"a": {"x-mcp-header": "A B"}}}});
        assert!(mirrored(&bad, &json!({})).is_err());
    }
}
