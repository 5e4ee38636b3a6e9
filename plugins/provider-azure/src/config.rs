//! The configuration. The host has checked it against the schema in `plugin.json`; what a schema cannot say is checked
//! here, before the first request.

use std::collections::BTreeMap;

use basb_plugin::Failure;
use serde::Deserialize;

/// The configuration of the provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The subscription's id.
    pub subscription: String,
    /// The resource group of the apps.
    pub resource_group: String,
    /// Where the apps are.
    pub location: String,
    /// The managed environment: its name in the resource group, or its resource id.
    pub environment: String,
    /// Where Azure Resource Manager is.
    #[serde(default = "default_endpoint")]
    pub endpoint: String,
    /// How users' requests come in.
    #[serde(default)]
    pub ingress: Ingress,
    /// Cores of a container.
    #[serde(default = "default_cpu")]
    pub cpu: f64,
    /// Memory of a container, in Gi.
    #[serde(default = "default_memory")]
    pub memory: String,
    /// How many replicas there may be.
    #[serde(default)]
    pub scale: Scale,
    /// What containers run on.
    pub workload_profile: Option<String>,
    /// Identities of the apps.
    pub identity: Option<Identity>,
    /// Registries that images are pulled from with an identity.
    #[serde(default)]
    pub registries: Vec<Registry>,
    /// Secrets in a Key Vault.
    #[serde(default)]
    pub secrets: Vec<Secret>,
    /// Variables of every service.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Tags of every app, beside ours.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The label by which a candidate is reached.
    #[serde(default = "default_label")]
    pub label: String,
    /// Whether an image may be named by a tag.
    #[serde(default)]
    pub image_tags: ImageTags,
    /// So many retired revisions are kept.
    #[serde(default = "default_inactive")]
    pub max_inactive_revisions: u32,
    /// What differs from service to service, by name.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
}

/// How users' requests come in. It is the app's, and so the same for all of its revisions.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ingress {
    pub external: bool,
    pub target_port: u16,
    pub transport: Transport,
    pub allow_insecure: bool,
}

impl Default for Ingress {
    fn default() -> Ingress {
        Ingress { external: false, target_port: 8080, transport: Transport::Auto, allow_insecure: false }
    }
}

/// What is spoken to the containers. Traffic over TCP is not shared out, so it is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Auto,
    Http,
    Http2,
}

impl Transport {
    /// Azure's word.
    pub fn word(self) -> &'static str {
        match self {
            Transport::Auto => "auto",
            Transport::Http => "http",
            Transport::Http2 => "http2",
        }
    }
}

/// How many replicas Azure may run.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Scale {
    /// The least of any revision, however few the host asks for.
    pub min: u32,
    /// The most of any revision.
    pub max: u32,
    /// How many requests at once make another replica.
    pub concurrent_requests: Option<u32>,
}

impl Default for Scale {
    fn default() -> Scale {
        Scale { min: 1, max: 10, concurrent_requests: None }
    }
}

/// Identities of the apps.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Identity {
    pub system: bool,
    pub user: Vec<String>,
}

/// Where images are pulled from with an identity.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Registry {
    pub server: String,
    pub identity: String,
}

/// A secret that lies in a Key Vault.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Secret {
    pub name: String,
    pub key_vault_url: String,
    #[serde(default = "default_identity")]
    pub identity: String,
}

/// Whether an image may be named by a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageTags {
    #[default]
    Refuse,
    Allow,
}

/// What differs for one service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Service {
    pub app: Option<String>,
    pub target_port: Option<u16>,
    pub external: Option<bool>,
    pub url: Option<String>,
    pub preview_url: Option<String>,
}

fn default_endpoint() -> String {
    "https://management.azure.com".to_owned()
}
fn default_cpu() -> f64 {
    0.25
}
fn default_memory() -> String {
    "0.5Gi".to_owned()
}
fn default_label() -> String {
    "candidate".to_owned()
}
fn default_identity() -> String {
    "system".to_owned()
}
fn default_inactive() -> u32 {
    100
}

impl Config {
    /// Checks what the schema cannot.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Invalid`], with the place.
    pub fn check(&self) -> Result<(), Failure> {
        let invalid = |path: &str, why: String| Err(Failure::invalid(why).at(path));
        let is_guid = self.subscription.len() == 36
            && self.subscription.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if !is_guid {
            return invalid("/subscription", format!("`{}` is no subscription id (a GUID)", self.subscription));
        }
        let is_group = !self.resource_group.is_empty()
            && self.resource_group.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')'));
        if !is_group {
            return invalid("/resourceGroup", format!("`{}` is no name of a resource group", self.resource_group));
        }
        if self.environment.contains('/') && !self.environment.starts_with("/subscriptions/") {
            let why = format!(
                "`{}` is neither a name nor a resource id, which begins with `/subscriptions/`",
                self.environment
            );
            return invalid("/environment", why);
        }
        if self.scale.max < self.scale.min.max(1) {
            return invalid("/scale/max", "`max` is at least 1 and at least `min`".to_owned());
        }
        if !is_app_name(&self.label) {
            return invalid(
                "/label",
                format!("`{}` is no label: small letters, digits and single hyphens", self.label),
            );
        }
        for (name, service) in &self.services {
            if let Some(app) = service.app.as_ref().filter(|app| !is_app_name(app) || app.len() > 32) {
                let why = format!("`{app}` is no name of a container app: at most 32 small letters, digits, hyphens");
                return invalid(&format!("/services/{name}/app"), why);
            }
        }
        Ok(())
    }

    /// What is written for a service.
    pub fn service(&self, name: &str) -> Service {
        self.services.get(name).cloned().unwrap_or_default()
    }

    /// The resource id of the managed environment.
    pub fn environment_id(&self) -> String {
        if self.environment.starts_with('/') {
            return self.environment.clone();
        }
        format!("{}/providers/Microsoft.App/managedEnvironments/{}", self.group_id(), self.environment)
    }

    /// The resource id of the resource group.
    pub fn group_id(&self) -> String {
        format!("/subscriptions/{}/resourceGroups/{}", self.subscription, self.resource_group)
    }

    /// Where Azure Resource Manager is, without a slash at the end.
    pub fn endpoint(&self) -> &str {
        self.endpoint.trim_end_matches('/')
    }
}

/// Small letters, digits and single hyphens; begins with a letter, ends with a letter or digit.
fn is_app_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && !text.contains("--")
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
