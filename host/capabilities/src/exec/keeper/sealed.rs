//! A copy of a program that nobody can change any more.
//!
//! The file under a path can be exchanged, and the content of an open file can be written to. So the file is copied into
//! memory, the memory is sealed, and only then is its digest taken; what is started is that memory.

use rustix::fs::{Access, MemfdFlags, SealFlags, access, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;

/// The largest program that is copied, in bytes.
const MOST: u64 = 1 << 30;

/// How much is read at once, in bytes.
const CHUNK: usize = 1 << 20;

/// A sealed copy.
#[derive(Debug)]
pub(super) struct Sealed {
    file: File,
    /// Its digest, in hexadecimal digits.
    pub(super) sha256: String,
}

impl Sealed {
    /// Copies a program.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub(super) fn copy(path: &str) -> Result<Self, String> {
        let unreadable = |error: std::io::Error| format!("it cannot be read: {error}");
        let mut file = File::open(path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        if !about.is_file() {
            return Err("it is no file".to_owned());
        }
        // Of the very file that is open; also says no where the whole file system is not for programs.
        access(name(&file), Access::EXEC_OK).map_err(|error| format!("it may not be executed: {error}"))?;
        let mut copy = File::from(memory().map_err(|error| {
            format!("this system gives no sealed memory to compare its digest in ({error}); leave `sha256` out of the grant to go without")
        })?);
        let mut buffer = vec![0; CHUNK];
        let mut length: u64 = 0;
        loop {
            let read = file.read(&mut buffer).map_err(unreadable)?;
            let Some(some) = buffer.get(..read).filter(|some| !some.is_empty()) else { break };
            length += some.len() as u64;
            if length > MOST {
                return Err(format!(
                    "it is larger than {} MiB, the most that can be compared with a digest",
                    MOST >> 20
                ));
            }
            copy.write_all(some).map_err(|error| format!("it cannot be copied: {error}"))?;
        }
        fcntl_add_seals(&copy, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
            .map_err(|error| format!("its copy cannot be sealed: {error}"))?;
        let mut hasher = Sha256::new();
        copy.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        loop {
            let read = copy.read(&mut buffer).map_err(unreadable)?;
            let Some(some) = buffer.get(..read).filter(|some| !some.is_empty()) else { break };
            hasher.update(some);
        }
        let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
        let sha256 = hasher.finalize().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        Ok(Self { file: copy, sha256 })
    }

    /// The path that starts it, in this process and in its children.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub(super) fn path(&mut self) -> Result<PathBuf, String> {
        let mut start = [0; 2];
        let told = |error: std::io::Error| format!("its copy cannot be used: {error}");
        self.file.seek(SeekFrom::Start(0)).map_err(told)?;
        let read = self.file.read(&mut start).map_err(told)?;
        if read == 2 && &start == b"#!" {
            // The interpreter opens the script once more, by this very name: it has to find the sealed copy there.
            rustix::io::fcntl_setfd(&self.file, rustix::io::FdFlags::empty()).map_err(|error| told(error.into()))?;
        }
        Ok(name(&self.file))
    }
}

fn name(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn memory() -> rustix::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create("basb-program", flags | MemfdFlags::EXEC) {
        // A kernel before 6.3, where all such memory can be executed.
        Err(Errno::INVAL) => memfd_create("basb-program", flags),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn script(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_copy_stays_what_it_was() {
        let file = script("#!/bin/sh\necho good\n", 0o755);
        let mut copy = Sealed::copy(file.path().to_str().unwrap()).unwrap();
        assert_eq!(copy.sha256, basb_core::Digest::of(b"#!/bin/sh\necho good\n").hex());
        std::fs::write(file.path(), "#!/bin/sh\necho evil\n").unwrap();
        let path = copy.path().unwrap();
        // Neither through the descriptor nor through a new one.
        assert!(copy.file.write_all(b"evil").is_err() && copy.file.set_len(0).is_err());
        let again = std::fs::OpenOptions::new().write(true).open(&path);
        assert!(again.and_then(|mut file| file.write_all(b"evil")).is_err());
        let output = std::process::Command::new(&path).output().unwrap();
        assert_eq!(output.stdout, b"good\n");
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert!(Sealed::copy("/nonexistent").unwrap_err().contains("cannot be read"));
        assert!(Sealed::copy("/").unwrap_err().contains("no file"));
        let file = script("#!/bin/sh\n", 0o644);
        assert!(Sealed::copy(file.path().to_str().unwrap()).unwrap_err().contains("may not be executed"));
    }
}
