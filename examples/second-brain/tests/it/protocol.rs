//! Both protocol eras, and what a proxy in front may do.

use http::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::client::{Era, LEGACY, MODERN, Mcp, SERVICES, Service};

const HEADERS: [(&str, &str); 2] =
    [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[tokio::test]
async fn every_service_speaks_both_eras() {
    let vault = TempDir::new().unwrap();
    for name in SERVICES {
        let service = Service::start(name, vault.path(), &[]);
        for era in [Era::Modern, Era::Legacy] {
            let mcp = service.mcp(era);
            let opened = mcp.open().await;
            match era {
                Era::Modern => {
                    let versions = opened["supportedVersions"].as_array().unwrap();
                    assert!(versions.contains(&json!(MODERN)), "{opened}");
                    assert_eq!(opened["resultType"], "complete");
                }
                Era::Legacy => {
                    assert_eq!(opened["protocolVersion"], LEGACY);
                    assert_eq!(opened["serverInfo"]["name"], format!("second-brain-{name}"));
                }
            }
            for tool in mcp.tools().await {
                assert!(tool["description"].is_string(), "{tool}");
                assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
                assert_eq!(tool["outputSchema"]["type"], "object", "{tool}");
                assert!(tool["annotations"]["readOnlyHint"].is_boolean(), "{tool}");
            }
            let stats = mcp.call("vault_stats", json!({})).await;
            assert_eq!(
                stats,
                json!({
                    "service": name,
                    "release": 2,
                    "counts": {"inbox": 0, "projects": 0, "areas": 0, "resources": 0,
                        "archives": 0, "express": 0},
                    "total": 0,
                })
            );
        }
        let health = service.mcp(Era::Modern).get("/healthz").await;
        assert_eq!(health.status, 200);
        assert_eq!(health.json(), json!({"service": name, "release": 2}));
        assert_eq!(health.headers["content-type"], "application/json");
    }
}

#[tokio::test]
async fn the_read_only_tool_is_declared_so_and_changes_nothing() {
    let vault = TempDir::new().unwrap();
    let service = Service::start("capture", vault.path(), &[]);
    let mcp = service.mcp(Era::Modern);
    let tools = mcp.tools().await;
    let stats = tools.iter().find(|tool| tool["name"] == "vault_stats").unwrap();
    assert_eq!(stats["annotations"]["readOnlyHint"], true);
    let before = snapshot(vault.path());
    for _ in 0..20 {
        mcp.call("vault_stats", json!({})).await;
        mcp.call("list_inbox", json!({"limit": 5})).await;
    }
    assert_eq!(snapshot(vault.path()), before);
}

fn snapshot(dir: &std::path::Path) -> Vec<(std::path::PathBuf, std::time::SystemTime)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        all.push((entry.path(), metadata.modified().unwrap()));
        if metadata.is_dir() {
            all.extend(snapshot(&entry.path()));
        }
    }
    all.sort();
    all
}

/// A proxy without session affinity: consecutive requests of one client reach another instance or
/// another release each time.
#[tokio::test]
async fn requests_may_go_to_any_instance_and_release() {
    let vault = TempDir::new().unwrap();
    let services = [
        Service::start("capture", vault.path(), &["--release", "1"]),
        Service::start("capture", vault.path(), &["--release", "2"]),
        Service::start("capture", vault.path(), &["--release", "2"]),
    ];
    let addresses: Vec<_> = services.iter().map(|service| service.address.as_str()).collect();
    for era in [Era::Modern, Era::Legacy] {
        let mcp = Mcp::new(&addresses, era);
        let mut releases = Vec::new();
        for n in 0..5 {
            mcp.open().await;
            mcp.tools().await;
            mcp.call("capture_note", json!({"title": format!("{era:?} {n}"), "body": "x"})).await;
            let inbox = mcp.call("list_inbox", json!({})).await;
            assert!(inbox.to_string().contains(&format!("{era:?} {n}")));
            for _ in 0..services.len() {
                let stats = mcp.call("vault_stats", json!({})).await;
                releases.push(stats["release"].as_u64().unwrap());
            }
        }
        assert!(releases.contains(&1) && releases.contains(&2), "{releases:?}");
    }
    let all = Mcp::new(&addresses, Era::Legacy).call("vault_stats", json!({})).await;
    assert_eq!(all["total"], 10);
}

#[tokio::test]
async fn a_session_id_from_elsewhere_is_ignored() {
    let vault = TempDir::new().unwrap();
    let service = Service::start("capture", vault.path(), &[]);
    let mcp = service.mcp(Era::Legacy);
    let mut headers = HEADERS.to_vec();
    headers.push(("mcp-session-id", "from-a-stateful-server"));
    let answer = mcp.send(Method::POST, "/mcp", &headers, PING).await;
    assert_eq!((answer.status.as_u16(), answer.json()["result"].clone()), (200, json!({})));
    // There is nothing to listen to and nothing to delete; the protocol allows to say so.
    let get = mcp.send(Method::GET, "/mcp", &[("accept", "text/event-stream")], "").await;
    assert_eq!(get.status, 405);
    assert_eq!(mcp.send(Method::DELETE, "/mcp", &headers, "").await.status, 405);
}

#[tokio::test]
async fn host_and_origin_are_checked() {
    let vault = TempDir::new().unwrap();
    let service = Service::start("capture", vault.path(), &["--allow-host", "notes.example"]);
    let mcp = service.mcp(Era::Legacy);
    let ping = async |header: (&'static str, &'static str)| {
        let mut headers = HEADERS.to_vec();
        headers.push(header);
        mcp.send(Method::POST, "/mcp", &headers, PING).await.status.as_u16()
    };
    for host in ["localhost", "localhost:1", "127.0.0.1:65535", "[::1]:8080", "notes.example:443"] {
        assert_eq!(ping(("host", host)).await, 200, "{host}");
    }
    assert_eq!(ping(("host", "rebound.example")).await, 403);
    assert_eq!(ping(("origin", "http://localhost:3000")).await, 200);
    assert_eq!(ping(("origin", "https://evil.example")).await, 403);
}

#[tokio::test]
async fn wrong_requests_get_the_errors_of_the_protocol() {
    let vault = TempDir::new().unwrap();
    let service = Service::start("capture", vault.path(), &[]);
    let (modern, legacy) = (service.mcp(Era::Modern), service.mcp(Era::Legacy));

    let unknown = modern.request("no/such", json!({})).await;
    assert_eq!((unknown.status.as_u16(), unknown.json()["error"]["code"].clone()), (404, json!(-32601)));
    let unknown = legacy.request("no/such", json!({})).await;
    assert_eq!((unknown.status.as_u16(), unknown.json()["error"]["code"].clone()), (200, json!(-32601)));

    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2030-01-01",
        "io.modelcontextprotocol/clientCapabilities": {},
    }}})
    .to_string();
    let mut headers = HEADERS.to_vec();
    headers.extend([("mcp-protocol-version", "2030-01-01"), ("mcp-method", "server/discover")]);
    let future = modern.send(Method::POST, "/mcp", &headers, &body).await;
    assert_eq!((future.status.as_u16(), future.json()["error"]["code"].clone()), (400, json!(-32022)));
    assert!(future.json()["error"]["data"]["supported"].to_string().contains(MODERN));

    // Just over: with much more, the connection ends while the client still sends.
    let big = format!(r#"{{"x":"{}"}}"#, "x".repeat(2 * 1024 * 1024));
    assert_eq!(modern.send(Method::POST, "/mcp", &HEADERS, &big).await.status, 413);
    assert_eq!(modern.get("/elsewhere").await.status, 404);
}
