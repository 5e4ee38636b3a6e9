//! The one place where a credential is put into a request.
//!
//! [`Credentials::apply`] chooses first (a pure function, in `choose`), then reads what it needs, then changes the
//! request: a request that cannot be completed is left as it was, and is not to be sent.

mod login;

use crate::cache::Replaced;
use crate::choose::{self, Chosen, choose, known, not_bound};
use crate::config::{Aws, Credential, Kind};
use crate::source::SecretSource;
use crate::substitute::{self, Values, header_value};
use crate::tokens::{self, Asking, Fetched, Slot};
use crate::{
    Applied, Authority, ClientIdentity, CredentialError, CredentialName, CredentialsConfig, FetchedCredentials,
    Outgoing, Place, aws,
};
use crate::{destination, placeholder};
use basb_redact::{SecretName, SecretValue};
use basb_secrets::{Secrets, Transport};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use url::{Position, Url};
use zeroize::Zeroizing;

/// The credentials of a deployment. Cheap to clone: all clones share what they have fetched.
#[derive(Debug, Clone)]
pub struct Credentials {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: CredentialsConfig,
    source: Arc<dyn SecretSource>,
    transport: Arc<dyn Transport>,
    slots: BTreeMap<CredentialName, Slot>,
    resolved: Mutex<BTreeMap<CredentialName, Resolved>>,
}

/// A URL that is a secret as a whole.
struct Resolved(Url);

impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// Whether a request that was refused goes out with something else when it is completed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// With another token or other keys.
    Another,
    /// With the same.
    None,
}

/// A path of fewer bytes is no secret, and would be redacted wherever it stands by chance.
const SHORTEST_SECRET_PATH: usize = 8;

impl Credentials {
    /// Sets them up; asks nobody for anything yet.
    #[must_use]
    pub fn new(config: CredentialsConfig, secrets: Arc<Secrets>, transport: Arc<dyn Transport>) -> Self {
        Self::with_source(config, secrets, transport)
    }

    /// The same with another keeper of secrets.
    #[must_use]
    pub fn with_source(
        config: CredentialsConfig,
        source: Arc<dyn SecretSource>,
        transport: Arc<dyn Transport>,
    ) -> Self {
        let slots = config.credentials.keys().map(|name| (name.clone(), Slot::default())).collect();
        Self { inner: Arc::new(Inner { config, source, transport, slots, resolved: Mutex::default() }) }
    }

    /// What they were made from.
    #[must_use]
    pub fn config(&self) -> &CredentialsConfig {
        &self.inner.config
    }

    /// Completes a request of a plugin that may use these credentials: replaces placeholders, adds headers, signs.
    ///
    /// Headers that a credential sets are removed first if the plugin wrote them. Scheme, host and port stay what they
    /// are. On an error the request is unchanged and must not be sent.
    ///
    /// # Errors
    /// [`CredentialError`]: a placeholder that is not bound to this destination, a secret that is missing, a token that is
    /// refused, two credentials for one header.
    pub async fn apply(
        &self,
        allowed: &[CredentialName],
        request: &mut Outgoing,
        now: SystemTime,
    ) -> Result<Applied, CredentialError> {
        // First, what is to be done.
        let chosen = choose(&self.inner.config, allowed, &request.url, &request.place)?;
        let mut new = request.clone();
        for (_, credential) in &chosen.acting {
            for name in choose::owned(&credential.kind) {
                new.headers.remove(name);
            }
        }
        let wanted = substitute::wanted(&new)?;
        if let Some(secret) = wanted.iter().find(|secret| !chosen.placeholders.contains_key(*secret)) {
            return Err(not_bound(&self.inner.config, allowed, secret, &request.url, &request.place));
        }

        // Then it is done, to a copy.
        let credentials = self.used_placeholders(&chosen, &wanted, &request.url);
        let mut applied = Applied { credentials, ..Applied::default() };
        if !wanted.is_empty() {
            let mut values = Values::new();
            for secret in wanted {
                let value = self.inner.source.secret(&secret).await?;
                values.insert(secret, value);
            }
            substitute::substitute(&mut new, &values)?;
        }
        // A signature covers what the others add, so it comes last.
        let (signing, adding): (Vec<_>, Vec<_>) =
            chosen.acting.into_iter().partition(|(_, credential)| matches!(credential.kind, Kind::AwsSigv4(_)));
        for (name, credential) in adding.into_iter().chain(signing) {
            self.add(name, credential, &mut new, &mut applied, now).await?;
            applied.credentials.push(name.clone());
        }
        *request = new;
        Ok(applied)
    }

    /// The real URL behind one that is a placeholder as a whole (a webhook URL that is a secret itself); `None` when `text`
    /// is anything else.
    ///
    /// The door asks this before it takes a URL apart, and goes on with the real one: **policy is decided on the real
    /// URL**, [`Credentials::apply`] gets the real URL, and everything that is shown, journaled or taped keeps `text`. A
    /// denial must show `text` too, also in the lines that it suggests. The redactor knows the real URL, and its path,
    /// before this returns.
    ///
    /// # Errors
    /// [`CredentialError`] with `credential/not-bound` unless a credential of `allowed` puts this secret there. Tells
    /// nothing of where the URL leads.
    pub async fn resolve_url(&self, allowed: &[CredentialName], text: &str) -> Result<Option<Url>, CredentialError> {
        let Some(secret) = placeholder::whole(text) else {
            if text.starts_with(placeholder::MARK) {
                return Err(CredentialError::new(
                    "credential/placeholder-place",
                    "a URL begins with a placeholder of a secret but goes on after it",
                    "store the whole URL as the secret",
                ));
            }
            return Ok(None);
        };
        let mut credentials = Vec::new();
        for name in allowed {
            let credential = known(&self.inner.config, name)?;
            if matches!(&credential.kind, Kind::Placeholder(other) if *other == secret) {
                credentials.push((name, credential));
            }
        }
        let unbound = |message: String| {
            let entry = "{ host: HOST-OF-THE-URL }";
            let help =
                format!("if this plugin is meant to use it:\n{}", crate::error::placeholder_lines(&secret, entry));
            CredentialError { code: "credential/not-bound", message, help }
        };
        if credentials.is_empty() {
            return Err(unbound(format!("the secret `{secret}` is not for this plugin: nothing was sent")));
        }
        let value = self.inner.source.secret(&secret).await?;
        let url = secret_url(&secret, &value)?;
        let bound = credentials.iter().find(|(_, c)| destination::bound(&c.to, &url, &Place::Network));
        let Some((name, _)) = bound else {
            let message =
                format!("the URL in the secret `{secret}` leads to where the secret is not bound: nothing was sent");
            return Err(unbound(message));
        };
        self.learn_url(&secret, &url)?;
        let mut resolved = self.inner.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        resolved.insert((*name).clone(), Resolved(url.clone()));
        Ok(Some(url))
    }

    /// Reads every secret that these credentials need, and looks whether each can be used as it is meant to be. Contacts
    /// no token endpoint.
    ///
    /// # Errors
    /// Everything that is missing or cannot be used.
    pub async fn check(&self, names: &[CredentialName]) -> Result<(), Vec<CredentialError>> {
        let mut errors = Vec::new();
        for name in names {
            let checked = match known(&self.inner.config, name) {
                Ok(credential) => self.check_one(&credential.kind).await,
                Err(error) => Err(error),
            };
            if let Err(error) = checked
                && !errors.contains(&error)
            {
                errors.push(error);
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// A destination did not accept a request with these tokens and temporary keys. Whether the same request, completed
    /// anew, goes out with others: not if what was refused took the place of a refused one itself and was accepted
    /// nowhere, so that a destination that refuses everything does not have a token fetched for each request.
    pub async fn refused(&self, fetched: &FetchedCredentials) -> Renewal {
        let mut renewal = Renewal::None;
        for (name, fetched) in &fetched.0 {
            let Some(slot) = self.inner.slots.get(name) else { continue };
            if slot.refused(fetched).await == Replaced::Yes {
                renewal = Renewal::Another;
            }
        }
        renewal
    }

    /// Forgets the tokens and temporary keys of these credentials, for when a destination does not accept them any more.
    pub async fn forget(&self, names: &[CredentialName]) {
        for slot in names.iter().filter_map(|name| self.inner.slots.get(name)) {
            slot.forget().await;
        }
    }

    async fn check_one(&self, kind: &Kind) -> Result<(), CredentialError> {
        let source = self.inner.source.as_ref();
        match kind {
            Kind::AwsSigv4(aws) => tokens::base_keys(source, aws).await.map(drop),
            Kind::GcpServiceAccount(gcp) => {
                let file = source.secret(&gcp.key).await?;
                crate::oauth::google::ServiceAccount::read(gcp, &file).map(drop)
            }
            Kind::GcpMetadata(_) => Ok(()),
            Kind::Bearer(secret) => header_value(secret, b"Bearer ", source.secret(secret).await?.expose()).map(drop),
            Kind::Header { value, prefix, .. } => {
                header_value(value, prefix.as_bytes(), source.secret(value).await?.expose()).map(drop)
            }
            Kind::Mtls { certificate, key } => self.identity_parts(certificate, key).await.map(drop),
            Kind::Authority(secret) => self.certificates(secret).await.map(drop),
            Kind::AzureClient(azure) => not_empty(&azure.client_secret, &source.secret(&azure.client_secret).await?),
            Kind::Basic { password, .. } => not_empty(password, &source.secret(password).await?),
            Kind::Placeholder(secret) => not_empty(secret, &source.secret(secret).await?),
        }
    }

    /// Which placeholder credentials are at work: those whose placeholders are replaced, and the one whose secret the whole
    /// URL is.
    fn used_placeholders(&self, chosen: &Chosen<'_>, wanted: &BTreeSet<SecretName>, url: &Url) -> Vec<CredentialName> {
        if chosen.placeholders.is_empty() {
            return Vec::new();
        }
        let resolved = self.inner.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        let used = |secret: &SecretName, name: &CredentialName| {
            wanted.contains(secret) || resolved.get(name).is_some_and(|known| known.0 == *url)
        };
        let placeholders = chosen.placeholders.iter();
        placeholders.filter(|(secret, name)| used(secret, name)).map(|(_, name)| (*name).clone()).collect()
    }

    /// The redactor knows the secret as it is stored; here it learns what a denial or a server may show of it.
    fn learn_url(&self, secret: &SecretName, url: &Url) -> Result<(), CredentialError> {
        let path = url.path();
        for part in [url.as_str(), &url[Position::BeforePath..], path, path.trim_start_matches('/')] {
            if part.trim_matches('/').len() >= SHORTEST_SECRET_PATH {
                self.inner.source.learn(secret, &SecretValue::new(part.as_bytes()))?;
            }
        }
        Ok(())
    }

    async fn add(
        &self,
        name: &CredentialName,
        credential: &Credential,
        request: &mut Outgoing,
        applied: &mut Applied,
        now: SystemTime,
    ) -> Result<(), CredentialError> {
        let source = self.inner.source.as_ref();
        let asking = Asking { name, source, transport: self.inner.transport.as_ref(), now };
        let slot = self.inner.slots.get(name).ok_or_else(|| {
            CredentialError::new("credential/unknown", format!("there is no credential `{name}`"), "define it")
        })?;
        let (header, value): (&HeaderName, HeaderValue) = match &credential.kind {
            Kind::Placeholder(_) => return Ok(()),
            Kind::AwsSigv4(aws) => {
                let keys = match &aws.assume_role {
                    Some(role) => {
                        let (keys, fetched) = asking.role(slot, aws, role).await?;
                        applied.fetched.0.push((name.clone(), fetched));
                        keys
                    }
                    None => asking.base_keys(aws).await?,
                };
                return sign(name, aws, &keys, request, now);
            }
            Kind::Mtls { certificate, key } => {
                let (certificate, key) = self.identity_parts(certificate, key).await?;
                applied.identity = Some(ClientIdentity { credential: name.clone(), certificate, key });
                return Ok(());
            }
            Kind::Authority(secret) => {
                let certificates = self.certificates(secret).await?;
                applied.authority = Some(Authority { credential: name.clone(), certificates });
                return Ok(());
            }
            Kind::GcpServiceAccount(gcp) => {
                (&AUTHORIZATION, fetched(name, asking.service_account(slot, gcp).await?, applied)?)
            }
            Kind::GcpMetadata(gcp) => (&AUTHORIZATION, fetched(name, asking.metadata(slot, gcp).await?, applied)?),
            Kind::AzureClient(azure) => (&AUTHORIZATION, fetched(name, asking.azure(slot, azure).await?, applied)?),
            Kind::Bearer(secret) => (&AUTHORIZATION, bearer(secret, &source.secret(secret).await?)?),
            Kind::Basic { username, password } => {
                let secret = source.secret(password).await?;
                not_empty(password, &secret)?;
                // RFC 7617 section 2; the pair is another text than the password alone, in base64 above all.
                let pair = Zeroizing::new([username.as_bytes(), b":", secret.expose()].concat());
                let encoded = SecretValue::new(STANDARD.encode(&*pair).into_bytes());
                source.learn(name, &encoded)?;
                (&AUTHORIZATION, header_value(password, b"Basic ", encoded.expose())?)
            }
            Kind::Header { name, value, prefix } => {
                (name, header_value(value, prefix.as_bytes(), source.secret(value).await?.expose())?)
            }
        };
        request.headers.insert(header, value);
        Ok(())
    }

    /// The certificates of an authority, looked at.
    async fn certificates(&self, secret: &SecretName) -> Result<SecretValue, CredentialError> {
        let value = self.inner.source.secret(secret).await?;
        let certificates = CertificateDer::pem_slice_iter(value.expose()).collect::<Result<Vec<_>, _>>();
        if certificates.is_ok_and(|list| !list.is_empty()) {
            return Ok(value);
        }
        Err(CredentialError::new(
            "credential/key",
            format!("the secret `{secret}` holds no certificate in PEM"),
            "store the text that begins with `-----BEGIN CERTIFICATE-----`",
        ))
    }

    /// Certificate and key, looked at: what is wrong with them is said here and not in the middle of a handshake.
    async fn identity_parts(
        &self,
        certificate: &SecretName,
        key: &SecretName,
    ) -> Result<(SecretValue, SecretValue), CredentialError> {
        let source = self.inner.source.as_ref();
        let (chain, private) = (source.secret(certificate).await?, source.secret(key).await?);
        let wrong = |secret: &SecretName, what: &str, begin: &str| {
            CredentialError::new(
                "credential/key",
                format!("the secret `{secret}` holds no {what} in PEM"),
                format!("store the text that begins with `-----BEGIN {begin}-----`"),
            )
        };
        let certificates = CertificateDer::pem_slice_iter(chain.expose()).collect::<Result<Vec<_>, _>>();
        if !certificates.is_ok_and(|list| !list.is_empty()) {
            return Err(wrong(certificate, "certificate", "CERTIFICATE"));
        }
        if PrivateKeyDer::from_pem_slice(private.expose()).is_err() {
            return Err(wrong(key, "private key", "PRIVATE KEY"));
        }
        Ok((chain, private))
    }
}

/// `Bearer` with a token that had to be fetched.
fn fetched(
    name: &CredentialName,
    (token, fetched): (SecretValue, Fetched),
    applied: &mut Applied,
) -> Result<HeaderValue, CredentialError> {
    applied.fetched.0.push((name.clone(), fetched));
    bearer(name, &token)
}

/// `Bearer` (RFC 6750 section 2.1) with a token.
fn bearer(name: &SecretName, token: &SecretValue) -> Result<HeaderValue, CredentialError> {
    header_value(name, b"Bearer ", token.expose())
}

fn not_empty(name: &SecretName, value: &SecretValue) -> Result<(), CredentialError> {
    if value.expose().is_empty() { Err(CredentialError::value(name, "is empty")) } else { Ok(()) }
}

fn sign(
    name: &CredentialName,
    aws: &Aws,
    keys: &aws::Keys,
    request: &mut Outgoing,
    now: SystemTime,
) -> Result<(), CredentialError> {
    let told = match request.place {
        Place::Network => aws::endpoint::scope_of(request.url.host_str().unwrap_or_default()),
        Place::Socket(_) => aws::endpoint::Scope::default(),
    };
    // What the operator wrote counts more than what the name of a host tells.
    let region = aws.region.clone().or(told.region);
    let service = aws.service.clone().or(told.service);
    let (Some(region), Some(service)) = (&region, &service) else {
        let mut lines = String::new();
        if region.is_none() {
            lines.push_str("\n    region: eu-west-1");
        }
        if service.is_none() {
            lines.push_str("\n    service: ecs");
        }
        return Err(CredentialError::new(
            "credential/region",
            format!("credential `{name}`: {} does not tell what to sign for", destination::shown(request)),
            format!("write it into the credential:\n  awsSigv4:{lines}"),
        ));
    };
    aws::sign((&request.method, &request.url, &mut request.headers, &request.body), keys, (region, service), now)
}

/// The URL in a secret.
fn secret_url(secret: &SecretName, value: &SecretValue) -> Result<Url, CredentialError> {
    let cannot = |why: &str| Err(CredentialError::value(secret, why));
    let Some(text) = value.expose_text() else {
        return cannot("is no text, but is to be a URL");
    };
    // A URL parser drops line ends without a word; then another URL would be asked than the one that is stored.
    if text.bytes().any(|b| b.is_ascii_control() || b == b' ') {
        return cannot("is to be a URL but holds a space, a line end or another control character");
    }
    let Ok(url) = Url::parse(text) else {
        return cannot("is to be a URL but is none");
    };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return cannot("is to be a URL but does not begin with `https://`");
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return cannot("is to be a URL but holds user information or a fragment");
    }
    Ok(url)
}
