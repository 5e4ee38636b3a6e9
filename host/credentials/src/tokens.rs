//! Access tokens and temporary keys: had once, taught to the redactor, kept until shortly before their end.

use crate::aws::{Keys, assume};
use crate::cache::{Cached, Mark, Replaced};
use crate::config::{AssumeRole, Aws, AzureClient, GcpMetadata, GcpServiceAccount};
use crate::oauth::{self, Token, azure, google};
use crate::source::SecretSource;
use crate::{CredentialError, CredentialName, destination};
use basb_redact::{SecretName, SecretValue};
use basb_secrets::{Answer, Ask, Transport};
use std::time::SystemTime;
use url::Url;

/// What is kept for one credential.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    token: Cached<SecretValue>,
    keys: Cached<Keys>,
}

impl Slot {
    /// Forgets what is kept.
    pub async fn forget(&self) {
        self.token.forget().await;
        self.keys.forget().await;
    }
}

/// A token or temporary keys that a request went out with.
#[derive(Debug, Clone)]
pub(crate) enum Fetched {
    /// An access token.
    Token(Mark),
    /// Temporary keys.
    Keys(Mark),
}

impl Fetched {
    /// The destination accepted it.
    pub fn accepted(&self) {
        let (Self::Token(mark) | Self::Keys(mark)) = self;
        mark.accepted();
    }
}

impl Slot {
    /// The destination did not accept it.
    pub async fn refused(&self, fetched: &Fetched) -> Replaced {
        match fetched {
            Fetched::Token(mark) => self.token.refused(mark).await,
            Fetched::Keys(mark) => self.keys.refused(mark).await,
        }
    }
}

/// Who asks, for which credential.
pub(crate) struct Asking<'a> {
    pub name: &'a CredentialName,
    pub source: &'a dyn SecretSource,
    pub transport: &'a dyn Transport,
    pub now: SystemTime,
}

impl Asking<'_> {
    /// A token for a service account of Google with a key.
    pub async fn service_account(
        &self,
        slot: &Slot,
        gcp: &GcpServiceAccount,
    ) -> Result<(SecretValue, Fetched), CredentialError> {
        let make = async || {
            let file = self.source.secret(&gcp.key).await?;
            let account = google::ServiceAccount::read(gcp, &file)?;
            let assertion = account.assertion(&gcp.scopes, self.now)?;
            self.source.learn(self.name, &assertion)?;
            self.token(account.ask(&assertion), account.endpoint()).await
        };
        slot.token.get(self.now, make).await.map(|(token, mark)| (token, Fetched::Token(mark)))
    }

    /// A token from the metadata server.
    pub async fn metadata(&self, slot: &Slot, gcp: &GcpMetadata) -> Result<(SecretValue, Fetched), CredentialError> {
        let make = async || {
            let ask = google::metadata_ask(gcp);
            let url = ask.url.clone();
            let answer = self.exchange(ask, &url).await?;
            let flavor = answer.headers.get(google::METADATA_FLAVOR).is_some_and(|value| value == "Google");
            if answer.status == 200 && !flavor {
                // What answers at this address need not be the metadata server; only that one says this.
                return Err(
                    self.unusable(&url, "it does not come from a metadata server (no `Metadata-Flavor: Google`)")
                );
            }
            self.read(&answer, &url)
        };
        slot.token.get(self.now, make).await.map(|(token, mark)| (token, Fetched::Token(mark)))
    }

    /// A token for an application of Microsoft Entra.
    pub async fn azure(&self, slot: &Slot, azure: &AzureClient) -> Result<(SecretValue, Fetched), CredentialError> {
        let make = async || {
            let value = self.source.secret(&azure.client_secret).await?;
            let secret = value
                .expose_text()
                .filter(|text| !text.is_empty())
                .ok_or_else(|| CredentialError::value(&azure.client_secret, "is empty or no text"))?;
            self.token(azure::ask(azure, secret), &azure::endpoint(azure)).await
        };
        slot.token.get(self.now, make).await.map(|(token, mark)| (token, Fetched::Token(mark)))
    }

    /// Temporary keys of a role.
    pub async fn role(&self, slot: &Slot, aws: &Aws, role: &AssumeRole) -> Result<(Keys, Fetched), CredentialError> {
        let make = async || {
            let keys = self.base_keys(aws).await?;
            let ask = assume::ask(aws, role, &keys, self.now)?;
            let url = ask.url.clone();
            let answer = self.exchange(ask, &url).await?;
            let (keys, until) = assume::read(&answer).map_err(|refused| match refused {
                assume::Refused::Incomplete(what) => self.unusable(&url, &format!("it lacks {what}")),
                assume::Refused::ByServer { code, message } => self.refused(&url, answer.status, code, message),
            })?;
            self.source.learn(self.name, &keys.secret_access_key)?;
            if let Some(token) = &keys.session_token {
                self.source.learn(self.name, token)?;
            }
            let fits = |text: Option<&str>| text.is_some_and(|text| text.bytes().all(|b| b.is_ascii_graphic()));
            let token = keys.session_token.as_ref().and_then(SecretValue::expose_text);
            if !fits(Some(&keys.access_key_id)) || !fits(keys.secret_access_key.expose_text()) || !fits(token) {
                return Err(self.unusable(&url, "its keys hold spaces or control characters"));
            }
            Ok((keys, until))
        };
        slot.keys.get(self.now, make).await.map(|(keys, mark)| (keys, Fetched::Keys(mark)))
    }

    /// The keys that the operator gave.
    pub async fn base_keys(&self, aws: &Aws) -> Result<Keys, CredentialError> {
        base_keys(self.source, aws).await
    }

    async fn token(&self, ask: Ask, url: &Url) -> Result<(SecretValue, SystemTime), CredentialError> {
        let answer = self.exchange(ask, url).await?;
        self.read(&answer, url)
    }

    fn read(&self, answer: &Answer, url: &Url) -> Result<(SecretValue, SystemTime), CredentialError> {
        let Token { value, lifetime } = oauth::read(answer).map_err(|refused| match refused {
            oauth::Refused::Unusable(why) => self.unusable(url, why),
            oauth::Refused::ByServer { status, error, description } => self.refused(url, status, error, description),
        })?;
        self.source.learn(self.name, &value)?;
        let until = self.now.checked_add(lifetime).unwrap_or(self.now);
        Ok((value, until))
    }

    async fn exchange(&self, ask: Ask, url: &Url) -> Result<Answer, CredentialError> {
        self.transport.exchange(ask).await.map_err(|error| {
            CredentialError::new(
                "credential/token-unreachable",
                format!("credential `{}`: no answer from {}: {}", self.name, endpoint(url), self.clean(&error.0)),
                "look whether this machine reaches the address, by its proxies and firewalls too",
            )
        })
    }

    /// The endpoint's own words, without any secret: some repeat what they were sent.
    fn refused(&self, url: &Url, status: u16, error: Option<String>, description: Option<String>) -> CredentialError {
        let words: Vec<_> = [error, description].into_iter().flatten().map(|text| self.clean(&text)).collect();
        let words = if words.is_empty() { "without a reason".to_owned() } else { words.join(": ") };
        CredentialError::new(
            "credential/token-refused",
            format!("credential `{}`: {} refused with status {status}: {words}", self.name, endpoint(url)),
            "look at the account, at what it is allowed to do, and at this machine's clock; if its key was replaced, put the \
             new one into the secret store",
        )
    }

    fn unusable(&self, url: &Url, why: &str) -> CredentialError {
        CredentialError::new(
            "credential/token-answer",
            format!("credential `{}`: the answer of {} cannot be used: {why}", self.name, endpoint(url)),
            "look whether the address is that of the token endpoint",
        )
    }

    fn clean(&self, text: &str) -> String {
        basb_grants::printable(&self.source.redacted(text), 300)
    }
}

/// The keys that the operator gave.
pub(crate) async fn base_keys(source: &dyn SecretSource, aws: &Aws) -> Result<Keys, CredentialError> {
    let access_key_id = graphic(&aws.access_key_id, &source.secret(&aws.access_key_id).await?)?.to_owned();
    let secret_access_key = source.secret(&aws.secret_access_key).await?;
    graphic(&aws.secret_access_key, &secret_access_key)?;
    let session_token = match &aws.session_token {
        None => None,
        Some(name) => {
            let value = source.secret(name).await?;
            graphic(name, &value)?;
            Some(value)
        }
    };
    Ok(Keys { access_key_id, secret_access_key, session_token })
}

/// A key of AWS: printable, without spaces.
fn graphic<'a>(name: &SecretName, value: &'a SecretValue) -> Result<&'a str, CredentialError> {
    let text = value.expose_text().filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()));
    text.ok_or_else(|| {
        CredentialError::value(name, "is empty or holds a space, a line end or another control character")
    })
}

/// An endpoint for people.
fn endpoint(url: &Url) -> String {
    format!("{}{}", destination::origin(url), url.path())
}
