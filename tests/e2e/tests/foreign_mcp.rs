//! Any MCP server that speaks Streamable HTTP, of either era, is deployed and probed by the same file: only its command
//! is another one.

use basb_e2e::foreign::{self, ServerCommand};
use basb_e2e::{FileOptions, Lab, swap};

/// A file that asks of a service only what every MCP server can: a port, and its tools.
fn file(lab: &Lab) -> String {
    let config = "{ steps: [ { setWeight: 50 }, { analysis: { templates: [healthy] } } ] }";
    let text = lab.write(&FileOptions { config, replicas: 1, ..FileOptions::default() });
    let text = swap(&text, "      ready: { http: /healthz }\n", "      ready: tcp\n");
    let text = swap(
        &text,
        "    readiness: [health]\n    verify: [health, tools]\n",
        "    readiness: [tools]\n    verify: [tools]\n",
    );
    let text = swap(&text, "      expectTools: [vault_stats]\n", "");
    let text = swap(&text, "      call: { tool: vault_stats, count: 8, minSuccessRate: 1 }\n", "");
    swap(&text, "result.success_rate >= 0.99", "result.tools >= 1")
}

/// Deploys a server of somebody else, calls one of its tools through the proxy with somebody else's client, rolls an
/// update of it out, and finds that ours cannot take its place unnoticed.
fn is_deployed_like_ours(command: Option<ServerCommand>, era: &str, tool: &str, arguments: &str, answer: &str) {
    let Some(mut command) = command else { return };
    let lab = Lab::new();
    let text = file(&lab);
    let ours = "[\"${program}\", capture, --vault, \"${vault}\", --release, \"${release}\"]";
    let with = |command: &ServerCommand| lab.write_text(&swap(&text, ours, &serde_json::to_string(command).unwrap()));
    let calls = || {
        let url = format!("http://127.0.0.1:{}/mcp", lab.port());
        let Some(seen) = foreign::client(&url, tool, arguments) else { return };
        assert!(seen["tools"].as_array().unwrap().iter().any(|name| name == tool), "{seen}");
        assert_eq!(seen["failed"], false, "{seen}");
        assert!(seen["text"].as_str().unwrap().contains(answer), "{seen}");
    };

    with(&command);
    let events = lab.host(&["--json", "run"]).exits(0).events();
    let probed = events.titles("probe.measured").pop().unwrap();
    assert!(probed.contains(&format!("verify: probe tools: pass: MCP {era}")), "{probed}");
    calls();

    // Another command is another revision, and the server does not mind the argument.
    command.push("again".to_owned());
    with(&command);
    let events = lab.host(&["--json", "run"]).exits(0).events();
    assert_eq!(events.weights("capture"), [50, 100]);
    assert_eq!(events.titles("analysis.finished").len(), 2);
    calls();

    // A server without its tools breaks what its users rely on.
    lab.write_text(&text);
    let events = lab.run(1).exits(3).events();
    let reason = events.titles("service.aborted").pop().unwrap();
    assert!(reason.contains("contract is broken") && reason.contains(&format!("`{tool}` is gone")), "{reason}");
    calls();
}

#[test]
fn a_server_on_the_python_sdk_of_the_legacy_era() {
    is_deployed_like_ours(foreign::python_legacy(), "2025-11-25", "shout", r#"{"text":"hear me"}"#, "HEAR ME");
}

#[test]
fn a_server_on_the_python_sdk_of_the_modern_era() {
    is_deployed_like_ours(foreign::python_modern(), "2026-07-28", "shout", r#"{"text":"hear me"}"#, "HEAR ME");
}

#[test]
fn the_reference_server_on_the_typescript_sdk() {
    is_deployed_like_ours(foreign::everything(), "2025-11-25", "echo", r#"{"message":"hear me"}"#, "hear me");
}
