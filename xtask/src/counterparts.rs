//! Installs what secrets, credentials and providers are tested against: moto and MiniStack (AWS), Google's client, Azure's
//! client, a token endpoint and clients of OAuth 2.0, RustyVault (Vault's API), the age tools. From the package registries only, into one folder outside
//! of the checkout; what is there already is left alone.

use crate::apt::{self, is_on_path};
use crate::shell::{self, Done, cargo, say};
use std::path::{Path, PathBuf};
use std::process::Command;

/// <https://pypi.org/project/moto/>
const MOTO: &str = "5.2.5";
/// <https://pypi.org/project/ministack/>, and the client by which it runs containers
const MINISTACK: [&str; 2] = ["ministack==1.5.33", "docker==7.2.0"];
/// What a token endpoint is made of (Authlib, Flask), and second implementations of what is sent to one.
const OAUTH: [&str; 6] = [
    "Authlib==1.9.9",
    "Flask==3.1.3",
    "joserfc==1.8.0",
    "PyJWT[crypto]==2.15.1",
    "google-auth[requests]==2.62.2",
    "msal==1.39.0",
];
/// Google's own clients of Cloud Run, the first with the description of its API, and what verifies a service account's signature.
const GCP: [&str; 4] = [
    "google-api-python-client==2.202.0",
    "google-cloud-run==0.16.2",
    "google-auth[requests]==2.63.0",
    "cryptography==50.0.2",
];
/// Azure's own client of Container Apps, and what checks requests by Microsoft's description of them.
const AZURE: [&str; 3] = ["azure-mgmt-appcontainers==5.1.0", "jsonschema==4.26.0", "requests==2.34.2"];
/// <https://crates.io/crates/rusty_vault>
const RUSTY_VAULT: &str = "0.2.1";
/// <https://crates.io/crates/fakecloud>
const FAKECLOUD: &str = "0.51.0";

/// Installs what is missing. All are tried; what failed is said at the end.
pub fn run() -> Done {
    let folder = folder().ok_or("HOME is not set, so there is no folder to install into")?;
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let failed: Vec<String> =
        [moto(&folder), ministack(&folder), oauth(&folder), gcp(&folder), azure(&folder), rusty_vault(&folder), age()]
            .into_iter()
            .filter_map(Result::err)
            .collect();
    if failed.is_empty() {
        say(&format!("all counterparts are in {} or on the search path", folder.display()));
        return Ok(());
    }
    Err(failed.join("\n"))
}

/// What is not installed, so that tests against it only say so.
pub fn missing() -> Vec<&'static str> {
    let Some(folder) = folder() else {
        return vec![
            "moto",
            "MiniStack",
            "the token endpoint",
            "Google's client",
            "Azure's client",
            "RustyVault",
            "the age tools",
        ];
    };
    let programs = [
        ("moto/bin/moto_server", "moto_server", "moto"),
        ("ministack/bin/ministack", "ministack", "MiniStack"),
        ("oauth/bin/python", "basb-oauth-python", "the token endpoint"),
        ("gcp/bin/python", "basb-gcp-python", "Google's client"),
        ("azure/bin/python", "basb-azure-python", "Azure's client"),
        ("rustyvault/bin/rvault", "rvault", "RustyVault"),
    ];
    let absent = programs.into_iter().filter(|(path, name, _)| !folder.join(path).is_file() && !is_on_path(name));
    let age = ["age", "age-keygen"].iter().all(|name| is_on_path(name));
    absent.map(|(_, _, what)| what).chain((!age).then_some("the age tools")).collect()
}

/// `fakecloud`, when it is not built: only who names it wants it.
pub fn missing_by_choice() -> Vec<&'static str> {
    let built = folder().is_some_and(|folder| folder.join("fakecloud/bin/fakecloud").is_file());
    if built || is_on_path("fakecloud") { vec![] } else { vec!["fakecloud"] }
}

/// Where they are installed; none without a HOME.
fn folder() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/basb-host/counterparts"))
}

/// Whether `program` is there in this version. What was installed by hand counts as right.
fn is_installed(program: &Path, version: &str) -> bool {
    let Some(root) = program.parent().and_then(Path::parent) else { return false };
    let noted = std::fs::read_to_string(root.join("version"));
    program.is_file() && noted.map_or(true, |noted| noted.trim() == version)
}

fn note(root: &Path, version: &str) -> Done {
    std::fs::write(root.join("version"), version).map_err(|e| format!("{}: {e}", root.display()))
}

fn moto(folder: &Path) -> Done {
    python(&folder.join("moto"), "moto", "bin/moto_server", MOTO, &[format!("moto[server]=={MOTO}").as_str()])
}

fn ministack(folder: &Path) -> Done {
    python(&folder.join("ministack"), "MiniStack", "bin/ministack", &MINISTACK.join(" "), &MINISTACK)
}

fn oauth(folder: &Path) -> Done {
    python(&folder.join("oauth"), "the token endpoint", "bin/python", &OAUTH.join(" "), &OAUTH)
}

fn gcp(folder: &Path) -> Done {
    python(&folder.join("gcp"), "Google's client", "bin/python", &GCP.join(" "), &GCP)
}

fn azure(folder: &Path) -> Done {
    python(&folder.join("azure"), "Azure's client", "bin/python", &AZURE.join(" "), &AZURE)
}

/// Installs packages from PyPI into an environment of their own.
fn python(root: &Path, what: &str, program: &str, version: &str, packages: &[&str]) -> Done {
    if is_installed(&root.join(program), version) {
        say(&format!("{what} is here"));
        return Ok(());
    }
    let help =
        |e| format!("{what}: {e}\nIt needs Python 3.9 or newer with `venv` (Debian: apt-get install python3-venv)");
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(root)).map_err(help)?;
    shell::run(Command::new(root.join("bin/pip")).args(["install", "--quiet"]).args(packages)).map_err(help)?;
    note(root, version)
}

fn rusty_vault(folder: &Path) -> Done {
    let needs = "It needs OpenSSL's headers (Debian: apt-get install libssl-dev pkg-config)";
    from_crates(&folder.join("rustyvault"), ("RustyVault", "rusty_vault", "rvault"), RUSTY_VAULT, needs)
}

/// Builds fakecloud, which is not among [`run`]'s: 600 crates, half an hour or an hour.
pub fn fakecloud() -> Done {
    let folder = folder().ok_or("HOME is not set, so there is no folder to install into")?;
    from_crates(&folder.join("fakecloud"), ("fakecloud", "fakecloud", "fakecloud"), FAKECLOUD, "It needs 5 GB of disk")
}

/// Builds a program from crates.io: what it is called, its crate, its file.
fn from_crates(root: &Path, (what, package, program): (&str, &str, &str), version: &str, needs: &str) -> Done {
    if is_installed(&root.join("bin").join(program), version) {
        say(&format!("{what} is here"));
        return Ok(());
    }
    let build = root.with_extension("build");
    let mut install = cargo(["install", package, "--locked", "--version", version]);
    // It is waited for once and answers a few requests: the time goes into building it.
    install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env("CARGO_PROFILE_RELEASE_LTO", "off");
    install.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16").env("CARGO_TARGET_DIR", &build).arg("--root").arg(root);
    shell::run(&mut install).map_err(|e| format!("{what}: {e}\n{needs}"))?;
    // Gigabytes that nobody needs any more; they may stay if they cannot be removed.
    let _ = std::fs::remove_dir_all(&build);
    note(root, version)
}

fn age() -> Done {
    if ["age", "age-keygen"].iter().all(|name| is_on_path(name)) {
        say("age is here");
        return Ok(());
    }
    let by_hand = "age: install it (Debian: apt-get install age; macOS: brew install age)";
    apt::install(by_hand, &["age"])
}
