//! A token endpoint made of Authlib's grants, and second implementations of what the host sends: PyJWT, google-auth, msal.

use crate::install;
use crate::process::Process;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use url::Url;

/// The service account that the endpoint knows.
pub const ACCOUNT: &str = "deploy@project.iam.gserviceaccount.com";

/// The application that the endpoint knows.
pub const APPLICATION: &str = "app";

/// A running token endpoint; stopped when dropped.
#[derive(Debug)]
pub struct TokenEndpoint {
    _process: Process,
    /// Where it answers, such as `http://127.0.0.1:43211/`.
    pub url: Url,
}

/// The Python that has the libraries; `None`, and a message on standard error, when they are not installed.
#[must_use]
pub fn python() -> Option<PathBuf> {
    let alone = "python3 -m venv ~/.cache/basb-host/counterparts/oauth && ~/.cache/basb-host/counterparts/oauth/bin/pip \
                 install Authlib==1.9.9 Flask==3.1.3 joserfc==1.8.0 'PyJWT[crypto]==2.15.1' 'google-auth[requests]==2.62.2' \
                 msal==1.39.0";
    install::find_or_say("oauth/bin/python", "basb-oauth-python", alone)
}

/// Starts the endpoint. It verifies assertions with `public_key` and knows [`APPLICATION`] by `client_secret`.
///
/// # Panics
/// When it is installed and does not start.
#[must_use]
pub fn start(python: &Path, public_key: &Path, client_secret: &str) -> TokenEndpoint {
    let (process, port) = Process::listening("the token endpoint", |port| {
        let mut command = Command::new(python);
        command.arg(program("token_endpoint.py")).arg(port.to_string()).arg(public_key).arg(client_secret);
        command
    });
    TokenEndpoint { _process: process, url: Url::parse(&format!("http://127.0.0.1:{port}/")).expect("a URL") }
}

/// Runs one of the programs with this input; what it printed.
///
/// # Panics
/// When it fails, with what it said.
#[must_use]
pub fn run(python: &Path, name: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(python)
        .arg(program(name))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("python reads");
    let output = child.wait_with_output().expect("python ends");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name)
}
