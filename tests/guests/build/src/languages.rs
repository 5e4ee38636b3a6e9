//! Builds the example probes in other languages (`examples/languages`), with the tools that `cargo xtask setup languages`
//! installs.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// A way to make a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// JavaScript, by componentize-js, without the features that import WASI.
    JavaScript,
    /// Python, by componentize-py: imports all of WASI.
    Python,
    /// Python, by componentize-py with `--stub-wasi`: imports no WASI.
    PythonStubWasi,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::JavaScript, Self::Python, Self::PythonStubWasi];

    /// Its folder below `examples/languages`.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::JavaScript => "javascript",
            Self::Python | Self::PythonStubWasi => "python",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::JavaScript => "javascript",
            Self::Python => "python",
            Self::PythonStubWasi => "python-stub-wasi",
        }
    }

    /// The manifest that belongs to it, as JSON.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test of this repository cannot go on without its sources")]
    pub fn manifest(self) -> Vec<u8> {
        std::fs::read(sources().join(self.folder()).join("plugin.json")).expect("a manifest")
    }
}

/// The component, without a manifest; none where its tool is not installed, which is said on standard error in a way that
/// the test harness does not swallow.
///
/// # Panics
/// When the tool is there and fails, and when it is not there and `BASB_LANGUAGES=require` is set.
#[must_use]
#[expect(clippy::panic, clippy::expect_used, reason = "a test of this repository cannot go on without its guest")]
pub fn build(language: Language) -> Option<Vec<u8>> {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let installed = home.join(".cache/basb-host/languages");
    let tool = match language {
        Language::JavaScript => installed.join("javascript/node_modules/@bytecodealliance/componentize-js"),
        Language::Python | Language::PythonStubWasi => installed.join("python/bin/componentize-py"),
    };
    if !tool.exists() {
        let message = format!(
            "NOT TESTED: guests in {}: the tool is not installed. Install it with\n  cargo xtask setup languages",
            language.folder()
        );
        assert!(std::env::var_os("BASB_LANGUAGES").is_none_or(|value| value != "require"), "{message}");
        // Not `eprintln!`: the harness would keep it to itself, since the test passes.
        let _ = writeln!(std::io::stderr(), "\n{message}\n");
        return None;
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| super::workspace().join("target"), PathBuf::from);
    let folder = target.join("guests/languages");
    let done = folder.join(format!("{}-{:016x}.wasm", language.name(), digest(language, &installed)));
    // Two tests of one process may want the same guest: the second finds what the first has built.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Ok(bytes) = std::fs::read(&done) {
        return Some(bytes);
    }
    let work = folder.join(format!("{}-{}", language.name(), std::process::id()));
    let wit = work.join("wit");
    put(&wit.join("deps/host"), &super::workspace().join("wit/host/0.1.0"));
    std::fs::copy(sources().join("world.wit"), wit.join("world.wit")).expect("the world");
    put(&work.join("app"), &sources().join(language.folder()));
    let out = work.join("out.wasm");
    let mut command = match language {
        Language::JavaScript => {
            // Node looks for packages beside the program, not where it is started.
            let modules = installed.join("javascript/node_modules");
            std::os::unix::fs::symlink(modules, work.join("node_modules")).expect("a link");
            let mut node = Command::new("node");
            node.arg("app/build.mjs").arg("wit").arg(&out);
            node
        }
        Language::Python | Language::PythonStubWasi => {
            let mut componentize = Command::new(tool);
            componentize.args(["-d", "wit", "-w", "example-probe", "componentize"]);
            if language == Language::PythonStubWasi {
                componentize.arg("--stub-wasi");
            }
            componentize.args(["app", "-p", "app", "-o"]).arg(&out);
            componentize
        }
    };
    let output = command.current_dir(&work).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let words = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    assert!(output.status.success(), "{} does not build:\n{words}", language.name());
    let bytes = std::fs::read(&out).unwrap_or_else(|e| panic!("{}: {e}\n{words}", out.display()));
    std::fs::rename(&out, &done).expect("the component is kept");
    let _ = std::fs::remove_dir_all(&work);
    Some(bytes)
}

fn sources() -> PathBuf {
    super::workspace().join("examples/languages")
}

/// The files of a folder, copied.
#[expect(clippy::expect_used, reason = "a test of this repository cannot go on without its sources")]
fn put(to: &Path, from: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            std::fs::copy(&path, to.join(name)).expect("a file");
        }
    }
}

/// What the component depends on.
fn digest(language: Language, installed: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let folders = [sources().join(language.folder()), sources(), super::workspace().join("wit/host/0.1.0")];
    for folder in folders {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        files.sort();
        for file in files {
            std::fs::read(file).unwrap_or_default().hash(&mut hasher);
        }
    }
    std::fs::read(installed.join(language.folder()).join("version")).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}
