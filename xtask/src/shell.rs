//! Running programs, and saying what is run.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why a task ended early, for a person.
pub type Done<T = ()> = Result<T, String>;

/// Says something on standard error.
pub fn say(text: &str) {
    // Nobody to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The folder of the workspace: where cargo says that it is now, since checkouts can share a target folder.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = PathBuf::from(here);
    here.parent().map_or_else(|| here.clone(), Path::to_owned)
}

/// The folder that cargo builds into.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Cargo, in the workspace's folder.
pub fn cargo<I, S>(args: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    // What `cargo run` says about this program is not for those that it builds: some build scripts (ring's) watch these
    // variables, and would compile half of the tree anew, once with and once without them.
    for (name, _) in std::env::vars_os() {
        let watched =
            name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if watched {
            command.env_remove(name);
        }
    }
    command
}

/// Says what is run, and runs it to its end.
pub fn run(command: &mut Command) -> Done {
    let shown = show(command);
    say(&format!("$ {shown}"));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` ended with {status}")),
        Err(e) => Err(format!("`{shown}` could not be started: {e}")),
    }
}

/// Runs something and gives its standard output.
pub fn output(command: &mut Command) -> Done<String> {
    let shown = show(command);
    let output =
        command.stderr(Stdio::inherit()).output().map_err(|e| format!("`{shown}` could not be started: {e}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("`{shown}` ended with {}", output.status))
    }
}

fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let args = command.get_args().map(|a| a.to_string_lossy().into_owned());
    std::iter::once(name).chain(args).collect::<Vec<_>>().join(" ")
}
