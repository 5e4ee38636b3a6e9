//! A deployment of two services with the real binary: `evil`, about which a plugin lies, and `good`, which must not notice.
//!
//! The cloud is a file that the provider keeps: what was really asked for can be read there. A first release is deployed
//! once for all cases; each case begins with a copy of that folder.

use crate::case::Outcome;
use crate::ensure;
use crate::expect::is_clear;
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that a command may take: what is tested is that it comes to an end, on a machine that may be busy.
const LONGEST: Duration = Duration::from_secs(300);

/// The most that the journal may grow to, with its write-ahead file: a strategy is asked a thousand times at most, and each
/// of its steps may have the tapes of a handful of calls.
const MOST_JOURNAL: u64 = 32 << 20;

/// The most that a command may print, in bytes, however much a plugin has to say.
const MOST_OUTPUT: usize = 1 << 20;

/// The most memory that a command may use, in MiB: the peak of an honest run in a debug build is about a third of it.
const MOST_MEMORY: u64 = 400;

/// The plugins, as their packages and as the deployment names their files.
const PLUGINS: [(&str, &str); 3] = [
    ("guest-hostile-provider", "provider.wasm"),
    ("guest-hostile-strategy", "strategy.wasm"),
    ("guest-hostile-probe", "probe.wasm"),
];

/// What differs from an honest deployment.
#[derive(Debug, Clone, Default)]
pub struct Tricks {
    /// How the provider lies about `evil`.
    pub provider: &'static str,
    /// How the strategy of `evil` misbehaves.
    pub strategy: &'static str,
    /// What the probe of `evil` answers, as the configuration of the scripted probe.
    pub probe: Option<Value>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; none after a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
    /// The most memory that it used, in MiB.
    pub memory_mib: u64,
    /// How long it took.
    pub took: Duration,
}

/// A deployment in a folder of its own.
pub struct Deployment {
    root: PathBuf,
}

impl Deployment {
    /// Deploys the first release where it was not yet, for [`Deployment::copy`].
    pub fn prepare(folder: &Path) {
        let root = folder.join("deployment");
        let version = format!("{:?}", std::fs::metadata(program()).unwrap().modified());
        let mut guests = version.into_bytes();
        for (package, _) in PLUGINS {
            guests.extend(crate::guests::read(folder, package));
        }
        let digest = basb_core::Digest::of(&guests).to_string();
        let marker = root.join("made-of");
        if std::fs::read_to_string(&marker).is_ok_and(|text| text == digest) {
            return;
        }
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("cloud")).unwrap();
        for (package, file) in PLUGINS {
            std::fs::write(root.join(file), crate::guests::read(folder, package)).unwrap();
        }
        let made = Self { root };
        made.write(1, &Tricks::default());
        let ran = made.run(&["--json", "run"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        std::fs::write(marker, digest).unwrap();
    }

    /// A copy of the first release.
    pub fn copy(folder: &Path, to: &Path) -> Self {
        let root = to.join("deployment");
        let status = Command::new("cp").arg("-a").arg(folder.join("deployment")).arg(&root).status().unwrap();
        assert!(status.success());
        Self { root }
    }

    /// Writes the deployment file of a release.
    pub fn write(&self, release: u32, tricks: &Tricks) {
        let workload = |name: &str| {
            json!({
                "workload": {"command": ["/bin/true", release.to_string()], "ready": "none", "minReady": "1ms"},
                "replicas": 2,
                "listen": format!("127.0.0.1:{}", if name == "evil" { 7001 } else { 7002 }),
                "strategy": name,
                "progressDeadline": "3s",
                "scaleDownDelay": "0s",
                "abortScaleDownDelay": "0s",
            })
        };
        let mut evil = workload("evil");
        if tricks.probe.is_some() && tricks.strategy.is_empty() {
            evil["verify"] = json!(["told"]);
        }
        let bad = json!({"answer": {"verdict": "fail", "summary": "it is broken"}});
        let file = json!({
            "version": 1,
            "name": "lab",
            "plugins": {
                "cloud": {
                    "source": "./provider.wasm",
                    "grants": {"files": [{"folder": "cloud", "path": "./cloud", "access": "read-write"}]},
                },
                "plan": {"source": "./strategy.wasm"},
                "probe": {
                    "source": "./probe.wasm",
                    "grants": {
                        "http": [{"target": "service"}],
                        "tcp": [{"host": "nowhere.invalid", "port": 1}],
                        "exec": [{"program": "nothing", "path": "/nonexistent"}],
                    },
                },
            },
            "environments": {
                "local": {"provider": {"plugin": "cloud", "config": {"tricks": {"evil": tricks.provider}}}},
            },
            "services": {"evil": evil, "good": workload("good")},
            "strategies": {
                "evil": {"plugin": "plan", "config": {"trick": tricks.strategy}},
                "good": {"plugin": "plan"},
            },
            "probes": {
                "told": {"plugin": "probe", "config": tricks.probe.clone().unwrap_or_else(|| json!({}))},
                "bad": {"plugin": "probe", "config": bad},
            },
            "analyses": {
                "bad": {"metrics": [{"name": "bad", "probe": "bad", "failureCondition": "result.verdict == 'fail'"}]},
                "told": {"metrics": [{"name": "told", "probe": "told", "successCondition": "result.value > 0.5"}]},
            },
        });
        // JSON is YAML.
        std::fs::write(self.root.join("deployment.yaml"), serde_json::to_string_pretty(&file).unwrap()).unwrap();
    }

    /// Runs `basb-host` to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        let start = Instant::now();
        let mut child = Command::new(program())
            .args(args)
            .current_dir(&self.root)
            .env_clear()
            .env("BASB_HOST_STATE", self.root.join("state"))
            .env("HOME", &self.root)
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, stderr) = (reader(child.stdout.take().unwrap()), reader(child.stderr.take().unwrap()));
        let mut memory = 0;
        let code = loop {
            memory = memory.max(crate::memory::peak_of(child.id()));
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
            if start.elapsed() > LONGEST {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Ran {
            code,
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
            memory_mib: memory >> 10,
            took: start.elapsed(),
        }
    }

    /// What the provider was really asked for, and what is there now.
    pub fn cloud(&self, service: &str) -> Value {
        let text = std::fs::read_to_string(self.root.join("cloud").join(format!("{service}.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// The revision that has all of the traffic.
    pub fn serving(&self, service: &str) -> Option<String> {
        let cloud = self.cloud(service);
        let revisions = cloud["revisions"].as_object().unwrap();
        revisions.iter().find(|(_, revision)| revision["weight"] == 10_000).map(|(id, _)| id.clone())
    }

    /// How large the journal is, in bytes.
    pub fn journal_bytes(&self) -> u64 {
        fn size(folder: &Path) -> u64 {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries
                .map(|entry| {
                    let about = entry.metadata().unwrap();
                    if about.is_dir() { size(&entry.path()) } else { about.len() }
                })
                .sum()
        }
        size(&self.root.join("state/journal"))
    }
}

impl Ran {
    /// Whether it ended as it may, printed no more than it may, used no more memory than it may, and nothing in what it
    /// said can repaint a terminal or pass for a line of the host.
    pub fn is_sound(&self, codes: &[i32]) -> Result<(), String> {
        let Some(code) = self.code else {
            return Err(format!("it did not end within {} s, or crashed: {:.2000}", LONGEST.as_secs(), self.stderr));
        };
        ensure!(
            codes.contains(&code),
            "exit code {code} instead of {codes:?}: {:.3000}{:.3000}",
            self.stderr,
            self.stdout
        );
        ensure!(self.memory_mib <= MOST_MEMORY, "{} MiB of memory", self.memory_mib);
        let printed = self.stdout.len() + self.stderr.len();
        ensure!(printed <= MOST_OUTPUT, "{printed} bytes were printed");
        for text in [&self.stdout, &self.stderr] {
            for line in text.lines() {
                if serde_json::from_str::<Value>(line).is_ok() {
                    // Data for programs: what could do harm on a terminal is escaped by JSON, but for what turns text around.
                    ensure!(line.len() <= 512 << 10, "a line of {} bytes", line.len());
                    ensure!(!line.chars().any(char::is_control), "a control character in {line:.300}");
                    continue;
                }
                is_clear(line)?;
                ensure!(!line.trim_start().starts_with("FORGED"), "a forged line: {line}");
            }
        }
        Ok(())
    }

    /// Whether every line of a JSON stream is an event, all of one run, and the last one is its only end. Gives how
    /// `evil` and `good` ended.
    pub fn is_stream(&self) -> Result<(String, String), String> {
        let mut ends = Vec::new();
        let mut run = None;
        let count = self.stdout.lines().count();
        for (at, line) in self.stdout.lines().enumerate() {
            let event: Value = serde_json::from_str(line).map_err(|error| format!("{error}: {line:.300}"))?;
            ensure!(event["version"] == 1 && event["kind"].is_string(), "no event: {line:.300}");
            let of = event["run"].as_str().map(str::to_owned);
            ensure!(run.is_none() || run == of, "another run: {line:.300}");
            run = of;
            if event["kind"] == "run.finished" {
                ensure!(at + 1 == count, "something comes after the end: {line:.300}");
                ends.push(event["services"].clone());
            }
        }
        let [services] = ends.as_slice() else { return Err(format!("{} ends", ends.len())) };
        let ended = |name: &str| services[name].as_str().unwrap_or_default().to_owned();
        Ok((ended("evil"), ended("good")))
    }

    /// The reason that is given for the end of `evil`.
    pub fn reason(&self) -> String {
        let events = self.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut of_evil = events.filter(|event| event["service"] == "evil" && event["reason"].is_string());
        of_evil.next_back().map(|event| event["reason"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    }
}

/// Deploys a second release in which something about `evil` is a trick. It must not get through; what users reach stays
/// the first release where `expected` is not `promoted`; `good` is promoted; and all that is told is sound.
pub fn attack(folder: &Path, base: &Path, tricks: &Tricks, expected: &[&str], parts: &[&str]) -> Outcome {
    let lab = Deployment::copy(folder, base);
    let before = lab.serving("evil").ok_or("the first release is not there")?;
    lab.write(2, tricks);
    let ran = lab.run(&["--json", "run"]);
    ran.is_sound(&[0, 1, 3, 5])?;
    let (evil, good) = ran.is_stream()?;
    let reason = ran.reason();
    ensure!(expected.contains(&evil.as_str()), "`evil` ended as {evil}, not as {expected:?}: {reason:.1000}");
    ensure!(good == "promoted", "`good` ended as {good}: {:.2000}", ran.stdout);
    if evil != "promoted" {
        ensure!(!reason.is_empty(), "no reason is given: {:.2000}", ran.stdout);
        ensure!(lab.serving("evil") == Some(before), "users no longer reach the first release: {}", lab.cloud("evil"));
    }
    let told = if evil == "promoted" { &ran.stdout } else { &reason };
    for part in parts {
        ensure!(told.contains(part), "`{part}` is not in what is told: {told:.2000}");
    }
    ensure!(lab.journal_bytes() < MOST_JOURNAL, "the journal has {} bytes", lab.journal_bytes());
    // What people see of it afterwards, and the proof that nothing was changed.
    lab.run(&["show"]).is_sound(&[0])?;
    lab.run(&["--color", "always", "history"]).stdout.lines().try_for_each(|line| {
        ensure!(!line.contains("FORGED"), "a forged line: {line}");
        Ok(())
    })?;
    lab.run(&["audit", "verify"]).is_sound(&[0])?;
    Ok(format!("{evil} after {} ms, {} MiB: {reason:.600}", ran.took.as_millis(), ran.memory_mib))
}

/// `plan` and `validate` of a deployment with a trick: nothing is changed, and all that is told is sound.
pub fn look(folder: &Path, base: &Path, tricks: &Tricks, args: &[&str], codes: &[i32]) -> Outcome {
    let lab = Deployment::copy(folder, base);
    let before = lab.cloud("evil");
    lab.write(2, tricks);
    let ran = lab.run(args);
    ran.is_sound(codes)?;
    ensure!(lab.cloud("evil") == before, "something was changed");
    let json = lab.run(&[&["--json"], args].concat());
    json.is_sound(codes)?;
    if !json.stdout.is_empty() {
        let _: Value = serde_json::from_str(&json.stdout).map_err(|error| format!("{error}: {:.300}", json.stdout))?;
    }
    Ok(format!("{} ms, {} MiB: {:.600}", ran.took.as_millis(), ran.memory_mib, ran.stderr.trim()))
}

fn program() -> PathBuf {
    let path = std::env::current_exe().unwrap().with_file_name("basb-host");
    assert!(path.is_file(), "{} is missing: `cargo build -p basb-host` makes it", path.display());
    path
}

fn reader(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.by_ref().take(64 << 20).read_to_end(&mut all);
        // Whoever writes more must not be stopped by it.
        let _ = std::io::copy(&mut from, &mut std::io::sink());
        String::from_utf8_lossy(&all).into_owned()
    })
}
