//! What every store needs: where it runs, and its own credentials.

use crate::config::{Held, StoreName};
use crate::environment::Environment;
use crate::error::{self, StoreError};
use crate::{Answer, Ask, Transport};
use basb_redact::{Redactor, SecretName, SecretValue};
use http::HeaderValue;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest file with a store's own credential, in bytes.
const LONGEST_CREDENTIAL: u64 = 64 * 1024;
/// How long a store may take for one answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);
/// How long to wait before asking again, each time. An answer that names a time is waited for up to the last of these.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(800), Duration::from_millis(2500)];

/// Where a store runs, and its name.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub name: StoreName,
    pub base: PathBuf,
    pub environment: Environment,
    pub transport: Arc<dyn Transport>,
    pub redactor: Redactor,
}

/// Whether a value must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A variable that is not set is an error.
    Required,
    /// A variable that is not set is no value.
    Optional,
}

/// Whether an answer is worth asking again for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It may be another one in a moment.
    Yes,
    /// It will stay the same.
    No,
}

impl Own {
    /// The path that a deployment file means.
    pub fn path(&self, text: &str) -> PathBuf {
        self.environment.path(&self.base, text)
    }

    /// One of the store's own credentials, without the line feed at its end. The caller teaches the redactor.
    pub async fn held(&self, held: &Held, what: &str, need: Need) -> Result<Option<SecretValue>, StoreError> {
        let name = &self.name;
        let wrong = |message: String, help: String| Err(StoreError::new(error::CREDENTIALS, message, help));
        let (value, place) = match held {
            Held::Env(variable) => match self.environment.get(variable) {
                Some(value) => (value, format!("the variable {variable}")),
                None if need == Need::Optional => return Ok(None),
                None => {
                    return wrong(
                        format!("the {what} of store `{name}` is not there: the variable {variable} is not set"),
                        format!("set it: `export {variable}=…`"),
                    );
                }
            },
            Held::File(file) => {
                let path = self.path(file);
                match read_file(&path, LONGEST_CREDENTIAL).await {
                    Ok(bytes) => (SecretValue::new(bytes.to_vec()), path.display().to_string()),
                    Err(why) => {
                        return wrong(
                            format!("the {what} of store `{name}` cannot be read: {}: {why}", path.display()),
                            "check the path and who may read the file".to_owned(),
                        );
                    }
                }
            }
        };
        let bytes = value.expose();
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if bytes.is_empty() {
            if need == Need::Optional {
                return Ok(None);
            }
            return wrong(format!("the {what} of store `{name}` is empty: {place}"), format!("write it into {place}"));
        }
        Ok(Some(SecretValue::new(bytes)))
    }

    /// As [`Self::held`], for one that must be there, and known to the redactor.
    pub async fn required(&self, held: &Held, what: &str) -> Result<SecretValue, StoreError> {
        let Some(value) = self.held(held, what, Need::Required).await? else {
            return Err(StoreError::new(
                error::CREDENTIALS,
                format!("the {what} of store `{}` is not there", self.name),
                "set it",
            ));
        };
        self.teach(&value, what)?;
        Ok(value)
    }

    /// Teaches the redactor one of the store's own credentials.
    pub fn teach(&self, value: &SecretValue, what: &str) -> Result<(), StoreError> {
        let name = format!("store-{}", self.name);
        let wrong = |why: String| {
            StoreError::new(
                error::TOO_SHORT,
                format!("the {what} of store `{}` cannot be kept out of logs: {why}", self.name),
                "use a longer one",
            )
        };
        let name = SecretName::new(name).map_err(|e| wrong(e.to_string()))?;
        self.redactor.learn(&name, value).map_err(|e| wrong(e.to_string()))
    }

    /// A header with a credential in it.
    pub fn header(&self, value: &SecretValue, what: &str) -> Result<HeaderValue, StoreError> {
        let mut header = HeaderValue::from_bytes(value.expose()).map_err(|_| {
            StoreError::new(
                error::CREDENTIALS,
                format!("the {what} of store `{}` has characters that no header can hold", self.name),
                "check that the file or variable holds it and nothing else",
            )
        })?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// Asks, and asks again a few times for what may pass: no connection, and what `again` says.
    pub async fn exchange(&self, ask: Ask, again: fn(&Answer) -> Again) -> Result<Answer, StoreError> {
        let mut pauses = PAUSES.iter();
        loop {
            let result = self.transport.exchange(ask.clone()).await;
            let pause = pauses.next();
            let (answer, pause) = match (result, pause) {
                (Ok(answer), Some(pause)) if again(&answer) == Again::Yes => (Some(answer), *pause),
                (Ok(answer), _) => return Ok(answer),
                (Err(_), Some(pause)) => (None, *pause),
                (Err(error), None) => {
                    return Err(StoreError::new(
                        error::UNAVAILABLE,
                        format!(
                            "store `{}` at {} cannot be reached: {}",
                            self.name,
                            ask.url.origin().ascii_serialization(),
                            error::quoted(&self.redactor, &error.0)
                        ),
                        "check the address, and whether it can be reached from here",
                    ));
                }
            };
            let asked = answer.as_ref().and_then(retry_after).unwrap_or_default();
            let longest = PAUSES.last().copied().unwrap_or_default();
            tokio::time::sleep(pause.max(asked.min(longest))).await;
        }
    }
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3); its other form, a date, counts as none.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let text = answer.headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// A file of at most `longest` bytes. The error is a fragment without any of its content.
pub(crate) async fn read_file(path: &Path, longest: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let path = path.to_owned();
    let read = move || -> Result<Zeroizing<Vec<u8>>, String> {
        use std::io::Read;
        let file = std::fs::File::open(&path).map_err(|e| e.to_string())?;
        // A pipe or a device could block for ever.
        if !file.metadata().map_err(|e| e.to_string())?.is_file() {
            return Err("it is not a file".to_owned());
        }
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(longest.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > longest {
            return Err(format!("it is longer than {longest} bytes"));
        }
        Ok(bytes)
    };
    tokio::task::spawn_blocking(read).await.map_err(|_| "reading it was cut off".to_owned())?
}
