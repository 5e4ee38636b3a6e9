//! The report: nothing that a plugin can do is left out, and nothing that it cannot do is in it.

use super::{HTTP, LOG, digest, grants, inspection};
use crate::{Bytes, LockState, Operator, Place, Report, Rule, SignatureState, State, Subject, Unusable, report, sarif};
use basb_grants::{Capability, Grants};
use basb_inspect::{Inspection, Kind};
use basb_registry::{Difference, What};
use proptest::prelude::*;
use serde_json::{Value, json};

fn alone(inspection: &Inspection) -> Report {
    let digest = digest();
    let bytes = Ok(Bytes { digest: &digest, inspection });
    report(&[Subject { name: "x.wasm", source: "x.wasm", bytes, operator: None }])
}

fn operator(grants: &Grants) -> Operator<'_> {
    Operator { grants, credentials: Vec::new(), signature: SignatureState::Builtin, lock: LockState::Same }
}

fn deployed(inspection: &Inspection, granted: &Value) -> Report {
    let (digest, grants) = (digest(), grants(granted));
    let bytes = Ok(Bytes { digest: &digest, inspection });
    report(&[Subject { name: "checks", source: "x.wasm", bytes, operator: Some(operator(&grants)) }])
}

fn rules(report: &Report) -> Vec<&'static str> {
    report.plugins.iter().flat_map(|plugin| &plugin.findings).map(|finding| finding.rule.id()).collect()
}

fn state(report: &Report, capability: Capability) -> Option<State> {
    report.plugins[0].effective.iter().find(|one| one.capability == capability).map(|one| one.state)
}

fn full() -> Report {
    let mut hostile = inspection(
        "provider",
        &[
            HTTP,
            LOG,
            ("basb:host/exec@0.1.0", &["run"]),
            ("basb:host/tcp@0.1.0", &["run"]),
            ("basb:host/types@0.1.0", &[]),
            ("wasi:http/outgoing-handler@0.2.6", &["handle"]),
            ("wasi:io/streams@0.2.6", &["[method]input-stream.read", "[method]output-stream.check-write"]),
            ("acme:own/door@1.0.0", &["open"]),
        ],
        &["http", "files"],
    );
    hostile.manifest.as_mut().unwrap().publisher = "ac\u{202e}me\u{1b}[2J".to_owned();
    let granted = grants(&json!({
        "http": [{"host": "**.example.com", "scheme": "http", "resolves": "private", "methods": ["GET", "POST"]}],
        "files": [{"folder": "vault", "path": "./vault", "access": "read-write"}],
        "exec": [{"program": "sh", "path": "/usr/bin/python3.12", "args": ["**"]}],
        "smtp": [{"server": "s", "host": "mail.example.com", "port": 25, "tls": "none"}],
    }));
    let digest = digest();
    let other = || basb_core::Digest::of(b"other");
    let differs = Difference::from(What::Bytes { from: other(), to: digest.clone() });
    let pure = inspection("strategy", &[], &[]);
    let none = Grants::default();
    report(&[
        Subject {
            name: "cloud",
            source: "plugins/cloud.wasm",
            bytes: Ok(Bytes { digest: &digest, inspection: &hostile }),
            operator: Some(Operator {
                grants: &granted,
                credentials: vec![("github".to_owned(), vec!["https://api.github.com".to_owned()])],
                signature: SignatureState::Refused {
                    code: "signature/missing".to_owned(),
                    message: "it has no signature".to_owned(),
                    help: "sign it".to_owned(),
                },
                lock: LockState::Differs(vec![differs]),
            }),
        },
        Subject {
            name: "canary",
            source: "builtin:strategy-canary",
            bytes: Ok(Bytes { digest: &digest, inspection: &pure }),
            operator: Some(operator(&none)),
        },
        Subject {
            name: "gone",
            source: "gone.wasm",
            bytes: Err(Unusable {
                code: "plugin/unreadable".to_owned(),
                message: "gone.wasm cannot be read".to_owned(),
                help: "check the path".to_owned(),
            }),
            operator: None,
        },
    ])
}

#[test]
fn the_text_has_100_columns_and_nothing_that_repaints_a_terminal() {
    let text = full().text();
    insta::assert_snapshot!(text);
    for line in text.lines() {
        // Only what cannot be broken may be longer.
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
}

#[test]
fn each_part_of_the_intersection_is_needed() {
    let granted = json!({"http": [{"host": "a.example"}]});
    let all = deployed(&inspection("probe", &[HTTP], &["http"]), &granted);
    assert_eq!(state(&all, Capability::Http), Some(State::Can));
    assert!(rules(&all).is_empty(), "{:?}", rules(&all));
    let not_imported = deployed(&inspection("probe", &[], &["http"]), &granted);
    assert_eq!(state(&not_imported, Capability::Http), Some(State::NotImported));
    assert_eq!(rules(&not_imported), ["unused-declaration", "unused-grant"]);
    let not_declared = deployed(&inspection("probe", &[HTTP], &[]), &granted);
    assert_eq!(state(&not_declared, Capability::Http), Some(State::NotDeclared));
    assert_eq!(rules(&not_declared), ["undeclared-import"]);
    let not_granted = deployed(&inspection("probe", &[HTTP], &["http"]), &json!({}));
    assert_eq!(state(&not_granted, Capability::Http), Some(State::NotGranted));
    assert_eq!(rules(&not_granted), ["not-granted"]);
    assert!(not_granted.plugins[0].findings[0].help.contains("plugins:\n  checks:\n    grants:\n      http:"));
    let beyond = deployed(&inspection("strategy", &[HTTP], &[]), &granted);
    assert_eq!(state(&beyond, Capability::Http), Some(State::BeyondWorld));
    assert_eq!(beyond.summary.errors, 2);
    let file = alone(&inspection("probe", &[HTTP, LOG], &["http"]));
    assert_eq!(state(&file, Capability::Http), Some(State::IfGranted));
    assert_eq!(state(&file, Capability::Log), Some(State::Can));
    assert_eq!(rules(&file), Vec::<&str>::new());
}

#[test]
fn a_client_of_its_own_goes_through_the_same_door() {
    let own = ("wasi:http/outgoing-handler@0.2.6", &["handle"][..]);
    let report = deployed(&inspection("probe", &[own], &["http"]), &json!({}));
    assert_eq!(rules(&report), ["not-granted", "best-effort-replay"]);
    let inert = ("wasi:random/random@0.2.6", &["get-random-u64"][..]);
    let report = deployed(&inspection("strategy", &[inert], &[]), &json!({}));
    assert_eq!(rules(&report), ["inert-baseline"]);
    assert_eq!(report.plugins[0].inert_baseline, ["wasi:random/random@0.2.6"]);
}

#[test]
fn what_is_wide_in_a_grant_is_told() {
    let of = |granted: &Value| {
        let imports = [HTTP, ("basb:host/tcp@0.1.0", &["run"][..]), ("basb:host/exec@0.1.0", &["run"][..])];
        let report = deployed(&inspection("probe", &imports, &["http", "tcp", "exec"]), granted);
        let wide = |f: &&crate::Finding| f.rule != Rule::NotGranted && f.rule != Rule::UnusedGrant;
        report.plugins[0].findings.iter().filter(wide).map(|f| f.rule.id()).collect::<Vec<_>>()
    };
    let http = |value: Value| of(&json!({"http": [value]}));
    assert_eq!(http(json!({"host": "*.example.com"})), Vec::<&str>::new());
    assert_eq!(http(json!({"socket": "agent"})), [""; 0]);
    assert_eq!(http(json!({"socket": "docker", "at": "/run/docker.sock"})), ["socket-by-path"]);
    let engine = |more: Value| {
        let mut containers = json!({"names": ["a-*"], "images": ["a"]});
        containers.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        http(json!({"socket": "docker", "at": "/run/docker.sock", "containers": containers}))
    };
    assert_eq!(
        engine(json!({"allow": ["host-network"], "binds": [{"path": "/srv/vault", "access": "read-write"}]})),
        [""; 0]
    );
    for root in [
        json!({"allow": ["privileged"]}),
        json!({"allow": ["host-pid"]}),
        json!({"binds": [{"path": "/", "access": "read"}]}),
        json!({"binds": [{"path": "/run/docker.sock", "access": "read"}]}),
    ] {
        assert_eq!(engine(root.clone()), ["container-privileges"], "{root}");
    }
    assert_eq!(http(json!({"host": "**.example.com"})), ["wide-host"]);
    assert_eq!(http(json!({"host": "a.example", "scheme": "http"})), ["plain-http"]);
    assert_eq!(http(json!({"host": "localhost", "scheme": "http"})), Vec::<&str>::new());
    assert_eq!(http(json!({"host": "127.0.0.1", "scheme": "http"})), Vec::<&str>::new());
    assert_eq!(http(json!({"host": "10.0.0.1", "scheme": "http"})), ["plain-http"]);
    assert_eq!(http(json!({"host": "a.example", "resolves": "private"})), ["private-network"]);
    assert_eq!(of(&json!({"tcp": [{"host": "**.example.com", "port": 1}]})), ["wide-host"]);
    let exec = |value: Value| of(&json!({"exec": [value]}));
    let sha256 = "9".repeat(64);
    let good = json!({"program": "tofu", "path": "/usr/bin/tofu", "sha256": sha256, "args": ["plan", "-out=*"]});
    assert_eq!(exec(good), Vec::<&str>::new());
    for path in ["/bin/sh", "/usr/bin/python3.12", "/usr/bin/node22", "/usr/bin/env"] {
        let with = json!({"program": "x", "path": path, "sha256": sha256, "args": ["*"]});
        assert_eq!(exec(with), ["interpreter", "any-arguments"], "{path}");
    }
    assert_eq!(exec(json!({"program": "x", "path": "/bin/x"})), ["program-not-pinned"]);
    let smtp = |value: Value| of(&json!({"smtp": [value]}));
    let office = |tls: &str| json!({"server": "s", "host": "mail.example.com", "port": 25, "tls": tls});
    assert_eq!(smtp(office("starttls")), ["any-recipient"]);
    assert_eq!(smtp(office("none")), ["any-recipient", "plain-mail"]);
}

#[test]
fn every_rule_has_a_name_of_its_own() {
    let ids: std::collections::BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
    assert_eq!(ids.len(), Rule::ALL.len());
    let page = include_str!("../../../../docs/audit.md");
    for rule in Rule::ALL {
        let line = format!("| <a id=\"{0}\"></a>`{0}` | {1} |", rule.id(), rule.severity().name());
        assert!(page.contains(&line), "docs/audit.md lacks {line}");
    }
}

#[test]
fn sarif_is_valid_and_leads_to_the_line() {
    let log = sarif(&full(), "0.1.0", |source, pointer| match pointer {
        Some(pointer) => Place { file: "my deployment.yaml".to_owned(), line: Some(pointer.len() as u32) },
        None => Place { file: source.to_owned(), line: None },
    });
    // The schema of OASIS as published, but for one pattern that ECMA-262 does not allow (a `]` too many).
    let published = include_str!("sarif-schema-2.1.0.json");
    let schema: Value =
        serde_json::from_str(&published.replace("|^[a-zA-Z]{2}-[a-zA-Z]{2}]?$", "|^[a-zA-Z]{2}-[a-zA-Z]{2}$")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> = validator.iter_errors(&log).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut broken = log.clone();
    broken["runs"][0]["results"][0]["level"] = json!("bad");
    assert!(!validator.is_valid(&broken), "the schema can say no");
    let results = log["runs"][0]["results"].as_array().unwrap();
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "my%20deployment.yaml");
    assert!(place["region"]["startLine"].as_u64().unwrap() > 1);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(log["runs"][0]["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
    }
}

#[test]
fn json_is_the_report() {
    let json = serde_json::to_value(full()).unwrap();
    assert_eq!(json["version"], 1);
    let cloud = &json["plugins"][0];
    assert_eq!(cloud["usedButUndeclared"], json!(["tcp", "exec"]));
    assert_eq!(cloud["declaredButUnused"], json!(["files"]));
    assert_eq!(cloud["grantedButNotImported"], json!(["files", "smtp"]));
    assert_eq!(cloud["effective"][1]["state"], "can");
    assert_eq!(
        cloud["signature"],
        json!({"state": "refused", "code": "signature/missing", "message": "it has no signature"})
    );
    assert_eq!(cloud["lock"]["differences"][0]["what"], "bytes");
    assert_eq!(json["plugins"][2]["digest"], Value::Null);
}

proptest! {
    /// Whatever the three say, a capability is effective exactly where all of them, and the kind, agree.
    #[test]
    fn effective_is_the_intersection(
        kind in prop::sample::select(Kind::ALL.to_vec()),
        imported in prop::collection::btree_set(prop::sample::select(Capability::ALL.to_vec()), 0..6),
        requested in prop::collection::btree_set(prop::sample::select(Capability::ALL.to_vec()), 0..6),
        granted in prop::collection::btree_set(prop::sample::select(Capability::ALL.to_vec()), 0..6),
    ) {
        let names: Vec<String> = imported.iter().map(|c| format!("basb:host/{c}@0.1.0")).collect();
        let imports: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &["f"][..])).collect();
        let requests: Vec<&str> = requested.iter().map(|c| c.name()).collect();
        let inspection = inspection(kind.name(), &imports, &requests);
        let all = json!({
            "http": [{"host": "a.example"}], "tcp": [{"target": "service"}],
            "files": [{"folder": "f", "path": "f", "access": "read"}],
            "exec": [{"program": "p", "path": "/p"}], "smtp": [{"server": "s", "host": "a.example", "port": 587}],
        });
        let some: serde_json::Map<String, Value> = all.as_object().unwrap().iter()
            .filter(|(name, _)| granted.iter().any(|c| c.name() == name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone())).collect();
        let report = deployed(&inspection, &Value::Object(some));
        let mut must_load = true;
        for capability in Capability::ALL {
            let can = imported.contains(&capability) && kind.may_import().contains(&capability)
                && (!capability.needs_grant() || (requested.contains(&capability) && granted.contains(&capability)));
            prop_assert_eq!(state(&report, capability) == Some(State::Can), can, "{}", capability);
            must_load &= can || !imported.contains(&capability);
        }
        prop_assert_eq!(report.summary.errors == 0, must_load);
    }
}
