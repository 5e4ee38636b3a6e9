//! Builds every folder of `plugins/` for `wasm32-unknown-unknown`, turns each into a component, and writes the table
//! that the library includes.
//!
//! The nested cargo has a target folder of its own (`<target>/builtin-plugins`, the same for every profile of the outer
//! build): it must not wait for a lock that the outer one holds, and it rarely has anything to do.

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use sha2::{Digest, Sha256};
use wasm_encoder::{Module, NameMap, NameSection, RawSection};
use wasmparser::{KnownCustom, Name, Parser, Payload};
use wit_component::ComponentEncoder;

const TARGET: &str = "wasm32-unknown-unknown";

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in error.to_string().lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = here.ancestors().nth(2).ok_or("host/builtins is not two folders below the workspace")?.to_path_buf();
    for watched in [
        "plugins",
        "sdk/rust/src",
        "sdk/rust/Cargo.toml",
        "sdk/agent",
        "sdk/cloud-kit",
        "wit",
        "Cargo.toml",
        "host/builtins/build.rs",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }

    let plugins = plugins(&root.join("plugins"))?;
    // OUT_DIR is <target>/<profile>/build/<package>/out.
    let target = out.ancestors().nth(4).ok_or("OUT_DIR is not where cargo puts it")?.join("builtin-plugins");
    if !plugins.is_empty() {
        compile(&root, &target, &plugins)?;
    }

    let mut table = String::from("&[\n");
    for name in &plugins {
        let module = target.join(TARGET).join("plugin").join(format!("{}.wasm", name.replace('-', "_")));
        let component = componentize(name, &module)?;
        let path = out.join(format!("{name}.wasm"));
        let digest: String = Sha256::digest(&component).iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(&path, component)?;
        writeln!(
            table,
            "    Builtin {{ name: {name:?}, bytes: include_bytes!({:?}), digest: \"sha256:{digest}\" }},",
            path.display().to_string()
        )?;
    }
    table.push(']');
    fs::write(out.join("table.rs"), table)?;
    Ok(())
}

/// The names of the folders in `plugins/` that are packages, sorted.
fn plugins(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn compile(root: &Path, target: &Path, plugins: &[String]) -> Result<()> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .current_dir(root)
        .args(["build", "--quiet", "--lib", "--profile", "plugin", "--target", TARGET, "--target-dir"])
        .arg(target);
    for name in plugins {
        cargo.args(["--package", name]);
    }
    for (name, _) in env::vars_os() {
        if !is_inherited(&name) {
            cargo.env_remove(name);
        }
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags(root));

    let output = cargo.output().map_err(|error| format!("cargo could not be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("can't find crate for `core`") || said.contains("target may not be installed") {
        return Err(format!(
            "the default plugins need the Wasm target, which is not installed: run `rustup target add {TARGET}`, or \
             `cargo xtask setup`\n{said}"
        )
        .into());
    }
    Err(format!("the default plugins do not build:\n{said}").into())
}

/// Whether the nested cargo sees a variable of the outer one. It must not see what describes this very build: flags
/// for the host's target, a wrapper such as clippy, profile overrides, or another target folder. The jobserver
/// (`CARGO_MAKEFLAGS`) stays, so that both together use no more than the cores that were asked for.
fn is_inherited(name: &OsStr) -> bool {
    const KEPT: &[&str] = &["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_TERM_COLOR"];
    const KEPT_PREFIXES: &[&str] = &["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_"];
    const DROPPED: &[&str] = &[
        "RUSTFLAGS",
        "RUSTC",
        "RUSTDOC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "CLIPPY_ARGS",
        "TARGET",
        "HOST",
        "PROFILE",
        "DEBUG",
        "OPT_LEVEL",
        "NUM_JOBS",
        "OUT_DIR",
    ];
    let Some(name) = name.to_str() else { return true };
    if name.starts_with("CARGO") {
        return KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    }
    !DROPPED.contains(&name)
}

/// Flags that keep this machine's paths out of the plugins, so that their digests are the same everywhere.
fn rustflags(root: &Path) -> String {
    let mut remaps = vec![(root.to_path_buf(), ".")];
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    remaps.extend(home.map(|home| (home.join("registry/src"), "registry")));
    let flags: Vec<_> =
        remaps.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();
    flags.join("\u{1f}")
}

fn componentize(name: &str, module: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(module)
        .map_err(|error| format!("{name}: {}: {error} (is the package named like its folder?)", module.display()))?;
    let bytes = with_own_names(name, &bytes).map_err(|error| format!("{name}: its names cannot be read: {error}"))?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| format!("{name}: not a component: {error:#}"))?;
    Ok(component)
}

/// What the names of functions hold that the compiler makes for our types.
const DERIVED: [&str; 2] = ["drop_in_place", "serde_core"];

/// The module with the names of its own functions and ours only, and of those none that nobody wrote. A trap tells its last frames by name; the names of what
/// libraries are made of tell nobody anything, and are a fifth of a large plugin.
fn with_own_names(name: &str, module: &[u8]) -> Result<Vec<u8>> {
    let own = [name.replace('-', "_"), "basb_".to_owned()];
    let mut out = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        match &payload {
            Payload::CustomSection(section) if section.name() == "name" => {
                let KnownCustom::Name(names) = section.as_known() else { continue };
                let mut kept = NameMap::new();
                for subsection in names {
                    let Name::Function(functions) = subsection? else { continue };
                    for function in functions {
                        let function = function?;
                        let is_own = own.iter().any(|part| function.name.contains(part.as_str()));
                        if is_own && !DERIVED.iter().any(|part| function.name.contains(part)) {
                            kept.append(function.index, function.name);
                        }
                    }
                }
                let mut names = NameSection::new();
                names.functions(&kept);
                out.section(&names);
            }
            // Left in where a package has a setting of its own in the profile, whatever its `strip` says.
            Payload::CustomSection(section) if section.name().starts_with(".debug_") => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    let data = module.get(range).ok_or("a section lies outside of the module")?;
                    out.section(&RawSection { id, data });
                }
            }
        }
    }
    Ok(out.finish())
}

fn variable(name: &str) -> Result<String> {
    env::var(name).map_err(|_| format!("{name} is not set: run this through cargo").into())
}
