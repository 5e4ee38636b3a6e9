//! MiniStack: AWS's APIs on this machine, with ECS services whose tasks can be real containers.
//!
//! <https://pypi.org/project/ministack/>

use crate::install;
use crate::process::{Process, wait_until_answered};
use std::path::PathBuf;
use std::process::Command;
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
