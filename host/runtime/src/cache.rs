//! Compiled code on disk: one file for each (content digest, engine) in a private folder, authenticated.
//!
//! Loading compiled code is running native code, so a file is used only if this host wrote it: its authentication tag,
//! under a key in the same private folder, is checked over everything in it, the digest of the plugin and the identity
//! of the engine included, before a byte of it reaches wasmtime. Whatever does not fit is thrown away and made again.
//!
//! The tag is that of AES-256-GCM without a text (GMAC, NIST SP 800-38D). HMAC-SHA256 would do as well, but takes 0.6 ms
//! for the megabyte of a plugin's code, several times as long, and a plugin is to be loaded within a millisecond.

use crate::Inspection;
use basb_core::Digest;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest as _, Sha256};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::hash::{Hash as _, Hasher};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

/// What every entry ends with; changes with the form. The code comes first, so that it can be mapped from the file.
const MAGIC: &[u8; 8] = b"BASBAOT4";
/// The length of a tag.
const TAG: usize = 16;
/// The length of an engine's identity.
const ID: usize = 32;
/// No entry is larger: 32 MiB of Wasm make some 100 MiB of code.
const LARGEST: u64 = 512 << 20;

/// A private folder of compiled code.
pub struct CacheFolder {
    path: PathBuf,
    key: [u8; 32],
}

impl std::fmt::Debug for CacheFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the key.
        f.debug_struct("CacheFolder").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What an entry holds.
pub(crate) struct Entry {
    pub(crate) inspection: Inspection,
    pub(crate) component: Component,
}

/// Why a folder cannot hold compiled code.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be made, read or written.
    #[error("the cache folder {} cannot be used: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It belongs to somebody else.
    #[error("the cache folder {} belongs to another user (id {owner}); choose another one", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// Its owner's user id.
        owner: u32,
    },
}

impl CacheFolder {
    /// Opens a folder, makes it if it is not there, and makes it private.
    ///
    /// # Errors
    /// [`CacheError`]. A host without a cache works, but compiles every plugin each time.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, CacheError> {
        let path = path.into();
        let wrap = |source| CacheError::Io { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(wrap)?;
        let metadata = fs::metadata(&path).map_err(wrap)?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(CacheError::NotOurs { path, owner: metadata.uid() });
        }
        if metadata.mode() & 0o077 != 0 {
            fs::set_permissions(&path, Permissions::from_mode(0o700)).map_err(wrap)?;
        }
        let key = key(&path).map_err(wrap)?;
        Ok(Self { path, key })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, digest: &Digest, engine: &EngineId) -> PathBuf {
        self.path.join(format!("{}-{}.cwasm", digest.hex(), engine.short()))
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, &self.key).ok().map(LessSafeKey::new)
    }

    /// The entry for a plugin, if there is one that this host wrote for this engine. Anything else is removed.
    pub(crate) fn get(&self, engine: &Engine, id: &EngineId, digest: &Digest) -> Option<Entry> {
        let path = self.file(digest, id);
        let bytes = read(&path)?;
        let entry = self.verified(id, digest, &bytes).and_then(|inspection| {
            let inspection = serde_json::from_slice(inspection).ok()?;
            let component = map(engine, &path)?;
            Some(Entry { inspection, component })
        });
        if entry.is_none() {
            tracing::warn!(file = %path.display(), "compiled code is damaged or not ours: it is made again");
            let _ = fs::remove_file(&path);
        }
        entry
    }

    /// The inspection of an entry, once its tag is checked.
    fn verified<'a>(&self, engine: &EngineId, digest: &Digest, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let rest = bytes.strip_suffix(MAGIC)?;
        let (rest, nonce) = rest.split_last_chunk::<NONCE_LEN>()?;
        let (rest, tag) = rest.split_last_chunk::<TAG>()?;
        let mut tag = *tag;
        self.cipher()?.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(rest), &mut tag).ok()?;
        // A whole entry, but perhaps one that stands for something else: renamed, say.
        let rest = rest.strip_suffix(digest.as_str().as_bytes())?.strip_suffix(&engine.0)?;
        let (rest, length) = rest.split_last_chunk::<4>()?;
        let code = rest.len().checked_sub(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        rest.get(code..)
    }

    /// Keeps an entry. Failing to is no error: the next start compiles again.
    pub(crate) fn put(&self, id: &EngineId, digest: &Digest, inspection: &Inspection, code: &[u8]) {
        if let Err(error) = self.write(id, digest, inspection, code) {
            tracing::warn!(folder = %self.path.display(), %error, "compiled code cannot be kept");
        }
    }

    fn write(&self, id: &EngineId, digest: &Digest, inspection: &Inspection, code: &[u8]) -> io::Result<()> {
        let inspection = serde_json::to_vec(inspection)?;
        let length = u32::try_from(inspection.len()).map_err(io::Error::other)?;
        let digest_text = digest.as_str().as_bytes();
        let mut rest = Vec::with_capacity(code.len() + inspection.len() + 4 + ID + digest_text.len());
        rest.extend_from_slice(code);
        rest.extend_from_slice(&inspection);
        rest.extend_from_slice(&length.to_le_bytes());
        rest.extend_from_slice(&id.0);
        rest.extend_from_slice(digest_text);
        // A random nonce of 96 bits is safe for 2^32 entries under one key.
        let nonce: [u8; NONCE_LEN] = random()?;
        let failed = || io::Error::other("the tag cannot be computed");
        let cipher = self.cipher().ok_or_else(failed)?;
        let tag = cipher
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&rest), &mut [])
            .map_err(|_| failed())?;
        write_private(&self.path, &self.file(digest, id), &[&rest, tag.as_ref(), &nonce, MAGIC], Existing::Replace)
    }
}

/// Which engine made some code: version, target and every setting that changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineId([u8; ID]);

impl EngineId {
    pub(crate) fn of(engine: &Engine) -> Self {
        struct Into256(Sha256);
        impl Hasher for Into256 {
            fn finish(&self) -> u64 {
                0
            }
            fn write(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }
        }
        let mut hasher = Into256(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self(hasher.0.finalize().into())
    }

    fn short(&self) -> String {
        self.0.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Code that was compiled a moment ago.
#[expect(unsafe_code, reason = "wasmtime cannot check compiled code; this was made by this host's own child")]
pub(crate) fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are the unchanged output of `Engine::precompile_component`, read from the pipe of a child that
    // is this very program (see `compiler`) and ended well.
    unsafe { Component::deserialize(engine, code) }
}

/// Code in a file that [`CacheFolder::verified`] let through. It is mapped, not copied: half a millisecond for a
/// megabyte.
#[expect(unsafe_code, reason = "wasmtime cannot check compiled code; this is authenticated")]
fn map(engine: &Engine, path: &Path) -> Option<Component> {
    // SAFETY: the file begins with the unchanged output of `Engine::precompile_component` of this host: its tag, under a
    // key that only this user can read, was checked. Hosts never change an entry in place, they put a whole new one in
    // its stead or remove it; whoever else could write into the folder could read the key too.
    let component = unsafe { Component::deserialize_file(engine, path) };
    component.inspect_err(|error| tracing::warn!(%error, "compiled code does not fit the engine")).ok()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    if size > LARGEST {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).ok()?.saturating_add(1));
    file.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The key of a folder; made the first time.
fn key(folder: &Path) -> io::Result<[u8; 32]> {
    let path = folder.join("key");
    for _ in 0..3 {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.mode() & 0o077 == 0 => match <[u8; 32]>::try_from(fs::read(&path)?) {
                Ok(key) => return Ok(key),
                Err(_) => remove(&path)?,
            },
            // Others could have read it, so they could have written entries.
            Ok(_) => remove(&path)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let key: [u8; 32] = random()?;
        match write_private(folder, &path, &[&key], Existing::Keep) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            // Whoever was first, the file is read again: two hosts that start together use one key.
            _ => {}
        }
    }
    Err(io::Error::other("the key cannot be kept"))
}

/// Random bytes of the system.
fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What becomes of a file that is there already.
enum Existing {
    Replace,
    Keep,
}

/// Writes a file that only this user can read, whole or not at all.
fn write_private(folder: &Path, path: &Path, parts: &[&[u8]], existing: Existing) -> io::Result<()> {
    let temporary = folder.join(format!(".{:016x}.tmp", u64::from_le_bytes(random()?)));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        for part in parts {
            file.write_all(part)?;
        }
        // No fsync: what a crash leaves damaged is found by its tag and made again.
        match existing {
            Existing::Replace => fs::rename(&temporary, path),
            Existing::Keep => fs::hard_link(&temporary, path),
        }
    })();
    match existing {
        Existing::Replace if written.is_ok() => {}
        _ => {
            let _ = fs::remove_file(&temporary);
        }
    }
    written
}

#[cfg(test)]
mod tests;
