//! Installs the tools that make components of other languages: componentize-js (npm) and componentize-py (PyPI). From the
//! package registries only, into one folder outside of the checkout; what is there already is left alone.
//!
//! TinyGo is not among them: no package registry of this kind carries its compiler.

use crate::shell::{self, Done, say};
use std::path::{Path, PathBuf};
use std::process::Command;

/// <https://www.npmjs.com/package/@bytecodealliance/componentize-js>
const COMPONENTIZE_JS: &str = "0.23.0";
/// <https://pypi.org/project/componentize-py/>
const COMPONENTIZE_PY: &str = "0.25.1";

/// Installs what is missing. Both are tried; what failed is said at the end.
pub fn run() -> Done {
    let home = std::env::var_os("HOME").ok_or("HOME is not set, so there is no folder to install into")?;
    let folder = PathBuf::from(home).join(".cache/basb-host/languages");
    let failed: Vec<String> = [javascript(&folder), python(&folder)].into_iter().filter_map(Result::err).collect();
    if failed.is_empty() {
        say(&format!("the tools of other languages are in {}", folder.display()));
        return Ok(());
    }
    Err(failed.join("\n"))
}

/// What is not installed, so that tests of it only say so.
pub fn missing() -> Vec<&'static str> {
    let Some(home) = std::env::var_os("HOME") else { return vec!["all languages (HOME is not set)"] };
    let folder = PathBuf::from(home).join(".cache/basb-host/languages");
    let tools = [
        ("javascript/node_modules/@bytecodealliance/componentize-js", "componentize-js"),
        ("python/bin/componentize-py", "componentize-py"),
    ];
    tools.into_iter().filter(|(path, _)| !folder.join(path).exists()).map(|(_, what)| what).collect()
}

fn is_installed(root: &Path, version: &str) -> bool {
    std::fs::read_to_string(root.join("version")).is_ok_and(|noted| noted.trim() == version)
}

fn begin(root: &Path) -> Done {
    std::fs::create_dir_all(root).map_err(|e| format!("{}: {e}", root.display()))
}

fn note(root: &Path, version: &str) -> Done {
    std::fs::write(root.join("version"), version).map_err(|e| format!("{}: {e}", root.display()))
}

fn javascript(folder: &Path) -> Done {
    let root = folder.join("javascript");
    if is_installed(&root, COMPONENTIZE_JS) {
        say("componentize-js is here");
        return Ok(());
    }
    begin(&root)?;
    let package = format!("@bytecodealliance/componentize-js@{COMPONENTIZE_JS}");
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&root).arg(package);
    shell::run(&mut npm).map_err(|e| format!("componentize-js: {e}\nIt needs Node.js 20 or newer with npm"))?;
    note(&root, COMPONENTIZE_JS)
}

fn python(folder: &Path) -> Done {
    let root = folder.join("python");
    if is_installed(&root, COMPONENTIZE_PY) {
        say("componentize-py is here");
        return Ok(());
    }
    begin(folder)?;
    let help = |e| format!("componentize-py: {e}\nIt needs Python 3.10 or newer with `venv`");
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(&root)).map_err(help)?;
    let package = format!("componentize-py=={COMPONENTIZE_PY}");
    shell::run(Command::new(root.join("bin/pip")).args(["install", "--quiet", &package])).map_err(help)?;
    note(&root, COMPONENTIZE_PY)
}
