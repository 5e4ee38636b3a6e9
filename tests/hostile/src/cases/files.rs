//! Out of the granted folder: by `..`, absolute paths, links of both kinds, pipes and devices; races; floods; and what a
//! written file may be.

use crate::case::{Case, Outcome};
use crate::ensure;
use crate::expect::{denied, ended, failed};
use crate::lab::{Lab, deliver, notify, patient, report, script};
use basb_guest_script::{Outcome as Told, Seen, Step};
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What stands in the files that no plugin must see or change.
const OUTSIDE: &str = "outside, and to stay there";

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("files-dot-dot", "paths that climb out of the folder", dot_dot),
        Case::new("files-absolute", "absolute paths, and forms of them", absolute),
        Case::new(
            "files-links-out",
            "symbolic links that lead out: to a file, to a folder, in a chain, through /proc",
            links_out,
        ),
        Case::new("files-link-race", "a folder that becomes a link while it is written to and read from", link_race),
        Case::new("files-hard-link", "a hard link to a file outside, written to", hard_link),
        Case::new("files-pipes-and-devices", "pipes, sockets and devices, which may never end", pipes),
        Case::new("files-sparse", "a file of 8 GiB that holds nothing", sparse),
        Case::new(
            "files-names",
            "names with control characters, zero bytes, backslashes; too long, too deep, none",
            names,
        ),
        Case::new(
            "files-other-folder",
            "folders that are not granted, and names that would be lines of the operator's file",
            other_folder,
        ),
        Case::new("files-read-only", "writing where reading is granted, and during `plan`", read_only),
        Case::new("files-flood", "five thousand files", flood),
        Case::new("files-list-flood", "a folder of twelve thousand entries", list_flood),
        Case::new("files-large-write", "a file of 17 MiB", large_write).may_grow(120),
        Case::new("files-special-bits", "a new content for a file that runs as its owner", special_bits),
        Case::new("files-stale", "overwriting what somebody else wrote in the meantime", stale),
    ]
}

/// A folder `vault` with a file in it, a folder `shown` that may be read, and one outside of both.
fn folders(lab: &Lab) -> Value {
    for folder in ["vault", "shown", "outside"] {
        std::fs::create_dir_all(lab.base().join(folder)).unwrap();
    }
    std::fs::write(lab.base().join("vault/inside.txt"), "inside").unwrap();
    std::fs::write(lab.base().join("shown/inside.txt"), "inside").unwrap();
    std::fs::write(lab.base().join("outside/file.txt"), OUTSIDE).unwrap();
    json!({"files": [
        {"folder": "vault", "path": "./vault", "access": "read-write"},
        {"folder": "shown", "path": "./shown", "access": "read"},
    ]})
}

/// Nothing outside was changed, and nothing was added there.
fn untouched(lab: &Lab) -> Result<(), String> {
    let outside = lab.base().join("outside");
    let text = std::fs::read_to_string(outside.join("file.txt")).unwrap_or_default();
    ensure!(text == OUTSIDE, "the file outside holds {text:?}");
    let entries: Vec<PathBuf> = std::fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().path()).collect();
    ensure!(entries.len() == 1, "outside there are {entries:?}");
    Ok(())
}

fn read(path: &str) -> Step {
    Step::Read { folder: "vault".to_owned(), path: path.to_owned() }
}

fn write(path: &str) -> Step {
    write_in("vault", path)
}

fn write_in(folder: &str, path: &str) -> Step {
    Step::Write {
        folder: folder.to_owned(),
        path: path.to_owned(),
        text: "evil".to_owned(),
        copies: 1,
        expect: String::new(),
    }
}

fn list(path: &str) -> Step {
    Step::List { folder: "vault".to_owned(), path: path.to_owned() }
}

fn remove(path: &str) -> Step {
    Step::Remove { folder: "vault".to_owned(), path: path.to_owned() }
}

/// All four acts on each of these paths fail, show nothing of what is outside, and change nothing there.
async fn all_fail(lab: Arc<Lab>, paths: &[&str], acts: &[fn(&str) -> Step]) -> Outcome {
    let plugin = lab.notifier(&folders(&lab));
    fail(&lab, &plugin, paths, acts).await
}

async fn fail(lab: &Lab, plugin: &basb_runtime::Plugin, paths: &[&str], acts: &[fn(&str) -> Step]) -> Outcome {
    let mut last = String::new();
    for path in paths {
        let seen =
            deliver(plugin, acts.iter().map(|act| act(path)).collect()).await.map_err(|error| error.to_string())?;
        for (number, one) in seen.iter().enumerate() {
            let at = format!("{path:?}, act {number}");
            ensure!(!one.outcome.text().contains(OUTSIDE), "{at}: it was read");
            last = match one.outcome.kind() {
                "denied" if one.outcome.text().contains("plugin `") => denied(&one.outcome, plugin, "notify", &[]),
                _ => failed(&one.outcome, &["denied", "other", "not-found", "conflict"], &[]),
            }
            .map_err(|why| format!("{at}: {why}"))?;
        }
    }
    untouched(lab)?;
    Ok(format!("{} paths, the last one: {last}", paths.len()))
}

const ACTS: &[fn(&str) -> Step] = &[read, write, list, remove];

async fn dot_dot(lab: Arc<Lab>) -> Outcome {
    let paths = [
        "../outside/file.txt",
        "a/../../outside/file.txt",
        "..",
        "../",
        "./../outside/file.txt",
        "a/./../..//outside/file.txt",
        "..//outside/file.txt",
        "inside.txt/../../outside/file.txt",
        "..\\outside\\file.txt",
        "../vault/../outside/file.txt",
        "a/b/c/../../../../outside/file.txt",
    ];
    all_fail(lab, &paths, ACTS).await
}

async fn absolute(lab: Arc<Lab>) -> Outcome {
    let own = lab.base().join("outside/file.txt").display().to_string();
    let paths = [
        own.as_str(),
        "/etc/passwd",
        "//etc/passwd",
        "/proc/self/environ",
        "/proc/self/mem",
        "/dev/mem",
        "/",
        "C:\\windows\\x",
        "\\\\server\\share",
    ];
    all_fail(Arc::clone(&lab), &paths, ACTS).await
}

async fn links_out(lab: Arc<Lab>) -> Outcome {
    let grants = folders(&lab);
    let vault = lab.base().join("vault");
    let outside = lab.base().join("outside");
    symlink(outside.join("file.txt"), vault.join("to-file")).unwrap();
    symlink("../outside/file.txt", vault.join("to-file-by-dots")).unwrap();
    symlink(&outside, vault.join("to-folder")).unwrap();
    symlink("to-folder", vault.join("chain-1")).unwrap();
    symlink("chain-1", vault.join("chain-2")).unwrap();
    symlink(outside.join("new.txt"), vault.join("to-nothing-yet")).unwrap();
    symlink("/", vault.join("root")).unwrap();
    symlink(format!("/proc/self/root{}", outside.display()), vault.join("through-proc")).unwrap();
    symlink("..", vault.join("up")).unwrap();
    std::fs::create_dir(vault.join("deep")).unwrap();
    symlink("../..", vault.join("deep/up")).unwrap();
    symlink("itself", vault.join("itself")).unwrap();
    let plugin = lab.notifier(&grants);
    // A link itself may be removed: it is in the folder. What it leads to stays.
    let acts: &[fn(&str) -> Step] = &[read, write];
    let files = [
        "to-file",
        "to-file-by-dots",
        "to-nothing-yet",
        "to-folder/file.txt",
        "to-folder/new.txt",
        "chain-2/file.txt",
        "chain-2/new.txt",
        "through-proc/file.txt",
        "up/outside/file.txt",
        "up/outside/new.txt",
        "deep/up/outside/file.txt",
        "itself",
        "itself/x",
        "root/etc/passwd",
    ];
    let first = fail(&lab, &plugin, &files, acts).await?;
    fail(&lab, &plugin, &["to-folder", "chain-2", "through-proc", "root", "up", "itself"], &[list]).await?;
    fail(&lab, &plugin, &["to-folder/file.txt", "chain-2/file.txt", "up/outside/file.txt"], &[remove]).await?;
    // Removing the links takes nothing with it.
    deliver(&plugin, vec![remove("to-file"), remove("to-folder")]).await.map_err(|error| error.to_string())?;
    untouched(&lab)?;
    Ok(first)
}

async fn link_race(lab: Arc<Lab>) -> Outcome {
    let plugin = lab.notifier(&folders(&lab));
    let vault = lab.base().join("vault");
    std::fs::create_dir(vault.join("real")).unwrap();
    std::fs::write(vault.join("real/file.txt"), "inside").unwrap();
    symlink(lab.base().join("outside"), vault.join("link")).unwrap();
    std::fs::rename(vault.join("real"), vault.join("swap")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swapping = {
        let (stop, vault) = (Arc::clone(&stop), vault.clone());
        std::thread::spawn(move || {
            let mut swaps = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let _ = std::fs::rename(vault.join("swap"), vault.join("real"));
                let _ = std::fs::rename(vault.join("link"), vault.join("swap"));
                let _ = std::fs::rename(vault.join("swap"), vault.join("link"));
                let _ = std::fs::rename(vault.join("real"), vault.join("swap"));
                swaps += 1;
            }
            swaps
        })
    };
    let mut kinds = std::collections::BTreeMap::<String, u32>::new();
    let mut stolen = 0;
    for round in 0..6 {
        let steps = (0..100)
            .flat_map(|n| [write(&format!("swap/new-{round}-{n}.txt")), read("swap/file.txt"), write("swap/file.txt")]);
        let seen: Vec<Seen> = deliver(&plugin, steps.collect()).await.map_err(|error| error.to_string())?;
        for one in &seen {
            *kinds.entry(one.outcome.kind().to_owned()).or_default() += 1;
            stolen += usize::from(one.outcome.text().contains(OUTSIDE));
        }
    }
    stop.store(true, Ordering::Relaxed);
    let swaps = swapping.join().unwrap();
    ensure!(stolen == 0, "{stolen} times the file outside was read");
    untouched(&lab)?;
    Ok(format!("{swaps} swaps, {kinds:?}"))
}

async fn hard_link(lab: Arc<Lab>) -> Outcome {
    let plugin = lab.notifier(&folders(&lab));
    std::fs::hard_link(lab.base().join("outside/file.txt"), lab.base().join("vault/hard.txt")).unwrap();
    let seen =
        deliver(&plugin, vec![write("hard.txt"), remove("hard.txt")]).await.map_err(|error| error.to_string())?;
    untouched(&lab)?;
    Ok(format!("the name in the folder is replaced ({}), the file outside is not", seen[0].outcome.kind()))
}

async fn pipes(lab: Arc<Lab>) -> Outcome {
    let grants = folders(&lab);
    let vault = lab.base().join("vault");
    let made = std::process::Command::new("mkfifo").arg(vault.join("pipe")).status();
    ensure!(made.is_ok_and(|status| status.success()), "mkfifo is missing: install coreutils");
    let _socket = std::os::unix::net::UnixListener::bind(vault.join("socket")).unwrap();
    symlink("/dev/zero", vault.join("zero")).unwrap();
    symlink("/dev/stdin", vault.join("stdin")).unwrap();
    symlink("/proc/self/fd/0", vault.join("fd")).unwrap();
    // A device itself can be made by root only.
    let _ = std::process::Command::new("mknod")
        .arg(vault.join("device"))
        .args(["c", "1", "5"])
        .stderr(std::process::Stdio::null())
        .status();
    let mut paths = vec!["pipe", "socket", "zero", "stdin", "fd"];
    if vault.join("device").exists() {
        paths.push("device");
    }
    let plugin = lab.notifier(&grants);
    fail(&lab, &plugin, &paths, &[read, write, list]).await
}

async fn sparse(lab: Arc<Lab>) -> Outcome {
    let plugin = lab.notifier(&folders(&lab));
    std::fs::File::create(lab.base().join("vault/large")).unwrap().set_len(8 << 30).unwrap();
    let seen = deliver(&plugin, vec![read("large")]).await.map_err(|error| error.to_string())?;
    failed(&seen[0].outcome, &["too-large"], &["limit"])
}

async fn names(lab: Arc<Lab>) -> Outcome {
    let (long, name, deep) = ("x/".repeat(600) + "x", "x".repeat(300), "x/".repeat(500) + "x");
    let paths = [
        "",
        ".",
        "./",
        "a\0b",
        "a\nb",
        "\u{1b}[2Jx",
        "a\\b",
        long.as_str(),
        name.as_str(),
        "inside.txt/x",
        "inside.txt/",
    ];
    let plugin = lab.notifier(&folders(&lab));
    let acts: &[fn(&str) -> Step] = &[write, remove];
    // A trailing slash is the same name; a folder that is not there is nothing to remove.
    for path in &paths[..9] {
        let seen =
            deliver(&plugin, acts.iter().map(|act| act(path)).collect()).await.map_err(|error| error.to_string())?;
        ensure!(seen[0].outcome.kind() != "ok", "{path:?} was written");
    }
    fail(&lab, &plugin, &["inside.txt/x"], &[read, write]).await?;
    let told =
        deliver(&plugin, vec![write(&deep), read("\u{202e}txt.exe")]).await.map_err(|error| error.to_string())?;
    untouched(&lab)?;
    // Bytes that are no text, and names that would repaint a terminal, made by somebody else.
    use std::os::unix::ffi::OsStrExt as _;
    std::fs::write(lab.base().join("vault").join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "").unwrap();
    let listed = deliver(&plugin, vec![list("")]).await.map_err(|error| error.to_string())?;
    ensure!(listed[0].outcome.kind() == "ok", "{:?}", listed[0].outcome);
    Ok(format!("{} names; {}", paths.len(), told[1].outcome.text()))
}

async fn other_folder(lab: Arc<Lab>) -> Outcome {
    let plugin = lab.notifier(&folders(&lab));
    let folders = [
        "outside",
        "Vault",
        "vault ",
        "vault/../outside",
        "",
        "*",
        "x\n  exec:\n  - program: sh",
        "\u{1b}[2J",
        "vault\0",
    ];
    let mut last = String::new();
    for folder in folders {
        let seen = deliver(&plugin, vec![write_in(folder, "a.txt")]).await.map_err(|error| error.to_string())?;
        last = denied(&seen[0].outcome, &plugin, "notify", &["access: read-write"])?;
        let lines = seen[0].outcome.text().lines().filter(|line| line.trim_start().starts_with("exec:")).count();
        ensure!(lines == 0, "the lines to paste grant something else: {}", seen[0].outcome.text());
    }
    untouched(&lab)?;
    Ok(last)
}

async fn read_only(lab: Arc<Lab>) -> Outcome {
    let plugin = lab.notifier(&folders(&lab));
    let remove_shown = Step::Remove { folder: "shown".to_owned(), path: "inside.txt".to_owned() };
    let seen = deliver(&plugin, vec![write_in("shown", "inside.txt"), remove_shown])
        .await
        .map_err(|error| error.to_string())?;
    for one in &seen {
        denied(&one.outcome, &plugin, "notify", &["access: read-write"])?;
    }
    let options = patient().read_only();
    let called = notify(&plugin, &options, &script(vec![write("inside.txt"), remove("inside.txt")]))
        .await
        .map_err(|error| error.to_string())?;
    let seen = report(&called.value.map_err(|failure| failure.message)?.summary).steps;
    let mut last = String::new();
    for one in &seen {
        last = denied(&one.outcome, &plugin, "notify", &["may only read"])?;
    }
    for folder in ["vault", "shown"] {
        let text = std::fs::read_to_string(lab.base().join(folder).join("inside.txt")).unwrap();
        ensure!(text == "inside", "{folder} holds {text:?}");
    }
    Ok(last)
}

async fn flood(lab: Arc<Lab>) -> Outcome {
    let plugin = lab.notifier(&folders(&lab));
    let step = Step::Repeat { times: 5000, step: Box::new(write("new-{n}.txt")) };
    let seen = deliver(&plugin, vec![step]).await.map_err(|error| error.to_string())?;
    let Told::Many { kinds, last } = &seen[0].outcome else { return Err(format!("{:?}", seen[0].outcome)) };
    let made = std::fs::read_dir(lab.base().join("vault")).unwrap().count();
    ensure!(made <= 2001, "{made} files: {kinds:?}");
    ensure!(last.contains("plugin `hostile`"), "{last}");
    Ok(format!("{made} files; {last}"))
}

async fn list_flood(lab: Arc<Lab>) -> Outcome {
    let plugin = lab.notifier(&folders(&lab));
    for n in 0..12_000 {
        std::fs::File::create(lab.base().join(format!("vault/{n}"))).unwrap();
    }
    let seen = deliver(&plugin, vec![list("")]).await.map_err(|error| error.to_string())?;
    failed(&seen[0].outcome, &["too-large"], &["entries"])
}

async fn large_write(lab: Arc<Lab>) -> Outcome {
    let plugin = lab.notifier(&folders(&lab));
    let step = Step::Write {
        folder: "vault".to_owned(),
        path: "large".to_owned(),
        text: "x".repeat(1 << 10),
        copies: 17 << 10,
        expect: String::new(),
    };
    let outcome = match deliver(&plugin, vec![step]).await {
        Ok(seen) => failed(&seen[0].outcome, &["too-large"], &["limit"]),
        Err(error) => ended(Err::<(), _>(error), &["plugin/too-large"], &[]),
    };
    ensure!(!lab.base().join("vault/large").exists(), "it was written");
    outcome
}

async fn special_bits(lab: Arc<Lab>) -> Outcome {
    let plugin = lab.notifier(&folders(&lab));
    let path = lab.base().join("vault/tool");
    std::fs::write(&path, "good").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o6755)).unwrap();
    let seen = deliver(&plugin, vec![write("tool")]).await.map_err(|error| error.to_string())?;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    ensure!(mode & 0o7000 == 0, "what the plugin wrote has mode {:o} and runs as its owner", mode & 0o7777);
    Ok(format!("{}, mode {:o}", seen[0].outcome.kind(), mode & 0o7777))
}

async fn stale(lab: Arc<Lab>) -> Outcome {
    let plugin = lab.notifier(&folders(&lab));
    let with = |expect: &str| Step::Write {
        folder: "vault".to_owned(),
        path: "inside.txt".to_owned(),
        text: "evil".to_owned(),
        copies: 1,
        expect: expect.to_owned(),
    };
    let other = format!("sha256:{}", "0".repeat(64));
    let seen = deliver(&plugin, vec![with(&other), with("absent"), with("sha256:"), with("\u{1b}[2J")])
        .await
        .map_err(|error| error.to_string())?;
    let mut last = String::new();
    for one in &seen {
        last = failed(&one.outcome, &["conflict", "other"], &[])?;
    }
    ensure!(std::fs::read_to_string(lab.base().join("vault/inside.txt")).unwrap() == "inside", "it was overwritten");
    Ok(last)
}
