use super::*;
use crate::scope::Caller;
use crate::{Capabilities, Grants, Options};
use serde_json::json;
use std::time::{Duration, Instant};

struct Fixture {
    root: tempfile::TempDir,
    all: Capabilities,
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("vault")).unwrap();
        std::fs::write(root.path().join("secret"), "secret").unwrap();
        let all = Capabilities::new(Options::new(root.path()));
        Self { root, all }
    }

    fn files(&self) -> &Files {
        self.all.files()
    }
}

fn scope(access: &str) -> CallScope {
    let caller = Caller { plugin: "notes".into(), digest: Arc::new(Digest::of(b"")), call: "notify" };
    let grants = Grants::parse(&json!({"files": [{"folder": "vault", "path": "./vault", "access": access}]})).unwrap();
    CallScope::new(caller, Arc::new(grants), Instant::now() + Duration::from_secs(60))
}

#[tokio::test]
async fn a_write_replaces_at_once_and_keeps_nothing_behind() {
    let fixture = Fixture::new();
    let (files, scope) = (fixture.files(), scope("read-write"));
    let first = files.write(&scope, "vault", "a/b/note.md", b"one".to_vec(), Expectation::Absent).await.unwrap();
    assert_eq!(first, Digest::of(b"one"));
    let again = files.write(&scope, "vault", "a/b/note.md", b"two".to_vec(), Expectation::Absent).await;
    assert!(matches!(again, Err(FilesError::Conflict(_))));
    let stale = Expectation::Digest(Digest::of(b"other").as_str().to_owned());
    assert!(matches!(
        files.write(&scope, "vault", "a/b/note.md", b"two".to_vec(), stale).await,
        Err(FilesError::Conflict(_))
    ));
    assert_eq!(files.read(&scope, "vault", "a/b/note.md").await.unwrap().contents, b"one");
    let fresh = Expectation::Digest(first.as_str().to_owned());
    files.write(&scope, "vault", "a/b/note.md", b"two".to_vec(), fresh).await.unwrap();
    files.write(&scope, "vault", "a/b/a.md", Vec::new(), Expectation::Anything).await.unwrap();
    let entries = files.list(&scope, "vault", "a/b").await.unwrap();
    assert_eq!(entries.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["a.md", "note.md"]);
    files.remove(&scope, "vault", "a/b/note.md").await.unwrap();
    files.remove(&scope, "vault", "a/b/note.md").await.unwrap();
    assert!(matches!(files.read(&scope, "vault", "a/b/note.md").await, Err(FilesError::NotFound(_))));
    assert_eq!(files.list(&scope, "vault", "").await.unwrap()[0].kind, EntryKind::Folder);
}

#[tokio::test]
async fn what_a_killed_host_left_over_is_not_seen_and_goes_with_the_next_write() {
    let fixture = Fixture::new();
    let (files, scope) = (fixture.files(), scope("read-write"));
    let left = fixture.root.path().join("vault/.basb-0123456789abcdef.tmp");
    std::fs::write(&left, "half").unwrap();
    assert_eq!(files.list(&scope, "vault", "").await.unwrap(), []);
    let own = files.write(&scope, "vault", ".basb-0123456789abcdef.tmp", Vec::new(), Expectation::Anything).await;
    assert!(matches!(own, Err(FilesError::Denied(_))), "{own:?}");
    assert!(left.exists());
    files.write(&scope, "vault", "note.md", b"one".to_vec(), Expectation::Absent).await.unwrap();
    assert!(!left.exists());
    let entries = files.list(&scope, "vault", "").await.unwrap();
    assert_eq!(entries.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["note.md"]);
}

#[tokio::test]
async fn a_known_secret_is_not_read_and_every_act_is_written_down() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("vault")).unwrap();
    std::fs::write(root.path().join("vault/config"), "token: s3cr3t-value").unwrap();
    let options = Options { limits: Limits { host_calls: 3, ..Limits::default() }, ..Options::new(root.path()) };
    let name = basb_redact::SecretName::new("token").unwrap();
    let _ = options.redactor.learn(&name, &basb_redact::SecretValue::new("s3cr3t-value"));
    let all = Capabilities::new(options);
    let scope = scope("read-write");
    let file = all.files().read(&scope, "vault", "config").await.unwrap();
    assert_eq!(String::from_utf8(file.contents).unwrap(), "token: [secret token]");
    assert_eq!(file.digest, Digest::of(b"token: s3cr3t-value"));
    all.files().write(&scope, "vault", "new", b"12345".to_vec(), Expectation::Absent).await.unwrap();
    assert!(all.files().read(&scope, "vault", "../x").await.is_err());
    for _ in 0..2 {
        let error = all.files().read(&scope, "vault", "config").await.unwrap_err();
        assert!(error.to_string().contains("limit of one call"), "{error}");
    }
    let calls = scope.counters.calls();
    let shown: Vec<_> = calls.iter().map(|call| (call.verdict, call.sent, call.received)).collect();
    use crate::Verdict::{Allowed, Denied};
    assert_eq!(shown, [(Allowed, 0, 19), (Allowed, 5, 0), (Denied, 0, 0), (Denied, 0, 0)]);
    assert!(calls[3].what.contains("2 of files"), "{:?}", calls[3]);
}

#[tokio::test]
async fn there_is_no_way_out_of_the_folder() {
    let fixture = Fixture::new();
    let (files, scope) = (fixture.files(), scope("read-write"));
    let vault = fixture.root.path().join("vault");
    std::os::unix::fs::symlink("../secret", vault.join("link")).unwrap();
    std::os::unix::fs::symlink("..", vault.join("up")).unwrap();
    std::os::unix::fs::symlink("/etc", vault.join("etc")).unwrap();
    for path in
        ["../secret", "a/../../secret", "/etc/passwd", "link", "up/secret", "etc/passwd", "..", "a\\..\\b", "x\0y"]
    {
        let read = files.read(&scope, "vault", path).await;
        assert!(read.is_err(), "{path}: {read:?}");
        let write = files.write(&scope, "vault", path, b"x".to_vec(), Expectation::Anything).await;
        assert!(write.is_err(), "{path}: {write:?}");
        let _ = files.remove(&scope, "vault", &format!("up/{path}")).await;
    }
    assert_eq!(std::fs::read(fixture.root.path().join("secret")).unwrap(), b"secret");
    assert!(files.list(&scope, "vault", "up").await.is_err());
}

#[tokio::test]
async fn what_is_not_granted_is_denied_with_the_lines_to_add() {
    let fixture = Fixture::new();
    let files = fixture.files();
    let read = scope("read");
    let text = files.write(&read, "vault", "x", Vec::new(), Expectation::Anything).await.unwrap_err().to_string();
    assert!(text.contains("access: read-write") && text.contains("  notes:\n"), "{text}");
    let text = files.read(&read, "other", "x").await.unwrap_err().to_string();
    assert!(text.contains("- folder: other"), "{text}");
    let plan = scope("read-write").with_mode(Mode::ReadOnly);
    assert!(matches!(files.remove(&plan, "vault", "x").await, Err(FilesError::Denied(_))));
    assert_eq!(plan.counters.last_calls()[0].outcome, "denied");
}

#[tokio::test]
async fn sizes_are_bounded_and_a_pipe_does_not_block() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("vault")).unwrap();
    let options = Options {
        limits: Limits { file_bytes: 3, folder_entries: 2, ..Limits::default() },
        ..Options::new(root.path())
    };
    let all = Capabilities::new(options);
    let scope = scope("read-write");
    std::fs::write(root.path().join("vault/big"), "1234").unwrap();
    assert!(matches!(all.files().read(&scope, "vault", "big").await, Err(FilesError::TooLarge(_))));
    let write = all.files().write(&scope, "vault", "new", b"1234".to_vec(), Expectation::Anything).await;
    assert!(matches!(write, Err(FilesError::TooLarge(_))));
    assert!(matches!(all.files().read(&scope, "vault", ".").await, Err(FilesError::Other(_))));
    let pipe = root.path().join("vault/pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(matches!(all.files().read(&scope, "vault", "pipe").await, Err(FilesError::Other(_))));
    for name in ["a", "b"] {
        std::fs::write(root.path().join("vault").join(name), "").unwrap();
    }
    assert!(matches!(all.files().list(&scope, "vault", "").await, Err(FilesError::TooLarge(_))));
}
