//! What a lock file means for a run: the attacks that it is there for.

use super::{entry, entry_of, full_grants, inspection, name, scope};
use crate::{Decision, Direction, LockEntry, LockError, LockFile, Locked, Policy, What, check, compare, grant_lines};
use basb_grants::Grants;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn now(entry: LockEntry) -> Locked {
    Locked { scope: scope(), plugins: [(name("checks"), entry)].into() }
}

fn agreed(entry: LockEntry) -> LockFile {
    LockFile::default().with(now(entry))
}

fn differences(locked: LockEntry, found: LockEntry) -> Vec<String> {
    match check(Some(&agreed(locked)), &now(found), Policy::TrustFirstUse) {
        Err(LockError::Differs(differs)) => differs.plugins[&name("checks")].iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_lock_file_the_first_use_is_written_unless_it_is_forbidden() {
    let now = now(entry(&full_grants()));
    let Ok(Decision::FirstUse(lock)) = check(None, &now, Policy::TrustFirstUse) else { panic!() };
    assert_eq!(check(Some(&lock), &now, Policy::Locked), Ok(Decision::Same { unused: Vec::new() }));
    assert_eq!(check(None, &now, Policy::Locked), Err(LockError::Missing));
}

#[test]
fn a_replaced_file_is_refused_although_everything_it_says_is_the_same() {
    let found = differences(entry(&json!({})), entry_of(&inspection(), &json!({}), b"other bytes"));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("other bytes: sha256:"), "{found:?}");
}

#[test]
fn a_downgrade_is_named_as_one() {
    let mut older = inspection();
    older.manifest.as_mut().unwrap().version = "1.2.2".parse().unwrap();
    let found = differences(entry(&json!({})), entry_of(&older, &json!({}), b"older"));
    assert_eq!(found[0], "an older version: 1.2.3 before, 1.2.2 now");
    let before = entry(&json!({}));
    let mut release = before.clone();
    release.version = "1.2.3-rc.1".parse().unwrap();
    assert!(matches!(compare(&before, &release)[0].what, What::Downgrade { .. }));
}

/// Each change of one value in the full grants, and whether the line of the old grant must be gone.
#[test]
fn no_field_of_a_grant_can_be_widened_unseen() {
    let changes: [(&str, Value); 31] = [
        ("/http/0/host", json!("**.com")),
        ("/http/0/scheme", json!("https")),
        ("/http/0/port", json!(8081)),
        ("/http/0/methods", json!(["DELETE", "GET", "POST"])),
        ("/http/0/path", json!("/**")),
        ("/http/0/reads", json!(["POST", "/v1/**"])),
        ("/http/0/resolves", json!("public")),
        ("/http/1/socket", json!("docker")),
        ("/http/1/path", json!("/**")),
        ("/http/2/methods", json!(["GET", "POST"])),
        ("/http/2/path", json!("/**")),
        ("/tcp/0/host", json!("*.example.com")),
        ("/tcp/0/port", json!(22)),
        ("/tcp/0/resolves", json!("public")),
        ("/files/0/path", json!("..")),
        ("/files/0/access", json!("read")),
        ("/files/0/folder", json!("home")),
        ("/exec/0/path", json!("/bin/sh")),
        ("/exec/0/sha256", json!("8".repeat(64))),
        ("/exec/0/args", json!(["**"])),
        ("/exec/0/env", json!(["LD_PRELOAD", "TF_LOG"])),
        ("/exec/0/effect", json!("change")),
        ("/smtp/0/host", json!("mail.example.org")),
        ("/smtp/0/from", json!(["*"])),
        ("/smtp/0/to", json!(["*"])),
        ("/smtp/0/tls", json!("starttls")),
        ("/smtp/0/login", json!("other")),
        ("/http/0/actions", json!(["Delete*"])),
        ("/tcp/0/effect", json!("change")),
        ("/tcp/1/effect", json!("read")),
        ("/exec/0/folder", json!("..")),
    ];
    let before = entry(&full_grants());
    for (pointer, value) in changes {
        let mut grants = full_grants();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        grants.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value);
        let found = compare(&before, &entry(&grants));
        let widened =
            found.iter().any(|d| d.direction == Direction::Widens && matches!(d.what, What::GrantAdded { .. }));
        assert!(widened, "{pointer}: {found:?}");
    }
    // Leaving something out is a value too.
    for pointer in [
        "/http/0/path",
        "/exec/0/sha256",
        "/exec/0/effect",
        "/smtp/0/to",
        "/smtp/0/from",
        "/http/0/port",
        "/http/0/actions",
    ] {
        let mut grants = full_grants();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        grants.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
        assert!(!compare(&before, &entry(&grants)).is_empty(), "{pointer}");
    }
}

#[test]
fn the_same_grants_in_another_order_are_the_same() {
    let lines = |value: &Value| grant_lines(&Grants::parse(value).unwrap());
    let mut turned = full_grants();
    turned["http"].as_array_mut().unwrap().reverse();
    turned["http"][2]["methods"] = json!(["GET", "POST"]);
    turned["http"][2]["reads"] = json!(["/v1/search", "POST"]);
    assert_eq!(lines(&full_grants()), lines(&turned));
    let written_out = json!({"http": [{"host": "a.example", "scheme": "https", "port": 443, "path": "/**",
        "methods": ["HEAD", "GET"], "resolves": "public", "reads": []}]});
    assert_eq!(lines(&json!({"http": [{"host": "a.example"}]})), lines(&written_out));
}

#[test]
fn no_text_in_a_grant_can_imitate_another_field() {
    let lines = |args: Value| {
        let grants = json!({"exec": [{"program": "p", "path": "/p", "args": args, "effect": "read"}]});
        grant_lines(&Grants::parse(&grants).unwrap())
    };
    let all: BTreeSet<_> = [
        lines(json!(["a", "b"])),
        lines(json!(["a\", \"b"])),
        lines(json!(["a, b"])),
        lines(json!(["a] effect=change"])),
        lines(json!([])),
        lines(json!([""])),
    ]
    .into();
    assert_eq!(all.len(), 6, "{all:?}");
}

#[test]
fn a_credential_that_may_go_elsewhere_is_another_line() {
    let line = |to: &str| crate::credential_line("github", &json!({"github": {"to": [to], "bearer": {"secret": "t"}}}));
    assert_eq!(line("a"), r#"github {"bearer":{"secret":"t"},"to":["a"]}"#);
    assert_ne!(line("a"), line("b"));
    assert_eq!(crate::credential_line("github", &Value::Null), "github");
}

#[test]
fn imports_requests_publishers_keys_and_sources_are_compared() {
    let before = entry(&json!({}));
    let mut after = before.clone();
    after.imports.insert("basb:host/exec@0.1.0#run".to_owned());
    after.imports.remove("basb:host/http@0.1.0#send");
    after.requested.insert(basb_grants::Capability::Exec);
    after.publisher = "mallory".to_owned();
    after.signed_by = Some(name("mallory"));
    after.key = Some("RW".to_owned());
    after.source = "elsewhere.wasm".to_owned();
    let found: Vec<String> = compare(&before, &after).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "publisher acme before, mallory now",
            "signed by nobody before, by mallory now",
            "signing key none before, RW now",
            "+ imports basb:host/exec@0.1.0#run",
            "+ asks for exec",
            "source plugins/probe.wasm before, elsewhere.wasm now",
            "- imports basb:host/http@0.1.0#send",
        ]
    );
}

fn staging(entry: LockEntry) -> Locked {
    let mut locked = now(entry);
    locked.scope.environment = name("staging");
    locked
}

#[test]
fn a_plugin_that_the_lock_file_does_not_name_is_refused() {
    let lock = agreed(entry(&json!({})));
    let mut more = now(entry(&json!({})));
    more.plugins.insert(name("new"), entry(&json!({})));
    assert_eq!(check(Some(&lock), &more, Policy::TrustFirstUse).unwrap_err().code(), "lock/differs");
    assert_eq!(check(Some(&LockFile::default()), &more, Policy::TrustFirstUse).unwrap_err().code(), "lock/differs");
}

#[test]
fn an_environment_that_the_lock_file_does_not_name_is_refused_where_anything_about_it_is_new() {
    let lock = agreed(entry(&json!({})));
    let wider = staging(entry(&full_grants()));
    let error = check(Some(&lock), &wider, Policy::TrustFirstUse).unwrap_err();
    assert!(error.to_string().contains("it is not in the lock file"), "{error}");
    assert!(
        error.next_step().contains("basb-host plugin update checks --environment staging --accept"),
        "{}",
        error.next_step()
    );
    let other_bytes = staging(entry_of(&inspection(), &json!({}), b"other bytes"));
    assert_eq!(check(Some(&lock), &other_bytes, Policy::TrustFirstUse).unwrap_err().code(), "lock/differs");
    let mut other_name = staging(entry(&json!({})));
    let entry = other_name.plugins.remove("checks").unwrap();
    other_name.plugins.insert(name("others"), entry);
    assert_eq!(check(Some(&lock), &other_name, Policy::TrustFirstUse).unwrap_err().code(), "lock/differs");
    // A deployment of another name is none of this one's environments.
    let mut other = staging(self::entry(&json!({})));
    other.scope.deployment = basb_core::ServiceName::new("another").unwrap();
    assert_eq!(check(Some(&lock), &other, Policy::TrustFirstUse).unwrap_err().code(), "lock/differs");
}

#[test]
fn an_environment_about_which_nothing_is_new_is_taken_over_unless_that_is_forbidden() {
    let lock = agreed(entry(&full_grants()));
    for entry in [entry(&full_grants()), entry(&json!({}))] {
        let new = staging(entry);
        let Ok(Decision::NewEnvironment(found)) = check(Some(&lock), &new, Policy::TrustFirstUse) else { panic!() };
        assert_eq!((&found.plugins, found.agreed_for), (&new, [name("production")].into()));
        assert!(lock.check(&new).is_empty());
        assert_eq!(check(Some(&lock), &new, Policy::Locked).unwrap_err().code(), "lock/differs");
    }
    // One plugin of two is new: that one is told.
    let mut two = staging(entry(&full_grants()));
    two.plugins.insert(name("more"), entry(&json!({})));
    let Err(LockError::Differs(differs)) = check(Some(&lock), &two, Policy::TrustFirstUse) else { panic!() };
    assert_eq!(differs.plugins.keys().collect::<Vec<_>>(), [&name("more")]);
}

#[test]
fn an_environment_that_is_named_takes_nothing_from_another() {
    let lock = agreed(entry(&json!({}))).with(staging(entry(&full_grants())));
    assert_eq!(
        check(Some(&lock), &now(entry(&full_grants())), Policy::TrustFirstUse).unwrap_err().code(),
        "lock/differs"
    );
}

#[test]
fn an_environment_is_added_to_what_the_file_says_now() {
    let folder = tempfile::tempdir().unwrap();
    let lock = agreed(entry(&full_grants()));
    let new = staging(entry(&json!({})));
    let Ok(Decision::NewEnvironment(new)) = check(Some(&lock), &new, Policy::TrustFirstUse) else { panic!() };
    // Somebody else agrees to less in the meantime.
    crate::write_lock(folder.path(), &agreed(entry_of(&inspection(), &json!({}), b"other bytes"))).unwrap();
    assert_eq!(crate::add_environment(folder.path(), &new).unwrap_err().code(), "lock/differs");
    crate::write_lock(folder.path(), &lock).unwrap();
    crate::add_environment(folder.path(), &new).unwrap();
    let written = crate::read_lock(folder.path()).unwrap().unwrap();
    assert_eq!(written, lock.with(new.plugins.clone()));
    assert_eq!(check(Some(&written), &new.plugins, Policy::Locked), Ok(Decision::Same { unused: Vec::new() }));
    crate::add_environment(folder.path(), &new).unwrap();
}

#[test]
fn a_plugin_that_is_not_used_any_more_stops_nothing() {
    let mut two = now(entry(&json!({})));
    two.plugins.insert(name("old"), entry(&json!({})));
    let lock = LockFile::default().with(two);
    let decision = check(Some(&lock), &now(entry(&json!({}))), Policy::Locked);
    assert_eq!(decision, Ok(Decision::Same { unused: vec![name("old")] }));
}

#[test]
fn the_hint_can_be_pasted() {
    let lock = agreed(entry(&json!({})));
    let Err(LockError::Differs(differs)) = check(Some(&lock), &now(entry(&full_grants())), Policy::TrustFirstUse)
    else {
        panic!()
    };
    assert_eq!(differs.direction(), Direction::Widens);
    let help = differs.help_for(std::path::Path::new("my files/x.yaml"));
    let command = "basb-host plugin update checks --file 'my files/x.yaml' --environment production --accept";
    assert!(help.contains(command), "{help}");
}
