//! Starting a process so that it cannot be lost.
//!
//! The process starts as a shell that waits for a line on its standard input: the gate. While it waits, its limits are
//! set and its id is written down; then the gate opens and the shell becomes the program. If the agent dies before
//! that, the shell reads the end of its input and ends, without the program ever having run.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use super::adopt::TOKEN;
use super::process::Process;
use crate::api::Workload;

const SHELL: &str = "/bin/sh";

/// 125: the gate closed before it opened.
const GATE: &str = r#"read -r gate || exit 125; unset gate; exec "$@" </dev/null"#;

/// What of the agent's own environment a service sees.
const INHERITED: [&str; 3] = ["PATH", "HOME", "LANG"];

/// A process behind its gate.
pub(crate) struct Gated {
    pub(crate) process: Process,
    gate: ChildStdin,
}

impl Gated {
    /// Lets the program run.
    pub(crate) fn open(mut self) -> io::Result<Process> {
        self.gate.write_all(b"go\n")?;
        Ok(self.process)
    }

    /// Closes the gate for good: the shell ends, and is reaped.
    pub(crate) fn abandon(self) {
        let Self { process, gate } = self;
        drop(gate);
        tokio::spawn(async move { process.exited().await });
    }
}

/// Starts a workload up to its gate.
///
/// # Errors
/// In words, for the instance's state.
pub(crate) fn start(workload: &Workload, port: u16, token: &str, home: &Path, log: &Path) -> Result<Gated, String> {
    let folder = workload.working_folder.as_ref().map_or_else(|| home.to_owned(), PathBuf::from);
    if !folder.is_dir() {
        return Err(format!("the working folder {} does not exist", folder.display()));
    }
    let environment = environment(workload, port, token);
    let mut arguments = workload.command.iter().map(|argument| substitute(argument, port));
    let program = arguments.next().ok_or("the command is empty")?;
    check_program(&program, &folder, environment.get("PATH").map(String::as_str))?;

    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent).map_err(|error| format!("cannot create {}: {error}", parent.display()))?;
    }
    let open = || OpenOptions::new().append(true).create(true).mode(0o600).open(log);
    let unopened = |error| format!("cannot open the log {}: {error}", log.display());
    let (output, errors) = (open().map_err(unopened)?, open().map_err(unopened)?);

    let mut child = Command::new(SHELL)
        .args(["-c", GATE, "basb-gate"])
        .arg(&program)
        .args(arguments)
        .env_clear()
        .envs(&environment)
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(errors)
        // Its own group: a Ctrl-C meant for the agent does not reach it, and it can be stopped with its children.
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot start {SHELL}: {error}"))?;
    let gate = child.stdin.take().ok_or("the gate has no input")?;
    let process = Process::hold(child.id(), token).map_err(|error| format!("cannot watch the process: {error}"))?;
    let gated = Gated { process, gate };
    if let Some(limits) = &workload.limits
        && let Err(error) = super::limits::apply(gated.process.pid(), limits)
    {
        gated.abandon();
        return Err(format!("cannot set limits: {error}"));
    }
    Ok(gated)
}

fn environment(workload: &Workload, port: u16, token: &str) -> BTreeMap<String, String> {
    let inherited = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)));
    let declared = workload.env.iter().map(|(name, value)| (name.clone(), substitute(value, port)));
    let ours = [("PORT", port.to_string()), ("HOST", "127.0.0.1".to_owned()), (TOKEN, token.to_owned())];
    let ours = ours.into_iter().map(|(name, value)| (name.to_owned(), value));
    inherited.chain(declared).chain(ours).collect()
}

fn substitute(text: &str, port: u16) -> String {
    text.replace("{port}", &port.to_string())
}

/// Says in plain words what the shell would only say in its log.
fn check_program(program: &str, folder: &Path, path: Option<&str>) -> Result<(), String> {
    if program.contains('/') {
        let file = folder.join(program);
        return match fs::metadata(&file) {
            Err(error) => Err(format!("cannot run {}: {error}", file.display())),
            Ok(facts) if !facts.is_file() => Err(format!("cannot run {}: it is not a file", file.display())),
            Ok(facts) if facts.permissions().mode() & 0o111 == 0 => {
                Err(format!("cannot run {}: it is not executable", file.display()))
            }
            Ok(_) => Ok(()),
        };
    }
    let path = path.unwrap_or("/usr/local/bin:/usr/bin:/bin");
    let found = path.split(':').any(|dir| {
        fs::metadata(folder.join(dir).join(program))
            .is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
    });
    if found { Ok(()) } else { Err(format!("cannot find the program `{program}` in PATH ({path})")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let folder = Path::new("/");
        assert!(check_program("sh", folder, Some("/nowhere:/bin")).is_ok());
        assert!(check_program("bin/sh", folder, None).is_ok());
        let error = check_program("no-such-program", folder, Some("/bin")).unwrap_err();
        assert!(error.contains("no-such-program") && error.contains("/bin"), "{error}");
        assert!(check_program("/etc/hostname-not-there", folder, None).is_err());
        assert!(check_program("/proc", folder, None).unwrap_err().contains("not a file"));
    }

    #[test]
    fn the_environment_is_clean_and_ours_wins() {
        let workload = Workload {
            command: vec!["x".into()],
            working_folder: None,
            env: [("ADDRESS", "h:{port}"), ("PORT", "1")].map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
            ready: None,
            limits: None,
            stop_grace_ms: None,
        };
        let environment = environment(&workload, 7, "t");
        assert_eq!(environment["ADDRESS"], "h:7");
        assert_eq!(environment["PORT"], "7");
        assert_eq!(environment[TOKEN], "t");
        assert!(!environment.contains_key("CARGO_MANIFEST_DIR"));
    }
}
