//! Running more than what was granted: other programs, other arguments, other variables, other bytes; processes that stay;
//! output that does not end.

use crate::case::{Case, Outcome};
use crate::ensure;
use crate::expect::{denied, ended, failed};
use crate::lab::{Lab, patient, play, play_as, script};
use basb_guest_script::{Outcome as Told, Step};
use basb_runtime::{CallOptions, Plugin};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "exec-other-programs",
            "programs that are not granted, and names that a shell would understand",
            other_programs,
        ),
        Case::new("exec-arguments", "fewer, more and other arguments than granted", arguments),
        Case::new("exec-options", "an option where the grant foresees a value (`*`)", options),
        Case::new("exec-metacharacters", "arguments that a shell would understand", metacharacters),
        Case::new("exec-zero-bytes", "zero bytes in arguments and variables", zero_bytes),
        Case::new("exec-variables", "variables that are not granted: LD_PRELOAD, PATH, and names with `=`", variables),
        Case::new("exec-inherits-nothing", "the host's own variables and open files", inherits),
        Case::new("exec-replaced", "a program with other bytes than granted", replaced),
        Case::new("exec-replaced-race", "a program that is exchanged while it is looked at", replaced_race),
        Case::new("exec-dry-run", "a program that changes something, during `plan`", dry_run),
        Case::new("exec-slow", "a program that does not end", slow),
        Case::new("exec-cut-off", "a program that runs when the call is cut off", cut_off),
        Case::new("exec-child-stays", "a program that ends and leaves another one behind", |lab| {
            stays(lab, "sleep 300 >/dev/null 2>&1 </dev/null &")
        }),
        Case::new("exec-child-of-own-session", "the same, in a session of its own", |lab| {
            stays(lab, "setsid sleep 300 >/dev/null 2>&1 </dev/null &")
        }),
        Case::new("exec-child-holds-output", "a child that keeps the output open, so that it never ends", holds_output),
        Case::new("exec-many-children", "a hundred children", |lab| {
            stays(lab, "for i in $(seq 100); do sleep 300 >/dev/null 2>&1 </dev/null & done")
        }),
        Case::new("exec-output-flood", "output without end, on both streams", output_flood),
        Case::new("exec-input-flood", "nine megabytes of input, for a program that reads none", input_flood)
            .may_grow(120),
        Case::new("exec-flood", "more programs than one call may run", flood),
    ]
}

/// A program that is a shell script.
fn tool(lab: &Lab, name: &str, text: &str) -> PathBuf {
    let path = lab.base().join(name);
    // Written under another name first: what is open for writing cannot be run.
    let new = lab.base().join(format!("{name}.new"));
    std::fs::write(&new, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&new, &path).unwrap();
    path
}

/// Tells its arguments, a line each.
const ECHO: &str = "for a in \"$@\"; do printf '[%s]\\n' \"$a\"; done";

fn grant(path: &Path, more: &Value) -> Value {
    let mut entry = json!({"program": "tool", "path": path});
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"exec": [entry]})
}

fn run(args: &[&str]) -> Step {
    run_as("tool", args, &[], 20_000)
}

fn run_as(program: &str, args: &[&str], env: &[(&str, &str)], timeout: u64) -> Step {
    Step::Exec {
        program: program.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        stdin: String::new(),
        timeout,
    }
}

async fn one(plugin: &Plugin, step: Step) -> Result<Told, String> {
    Ok(play(plugin, &script(vec![step])).await.map_err(|error| error.to_string())?[0].outcome.clone())
}

async fn other_programs(lab: Arc<Lab>) -> Outcome {
    let marker = lab.base().join("ran");
    let path = tool(&lab, "tool.sh", &format!("touch {}", marker.display()));
    let plugin = lab.probe(&grant(&path, &json!({})));
    let mut last = String::new();
    for program in [
        "sh",
        "/bin/sh",
        "../bin/sh",
        "tool;id",
        "tool id",
        "tool\0",
        "TOOL",
        "",
        "tool.sh",
        &path.display().to_string(),
        "x\nfiles: []",
        "\u{1b}[2J",
        "$(id)",
    ] {
        last = denied(&one(&plugin, run_as(program, &[], &[], 5000)).await?, &plugin, "check", &["exec:"])
            .map_err(|why| format!("{program:?}: {why}"))?;
    }
    ensure!(!marker.exists(), "the program ran");
    Ok(last)
}

async fn arguments(lab: Arc<Lab>) -> Outcome {
    let marker = lab.base().join("ran");
    let path = tool(&lab, "tool.sh", &format!("touch {}", marker.display()));
    let plugin = lab.probe(&grant(&path, &json!({"args": ["plan", "-out=*", "[a-z]?"]})));
    let mut last = String::new();
    let lists: [&[&str]; 12] = [
        &[],
        &["plan"],
        &["plan", "-out=x"],
        &["plan", "-out=x", "ab", "more"],
        &["apply", "-out=x", "ab"],
        &["plan ", "-out=x", "ab"],
        &["PLAN", "-out=x", "ab"],
        &["plan", "--out=x", "ab"],
        &["plan", "-out", "ab"],
        &["plan", "-out=x", "a"],
        &["plan", "-out=x", "ab\n"],
        &["plan\0", "-out=x", "ab"],
    ];
    for args in lists {
        last = denied(&one(&plugin, run(args)).await?, &plugin, "check", &["args:"])
            .map_err(|why| format!("{args:?}: {why}"))?;
    }
    ensure!(!marker.exists(), "the program ran");
    Ok(last)
}

/// A grant that foresees a value there does not foresee an option: `git log *` is not `git log --output=/etc/passwd`.
async fn options(lab: Arc<Lab>) -> Outcome {
    let path = tool(&lab, "tool.sh", ECHO);
    let plugin = lab.probe(&grant(&path, &json!({"args": ["show", "*"]})));
    let mut last = String::new();
    for arg in ["--output=/etc/passwd", "-oProxyCommand=id", "-", "--", "-x"] {
        last = denied(&one(&plugin, run(&["show", arg])).await?, &plugin, "check", &[])
            .map_err(|why| format!("{arg}: {why}"))?;
    }
    let fine = one(&plugin, run(&["show", "v1-x"])).await?;
    ensure!(fine.text().contains("[v1-x]"), "{fine:?}");
    Ok(last)
}

async fn metacharacters(lab: Arc<Lab>) -> Outcome {
    let path = tool(&lab, "tool.sh", ECHO);
    let plugin = lab.probe(&grant(&path, &json!({"args": ["*"]})));
    for arg in [
        "; id",
        "$(id)",
        "`id`",
        "a\nb",
        "| cat /etc/passwd",
        "&& id",
        "*",
        "~",
        "%s%n",
        "'\"",
        "\\",
        "${HOME}",
        "a b  c",
        "> /tmp/x",
        "",
        "\u{202e}",
    ] {
        let told = one(&plugin, run(&[arg])).await?;
        ensure!(told.text().contains(&format!("[{arg}]\n")), "{arg:?}: {told:?}");
    }
    Ok("each argument arrived as it was, as one".to_owned())
}

async fn zero_bytes(lab: Arc<Lab>) -> Outcome {
    let path = tool(&lab, "tool.sh", ECHO);
    let plugin = lab.probe(&grant(&path, &json!({"args": ["*"], "env": ["A"]})));
    let mut last = String::new();
    for step in [run(&["a\0b"]), run(&["\0"]), run_as("tool", &["a"], &[("A", "1\0LD_PRELOAD=x")], 5000)] {
        last = failed(&one(&plugin, step).await?, &["denied", "not-started", "other"], &[])?;
    }
    Ok(last)
}

async fn variables(lab: Arc<Lab>) -> Outcome {
    let path = tool(&lab, "tool.sh", "env");
    let plugin = lab.probe(&grant(&path, &json!({"env": ["A"]})));
    let mut last = String::new();
    for name in [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "PATH",
        "IFS",
        "BASH_ENV",
        "ENV",
        "HOME",
        "a",
        "A=B",
        "A\nB",
        "",
        "A ",
        "LD_PRELOAD\0",
    ] {
        last = denied(&one(&plugin, run_as("tool", &[], &[(name, "/evil.so")], 5000)).await?, &plugin, "check", &[])
            .map_err(|why| format!("{name:?}: {why}"))?;
    }
    let both = one(&plugin, run_as("tool", &[], &[("A", "1"), ("LD_PRELOAD", "/evil.so")], 5000)).await?;
    denied(&both, &plugin, "check", &["LD_PRELOAD"])?;
    let fine = one(&plugin, run_as("tool", &[], &[("A", "1\nLD_PRELOAD=/evil.so")], 5000)).await?;
    ensure!(fine.text().contains("A=1"), "{fine:?}");
    Ok(last)
}

async fn inherits(lab: Arc<Lab>) -> Outcome {
    // The parent of every case has set this one: see `parent`.
    ensure!(std::env::var_os("BASB_HOSTILE_OWN").is_some(), "the case was not started by `basb-hostile run`");
    let path = tool(
        &lab,
        "tool.sh",
        "env; echo ---; ls -l /proc/self/fd; echo ---; cat /proc/self/status | grep -i -e '^SigBlk' -e NoNewPrivs",
    );
    let plugin = lab.probe(&grant(&path, &json!({})));
    let told = one(&plugin, run(&[])).await?;
    ensure!(!told.text().contains("BASB_HOSTILE_OWN"), "the host's variables are there: {}", told.text());
    let files = told.text().split("---").nth(1).unwrap_or_default();
    let leaked: Vec<&str> = files
        .lines()
        .filter(|line| line.contains("->") && !line.contains("pipe:") && !line.contains("/proc/"))
        .collect();
    ensure!(leaked.is_empty(), "open files of the host: {leaked:?}");
    Ok("nothing of the host's is there".to_owned())
}

async fn replaced(lab: Arc<Lab>) -> Outcome {
    let marker = lab.base().join("ran");
    let path = tool(&lab, "tool.sh", "echo good");
    let sha256 = basb_core::Digest::of(&std::fs::read(&path).unwrap()).hex().to_owned();
    let plugin = lab.probe(&grant(&path, &json!({"sha256": sha256})));
    let good = one(&plugin, run(&[])).await?;
    ensure!(good.text().contains("good"), "{good:?}");
    tool(&lab, "tool.sh", &format!("touch {}", marker.display()));
    let told = one(&plugin, run(&[])).await?;
    ensure!(!marker.exists(), "the other program ran");
    failed(&told, &["denied"], &["is not the program that was granted", "sha256:"])
}

/// Somebody exchanges the program again and again: what runs is what was looked at.
async fn replaced_race(lab: Arc<Lab>) -> Outcome {
    let marker = lab.base().join("ran");
    let path = tool(&lab, "tool.sh", "echo good");
    let sha256 = basb_core::Digest::of(&std::fs::read(&path).unwrap()).hex().to_owned();
    let (good, evil) = (tool(&lab, "good", "echo good"), tool(&lab, "evil", &format!("touch {}", marker.display())));
    let plugin = lab.probe(&grant(&path, &json!({"sha256": sha256})));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swapping = {
        let (stop, path) = (Arc::clone(&stop), path.clone());
        std::thread::spawn(move || {
            let temporary = path.with_extension("link");
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for from in [&evil, &good] {
                    let _ = std::fs::remove_file(&temporary);
                    let _ = std::fs::hard_link(from, &temporary);
                    let _ = std::fs::rename(&temporary, &path);
                    // Hard links of one file to each other are left alone by `rename`.
                    std::thread::yield_now();
                }
            }
        })
    };
    let step = Step::Repeat { times: 150, step: Box::new(run(&[])) };
    let seen = play(&plugin, &script(vec![step])).await.map_err(|error| error.to_string());
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapping.join().unwrap();
    let seen = seen?;
    ensure!(
        !marker.exists(),
        "the other program ran, although its digest is not the granted one: {:?}",
        seen[0].outcome
    );
    Ok(format!("{:?}", seen[0].outcome))
}

async fn dry_run(lab: Arc<Lab>) -> Outcome {
    let marker = lab.base().join("ran");
    let path = tool(&lab, "tool.sh", &format!("touch {}", marker.display()));
    let plugin = lab.probe(&grant(&path, &json!({})));
    let seen =
        play_as(&plugin, &patient().read_only(), &script(vec![run(&[])])).await.map_err(|error| error.to_string())?;
    ensure!(!marker.exists(), "the program ran");
    denied(&seen[0].outcome, &plugin, "check", &["effect: read"])
}

/// The processes whose number a script wrote into a file are gone.
async fn gone(file: &Path) -> Result<usize, String> {
    let ids: Vec<String> = std::fs::read_to_string(file)
        .map_err(|error| format!("it did not run: {error}"))?
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    ensure!(!ids.is_empty(), "it did not run");
    let alive = |id: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // A zombie is gone; somebody else has to sweep it up.
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    };
    let start = Instant::now();
    loop {
        let left: Vec<&String> = ids.iter().filter(|id| alive(id)).collect();
        if left.is_empty() {
            return Ok(ids.len());
        }
        if start.elapsed() > Duration::from_secs(5) {
            let told = format!("{} of {} processes are still there", left.len(), ids.len());
            for id in left {
                let _ = std::process::Command::new("kill").args(["-KILL", id]).status();
            }
            return Err(told);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn slow(lab: Arc<Lab>) -> Outcome {
    let file = lab.base().join("ids");
    let path = tool(
        &lab,
        "tool.sh",
        &format!("trap '' TERM INT HUP; echo $$ > {}; while true; do sleep 1; done", file.display()),
    );
    let plugin = lab.probe(&grant(&path, &json!({})));
    let told = one(&plugin, run_as("tool", &[], &[], 700)).await?;
    gone(&file).await?;
    failed(&told, &["timed-out"], &["700 ms", "in doubt"])
}

async fn cut_off(lab: Arc<Lab>) -> Outcome {
    let file = lab.base().join("ids");
    let path = tool(&lab, "tool.sh", &format!("echo $$ > {}; sleep 300", file.display()));
    let plugin = lab.probe(&grant(&path, &json!({})));
    let short = CallOptions::new(Duration::from_millis(900));
    let result = play_as(&plugin, &short, &script(vec![run_as("tool", &[], &[], 300_000), Step::Loop])).await;
    let outcome = ended(result, &["plugin/timed-out"], &["900 ms"]);
    gone(&file).await?;
    outcome
}

/// A program that starts others and ends: they end with the call.
async fn stays(lab: Arc<Lab>, start: &'static str) -> Outcome {
    let file = lab.base().join("ids");
    // The children of the shell are told apart by their program.
    let text = format!(
        "{start}\nsleep 0.3\nfor p in /proc/[0-9]*; do if [ \"$(tr '\\0' ' ' < $p/cmdline 2>/dev/null)\" = 'sleep 300 ' ] && tr '\\0' '\\n' < $p/environ 2>/dev/null | grep -q '^MARK={mark}$'; then echo ${{p#/proc/}} >> {file}; fi; done",
        mark = std::process::id(),
        file = file.display()
    );
    let path = tool(&lab, "tool.sh", &text);
    let plugin = lab.probe(&grant(&path, &json!({"env": ["MARK"]})));
    let mark = std::process::id().to_string();
    let told = one(&plugin, run_as("tool", &[], &[("MARK", &mark)], 20_000)).await?;
    let count = gone(&file).await.map_err(|why| format!("{why}; {told:?}"))?;
    Ok(format!("{count} processes ended with the call"))
}

async fn holds_output(lab: Arc<Lab>) -> Outcome {
    let file = lab.base().join("ids");
    let path = tool(&lab, "tool.sh", &format!("sleep 300 & echo $! > {}; echo done", file.display()));
    let plugin = lab.probe(&grant(&path, &json!({})));
    let told = one(&plugin, run_as("tool", &[], &[], 1500)).await?;
    gone(&file).await?;
    ensure!(told.kind() == "timed-out" || told.text().contains("done"), "{told:?}");
    Ok(format!("{}: {}", told.kind(), told.text().trim()))
}

async fn output_flood(lab: Arc<Lab>) -> Outcome {
    let file = lab.base().join("ids");
    let path = tool(&lab, "tool.sh", &format!("echo $$ > {}; yes evil >&2 & exec yes evil", file.display()));
    let plugin = lab.probe(&grant(&path, &json!({})));
    let told = one(&plugin, run(&[])).await?;
    gone(&file).await?;
    failed(&told, &["too-large"], &["was ended"])
}

async fn input_flood(lab: Arc<Lab>) -> Outcome {
    let path = tool(&lab, "tool.sh", "true");
    let plugin = lab.probe(&grant(&path, &json!({})));
    let step = |size: usize| Step::Exec {
        program: "tool".to_owned(),
        args: Vec::new(),
        env: Vec::new(),
        stdin: "x".repeat(size),
        timeout: 20_000,
    };
    // A program that does not read its input is no error, and nobody waits for it.
    let small = one(&plugin, step(1 << 20)).await?;
    ensure!(small.kind() == "ok", "{small:?}");
    failed(&one(&plugin, step(9 << 20)).await?, &["too-large"], &["limit"])
}

async fn flood(lab: Arc<Lab>) -> Outcome {
    // The bound is that of every request, a thousand: with a lower one the case does not measure the machine.
    let runtime = lab.runtime_with(|options| options.limits.requests = 50);
    let plugin = lab.probe_in(&runtime, &json!({"exec": [{"program": "tool", "path": "/bin/true"}]}));
    let step = Step::Repeat { times: 60, step: Box::new(run(&[])) };
    let seen = play(&plugin, &script(vec![step])).await.map_err(|error| error.to_string())?;
    let Told::Many { kinds, last } = &seen[0].outcome else { return Err(format!("{:?}", seen[0].outcome)) };
    ensure!(kinds.get("ok") == Some(&50), "{kinds:?}");
    ensure!(last.contains("plugin `hostile`"), "{last}");
    Ok(last.clone())
}
