//! The guests that are compiled from Rust: built by the parent, read by the children.

use std::path::Path;

/// The packages, each a guest.
pub const PACKAGES: [&str; 3] = ["guest-hostile-probe", "guest-hostile-notifier", "guest-misbehave"];

/// Builds all of them into a folder.
pub fn build_all(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for package in PACKAGES {
        std::fs::write(path(folder, package), basb_guest_build::build(package)).unwrap();
    }
}

/// One of them.
pub fn read(folder: &Path, package: &str) -> Vec<u8> {
    let path = path(folder, package);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; `basb-hostile run` builds it", path.display()))
}

fn path(folder: &Path, package: &str) -> std::path::PathBuf {
    folder.join(format!("{package}.wasm"))
}
