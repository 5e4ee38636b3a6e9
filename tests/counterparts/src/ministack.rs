//! MiniStack: AWS's APIs on this machine, with ECS services whose tasks can be real containers.
//!
//! <https://pypi.org/project/ministack/>

use crate::install;
use crate::process::{Process, wait_until_answered};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use url::Url;

/// What tasks are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tasks {
    /// They say that they run, and nothing does.
    InNameOnly,
    /// Containers on the host's network, of the Docker engine behind this socket.
    Containers(PathBuf),
}

/// A MiniStack; stopped when dropped.
#[derive(Debug)]
pub struct MiniStack {
    _process: Process,
    /// Where it answers, such as `http://127.0.0.1:4566`.
    pub endpoint: Url,
}

/// Starts MiniStack on a free port; `None`, and a message on standard error, when it is not installed.
///
/// # Panics
/// When it is installed and does not start.
#[must_use]
pub fn start(tasks: Tasks) -> Option<MiniStack> {
    let alone = "python3 -m venv ~/.cache/basb-host/counterparts/ministack && \
                 ~/.cache/basb-host/counterparts/ministack/bin/pip install ministack docker";
    let program = install::find_or_say("ministack/bin/ministack", "ministack", alone)?;
    if matches!(tasks, Tasks::Containers(_)) && !has_docker(&program) {
        // It would say of each task that it runs, and run nothing.
        return install::say("the Python package `docker` beside MiniStack", alone);
    }
    // It looks for a Docker engine by itself, and clears away there what an earlier one of it has left.
    let socket = match &tasks {
        Tasks::InNameOnly => "unix:///nonexistent/docker.sock".to_owned(),
        Tasks::Containers(socket) => format!("unix://{}", socket.display()),
    };
    let (process, port) = Process::listening("MiniStack", |port| {
        let mut command = Command::new(&program);
        // Unless it is told so, it listens everywhere.
        command.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.to_string());
        command.env("DOCKER_HOST", &socket).env("MINISTACK_HOST", "127.0.0.1");
        command
    });
    wait_until_answered("MiniStack", port);
    let endpoint = Url::parse(&format!("http://127.0.0.1:{port}")).expect("a URL");
    Some(MiniStack { _process: process, endpoint })
}

/// Whether the Python that it runs in has the client by which it starts containers.
fn has_docker(program: &Path) -> bool {
    let text = std::fs::read_to_string(program).unwrap_or_default();
    let python = text.lines().next().and_then(|line| line.strip_prefix("#!")).unwrap_or("python3");
    let tried = Command::new(python.trim()).args(["-c", "import docker"]).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}
