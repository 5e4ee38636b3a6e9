//! A real container engine of a test's own: Docker's, or Podman, on a socket in a temporary folder, with one image in it.
//!
//! Neither gets a bridge or a rule of the packet filter: containers have the machine's network and listen on loopback. What was
//! started ends when it is dropped, containers first.

use crate::{PATIENCE, program, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The image in it: the services of the example.
pub const IMAGE: &str = "second-brain:1";

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `dockerd`, the reference.
    Docker,
    /// `podman system service`, a second implementation of the same API.
    Podman,
}

/// What starts containers for a kubelet: runc, but without a lower score for the kernel's choice of whom to kill. A kubelet
/// asks for one for each pod, and whoever may not lower it (`CAP_SYS_RESOURCE`) gets no container at all.
const RUNTIME: &str = "#!/bin/sh
for word; do
    if [ \"$before\" = --bundle ]; then
        sed -i 's/\"oomScoreAdj\":-[0-9]*/\"oomScoreAdj\":0/' \"$word/config.json\"
    fi
    before=$word
done
exec runc \"$@\"
";

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    kind: Kind,
    daemon: Child,
    folder: TempDir,
}

fn find(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|file| file.is_file())
}

impl Engine {
    /// Starts one. Where it cannot be had, says so loudly, and there is none.
    ///
    /// # Panics
    /// When it is installed and does not come up; and when it is not and `BASB_COUNTERPARTS=require` is set.
    #[must_use]
    pub fn start(kind: Kind) -> Option<Self> {
        Self::start_with(kind, |_| Vec::new())
    }

    /// Starts Docker's for a kubelet.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn for_kubelet() -> Option<Self> {
        Self::start_with(Kind::Docker, |folder| {
            let runtime = folder.join("runtime");
            std::fs::write(&runtime, RUNTIME).unwrap();
            std::fs::set_permissions(&runtime, Permissions::from_mode(0o755)).unwrap();
            let runtime = format!("--add-runtime=kubelet={}", runtime.display());
            vec![runtime, "--default-runtime=kubelet".to_owned(), "--exec-opt=native.cgroupdriver=cgroupfs".to_owned()]
        })
    }

    /// Starts one with further arguments, which may need files in its folder.
    fn start_with(kind: Kind, more: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        let needed: &[&str] = match kind {
            Kind::Docker => &["dockerd", "docker", "containerd"],
            Kind::Podman => &["podman", "runc", "docker"],
        };
        let missing: Vec<&str> = needed.iter().copied().filter(|name| find(name).is_none()).collect();
        let mut why = missing.iter().map(|name| format!("`{name}` is not installed")).collect::<Vec<_>>().join(", ");
        if why.is_empty() && !rustix::process::geteuid().is_root() {
            why = "an engine needs root".to_owned();
        }
        if !why.is_empty() {
            let message =
                format!("NOT TESTED: {kind:?}: {why}. Install what can be with\n  cargo xtask setup containers");
            assert!(std::env::var_os("BASB_COUNTERPARTS").is_none_or(|value| value != "require"), "{message}");
            // Not `eprintln!`: the harness would keep it to itself, since the test passes.
            let _ = writeln!(std::io::stderr(), "\n{message}\n");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("basb-engine-").tempdir().unwrap();
        let daemon = Self::daemon(kind, folder.path(), &more(folder.path()));
        let engine = Self { kind, daemon, folder };
        wait_for("the engine's answer", || engine.try_cli(&["version"]).ok());
        engine.import();
        Some(engine)
    }

    fn daemon(kind: Kind, folder: &Path, more: &[String]) -> Child {
        let at = |name: &str| folder.join(name).display().to_string();
        let socket = format!("unix://{}", at("s"));
        let log = File::create(folder.join("log")).unwrap();
        let mut command = match kind {
            Kind::Docker => {
                let mut command = Command::new(find("dockerd").unwrap());
                command.args(["--host", &socket, "--data-root", &at("data"), "--exec-root", &at("exec")]);
                command.args(["--pidfile", &at("pid"), "--bridge=none", "--storage-driver=overlay2"]);
                command.args(["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]);
                command
            }
            Kind::Podman => {
                let mut command = Command::new(find("podman").unwrap());
                command.args(["--root", &at("data"), "--runroot", &at("run"), "--cgroup-manager", "cgroupfs"]);
                command.args(["--events-backend", "file", "--tmpdir", &at("tmp")]);
                command.args(["--runtime", &find("runc").unwrap().display().to_string()]);
                command.args(["system", "service", "--time=0", &socket]);
                command
            }
        };
        command.args(more).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        command.spawn().unwrap()
    }

    /// Makes an image of the example's program and the libraries that it needs.
    fn import(&self) {
        let root = self.folder.path().join("image");
        let binary = program("second-brain");
        let copy = |from: &Path| {
            let to = root.join(from.strip_prefix("/").unwrap());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(from, to).unwrap();
        };
        let needed = Command::new("ldd").arg(&binary).output().unwrap();
        let needed = String::from_utf8_lossy(&needed.stdout).into_owned();
        for path in needed.split_whitespace().filter(|word| word.starts_with('/')) {
            copy(Path::new(path));
        }
        for name in ["bin", "vault", "tmp"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::copy(&binary, root.join("bin/second-brain")).unwrap();
        let tar = self.folder.path().join("image.tar");
        let made = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").status().unwrap();
        assert!(made.success());
        std::fs::remove_dir_all(&root).unwrap();
        let _ = self.cli(&["import", tar.to_str().unwrap(), IMAGE]);
        std::fs::remove_file(&tar).unwrap();
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// Which one it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What Docker's own client says to a command, the second witness of everything.
    ///
    /// # Errors
    /// What it says on standard error.
    pub fn try_cli(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(find("docker").unwrap());
        command.arg("--host").arg(format!("unix://{}", self.socket().display())).args(args);
        command.env("DOCKER_CONFIG", self.folder.path().join("client")).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// The same, which must succeed.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> String {
        self.try_cli(args).unwrap_or_else(|said| panic!("docker {args:?}: {said}"))
    }

    /// The names of all containers in this state (`running`, `exited`, …), sorted.
    #[must_use]
    pub fn names(&self, state: &str) -> Vec<String> {
        let listed = self.cli(&["ps", "--all", "--filter", &format!("status={state}"), "--format", "{{.Names}}"]);
        let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Everything about a container.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn inspect(&self, name: &str) -> Value {
        let text = self.cli(&["inspect", name]);
        serde_json::from_str::<Vec<Value>>(&text).unwrap().remove(0)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Ok(all) = self.try_cli(&["ps", "--all", "--quiet"]) {
            let all: Vec<&str> = all.lines().collect();
            if !all.is_empty() {
                let _ = self.try_cli(&[&["rm", "--force", "--volumes"][..], &all].concat());
            }
        }
        let _ = kill_process(Pid::from_child(&self.daemon), Signal::TERM);
        let began = std::time::Instant::now();
        while matches!(self.daemon.try_wait(), Ok(None)) {
            if began.elapsed() > PATIENCE {
                let _ = writeln!(std::io::stderr(), "{:?} does not stop: {}", self.kind, self.log());
                let _ = self.daemon.kill();
                let _ = self.daemon.wait();
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        // What the engine mounted and did not let go of would keep the folder.
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let root = self.folder.path().display().to_string();
        for at in mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| at.starts_with(&root)) {
            let _ = Command::new("umount").args(["--lazy", at]).status();
        }
    }
}
