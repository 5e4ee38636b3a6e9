//! Programs that print secrets: real ones.

use crate::network::Network;
use crate::{Setup, setup};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// A store that runs this with `/bin/sh`, which gets the key as `$1`.
fn shell(script: &str, further: Value, variables: &[(&str, &str)], base: &Path) -> Setup {
    let mut exec = json!({"command": ["/bin/sh", "-c", script, "sh", "{key}"], "timeout": "20s"});
    for (key, value) in further.as_object().unwrap() {
        exec[key] = value.clone();
    }
    let secrets = json!({
        "a": {"store": "program", "key": "web/a b;$(id)"},
        "json": {"store": "program", "key": "json", "field": "password"},
    });
    setup(json!({"program": {"exec": exec}}), secrets, variables, Network::none(), base)
}

fn plain(script: &str) -> Setup {
    shell(script, json!({}), &[("PATH", "/usr/bin:/bin"), ("HOME", "/nonexistent")], Path::new("/"))
}

#[tokio::test]
async fn the_key_is_one_argument_and_one_line_feed_is_cut() {
    assert_eq!(plain(r#"printf '%s\n\n' "$1""#).text("a").await.unwrap(), "web/a b;$(id)\n");
    assert_eq!(plain(r#"printf '%s' "$1""#).text("a").await.unwrap(), "web/a b;$(id)");
    assert_eq!(plain(r#"echo '{"password": "inner-password"}'"#).text("json").await.unwrap(), "inner-password");
}

#[tokio::test]
async fn the_environment_is_empty_but_for_what_is_listed() {
    let variables = [("PATH", "/usr/bin:/bin"), ("HOME", "/home/x"), ("LISTED", "yes"), ("NOT_LISTED", "no")];
    let setup = shell("env | sort", json!({"env": ["LISTED", "UNSET"]}), &variables, Path::new("/"));
    let seen = setup.text("a").await.unwrap();
    // `PWD`, `OLDPWD`, `SHLVL` and `_` are made by shells themselves.
    let seen: Vec<_> = seen.lines().filter(|l| !["PWD", "OLD", "SHL", "_="].iter().any(|p| l.starts_with(p))).collect();
    assert_eq!(seen, ["HOME=/home/x", "LISTED=yes", "PATH=/usr/bin:/bin"]);
}

#[tokio::test]
async fn it_runs_in_the_folder_of_the_deployment_file_without_input() {
    let folder = tempfile::tempdir().unwrap();
    let setup = shell("pwd -P; cat", json!({}), &[], folder.path());
    assert_eq!(Path::new(&setup.text("a").await.unwrap()), folder.path().canonicalize().unwrap());
}

#[tokio::test]
async fn what_takes_too_long_is_killed_with_everything_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let script = "sleep 1000 & echo $! > child; echo half-a-secret; wait";
    let setup = shell(script, json!({"timeout": "1s"}), &[("PATH", "/usr/bin:/bin")], folder.path());
    let error = setup.error("a").await;
    assert_eq!(error.code, "secret/store-timeout");
    assert!(error.message.contains("1s") && !format!("{error:?}").contains("half-a-secret"), "{error:?}");
    let child = std::fs::read_to_string(folder.path().join("child")).unwrap();
    let began = Instant::now();
    // Gone, or dead and waiting for whoever inherits it.
    let alive = || {
        std::fs::read_to_string(format!("/proc/{}/stat", child.trim()))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
    };
    while alive() {
        assert!(began.elapsed() < Duration::from_secs(30), "{child} is still running");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_prints_too_much_is_cut_off() {
    let setup = plain("while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done");
    assert_eq!(setup.error("a").await.code, "secret/too-long");
    let most = plain("head -c 65536 /dev/zero | tr '\\0' x; echo");
    assert_eq!(most.text("a").await.unwrap().len(), 65536);
    let more = plain("head -c 65537 /dev/zero | tr '\\0' x");
    assert_eq!(more.error("a").await.code, "secret/too-long");
}

#[tokio::test]
async fn a_failure_shows_what_was_said_and_nothing_that_was_printed() {
    let script = "echo canary-1234; echo 'gpg: no such key for canary-1234, token canary-5678' >&2; exit 3";
    let variables = [("PATH", "/usr/bin:/bin"), ("TOKEN", "canary-5678")];
    let setup = shell(script, json!({"env": ["TOKEN"]}), &variables, Path::new("/"));
    let error = setup.error("a").await;
    let text = format!("{error} {error:?}");
    assert!(text.contains("exit code 3") && text.contains("no such key"), "{text}");
    assert!(!text.contains("canary"), "{text}");
    let nothing = plain("true").error("a").await;
    assert_eq!(nothing.code, "secret/empty");
    let flood = plain("head -c 200000 /dev/zero | tr '\\0' x >&2; exit 1").error("a").await;
    assert!(flood.message.contains("too much to be shown"), "{flood:?}");
}

#[tokio::test]
async fn only_the_program_with_the_digest_runs() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("helper");
    // By another process: a file that this one holds open for writing could not be run by any of its threads.
    let write = |text: &str| {
        let path = script.to_str().unwrap();
        let done = std::process::Command::new("/bin/sh")
            .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod +x "$1""#, "sh", path, text])
            .status();
        assert!(done.unwrap().success());
        basb_core::Digest::of(&std::fs::read(&script).unwrap()).hex().to_owned()
    };
    let digest = write("echo \"value-for-$1\"");
    let store = |digest: &str| {
        let exec = json!({"command": [script.to_str().unwrap(), "{key}"], "sha256": digest});
        let secrets = json!({"a": {"store": "p", "key": "k"}});
        setup(json!({"p": {"exec": exec}}), secrets, &[], Network::none(), folder.path())
    };
    assert_eq!(store(&digest).text("a").await.unwrap(), "value-for-k");
    let changed = write("echo somebody-else");
    let error = store(&digest).error("a").await;
    assert_eq!(error.code, "secret/store-failed");
    assert!(error.help.contains(&changed), "{error:?}");
    let missing = setup(
        json!({"p": {"exec": {"command": ["/nonexistent/helper"]}}}),
        json!({"a": {"store": "p", "key": "k"}}),
        &[],
        Network::none(),
        folder.path(),
    );
    assert_eq!(missing.error("a").await.code, "secret/store-unavailable");
}
