//! Publishers' signatures: minisign files beside the plugins, checked with keys that stand in the deployment file.
//!
//! Stops a plugin from being swapped on the way from its publisher, and one publisher from passing for another. Fails
//! closed: as soon as one key is pinned, every plugin that is a file must name its publisher, and whatever keeps a
//! signature from being checked refuses the plugin. It does not stop a publisher's own older version from being put in
//! place of a newer one: the lock file does.
//!
//! Format: <https://jedisct1.github.io/minisign/>, "prehashed" signatures only (BLAKE2b-512 and Ed25519). Those made by
//! `minisign -l`, and OpenBSD's signify, which sign the file itself, are refused.

use basb_core::PluginName;
use basb_grants::printable;
use basb_inspect::Manifest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{Error, PublicKey, Signature};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The longest signature file that is read, in bytes; minisign's own limit for a comment is 8 KiB.
const MAX_SIGNATURE: usize = 32 << 10;

/// The keys of a deployment file, by the names of their publishers.
#[derive(Debug, Clone, Default)]
pub struct Publishers(BTreeMap<PluginName, Pinned>);

/// A pinned key.
#[derive(Debug, Clone)]
pub struct Pinned {
    key: PublicKey,
    text: String,
    id: [u8; 8],
    point: [u8; 32],
}

/// A key in the deployment file that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key of publisher `{publisher}` {why}")]
pub struct PublisherError {
    /// Whose.
    pub publisher: PluginName,
    /// What is wrong.
    pub why: &'static str,
}

/// Whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy {
    /// The publisher, by its name in the deployment file.
    pub publisher: PluginName,
    /// The key, in base64.
    pub key: String,
    /// The key's id as minisign shows it: 16 hexadecimal digits.
    pub key_id: String,
    /// What the signer wrote and signed, fit for a terminal.
    pub comment: String,
}

/// What there is beside a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureFile {
    /// No file.
    Missing,
    /// A file that cannot be read, and why.
    Unreadable(String),
    /// Its content.
    Text(String),
}

/// Why a plugin is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Keys are pinned, and the plugin names none of them.
    #[error(
        "it names no `publisher`, but this deployment file has `publishers`: every plugin that is a file needs one"
    )]
    NoPublisher,
    /// The publisher that it names has no key.
    #[error("there is no publisher `{0}` under `publishers`")]
    UnknownPublisher(PluginName),
    /// A builtin is part of the host.
    #[error("it is a builtin, which has no signature of its own: it is part of basb-host")]
    Builtin,
    /// There is no signature.
    #[error("it has no signature: there is no file `{0}`")]
    Missing(String),
    /// The signature cannot be read.
    #[error("its signature cannot be read: {0}")]
    Unreadable(String),
    /// The signature is no minisign signature.
    #[error("its signature is damaged, or not made by minisign")]
    Malformed,
    /// The signature signs the file itself.
    #[error("its signature is of the legacy kind, which signs the file itself")]
    Legacy,
    /// The signature is of a kind that minisign has not.
    #[error("its signature is of an unknown kind")]
    UnknownKind,
    /// It was signed with another key.
    #[error("it was signed with key {found}, but the key of publisher `{publisher}` is {pinned}")]
    OtherKey {
        /// The publisher.
        publisher: PluginName,
        /// The id of the key that signed.
        found: String,
        /// The id of the pinned key.
        pinned: String,
    },
    /// The signature is genuine, and not one of this file.
    #[error("it is not the file that publisher `{0}` signed: its bytes were changed, or it is another one")]
    OtherBytes(PluginName),
    /// The signature itself is not genuine.
    #[error("its signature is not by the key of publisher `{0}`: the signature or its trusted comment was changed")]
    Forged(PluginName),
    /// Its manifest names somebody else.
    #[error("publisher `{publisher}` signed it, but its manifest says `{manifest}`")]
    OtherPublisher {
        /// Who signed.
        publisher: PluginName,
        /// What the manifest says.
        manifest: String,
    },
}

impl SignatureError {
    /// A code that stays the same from version to version.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoPublisher => "signature/no-publisher",
            Self::UnknownPublisher(_) => "signature/unknown-publisher",
            Self::Builtin => "signature/builtin",
            Self::Missing(_) => "signature/missing",
            Self::Unreadable(_) => "signature/unreadable",
            Self::Malformed => "signature/malformed",
            Self::Legacy => "signature/legacy",
            Self::UnknownKind => "signature/unknown-kind",
            Self::OtherKey { .. } => "signature/other-key",
            Self::OtherBytes(_) => "signature/other-bytes",
            Self::Forged(_) => "signature/forged",
            Self::OtherPublisher { .. } => "signature/other-publisher",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::NoPublisher => "add `publisher: NAME` to the plugin, with a NAME of `publishers`",
            Self::UnknownPublisher(_) => "add its minisign public key: `publishers: { NAME: RW… }`",
            Self::Builtin => "remove `publisher` from it",
            Self::Missing(_) => "get it from the publisher, or sign the plugin: `minisign -Sm PLUGIN.wasm`",
            Self::Unreadable(_) => "check the file's permissions",
            Self::Malformed | Self::UnknownKind => "get it from the publisher again",
            Self::Legacy => "sign again with minisign 0.10 or newer, without `-l`",
            Self::OtherKey { .. } => {
                "get the plugin from its publisher again; when the publisher has a new key, learn it from them and change \
                 `publishers`"
            }
            Self::OtherBytes(_) | Self::Forged(_) => {
                "do not use the file; get it and its signature from the publisher again"
            }
            Self::OtherPublisher { .. } => {
                "the name under `publishers` and the `publisher` of the manifest must be the same: ask the publisher"
            }
        }
    }
}

impl Publishers {
    /// Reads the section `publishers` of a deployment file.
    ///
    /// # Errors
    /// Every key that is none.
    pub fn parse(section: &BTreeMap<PluginName, String>) -> Result<Self, Vec<PublisherError>> {
        let (mut keys, mut wrong) = (BTreeMap::new(), Vec::new());
        for (publisher, text) in section {
            match Pinned::parse(text) {
                Ok(pinned) => {
                    keys.insert(publisher.clone(), pinned);
                }
                Err(why) => wrong.push(PublisherError { publisher: publisher.clone(), why }),
            }
        }
        if wrong.is_empty() { Ok(Self(keys)) } else { Err(wrong) }
    }

    /// Whether signatures are demanded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Pinned {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let wrong = "is no minisign public key: 56 characters that begin with `RW`, the second line of minisign.pub";
        let bytes = STANDARD.decode(text).map_err(|_| wrong)?;
        let (Some((b"Ed", rest)), 42) = (bytes.split_first_chunk::<2>(), bytes.len()) else { return Err(wrong) };
        let (Some((id, _)), Some((_, point))) = (rest.split_first_chunk::<8>(), rest.split_last_chunk::<32>()) else {
            return Err(wrong);
        };
        let key = PublicKey::from_base64(text).map_err(|_| wrong)?;
        Ok(Self { key, text: text.to_owned(), id: *id, point: *point })
    }
}

/// A key's id as minisign shows it.
fn shown(id: &[u8; 8]) -> String {
    format!("{:016X}", u64::from_le_bytes(*id))
}

/// Reads the signature beside a plugin: `PLUGIN.wasm.minisig`.
#[must_use]
pub fn read_signature(plugin: &Path) -> SignatureFile {
    let mut name = plugin.as_os_str().to_owned();
    name.push(".minisig");
    let unreadable = |why: &dyn std::fmt::Display| SignatureFile::Unreadable(why.to_string());
    let file = match std::fs::File::open(&name) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return SignatureFile::Missing,
        Err(e) => return unreadable(&e),
    };
    let mut bytes = Vec::new();
    match file.take(MAX_SIGNATURE as u64 + 1).read_to_end(&mut bytes) {
        Err(e) => unreadable(&e),
        Ok(read) if read > MAX_SIGNATURE => unreadable(&"it is too long"),
        Ok(_) => String::from_utf8(bytes).map_or_else(|_| unreadable(&"it is not text"), SignatureFile::Text),
    }
}

/// Checks the signature of a plugin. Nobody's for a builtin, and where no key is pinned.
///
/// # Errors
/// [`SignatureError`]: the plugin is not to be used.
pub fn verify(
    publishers: &Publishers,
    demanded: Option<&PluginName>,
    source: &str,
    bytes: &[u8],
    signature: &SignatureFile,
    manifest: Option<&Manifest>,
) -> Result<Option<SignedBy>, SignatureError> {
    let builtin = source.starts_with("builtin:");
    let publisher = match (demanded, builtin) {
        (Some(_), true) => return Err(SignatureError::Builtin),
        (None, true) => return Ok(None),
        (None, false) if publishers.is_empty() => return Ok(None),
        (None, false) => return Err(SignatureError::NoPublisher),
        (Some(publisher), false) => publisher,
    };
    let Some(pinned) = publishers.0.get(publisher) else {
        return Err(SignatureError::UnknownPublisher(publisher.clone()));
    };
    let text = match signature {
        SignatureFile::Missing => return Err(SignatureError::Missing(format!("{source}.minisig"))),
        SignatureFile::Unreadable(why) => return Err(SignatureError::Unreadable(printable(why, 200))),
        SignatureFile::Text(text) => text,
    };
    let parts = Parts::of(text).ok_or(SignatureError::Malformed)?;
    let signature = Signature::decode(text).map_err(|error| match error {
        Error::UnsupportedAlgorithm => SignatureError::UnknownKind,
        _ => SignatureError::Malformed,
    })?;
    pinned.key.verify(bytes, &signature, false).map_err(|error| match error {
        Error::UnexpectedKeyId => SignatureError::OtherKey {
            publisher: publisher.clone(),
            found: shown(&parts.key_id),
            pinned: shown(&pinned.id),
        },
        Error::UnexpectedAlgorithm => SignatureError::Legacy,
        // The signature as such is refused already; this tells why.
        _ if parts.is_genuine(pinned) => SignatureError::OtherBytes(publisher.clone()),
        _ => SignatureError::Forged(publisher.clone()),
    })?;
    let claimed = manifest.map_or("", |manifest| manifest.publisher.as_str());
    if claimed != publisher.as_str() {
        let manifest = printable(claimed, 200);
        return Err(SignatureError::OtherPublisher { publisher: publisher.clone(), manifest });
    }
    Ok(Some(SignedBy {
        publisher: publisher.clone(),
        key: pinned.text.clone(),
        key_id: shown(&pinned.id),
        comment: printable(signature.trusted_comment(), 300),
    }))
}

/// What a refusal needs to know of a signature file beyond what the verifying crate tells.
struct Parts {
    key_id: [u8; 8],
    signature: [u8; 64],
    comment: String,
    global: [u8; 64],
}

impl Parts {
    /// Exactly four lines: the crate takes more, and what it does not look at should not be there.
    fn of(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (_, first, comment, second) = (lines.next()?, lines.next()?, lines.next()?, lines.next()?);
        if lines.any(|line| !line.is_empty()) {
            return None;
        }
        let first = STANDARD.decode(first).ok()?;
        let (_, rest) = first.split_first_chunk::<2>()?;
        let (key_id, signature) = rest.split_first_chunk::<8>()?;
        Some(Self {
            key_id: *key_id,
            signature: signature.try_into().ok()?,
            comment: comment.strip_prefix("trusted comment: ")?.to_owned(),
            global: STANDARD.decode(second).ok()?.try_into().ok()?,
        })
    }

    /// Whether the key signed this signature together with its trusted comment, whatever the file is.
    fn is_genuine(&self, pinned: &Pinned) -> bool {
        let mut signed = self.signature.to_vec();
        signed.extend_from_slice(self.comment.as_bytes());
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, pinned.point)
            .verify(&signed, &self.global)
            .is_ok()
    }
}
