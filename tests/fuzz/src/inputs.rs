//! The committed inputs of a target.

use crate::Target;
use std::path::{Path, PathBuf};

/// The folder of the repository.
fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Each file's name and content, sorted: those of `corpus/TARGET`, and what other tests of the repository use.
///
/// # Errors
/// Why a folder or a file cannot be read.
pub fn committed(target: &Target) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name), "")?;
    for (path, extension) in target.more {
        inputs.extend(folder(&repository().join(path), extension)?);
    }
    Ok(inputs)
}

fn folder(path: &Path, extension: &str) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in
        std::fs::read_dir(path).map_err(|e| std::io::Error::new(e.kind(), format!("{}: {e}", path.display())))?
    {
        let file = entry?.path();
        let fits = extension.is_empty() || file.extension().is_some_and(|found| found == extension);
        if fits && file.is_file() {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            files.push((name, std::fs::read(&file)?));
        }
    }
    files.sort();
    Ok(files)
}
