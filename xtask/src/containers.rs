//! Installs the container engines that `provider-docker` is tested against: Docker's and, as a second implementation of its
//! API, Podman. Tests start engines of their own, on sockets in temporary folders; nothing is started here.

use crate::apt;
use crate::shell::{Done, say};

/// The versions that the tests were written against, in Debian 12. Another one is taken where these are not to be had.
const TESTED: [(&str, &str, &str); 3] =
    [("dockerd", "docker.io", "20.10.24*"), ("podman", "podman", "4.3.1*"), ("runc", "runc", "1.1.5*")];

/// Installs what is missing.
pub fn run() -> Done {
    let missing: Vec<_> = TESTED.into_iter().filter(|(program, ..)| !apt::is_on_path(program)).collect();
    if missing.is_empty() {
        say("the container engines are here");
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|(_, package, _)| *package).collect();
    let by_hand = format!("container engines: install them as root (Debian: apt-get install {})", names.join(" "));
    if !apt::is_possible() {
        return Err(by_hand);
    }
    let pinned: Vec<String> = missing.iter().map(|(_, package, version)| format!("{package}={version}")).collect();
    let pinned: Vec<&str> = pinned.iter().map(String::as_str).collect();
    apt::install(&by_hand, &pinned).or_else(|_| {
        say("the versions that the tests were written against are not to be had here: taking what is");
        apt::install(&by_hand, &names)
    })
}

/// What is not installed, so that tests against it only say so.
pub fn missing() -> Vec<&'static str> {
    TESTED.into_iter().map(|(program, ..)| program).filter(|program| !apt::is_on_path(program)).collect()
}
