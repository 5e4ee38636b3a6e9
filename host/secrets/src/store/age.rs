//! A file that age encrypted, for X25519 identities or with a passphrase, binary or armored.
//!
//! Inside is a YAML or JSON mapping from names to values; the key `.` stands for all of the content as it is. Opened once
//! for all secrets in it, in memory only. Format: <https://age-encryption.org/v1>.

use crate::config::{AgeConfig, Item, Unlock};
use crate::error::{self, StoreError};
use crate::field::{self, Notation, Object, Raw};
use crate::own::{Own, read_file};
use age::armor::ArmoredReader;
use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Identity, IdentityFile};
use basb_redact::SecretValue;
use serde_json::Value;
use std::io::Read;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

/// The longest age file and the longest content, in bytes: many secrets, no archives.
const LONGEST_FILE: u64 = 1024 * 1024;
/// The most work that opening a file may take, as the logarithm of scrypt's N: what the age tool itself accepts, 4 GiB of
/// memory. Tools write 18.
const MOST_WORK: u8 = 22;

pub(crate) struct AgeFile {
    config: AgeConfig,
    own: Own,
    content: OnceCell<SecretValue>,
}

impl AgeFile {
    pub fn new(config: AgeConfig, own: Own) -> Self {
        Self { config, own, content: OnceCell::new() }
    }

    pub async fn read(&self, item: &Item, what: &str) -> Result<Raw, StoreError> {
        let content = self.content.get_or_try_init(|| self.open()).await?;
        if item.key == "." {
            return Ok(Raw::Value(content.clone()));
        }
        let file = &self.config.file;
        let wrong = |why: &str| {
            StoreError::new(
                error::FAILED,
                format!("the content of {file} is not a mapping from names to values{why}"),
                "write lines such as `name: \"value\"`, or read all of it with `key: .`",
            )
        };
        let text = content.expose_text().ok_or_else(|| wrong(": it is not text"))?;
        // Of the parser's error, only the line: the rest may quote what is written there.
        let value = serde_saphyr::from_str::<Value>(text).map_err(|e| match e.location() {
            Some(at) => wrong(&format!(": see its line {}", at.line())),
            None => wrong(""),
        })?;
        let map = match value {
            Value::Object(map) => map,
            mut other => {
                field::wipe(&mut other);
                return Err(wrong(""));
            }
        };
        let object = Object::new(map, Notation::Yaml);
        if object.has(&item.key) {
            return object.get(&item.key, file);
        }
        let help = object
            .near(&item.key)
            .map_or_else(|| format!("add it to {file}"), |near| format!("did you mean `{near}`?"));
        Err(StoreError::new(error::MISSING, format!("{what} is not there: {file} has no such name"), help))
    }

    /// Opens the file.
    async fn open(&self) -> Result<SecretValue, StoreError> {
        let path = self.own.path(&self.config.file);
        let shown = path.display().to_string();
        let sealed = read_file(&path, LONGEST_FILE).await.map_err(|why| {
            StoreError::new(
                error::UNAVAILABLE,
                format!("store `{}` cannot be read: {shown}: {why}", self.own.name),
                "check the path and who may read the file",
            )
        })?;
        let keys = self.keys().await?;
        let opened = tokio::task::spawn_blocking(move || decrypt(&sealed, &keys)).await;
        let opened = opened.unwrap_or(Err(Failure::Interrupted));
        opened.map_err(|failure| self.explain(&failure, &shown))
    }

    /// What opens the file; the redactor knows it.
    async fn keys(&self) -> Result<Vec<Box<dyn Identity + Send + Sync>>, StoreError> {
        let held = match &self.config.unlock {
            Unlock::Passphrase(held) => {
                let passphrase = self.own.required(held, "passphrase").await?;
                let text = passphrase.expose_text().ok_or_else(|| {
                    StoreError::new(
                        error::CREDENTIALS,
                        format!("the passphrase of store `{}` is not UTF-8 text", self.own.name),
                        "check that the file or variable holds it and nothing else",
                    )
                })?;
                let mut identity = age::scrypt::Identity::new(SecretString::from(text.to_owned()));
                identity.set_max_work_factor(MOST_WORK);
                return Ok(vec![Box::new(identity)]);
            }
            Unlock::Identity(held) => held,
        };
        let wrong = |why: &str| {
            StoreError::new(
                error::CREDENTIALS,
                format!("the identity of store `{}` cannot be used: {why}", self.own.name),
                "write what `age-keygen` prints, a line that begins with AGE-SECRET-KEY-1; encrypted, SSH and plugin \
                 identities are not supported",
            )
        };
        let file = self.own.held(held, "identity", crate::own::Need::Required).await?;
        let file = file.ok_or_else(|| wrong("it is not there"))?;
        // The comments name the public key: nothing to be kept secret, and the redactor would search for it.
        for line in file.expose().split(|b| *b == b'\n').map(<[u8]>::trim_ascii) {
            if !line.is_empty() && !line.starts_with(b"#") {
                self.own.teach(&SecretValue::new(line), "identity")?;
            }
        }
        // The error names a line's number, never the line.
        let identities = IdentityFile::from_buffer(file.expose()).map_err(|e| wrong(&e.to_string()))?;
        let identities = identities.into_identities().map_err(|_| wrong("it cannot be read"))?;
        if identities.is_empty() { Err(wrong("there is none in it")) } else { Ok(identities) }
    }

    fn explain(&self, failure: &Failure, file: &str) -> StoreError {
        let name = &self.own.name;
        let (code, why, help) = match failure {
            Failure::Age(DecryptError::NoMatchingKeys) => (
                error::CREDENTIALS,
                "it is encrypted for somebody else".to_owned(),
                match self.config.unlock {
                    Unlock::Identity(_) => {
                        "encrypt it for this identity too: `age -r RECIPIENT …`; `age-keygen -y IDENTITY-FILE` prints the \
                         recipient. A file with a passphrase needs `passphrase: {env: NAME}`"
                    }
                    Unlock::Passphrase(_) => "it has no passphrase: write `identity: {file: …}`",
                },
            ),
            Failure::Age(DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed) => {
                (error::CREDENTIALS, "the passphrase is wrong, or the file damaged".to_owned(), "check the passphrase")
            }
            Failure::Age(DecryptError::ExcessiveWork { required, .. }) => (
                error::FAILED,
                format!("its passphrase takes too much work to check (2^{required})"),
                "encrypt it again with the age tool",
            ),
            Failure::Age(DecryptError::InvalidHeader | DecryptError::UnknownFormat) => {
                (error::FAILED, "it is not an age file".to_owned(), "make it with `age -r RECIPIENT -o FILE`")
            }
            Failure::Age(DecryptError::InvalidMac) => {
                (error::FAILED, "its header was changed".to_owned(), "restore it from a copy")
            }
            // Of a reader of bytes in memory: the stream is cut short or was changed.
            Failure::Age(_) => (error::FAILED, "it is damaged".to_owned(), "restore it from a copy"),
            Failure::TooLong => {
                (error::TOO_LONG, format!("its content is longer than {LONGEST_FILE} bytes"), "keep only secrets in it")
            }
            Failure::Interrupted => (error::FAILED, "opening it was cut off".to_owned(), "try again"),
        };
        StoreError::new(code, format!("store `{name}`: {file} cannot be opened: {why}"), help)
    }
}

/// Why a file is not opened.
enum Failure {
    Age(DecryptError),
    TooLong,
    Interrupted,
}

fn decrypt(sealed: &[u8], keys: &[Box<dyn Identity + Send + Sync>]) -> Result<SecretValue, Failure> {
    // A file that ends before its header does is an I/O error to the reader, of bytes that are all there.
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(sealed)).map_err(|e| match e {
        DecryptError::Io(_) => Failure::Age(DecryptError::InvalidHeader),
        e => Failure::Age(e),
    })?;
    let keys = keys.iter().map(|key| &**key as &dyn Identity);
    let reader = decryptor.decrypt(keys).map_err(Failure::Age)?;
    let mut content = Zeroizing::new(Vec::new());
    let read = reader.take(LONGEST_FILE.saturating_add(1)).read_to_end(&mut content);
    read.map_err(|e| Failure::Age(DecryptError::Io(e)))?;
    if u64::try_from(content.len()).unwrap_or(u64::MAX) > LONGEST_FILE {
        return Err(Failure::TooLong);
    }
    Ok(SecretValue::new(std::mem::take(&mut *content)))
}
