//! The configuration. The host has checked it against the schema in `plugin.json`; what a schema cannot say is checked
//! here, before the first request.

use std::collections::BTreeMap;
use std::time::Duration;

use basb_cloud_kit::{Owner, TagStyle};
use basb_plugin::config::HumanDuration;
use basb_plugin::{Failure, ServiceRef};
use serde::Deserialize;

use crate::names;

/// Where Cloud Run is.
const ENDPOINT: &str = "https://run.googleapis.com";

/// The configuration of the provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The project's id or number.
    pub project: String,
    /// The location.
    pub location: String,
    /// Where Cloud Run is: scheme and host.
    #[serde(default = "default_endpoint")]
    pub endpoint: String,
    /// Whether a plan asks Cloud Run.
    #[serde(default)]
    pub dry_run: DryRun,
    /// From where services can be reached.
    pub ingress: Option<Ingress>,
    /// Who may call them.
    pub access: Option<Access>,
    /// What revisions run as.
    pub service_account: Option<String>,
    /// The port that containers listen on.
    #[serde(default = "default_port")]
    pub port: u16,
    /// What they speak.
    #[serde(default)]
    pub protocol: Protocol,
    /// Processors of an instance.
    #[serde(default = "default_cpu")]
    pub cpu: String,
    /// Memory of an instance.
    #[serde(default = "default_memory")]
    pub memory: String,
    /// When processors are there.
    #[serde(default)]
    pub billing: Billing,
    /// Whether instances start with more of a processor.
    #[serde(default)]
    pub startup_boost: StartupBoost,
    /// Requests of an instance at once.
    pub concurrency: Option<u32>,
    /// How long a request may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// How long an instance may take to start.
    #[serde(default = "default_start_timeout")]
    pub start_timeout: HumanDuration,
    /// At least so many instances of each revision.
    #[serde(default)]
    pub min_instances: u32,
    /// At most so many.
    pub max_instances: Option<u32>,
    /// What instances run in.
    pub execution_environment: Option<ExecutionEnvironment>,
    /// How they reach a VPC.
    pub vpc: Option<Vpc>,
    /// Variables of every container.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Variables whose values are secrets of Secret Manager.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
    /// Labels of services and revisions, beside ours.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether an image may be named by a tag.
    #[serde(default)]
    pub image_tags: ImageTags,
    /// What differs from service to service, by name.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident $default:ident: $($case:ident = $word:literal > $sent:literal),*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        pub enum $name { $(#[serde(rename = $word)] $case),* }
        impl $name {
            /// Google's word.
            #[allow(dead_code, reason = "not every word goes out")]
            pub fn word(self) -> &'static str {
                match self { $($name::$case => $sent),* }
            }
        }
        impl Default for $name {
            fn default() -> Self { $name::$default }
        }
    };
}

words!(
    /// Whether a plan asks Cloud Run what it thinks of the change.
    DryRun Server: Server = "server" > "", None = "none" > ""
);
words!(
    /// From where a service can be reached.
    Ingress All: All = "all" > "INGRESS_TRAFFIC_ALL", Internal = "internal" > "INGRESS_TRAFFIC_INTERNAL_ONLY",
        LoadBalancer = "internal-and-load-balancer" > "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
);
words!(
    /// Who may call a service.
    Access Iam: Iam = "iam" > "", Public = "public" > ""
);
words!(
    /// What containers speak.
    Protocol Http1: Http1 = "http1" > "http1", H2c = "h2c" > "h2c"
);
words!(
    /// When processors are there.
    Billing Request: Request = "request" > "", Instance = "instance" > ""
);
words!(
    /// Whether instances start with more of a processor.
    StartupBoost Disabled: Enabled = "enabled" > "", Disabled = "disabled" > ""
);
words!(
    /// What instances run in.
    ExecutionEnvironment Gen2: Gen1 = "gen1" > "EXECUTION_ENVIRONMENT_GEN1", Gen2 = "gen2" > "EXECUTION_ENVIRONMENT_GEN2"
);
words!(
    /// Whether an image may be named by a tag.
    ImageTags Refuse: Refuse = "refuse" > "", Allow = "allow" > ""
);
words!(
    /// What leaves by the VPC.
    Egress Private: Private = "private-ranges" > "PRIVATE_RANGES_ONLY", All = "all" > "ALL_TRAFFIC"
);

/// How instances reach a VPC.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vpc {
    pub network: Option<String>,
    pub subnetwork: Option<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    pub connector: Option<String>,
    #[serde(default)]
    pub egress: Egress,
}

/// A secret of Secret Manager, by reference.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Secret {
    pub secret: String,
    pub version: String,
}

/// What differs for one service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Service {
    pub service: Option<String>,
    pub url: Option<String>,
    pub preview_url: Option<String>,
    pub ingress: Option<Ingress>,
    pub access: Option<Access>,
}

fn default_endpoint() -> String {
    ENDPOINT.to_owned()
}
fn default_port() -> u16 {
    8080
}
fn default_cpu() -> String {
    "1".to_owned()
}
fn default_memory() -> String {
    "512Mi".to_owned()
}
fn default_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(300))
}
fn default_start_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(240))
}

impl Config {
    /// What a schema cannot refuse.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Invalid`].
    pub fn check(&self) -> Result<(), Failure> {
        let invalid = |path: &str, why: &str| Err(Failure::invalid(why).at(path));
        // Both stand in paths of requests.
        for (path, text) in [("/project", &self.project), ("/location", &self.location)] {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-:.".contains(&byte);
            if text.is_empty() || !text.bytes().all(plain) || text.contains("..") {
                return invalid(path, "this is no name of Google Cloud: it has other characters than a-z, 0-9 and `-`");
            }
        }
        if let Some(vpc) = &self.vpc {
            match (&vpc.connector, vpc.network.is_some() || vpc.subnetwork.is_some()) {
                (Some(_), true) => {
                    return invalid("/vpc", "write a `connector`, or `network` and `subnetwork`, not both");
                }
                (None, false) => return invalid("/vpc", "write `network`, `subnetwork` or a `connector`"),
                _ => {}
            }
        }
        if self.max_instances.is_some_and(|most| most < self.min_instances) {
            return invalid("/maxInstances", "`maxInstances` is smaller than `minInstances`");
        }
        if let Some(label) = self.labels.keys().find(|label| label.starts_with(&TagStyle::Underscore.key(""))) {
            return invalid(
                "/labels",
                &format!("the label `{label}` is one of those by which basb-host knows its own"),
            );
        }
        Ok(())
    }

    /// What is written for a service.
    pub fn service(&self, name: &str) -> Service {
        self.services.get(name).cloned().unwrap_or_default()
    }

    /// The labels of a thing.
    pub fn labels(&self, owner: &Owner) -> BTreeMap<String, String> {
        self.labels.clone().into_iter().chain(owner.tags(TagStyle::Underscore)).collect()
    }
}

/// Where a service is.
#[derive(Debug, Clone)]
pub struct Place {
    /// `https://run.googleapis.com/v2/`
    pub root: String,
    /// `projects/P/locations/L`
    pub parent: String,
    /// The Cloud Run service's name.
    pub name: String,
    /// What is written for it.
    pub written: Service,
}

impl Place {
    /// For a service of the deployment.
    ///
    /// # Errors
    /// As [`Config::check`].
    pub fn of(config: &Config, service: &ServiceRef) -> Result<Place, Failure> {
        config.check()?;
        let written = config.service(&service.service);
        let name = match &written.service {
            Some(name) if name.len() > names::LONGEST_WRITTEN => {
                return Err(Failure::invalid(format!(
                    "the service `{name}` is longer than {} characters: Cloud Run has 46 for its name and a preview's tag",
                    names::LONGEST_WRITTEN
                ))
                .at(format!("/services/{}/service", service.service)));
            }
            Some(name) => name.clone(),
            None => names::of_service(service),
        };
        Ok(Place {
            root: format!("{}/v2/", config.endpoint.trim_end_matches('/')),
            parent: format!("projects/{}/locations/{}", config.project, config.location),
            name,
            written,
        })
    }
}
