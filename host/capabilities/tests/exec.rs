//! Programs that really run, under a keeper: with what they were granted, for as long as they may, and nothing of them
//! stays.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use basb_capabilities::exec::keeper::Keeper;
use basb_capabilities::exec::{Command, ExecError, Output};
use basb_capabilities::{CallScope, Caller, Capabilities, Grants, Limits, Mode, Options, Verdict};
use basb_core::Digest;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn scope(exec: serde_json::Value) -> CallScope {
    let caller = Caller { plugin: "tool".into(), digest: Arc::new(Digest::of(b"")), call: "apply" };
    let grants = Grants::parse(&json!({ "exec": exec })).unwrap();
    CallScope::new(caller, Arc::new(grants), Instant::now() + Duration::from_secs(60))
}

fn command(args: &[&str]) -> Command {
    Command {
        program: "sh".to_owned(),
        args: args.iter().map(|a| (*a).to_owned()).collect(),
        env: Vec::new(),
        stdin: Vec::new(),
        timeout: Duration::from_secs(30),
    }
}

fn options(base: impl AsRef<Path>) -> Options {
    Options { keeper: Keeper::at(env!("CARGO_BIN_EXE_basb-keep")), ..Options::new(base.as_ref()) }
}

async fn run(scope: &CallScope, command: Command) -> Result<Output, ExecError> {
    let limits = Limits { output_bytes: 1000, ..Limits::default() };
    Capabilities::new(Options { limits, ..options("/") }).exec().run(scope, command).await
}

/// Waits until the process whose number is in a file is gone; a zombie is, too.
async fn gone(file: &Path) {
    let id: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
    let is_gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    for _ in 0..500 {
        if is_gone() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the program's child lives on");
}

#[tokio::test]
async fn a_program_runs_with_a_clean_environment() {
    let scope = scope(json!([{"program": "sh", "path": "/bin/sh", "args": ["-c", "*"], "env": ["GREETING"]}]));
    let mut hello = command(&["-c", "cat; echo $GREETING; env | wc -l >&2; exit 3"]);
    hello.stdin = b"in ".to_vec();
    hello.env = vec![("GREETING".to_owned(), "hi".to_owned())];
    let output = run(&scope, hello).await.unwrap();
    assert_eq!(output.status, Some(3));
    assert_eq!(output.stdout, b"in hi\n");
    let variables: u32 = String::from_utf8(output.stderr).unwrap().trim().parse().unwrap();
    assert!(variables <= 6, "{variables}");
    let mut preload = command(&["-c", "true"]);
    preload.env = vec![("LD_PRELOAD".to_owned(), "/x.so".to_owned())];
    let text = run(&scope, preload).await.unwrap_err().to_string();
    assert!(text.contains("env: [LD_PRELOAD]"), "{text}");
}

#[tokio::test]
async fn a_program_starts_in_its_folder_and_tells_no_secret() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("infra")).unwrap();
    let options = options(root.path());
    let name = basb_redact::SecretName::new("token").unwrap();
    let _ = options.redactor.learn(&name, &basb_redact::SecretValue::new("s3cr3t-value"));
    let all = Capabilities::new(options);
    let grant = json!({"program": "sh", "path": "/bin/sh", "args": ["-c", "*"], "folder": "./infra"});
    let scope = scope(json!([grant]));
    let tells = command(&["-c", "pwd; echo s3cr3t-value; echo s3cr3t-value >&2"]);
    let output = all.exec().run(&scope, tells).await.unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(out.lines().next().unwrap().ends_with("/infra"), "{out}");
    assert!(!format!("{out}{err}").contains("s3cr3t-value") && err.contains("[secret token]"), "{out}{err}");
    let call = &scope.counters.calls()[0];
    assert!(call.verdict == Verdict::Allowed && call.received > 20, "{call:?}");
    for (arg, stdin) in [("echo __basb.secret.token__", ""), ("cat", "__basb.secret.token__")] {
        let mut holds = command(&["-c", arg]);
        holds.stdin = stdin.as_bytes().to_vec();
        let error = all.exec().run(&scope, holds).await.unwrap_err();
        assert!(matches!(&error, ExecError::Denied(text) if text.contains("placeholder")), "{error}");
    }
}

#[tokio::test]
async fn what_is_not_granted_does_not_run() {
    let none = run(&scope(json!([])), command(&["-c", "id"])).await.unwrap_err();
    assert!(
        matches!(&none, ExecError::Denied(text) if text.contains("- program: sh") && text.contains("args: [\"-c\", id]")),
        "{none}"
    );
    let granted = scope(json!([{"program": "sh", "path": "/bin/sh", "args": ["-c", "true"]}]));
    assert!(matches!(run(&granted, command(&["-c", "id"])).await, Err(ExecError::Denied(_))));
    let plan = granted.with_mode(Mode::ReadOnly);
    let text = run(&plan, command(&["-c", "true"])).await.unwrap_err().to_string();
    assert!(text.contains("effect: read"), "{text}");
    let digest = "0".repeat(64);
    let other = scope(json!([{"program": "sh", "path": "/bin/sh", "sha256": digest, "args": ["-c", "true"]}]));
    let text = run(&other, command(&["-c", "true"])).await.unwrap_err().to_string();
    assert!(text.contains("is not the program that was granted"), "{text}");
    let missing = scope(json!([{"program": "sh", "path": "/nowhere/sh"}]));
    assert!(matches!(run(&missing, command(&[])).await, Err(ExecError::NotStarted(_))));
}

#[tokio::test]
async fn a_program_is_ended_with_everything_it_started() {
    let scope = scope(json!([{"program": "sh", "path": "/bin/sh", "args": ["-c", "*"]}]));
    let marker = tempfile::NamedTempFile::new().unwrap();
    let path = marker.path().display();
    // Cut off; in a session of its own, and its parent gone.
    for start in ["sleep 300 & echo $! > FILE; wait", "setsid sh -c 'echo $$ > FILE; exec sleep 300' & sleep 300"] {
        let mut slow = command(&["-c", &start.replace("FILE", &path.to_string())]);
        slow.timeout = Duration::from_millis(1500);
        assert!(matches!(run(&scope, slow).await, Err(ExecError::TimedOut(_))));
        gone(marker.path()).await;
    }
    // Ended by itself, and another one holds its output open.
    let start =
        format!("setsid sh -c 'echo $$ > {path}; exec sleep 300' & while ! [ -s {path} ]; do :; done; echo done");
    std::fs::write(marker.path(), "").unwrap();
    let output = run(&scope, command(&["-c", &start])).await.unwrap();
    assert_eq!((output.status, output.stdout.as_slice()), (Some(0), b"done\n".as_slice()));
    gone(marker.path()).await;
    let flood = command(&["-c", "yes"]);
    assert!(matches!(run(&scope, flood).await, Err(ExecError::TooLarge(_))));
}

/// What was looked at is what runs: a copy that nobody can change.
#[tokio::test]
async fn a_digest_is_that_of_what_runs() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tool");
    // Exchanges itself while it runs: its interpreter reads a script piece by piece.
    let text = format!("#!/bin/sh\necho 'echo evil; exit 9' > {}\nsleep 0.1\necho good $1\n", path.display());
    let digest = Digest::of(text.as_bytes()).hex().to_owned();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let scope = scope(json!([{"program": "sh", "path": path, "args": ["*"], "sha256": digest}]));
    let output = run(&scope, command(&["x"])).await.unwrap();
    assert_eq!((output.status, output.stdout.as_slice()), (Some(0), b"good x\n".as_slice()));
    let text = run(&scope, command(&["x"])).await.unwrap_err().to_string();
    assert!(text.contains("is not the program that was granted"), "{text}");
}

#[tokio::test]
async fn a_binary_runs_from_its_copy() {
    let bytes = std::fs::read("/bin/sh").unwrap();
    let grant = json!({"program": "sh", "path": "/bin/sh", "args": ["-c", "*"], "sha256": Digest::of(&bytes).hex()});
    let output = run(&scope(json!([grant])), command(&["-c", "echo $0; kill -TERM $$"])).await.unwrap();
    assert_eq!((output.status, output.stdout.as_slice()), (None, b"/bin/sh\n".as_slice()));
}

#[tokio::test]
async fn a_keeper_that_is_none_is_told() {
    let options = Options { keeper: Keeper::at("/bin/true"), ..Options::new("/") };
    let scope = scope(json!([{"program": "sh", "path": "/bin/sh", "args": ["-c", "*"]}]));
    let error = Capabilities::new(options).exec().run(&scope, command(&["-c", "true"])).await.unwrap_err();
    assert!(matches!(&error, ExecError::NotStarted(text) if text.contains("serve_if_asked")), "{error}");
}
