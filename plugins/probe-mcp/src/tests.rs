//! Scripted servers of both eras, and of none.

use super::*;
use basb_plugin::http::{HttpError, Request, Response};
use basb_plugin::testing::{FakeHost, Reply};

const URL: &str = "http://it:8080/mcp";

fn target(extras: &[(&str, &str)]) -> Target {
    let extras = extras.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Target { service: "capture".into(), revision: None, url: "http://it:8080".into(), extras }
}

fn try_check(host: &FakeHost, config: Value, extras: &[(&str, &str)]) -> Result<Measurement, Failure> {
    McpProbe::check(&host.probe_context(), &serde_json::from_value(config).unwrap(), &target(extras))
}

fn check(host: &FakeHost, config: Value) -> Measurement {
    try_check(host, config, &[]).unwrap()
}

fn method(request: &Request) -> (String, Value, Value) {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let method = body["method"].as_str().unwrap_or_default().to_owned();
    (method, body["id"].clone(), body["params"].clone())
}

fn result(id: &Value, result: Value) -> Response {
    Reply::json(200, &json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

fn error(status: u16, id: &Value, code: i64, data: Value) -> Response {
    Reply::json(status, &json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": "no", "data": data}}))
}

fn sse(response: Response) -> Response {
    let mut text =
        ": hello\n\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n".to_owned();
    text.push_str(&format!("event: message\ndata: {}\n\n", response.text()));
    let headers = vec![("content-type".to_owned(), "text/event-stream".to_owned())];
    Response { body: text.into_bytes(), headers, ..response }
}

fn tools() -> Value {
    json!([
        {"name": "find", "inputSchema": {"type": "object", "properties": {"q": {"type": "string"}}}},
        {"name": "note", "inputSchema": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}},
    ])
}

/// A server of the modern era that holds callers to the specification.
fn modern(call: impl Fn(&Value, &Value) -> Response + 'static) -> FakeHost {
    FakeHost::new().serve(move |request| {
        let (method, id, params) = method(request);
        let header = |name: &str| request.header_value(name).unwrap_or_default().to_owned();
        if request.method != "POST" {
            return Some(Ok(Reply::status(405)));
        }
        let version = params["_meta"]["io.modelcontextprotocol/protocolVersion"].as_str().unwrap_or_default();
        let named = params["name"].as_str().unwrap_or_default();
        let right = header("mcp-protocol-version") == version
            && header("mcp-method") == method
            && header("mcp-name") == named
            && header("accept") == "application/json, text/event-stream"
            && params["_meta"]["io.modelcontextprotocol/clientCapabilities"].is_object();
        if !right {
            return Some(Ok(error(400, &id, -32020, Value::Null)));
        }
        if version != "2026-07-28" {
            return Some(Ok(error(400, &id, -32022, json!({"supported": ["2026-07-28"]}))));
        }
        Some(Ok(match method.as_str() {
            "server/discover" => result(
                &id,
                json!({
                    "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                    "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "capture", "version": "2.0.0"}},
                }),
            ),
            "tools/list" => sse(match params["cursor"].as_str() {
                None => result(&id, json!({"resultType": "complete", "tools": [tools()[1]], "nextCursor": "p2"})),
                Some(_) => result(&id, json!({"resultType": "complete", "tools": [tools()[0]]})),
            }),
            "tools/call" => call(&id, &params),
            _ => error(404, &id, -32601, Value::Null),
        }))
    })
}

/// How a legacy server meets what it does not know.
#[derive(Clone, Copy)]
enum Manner {
    EmptyBadRequest,
    HtmlNotFound,
    RpcError,
    MethodNotAllowed,
    Accepted,
}

/// A server of the legacy era with sessions.
fn legacy(manner: Manner, forget_after: Option<u32>) -> FakeHost {
    let (mut sessions, mut since) = (0u32, 0u32);
    FakeHost::new().serve(move |request| {
        let (method, id, params) = method(request);
        let session = request.header_value("mcp-session-id").map(str::to_owned);
        if method == "initialize" {
            sessions += 1;
            since = 0;
            assert!(request.header_value("mcp-protocol-version").is_none());
            let mut response = result(
                &id,
                json!({
                    "protocolVersion": params["protocolVersion"], "capabilities": {"tools": {"listChanged": true}},
                    "serverInfo": {"name": "old", "version": "1"},
                }),
            );
            response.headers.push(("mcp-session-id".into(), format!("s{sessions}")));
            return Some(Ok(sse_with_session(response)));
        }
        if session != Some(format!("s{sessions}")) {
            return Some(Ok(match manner {
                Manner::EmptyBadRequest => Reply::status(400),
                Manner::HtmlNotFound => Reply::text(404, "<html><body>Not Found</body></html>"),
                Manner::RpcError => error(400, &Value::Null, -32000, Value::Null),
                Manner::MethodNotAllowed => Reply::status(405),
                Manner::Accepted => Reply::status(202),
            }));
        }
        assert_eq!(request.header_value("mcp-protocol-version"), Some("2025-11-25"));
        since += 1;
        if forget_after == Some(since) && sessions == 1 {
            return Some(Ok(Reply::text(404, "session not found")));
        }
        Some(Ok(match (request.method.as_str(), method.as_str()) {
            ("DELETE", _) => Reply::status(405),
            (_, "notifications/initialized") => Reply::status(202),
            (_, "ping") => result(&id, json!({})),
            (_, "tools/list") => result(&id, json!({"tools": tools()})),
            (_, "tools/call") => sse(result(&id, json!({"content": [{"type": "text", "text": "3 notes"}]}))),
            _ => error(200, &id, -32601, Value::Null),
        }))
    })
}

fn sse_with_session(response: Response) -> Response {
    let session = response.header("mcp-session-id").unwrap().to_owned();
    let mut response = sse(response);
    response.headers.push(("mcp-session-id".into(), session));
    response
}

fn fine(id: &Value, _: &Value) -> Response {
    result(
        id,
        json!({"resultType": "complete", "content": [{"type": "text", "text": "3 notes"}], "structuredContent": {"count": 3}}),
    )
}

#[test]
fn a_modern_server_is_ready() {
    let host = modern(fine);
    let config = json!({"expectTools": ["note"], "call": {"tool": "find", "arguments": {"q": "x"}, "count": 5,
        "expect": {"contains": ["notes"], "json": {"/structuredContent/count": 3.0}, "maxLatency": "5ms"}}});
    let measured = check(&host, config);
    assert_eq!(measured.verdict, Verdict::Pass, "{}", measured.summary);
    assert_eq!(measured.summary, "MCP 2026-07-28; 2 tools; 5 of 5 calls of `find` succeeded");
    assert_eq!(
        (measured.get("tools"), measured.get("success_rate"), measured.get("calls")),
        (Some(2.0), Some(1.0), Some(5.0))
    );
    assert_eq!((measured.get_fact("era"), measured.get_fact("server")), (Some("modern"), Some("capture 2.0.0")));
    assert_eq!(measured.get_fact("state"), Some("ready"));
    // One discovery, two pages, five calls; no session to end.
    assert_eq!(host.requests().len(), 8);
    let ids: std::collections::BTreeSet<_> = host.requests().iter().map(|r| method(r).1.to_string()).collect();
    assert_eq!(ids.len(), 8);
}

#[test]
fn a_legacy_server_is_found_whatever_it_answers_first() {
    let manners =
        [Manner::EmptyBadRequest, Manner::HtmlNotFound, Manner::RpcError, Manner::MethodNotAllowed, Manner::Accepted];
    for manner in manners {
        let host = legacy(manner, None);
        let measured = check(&host, json!({"call": {"tool": "find", "count": 2}}));
        assert_eq!(measured.verdict, Verdict::Pass, "{}", measured.summary);
        assert_eq!((measured.get_fact("era"), measured.get_fact("version")), (Some("legacy"), Some("2025-11-25")));
        let seen: Vec<String> = host.requests().iter().map(|r| method(r).0).collect();
        let expected = [
            "server/discover",
            "initialize",
            "notifications/initialized",
            "ping",
            "tools/list",
            "tools/call",
            "tools/call",
            "",
        ];
        assert_eq!(seen, expected);
        assert_eq!(host.requests().last().unwrap().method, "DELETE");
        assert_eq!(measured.get_fact("session.ended"), Some("405"));
    }
}

#[test]
fn the_same_tools_have_the_same_digest_in_both_eras() {
    let (new, old) = (check(&modern(fine), json!({})), check(&legacy(Manner::RpcError, None), json!({})));
    assert_eq!(new.get_fact("tools.digest"), old.get_fact("tools.digest"));
    assert!(new.get_fact("tools").unwrap().starts_with("[{\"inputSchema\""));
}

#[test]
fn a_forgotten_session_is_begun_again_once() {
    // The second request of the first session is the ping.
    let host = legacy(Manner::RpcError, Some(2));
    let measured = check(&host, json!({}));
    assert_eq!(measured.verdict, Verdict::Pass, "{}", measured.summary);
    assert_eq!(host.requests().last().unwrap().header_value("mcp-session-id"), Some("s2"));
}

#[test]
fn the_era_can_be_insisted_on() {
    let host = legacy(Manner::RpcError, None);
    assert_eq!(check(&host, json!({"era": "legacy"})).verdict, Verdict::Pass);
    assert_eq!(method(&host.requests()[0]).0, "initialize");
    assert_eq!(check(&legacy(Manner::RpcError, None), json!({"era": "modern"})).verdict, Verdict::Fail);
    assert_eq!(check(&modern(fine), json!({"era": "legacy"})).verdict, Verdict::Fail);
}

#[test]
fn a_version_is_negotiated() {
    let speaks = |list: Value| {
        FakeHost::new().serve(move |request| {
            let (method, id, params) = method(request);
            let version = params["_meta"]["io.modelcontextprotocol/protocolVersion"].as_str().unwrap_or_default();
            Some(Ok(match method.as_str() {
                "server/discover" if list.as_array().unwrap().iter().any(|known| known == version) => {
                    result(&id, json!({"supportedVersions": list, "capabilities": {}}))
                }
                "server/discover" => error(400, &id, -32022, json!({"supported": list})),
                "initialize" => result(&id, json!({"protocolVersion": params["protocolVersion"], "capabilities": {}})),
                "ping" => error(200, &id, -32601, Value::Null),
                _ => Reply::status(202),
            }))
        })
    };
    let newer = check(&speaks(json!(["2027-01-01", "2026-12-01"])), json!({}));
    assert_eq!((newer.verdict, newer.get_fact("version")), (Verdict::Pass, Some("2027-01-01")));
    let older = check(&speaks(json!(["2024-11-05", "2025-06-18"])), json!({}));
    assert_eq!((older.verdict, older.get_fact("version")), (Verdict::Pass, Some("2025-06-18")));
    assert_eq!(older.get("tools"), Some(0.0), "a server without the capability is not asked for tools");
    assert_eq!(check(&speaks(json!(["1999-01-01"])), json!({})).verdict, Verdict::Fail);
}

#[test]
fn a_legacy_server_may_choose_an_older_version_but_no_unknown_one() {
    let chooses = |version: &'static str| {
        FakeHost::new().serve(move |request| {
            let (method, id, _) = method(request);
            Some(Ok(match method.as_str() {
                "initialize" => result(&id, json!({"protocolVersion": version, "capabilities": {}})),
                "ping" => result(&id, json!({})),
                "server/discover" => Reply::status(400),
                _ => Reply::status(202),
            }))
        })
    };
    assert_eq!(check(&chooses("2025-03-26"), json!({})).get_fact("version"), Some("2025-03-26"));
    assert_eq!(check(&chooses("1.0"), json!({})).verdict, Verdict::Fail);
}

#[test]
fn wanting_a_token_is_a_state_of_its_own() {
    for status in [401, 403] {
        let mut response = Reply::status(status);
        response.headers.push(("www-authenticate".into(), "Bearer resource_metadata=\"x\"".into()));
        let host = FakeHost::new().respond("POST", URL, response);
        let ready = check(&host, json!({}));
        assert_eq!((ready.verdict, ready.get_fact("state")), (Verdict::Fail, Some("unauthorized")));
        assert_eq!(ready.get_fact("challenge"), Some("Bearer resource_metadata=\"x\""));
        let alive = check(&host, json!({"level": "liveness"}));
        assert_eq!((alive.verdict, alive.get_fact("state")), (Verdict::Pass, Some("unauthorized")));
    }
}

#[test]
fn no_server_fails_and_no_permission_is_an_error() {
    for response in [
        Reply::status(503),
        Reply::text(500, "oops"),
        Reply::status(429),
        Reply::status(308),
        Reply::text(200, "<html>"),
    ] {
        let status = response.status;
        assert_eq!(
            check(&FakeHost::new().respond("POST", URL, response), json!({})).verdict,
            Verdict::Fail,
            "{status}"
        );
    }
    for error in [HttpError::Connect("x".into()), HttpError::TimedOut("x".into()), HttpError::Broken("x".into())] {
        assert_eq!(check(&FakeHost::new().fail("POST", URL, error), json!({})).verdict, Verdict::Fail);
    }
    let denied = FakeHost::new().fail("POST", URL, HttpError::Denied("add this".into()));
    assert!(try_check(&denied, json!({}), &[]).is_err());
}

#[test]
fn liveness_asks_for_nothing_more() {
    let host = modern(fine);
    let measured = check(&host, json!({"level": "liveness", "expectTools": ["nothing"]}));
    assert_eq!((measured.verdict, host.requests().len()), (Verdict::Pass, 1));
    assert_eq!(measured.get("tools"), None);
}

#[test]
fn calls_that_fail_count() {
    // Every fourth fails, as a broken release does.
    let broken = || {
        modern(|id, _| match id.as_u64().unwrap() % 4 {
            0 => result(id, json!({"isError": true, "content": [{"type": "text", "text": "disk on fire"}]})),
            _ => fine(id, &Value::Null),
        })
    };
    let measured = check(&broken(), json!({"call": {"tool": "find", "count": 20}}));
    assert_eq!(
        (measured.verdict, measured.get("success_rate"), measured.get("failures")),
        (Verdict::Fail, Some(0.75), Some(5.0))
    );
    assert!(measured.summary.contains("disk on fire"), "{}", measured.summary);
    let lenient = check(&broken(), json!({"call": {"tool": "find", "count": 20, "minSuccessRate": 0.75}}));
    assert_eq!(lenient.verdict, Verdict::Pass);
    let cases = [
        json!({"contains": ["4 notes"]}),
        json!({"json": {"/structuredContent/count": 4}}),
        json!({"maxLatency": "4ms"}),
    ];
    for expect in cases {
        assert_eq!(check(&modern(fine), json!({"call": {"tool": "find", "expect": expect}})).verdict, Verdict::Fail);
    }
    let unknown = check(&modern(fine), json!({"call": {"tool": "gone"}, "expectTools": ["gone", "find"]}));
    assert_eq!(
        unknown.summary,
        "tools that should be there are missing: `gone`; the tool `gone` is not there to be called"
    );
}

#[test]
fn a_question_is_inconclusive() {
    let asks = modern(|id, _| result(id, json!({"resultType": "input_required", "inputRequests": {}})));
    let measured = check(&asks, json!({"call": {"tool": "find", "count": 3}}));
    assert_eq!((measured.verdict, measured.get("success_rate")), (Verdict::Inconclusive, None));
    let needs = modern(|id, _| error(400, id, -32021, Value::Null));
    assert_eq!(check(&needs, json!({"call": {"tool": "find"}})).verdict, Verdict::Fail, "a call that cannot be made");
}

#[test]
fn endless_lists_end() {
    let endless = |next: fn(u64) -> String| {
        FakeHost::new().serve(move |request| {
            let (method, id, _) = method(request);
            Some(Ok(match method.as_str() {
                "server/discover" => {
                    result(&id, json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}))
                }
                _ => result(&id, json!({"tools": [], "nextCursor": next(id.as_u64().unwrap())})),
            }))
        })
    };
    let host = endless(|id| format!("page {id}"));
    assert!(check(&host, json!({"maxPages": 7})).summary.contains("has not ended after 7 pages"));
    assert_eq!(host.requests().len(), 8);
    assert!(check(&endless(|_| "same".into()), json!({})).summary.contains("that page again"));
}

#[test]
fn the_contract_is_held_against_the_stable_revision() {
    let now = check(&modern(fine), json!({}));
    let stable = now.get_fact("tools").unwrap().to_owned();
    let same = try_check(&modern(fine), json!({}), &[("stable.tools", &stable)]).unwrap();
    assert_eq!((same.verdict, same.get_fact("contract.changed")), (Verdict::Pass, None));

    let fewer = stable.replace("\"note\"", "\"write\"");
    let measured = try_check(&modern(fine), json!({}), &[("stable.tools", &fewer)]).unwrap();
    assert_eq!(measured.verdict, Verdict::Fail);
    assert_eq!(
        (measured.get_fact("contract.added"), measured.get_fact("contract.removed")),
        (Some("note"), Some("write"))
    );
    let allowed = json!({"contract": {"allowBreaking": true}});
    let measured = try_check(&modern(fine), allowed, &[("stable.tools", &fewer)]).unwrap();
    assert_eq!(measured.verdict, Verdict::Pass);
    assert!(measured.get_fact("contract.breaking").is_some());

    let digest = now.get_fact("tools.digest").unwrap();
    assert_eq!(check(&modern(fine), json!({"contract": {"digest": digest}})).verdict, Verdict::Pass);
    let other = format!("sha256:{}", "0".repeat(64));
    assert_eq!(check(&modern(fine), json!({"contract": {"digest": other}})).verdict, Verdict::Fail);
}
