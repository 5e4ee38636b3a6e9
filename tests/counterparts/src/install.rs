//! Where counterparts are installed, and what to say when one is not.

use std::io::Write;
use std::path::PathBuf;

/// Installs all of them.
pub const INSTALL: &str = "cargo xtask setup counterparts";

/// The folder that `cargo xtask setup counterparts` installs into.
#[must_use]
pub fn folder() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    home.join(".cache/basb-host/counterparts")
}

/// The program at `path` in [`folder`], or the one called `name` on the search path.
#[must_use]
pub fn find(path: &str, name: &str) -> Option<PathBuf> {
    let installed = folder().join(path);
    if installed.is_file() {
        return Some(installed);
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// As [`find`]; when it is not there, says so on standard error in a way that the test harness does not swallow.
///
/// # Panics
/// When it is not there and `BASB_COUNTERPARTS=require` is set, as in CI.
#[must_use]
pub fn find_or_say(path: &str, name: &str, alone: &str) -> Option<PathBuf> {
    find(path, name).or_else(|| say(&format!("`{name}`"), alone))
}

/// Says on standard error that something is not installed, in a way that the test harness does not swallow; nothing.
///
/// # Panics
/// When `BASB_COUNTERPARTS=require` is set, as in CI.
pub fn say<T>(what: &str, alone: &str) -> Option<T> {
    let message = format!(
        "NOT TESTED: {what} is not installed. Install all counterparts with\n  {INSTALL}\nor this one with\n  {alone}"
    );
    assert!(std::env::var_os("BASB_COUNTERPARTS").is_none_or(|value| value != "require"), "{message}");
    // Not `eprintln!`: the harness would keep it to itself, since the test passes.
    let _ = writeln!(std::io::stderr(), "\n{message}\n");
    None
}
