use super::*;
use crate::scope::Caller;
use crate::{Capabilities, Grants, Options};
use serde_json::json;
use std::sync::Arc;

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

async fn run(scope: &CallScope, command: Command) -> Result<Output, ExecError> {
    let options = Options { limits: Limits { output_bytes: 1000, ..Limits::default() }, ..Options::new("/") };
    Capabilities::new(options).exec().run(scope, command).await
}

fn patterns(list: &[&str]) -> Vec<TextPattern> {
    list.iter().map(|p| TextPattern::parse(p).unwrap()).collect()
}

#[test]
fn arguments_are_matched_in_order() {
    let args = |list: &[&str]| list.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
    let fit = |p: &[&str], a: &[&str]| args_match(&patterns(p), &args(a));
    assert_eq!(fit(&["plan", "-out=*"], &["plan", "-out=x"]), Fit::Yes);
    assert_eq!(fit(&["plan", "-out=*"], &["-out=x", "plan"]), Fit::No);
    assert_eq!(fit(&["plan"], &["plan", "-chdir=/"]), Fit::No);
    assert_eq!(fit(&["plan", "**"], &["plan"]), Fit::Yes);
    assert_eq!(fit(&["plan", "**"], &["plan", "a", "b"]), Fit::Yes);
    assert_eq!(fit(&[], &["a"]), Fit::No);
    assert_eq!(fit(&[], &[]), Fit::Yes);
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
    let options = Options::new(root.path());
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
    assert!(call.verdict == crate::Verdict::Allowed && call.received > 20, "{call:?}");
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
    let path = marker.path().display().to_string();
    let mut slow = command(&["-c", &format!("sleep 300 & echo $! > {path}; wait")]);
    slow.timeout = Duration::from_millis(700);
    assert!(matches!(run(&scope, slow).await, Err(ExecError::TimedOut(_))));
    let child: i32 = std::fs::read_to_string(&path).unwrap().trim().parse().unwrap();
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    for _ in 0..200 {
        if gone() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(gone(), "the program's child lives on");
    let flood = command(&["-c", "yes"]);
    assert!(matches!(run(&scope, flood).await, Err(ExecError::TooLarge(_))));
}
