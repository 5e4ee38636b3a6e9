//! The section `credentials` of a deployment file: which credentials there are, and where each may be used.
//!
//! Stops a credential from having no destination, or one that nobody wrote: every credential is bound, `https` unless the
//! operator writes `http`, and an unknown key is an error.

mod aws_parse;
mod parse;
mod reader;
mod schema;

pub use schema::credentials_schema;

use crate::CredentialName;
use crate::destination::Binding;
use basb_redact::SecretName;
use basb_secrets::ConfigProblem;
use http::HeaderName;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use url::Url;

/// The credentials of a deployment, and where each may be used. Names secrets, holds none.
#[derive(Debug, Clone, Default)]
pub struct CredentialsConfig {
    pub(crate) credentials: BTreeMap<CredentialName, Credential>,
}

impl CredentialsConfig {
    /// Reads the value of `credentials`; `null` stands for none.
    ///
    /// # Errors
    /// Everything that is wrong with it, with pointers from the root of the deployment file.
    pub fn parse(value: &Value) -> Result<Self, Vec<ConfigProblem>> {
        parse::credentials(value).map(|credentials| Self { credentials })
    }

    /// The names of the credentials.
    #[must_use]
    pub fn names(&self) -> Vec<CredentialName> {
        self.credentials.keys().cloned().collect()
    }

    /// The secrets that these credentials need, each once.
    #[must_use]
    pub fn secrets_of(&self, names: &[CredentialName]) -> Vec<SecretName> {
        let secrets = names.iter().filter_map(|name| self.credentials.get(name)).flat_map(|c| c.kind.secrets());
        secrets.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The key that says what a credential does, such as `awsSigv4`.
    #[must_use]
    pub fn kind_of(&self, name: &CredentialName) -> Option<&'static str> {
        self.credentials.get(name).map(|credential| credential.kind.key())
    }

    /// Where a credential may be used, in words: `https://**.amazonaws.com`, `socket agent`.
    #[must_use]
    pub fn destinations_of(&self, name: &CredentialName) -> Vec<String> {
        let bindings = self.credentials.get(name).map(|credential| credential.to.as_slice()).unwrap_or_default();
        bindings.iter().map(ToString::to_string).collect()
    }
}

/// One credential.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    /// Where it may be used; at least one.
    pub to: Vec<Binding>,
    /// What it does.
    pub kind: Kind,
}

/// What a credential does.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    AwsSigv4(Aws),
    GcpServiceAccount(GcpServiceAccount),
    GcpMetadata(GcpMetadata),
    AzureClient(AzureClient),
    Bearer(SecretName),
    Basic { username: String, password: SecretName },
    Header { name: HeaderName, value: SecretName, prefix: String },
    Mtls { certificate: SecretName, key: SecretName },
    Authority(SecretName),
    Placeholder(SecretName),
}

impl Kind {
    /// Its key in the deployment file.
    pub fn key(&self) -> &'static str {
        match self {
            Self::AwsSigv4(_) => "awsSigv4",
            Self::GcpServiceAccount(_) => "gcpServiceAccount",
            Self::GcpMetadata(_) => "gcpMetadata",
            Self::AzureClient(_) => "azureClient",
            Self::Bearer(_) => "bearer",
            Self::Basic { .. } => "basic",
            Self::Header { .. } => "header",
            Self::Mtls { .. } => "mtls",
            Self::Authority(_) => "authority",
            Self::Placeholder(_) => "placeholder",
        }
    }

    /// The secrets it needs.
    pub fn secrets(&self) -> Vec<&SecretName> {
        match self {
            Self::AwsSigv4(aws) => {
                let mut all = vec![&aws.access_key_id, &aws.secret_access_key];
                all.extend(&aws.session_token);
                all
            }
            Self::GcpServiceAccount(gcp) => vec![&gcp.key],
            Self::GcpMetadata(_) => Vec::new(),
            Self::AzureClient(azure) => vec![&azure.client_secret],
            Self::Bearer(secret) | Self::Placeholder(secret) | Self::Authority(secret) => vec![secret],
            Self::Basic { password, .. } => vec![password],
            Self::Header { value, .. } => vec![value],
            Self::Mtls { certificate, key } => vec![certificate, key],
        }
    }
}

/// Signature Version 4 of AWS.
#[derive(Debug, Clone)]
pub(crate) struct Aws {
    pub access_key_id: SecretName,
    pub secret_access_key: SecretName,
    pub session_token: Option<SecretName>,
    /// Where they are not written, the host name has to tell them.
    pub region: Option<String>,
    pub service: Option<String>,
    pub assume_role: Option<AssumeRole>,
}

/// A role to assume before signing.
#[derive(Debug, Clone)]
pub(crate) struct AssumeRole {
    pub role_arn: String,
    pub session_name: String,
    pub external_id: Option<String>,
    pub duration: Duration,
    pub endpoint: Option<Url>,
}

/// A service account of Google Cloud with its own key.
#[derive(Debug, Clone)]
pub(crate) struct GcpServiceAccount {
    /// The secret that holds the key file.
    pub key: SecretName,
    pub scopes: Vec<String>,
    /// Where it is not written, the key file says it.
    pub token_url: Option<Url>,
}

/// The service account of the machine that the host runs on.
#[derive(Debug, Clone)]
pub(crate) struct GcpMetadata {
    pub account: String,
    pub scopes: Vec<String>,
    pub endpoint: Url,
}

/// An application of Microsoft Entra with a client secret.
#[derive(Debug, Clone)]
pub(crate) struct AzureClient {
    pub tenant: String,
    pub client_id: String,
    pub client_secret: SecretName,
    pub scope: String,
    pub authority: Url,
}
