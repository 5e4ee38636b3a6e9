//! The configuration. The host has checked it against the schema in `plugin.json`; what a schema cannot say is checked
//! here, before the first request.

use std::collections::BTreeMap;
use std::time::Duration;

use basb_plugin::Failure;
use basb_plugin::config::HumanDuration;
use serde::{Deserialize, Serialize};

/// The configuration of the provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Where the API server is.
    pub server: String,
    /// The namespace that everything is in. It must be there.
    pub namespace: String,
    /// What a route hangs on.
    pub gateway: Option<Gateway>,
    /// What makes the shares.
    #[serde(default)]
    pub traffic: TrafficBy,
    /// What to do about fields that somebody else has set.
    #[serde(default)]
    pub conflicts: Conflicts,
    /// The port that containers listen on.
    #[serde(default = "default_port")]
    pub port: u16,
    /// The port of the Services.
    #[serde(default = "default_service_port")]
    pub service_port: u16,
    /// How long the cluster takes until its nodes lead to where a Service was changed to.
    #[serde(default = "default_propagation")]
    pub propagation: HumanDuration,
    /// Whether an image may be named by a tag.
    #[serde(default)]
    pub image_tags: ImageTags,
    /// How long Kubernetes goes on without progress until it gives up.
    #[serde(default = "default_progress")]
    pub progress_deadline: HumanDuration,
    /// Where a revision alone can be reached.
    pub preview: Option<Preview>,
    /// What pods have, unless a service says otherwise.
    #[serde(default)]
    pub pods: Pods,
    /// What differs from service to service, by name.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
}

/// What a route hangs on.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gateway {
    /// The gateways, as in an `HTTPRoute`.
    pub parent_refs: Vec<ParentRef>,
    /// How long a gateway may take to accept a route.
    #[serde(default = "default_acceptance")]
    pub acceptance: HumanDuration,
}

/// A gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentRef {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident: $($(#[$case_doc:meta])* $case:ident),*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$case_doc])* $case),* }
    };
}

words!(
    /// What makes the shares of traffic.
    TrafficBy:
    /// Routes where a gateway is configured and the cluster has the Gateway API, else pods.
    #[default]
    Auto,
    /// Routes only.
    Gateway,
    /// Numbers of pods only.
    Replicas
);
words!(
    /// What to do about fields that another manager has set to another value.
    Conflicts:
    /// To say whose they are, and do nothing.
    #[default]
    Refuse,
    /// To take them.
    Take
);
words!(
    /// Whether an image may be named by a tag.
    ImageTags:
    #[default]
    Refuse,
    Allow
);
words!(
    /// What containers may do.
    Security:
    /// What the `restricted` Pod Security Standard asks for.
    #[default]
    Restricted,
    /// Whatever the image and the cluster say.
    Unset
);

/// Where a revision alone can be reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Preview {
    pub host: Option<String>,
    pub url: Option<String>,
}

/// What pods have.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Pods {
    pub resources: Resources,
    pub service_account: Option<String>,
    pub image_pull_secrets: Vec<String>,
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub annotations: BTreeMap<String, String>,
    pub security: Option<Security>,
    pub drain: Option<Drain>,
}

/// How long a pod serves on after it was taken out of its Services: nodes and gateways lead there a little longer, and a
/// program that ends as soon as it is asked to would turn away whom they send.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drain {
    /// So long; none at 0.
    pub seconds: u32,
    /// What in the image takes that long; nothing where Kubernetes itself is to wait.
    #[serde(default)]
    pub command: Vec<String>,
}

/// What a container is given, and the most that it may take.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    pub requests: BTreeMap<String, String>,
    pub limits: BTreeMap<String, String>,
}

/// A taint that pods stand.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Toleration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<u64>,
}

/// What differs for one service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Service {
    pub hosts: Vec<String>,
    pub paths: Vec<String>,
    pub url: Option<String>,
    pub preview_url: Option<String>,
    pub service: Option<String>,
    pub route: Option<String>,
}

fn default_port() -> u16 {
    8080
}
fn default_service_port() -> u16 {
    80
}
fn default_propagation() -> HumanDuration {
    HumanDuration(Duration::from_secs(1))
}
fn default_progress() -> HumanDuration {
    HumanDuration(Duration::from_secs(600))
}
fn default_acceptance() -> HumanDuration {
    HumanDuration(Duration::from_secs(60))
}

impl Config {
    /// Checks what the schema cannot.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Invalid`].
    pub fn check(&self) -> Result<(), Failure> {
        let invalid = |path: &str, why: String| Err(Failure::invalid(why).at(path));
        if !is_label(&self.namespace) {
            return invalid("/namespace", format!("`{}` is no name of a namespace", self.namespace));
        }
        if self.traffic == TrafficBy::Gateway && self.gateway.is_none() {
            return invalid("/gateway", "`traffic: gateway` needs `gateway` with its `parentRefs`".to_owned());
        }
        if self.traffic == TrafficBy::Replicas && self.gateway.is_some() {
            return invalid("/gateway", "`gateway` is not for `traffic: replicas`: take one of them out".to_owned());
        }
        match &self.preview {
            Some(Preview { host: Some(host), .. }) if !host.contains("{revision}") => {
                return invalid(
                    "/preview/host",
                    "the host must hold `{revision}`, so that each revision has its own".to_owned(),
                );
            }
            Some(Preview { host: Some(_), .. }) if self.gateway.is_none() => {
                return invalid(
                    "/preview/host",
                    "a host for each revision is made by a route: write `gateway`, or a `url` with `{name}`, which is the \
                     revision's Service"
                        .to_owned(),
                );
            }
            Some(Preview { host: None, url: Some(url) }) if !url.contains("{name}") && !url.contains("{revision}") => {
                return invalid(
                    "/preview/url",
                    "the URL must hold `{name}` or `{revision}`, so that each revision has its own".to_owned(),
                );
            }
            Some(Preview { host: None, url: None }) => {
                return invalid("/preview", "write a `host` with `{revision}`, or a `url` with `{name}`".to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    /// What is written for a service.
    pub fn service(&self, name: &str) -> Service {
        self.services.get(name).cloned().unwrap_or_default()
    }
}

/// A namespace stands in a path.
fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

impl Service {
    /// What URL users reach the service by, as far as the configuration tells.
    pub fn url(&self) -> Option<String> {
        self.url.clone().or_else(|| {
            let host = self.hosts.iter().find(|host| !host.contains('*'))?;
            Some(format!("https://{host}"))
        })
    }
}
