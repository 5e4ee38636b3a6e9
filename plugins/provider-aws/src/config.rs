//! The configuration. The host has checked it against the schema in `plugin.json`; what a schema cannot say is checked
//! here, before the first request.

use std::collections::BTreeMap;
use std::time::Duration;

use basb_plugin::Failure;
use basb_plugin::config::HumanDuration;
use serde::{Deserialize, Deserializer};

/// The configuration of the provider: where, and one of the three ways.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The region.
    pub region: String,
    /// Endpoints other than the region's own.
    #[serde(default)]
    pub endpoints: Endpoints,
    /// Containers on ECS.
    pub ecs: Option<Ecs>,
    /// Lambda functions.
    pub lambda: Option<Lambda>,
    /// What differs from service to service, by name.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
}

/// Endpoints.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Endpoints {
    pub ecs: Option<String>,
    pub elastic_load_balancing: Option<String>,
    pub lambda: Option<String>,
}

/// Containers on ECS behind an Application Load Balancer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ecs {
    pub cluster: String,
    pub vpc: String,
    pub listener: String,
    pub network: Option<Network>,
    #[serde(default)]
    pub network_mode: NetworkMode,
    #[serde(default, deserialize_with = "launch_type")]
    pub launch_type: LaunchType,
    #[serde(default)]
    pub capacity_providers: Vec<CapacityProvider>,
    pub execution_role: Option<String>,
    pub task_role: Option<String>,
    #[serde(default = "default_cpu")]
    pub cpu: u32,
    #[serde(default = "default_memory")]
    pub memory: u32,
    #[serde(default = "default_port")]
    pub port: u16,
    #[serde(default)]
    pub image_tags: ImageTags,
    pub logs: Option<Logs>,
    pub preview: Option<Preview>,
    #[serde(default = "default_drain")]
    pub drain: HumanDuration,
    #[serde(default = "default_health_interval")]
    pub health_interval: HumanDuration,
    #[serde(default = "default_start_grace")]
    pub start_grace: HumanDuration,
    #[serde(default)]
    pub priorities: Priorities,
    pub native: Option<Native>,
}

/// Where tasks have their own network interface.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    pub subnets: Vec<String>,
    pub security_groups: Vec<String>,
    #[serde(default)]
    pub public_ip: PublicIp,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident $default:ident: $($case:ident = $word:literal),*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        pub enum $name { $(#[serde(rename = $word)] $case),* }
        impl $name {
            /// AWS's word.
            #[allow(dead_code, reason = "not every word goes out")]
            pub fn word(self) -> &'static str {
                match self { $($name::$case => $word),* }
            }
        }
        impl Default for $name {
            fn default() -> Self { $name::$default }
        }
    };
}

words!(
    /// Whether tasks get a public address.
    PublicIp Disabled: Enabled = "ENABLED", Disabled = "DISABLED"
);
words!(
    /// What network tasks have.
    NetworkMode AwsVpc: AwsVpc = "awsvpc", Bridge = "bridge", Host = "host"
);
words!(
    /// What tasks run on.
    LaunchType Fargate: Fargate = "FARGATE", Ec2 = "EC2"
);
words!(
    /// Whether an image may be named by a tag.
    ImageTags Refuse: Refuse = "refuse", Allow = "allow"
);
words!(
    /// How ECS shifts traffic by itself.
    NativeStrategy Canary: Canary = "CANARY", Linear = "LINEAR", BlueGreen = "BLUE_GREEN"
);

/// A share of tasks on a capacity provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CapacityProvider {
    pub name: String,
    #[serde(default = "one")]
    pub weight: u32,
    #[serde(default)]
    pub base: u32,
}

/// Where containers' output goes.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Logs {
    pub group: String,
}

/// Where a revision alone can be reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Preview {
    pub listener: Option<String>,
    pub host: Option<String>,
    pub url: Option<String>,
}

/// Where free priorities of rules are looked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Priorities {
    pub revisions: u32,
    pub services: u32,
}

impl Default for Priorities {
    fn default() -> Priorities {
        Priorities { revisions: 10_000, services: 30_000 }
    }
}

/// ECS shifts the traffic by itself and pauses for us.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Native {
    #[serde(default)]
    pub strategy: NativeStrategy,
    #[serde(default = "default_percent")]
    pub percent: f64,
    #[serde(default = "default_timeout")]
    pub hook_timeout: HumanDuration,
    #[serde(default = "default_bake")]
    pub bake: HumanDuration,
    pub role: String,
}

/// Functions on Lambda.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lambda {
    #[serde(default = "default_alias")]
    pub alias: String,
    pub role: String,
    #[serde(default = "default_function_memory")]
    pub memory: u32,
    #[serde(default = "default_function_timeout")]
    pub timeout: HumanDuration,
    #[serde(default)]
    pub architecture: Architecture,
    #[serde(default)]
    pub image_tags: ImageTags,
}

words!(
    /// What functions run on.
    Architecture X86: X86 = "x86_64", Arm = "arm64"
);

/// What differs for one service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Service {
    pub hosts: Vec<String>,
    pub paths: Vec<String>,
    pub rule: Option<String>,
    pub url: Option<String>,
    pub preview_url: Option<String>,
    pub function: Option<String>,
}

/// A launch type that AWS has. One of them is said no to with its reason: what is written for ECS elsewhere may have it.
fn launch_type<'de, D: Deserializer<'de>>(from: D) -> Result<LaunchType, D::Error> {
    let word = String::deserialize(from)?;
    let known = [LaunchType::Fargate, LaunchType::Ec2].into_iter().find(|known| known.word() == word);
    known.ok_or_else(|| {
        let why = match word.as_str() {
            "EXTERNAL" => ": ECS Anywhere has no load balancing, so no request can be led to such a task",
            _ => "",
        };
        serde::de::Error::custom(format!("`launchType` cannot be `{word}`{why}: write `FARGATE` or `EC2`"))
    })
}

fn default_cpu() -> u32 {
    256
}
fn default_memory() -> u32 {
    512
}
fn default_port() -> u16 {
    8080
}
fn one() -> u32 {
    1
}
fn default_drain() -> HumanDuration {
    HumanDuration(Duration::from_secs(30))
}
fn default_health_interval() -> HumanDuration {
    HumanDuration(Duration::from_secs(10))
}
fn default_start_grace() -> HumanDuration {
    HumanDuration(Duration::from_secs(60))
}
fn default_percent() -> f64 {
    10.0
}
fn default_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(3_600))
}
fn default_bake() -> HumanDuration {
    HumanDuration(Duration::ZERO)
}
fn default_alias() -> String {
    "live".to_owned()
}
fn default_function_memory() -> u32 {
    256
}
fn default_function_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(30))
}

/// One of the three ways.
#[derive(Debug, Clone, Copy)]
pub enum Way<'a> {
    /// Containers, whose weights we set.
    Own(&'a Ecs),
    /// Containers, whose weights ECS sets.
    Native(&'a Ecs, &'a Native),
    /// Functions.
    Lambda(&'a Lambda),
}

impl Config {
    /// The way that is configured.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Invalid`] for what the schema cannot refuse.
    pub fn way(&self) -> Result<Way<'_>, Failure> {
        if !is_label(&self.region) {
            return Err(Failure::invalid(format!("`{}` is no region: write one such as `eu-central-1`", self.region))
                .at("/region"));
        }
        match (&self.ecs, &self.lambda) {
            (Some(ecs), None) => {
                ecs.check()?;
                Ok(ecs.native.as_ref().map_or(Way::Own(ecs), |native| Way::Native(ecs, native)))
            }
            (None, Some(lambda)) => Ok(Way::Lambda(lambda)),
            _ => Err(Failure::invalid("write either `ecs` or `lambda`: a deployment runs on one of them")),
        }
    }

    /// What is written for a service.
    pub fn service(&self, name: &str) -> Service {
        self.services.get(name).cloned().unwrap_or_default()
    }

    /// Where ECS is.
    pub fn ecs_endpoint(&self) -> String {
        self.endpoint(self.endpoints.ecs.as_deref(), "ecs")
    }

    /// Where Elastic Load Balancing is.
    pub fn elb_endpoint(&self) -> String {
        self.endpoint(self.endpoints.elastic_load_balancing.as_deref(), "elasticloadbalancing")
    }

    /// Where Lambda is.
    pub fn lambda_endpoint(&self) -> String {
        self.endpoint(self.endpoints.lambda.as_deref(), "lambda")
    }

    fn endpoint(&self, written: Option<&str>, service: &str) -> String {
        if let Some(written) = written {
            return format!("{}/", written.trim_end_matches('/'));
        }
        let domain = match self.region.split('-').next() {
            Some("cn") => "amazonaws.com.cn",
            Some("eusc") => "amazonaws.eu",
            _ => "amazonaws.com",
        };
        format!("https://{service}.{}.{domain}/", self.region)
    }
}

/// A region stands in a host name.
fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

impl Ecs {
    fn check(&self) -> Result<(), Failure> {
        let invalid = |path: &str, why: &str| Err(Failure::invalid(why).at(format!("/ecs/{path}")));
        match (self.network_mode, &self.network) {
            (NetworkMode::AwsVpc, None) => {
                return invalid(
                    "network",
                    "tasks with a network interface of their own need `network`: subnets and security groups",
                );
            }
            (NetworkMode::Bridge | NetworkMode::Host, Some(_)) => {
                return invalid("network", "`network` is for `networkMode: awsvpc`: take one of them out");
            }
            _ => {}
        }
        if self.launch_type == LaunchType::Fargate && self.network_mode != NetworkMode::AwsVpc {
            return invalid("networkMode", "Fargate has `awsvpc` only");
        }
        if self.priorities.revisions >= self.priorities.services {
            return invalid(
                "priorities",
                "`revisions` must be smaller than `services`: a rule for one revision goes before the rule for all requests",
            );
        }
        match &self.preview {
            Some(Preview { host: Some(host), .. }) if !host.contains("{revision}") => {
                return invalid("preview/host", "the host must hold `{revision}`, so that each revision has its own");
            }
            Some(Preview { host: None, listener: Some(_), url: Some(_) } | Preview { host: Some(_), .. }) | None => {}
            Some(_) => {
                return invalid(
                    "preview",
                    "write a `host` with `{revision}`, or a `listener` for previews and its `url`",
                );
            }
        }
        if let Some(native) = &self.native {
            native.check()?;
        }
        Ok(())
    }

    /// The kind of targets that tasks in this network are.
    pub fn target_type(&self) -> &'static str {
        if self.network_mode == NetworkMode::AwsVpc { "ip" } else { "instance" }
    }
}

impl Native {
    fn check(&self) -> Result<(), Failure> {
        let least = match self.strategy {
            NativeStrategy::Canary => 0.1,
            NativeStrategy::Linear => 3.0,
            NativeStrategy::BlueGreen => return Ok(()),
        };
        let tenths = self.percent * 10.0;
        if !(least..=100.0).contains(&self.percent) || (tenths - tenths.round()).abs() > 1e-6 {
            let why = format!("ECS takes multiples of 0.1 from {least} to 100 for {}", self.strategy.word());
            return Err(Failure::invalid(why).at("/ecs/native/percent"));
        }
        Ok(())
    }
}

impl Service {
    /// What URL users reach the service by, as far as the configuration tells.
    pub fn url(&self) -> Option<String> {
        self.url.clone().or_else(|| {
            let host = self.hosts.iter().find(|host| !host.contains(['*', '?']))?;
            Some(format!("https://{host}"))
        })
    }
}
