//! The guests that are compiled from Rust: built by the parent, read by the children.

use std::path::Path;

/// The packages that import nothing but the host's own interfaces.
const PLAIN: [&str; 5] = [
    "guest-hostile-probe",
    "guest-hostile-notifier",
    "guest-hostile-provider",
    "guest-hostile-strategy",
    "guest-misbehave",
];

/// The packages that bring WASI along.
const WASI: [&str; 2] = ["guest-hostile-wasi", "guest-wasi-std"];

/// Builds all of them into a folder.
pub fn build_all(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for package in PLAIN {
        std::fs::write(path(folder, package), basb_guest_build::build(package)).unwrap();
    }
    for package in WASI {
        let bytes = basb_guest_build::build_wasi(package).unwrap_or_else(|error| panic!("{error}"));
        std::fs::write(path(folder, package), bytes).unwrap();
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
