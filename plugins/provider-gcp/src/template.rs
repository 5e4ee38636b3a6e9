//! What runs, in Cloud Run's words.

use std::collections::BTreeMap;

use basb_cloud_kit::{Differences, Owner};
use basb_plugin::Failure;
use basb_plugin::provider::{Desired, Readiness, Workload};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::{Billing, Config, ImageTags, Protocol, Secret, StartupBoost, Vpc};
use crate::names;

/// The label that holds the digest of the template: it tells one configuration of a revision from another.
pub const DIGEST_LABEL: &str = "basb-host_digest";
/// The label that tells which call made a revision: the same call made again has failed where its revision has, and another
/// call makes another one.
pub const ATTEMPT_LABEL: &str = "basb-host_attempt";

/// What the project runs revisions as that say nothing: Cloud Run writes it down where the template does not.
const DEFAULT_ACCOUNT: &str = "-compute@developer.gserviceaccount.com";

/// What a service may say in `workload.settings` for Cloud Run.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Settings {
    cpu: Option<String>,
    memory: Option<String>,
    port: Option<u16>,
    concurrency: Option<u32>,
    timeout_seconds: Option<u64>,
    service_account: Option<String>,
    min_instances: Option<u32>,
    max_instances: Option<u32>,
    command: Vec<String>,
    args: Vec<String>,
    secrets: BTreeMap<String, Secret>,
}

/// What has to run, but for its name.
#[derive(Debug, Clone)]
pub struct Wanted {
    template: Map<String, Value>,
    /// Tells this configuration from others.
    pub digest: String,
}

impl Wanted {
    /// For a workload.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Invalid`] for what Cloud Run cannot run.
    pub fn of(config: &Config, desired: &Desired) -> Result<Wanted, Failure> {
        let workload = &desired.workload;
        let settings: Settings = serde_json::from_str(&workload.settings)
            .map_err(|error| Failure::invalid(format!("`workload.settings` does not fit Cloud Run: {error}")))?;
        let mut template = Map::new();
        let mut labels = config.labels(&Owner::of_revision(&desired.service, &desired.revision));
        let (min, max) = (settings.min_instances.unwrap_or(config.min_instances), settings.max_instances);
        let mut scaling = json!({"minInstanceCount": min});
        if let Some(max) = max.or(config.max_instances) {
            set(&mut scaling, "maxInstanceCount", max.into());
        }
        template.insert("scaling".into(), scaling);
        if let Some(vpc) = &config.vpc {
            template.insert("vpcAccess".into(), vpc_access(vpc));
        }
        let timeout = settings.timeout_seconds.unwrap_or(config.timeout.0.as_secs());
        template.insert("timeout".into(), format!("{timeout}s").into());
        if let Some(account) = settings.service_account.as_ref().or(config.service_account.as_ref()) {
            template.insert("serviceAccount".into(), account.clone().into());
        }
        if let Some(concurrency) = settings.concurrency.or(config.concurrency) {
            template.insert("maxInstanceRequestConcurrency".into(), concurrency.into());
        }
        if let Some(environment) = config.execution_environment {
            template.insert("executionEnvironment".into(), environment.word().into());
        }
        template.insert("containers".into(), json!([container(config, &settings, workload)?]));
        let digest = names::hex(&json!([template, config.labels]).to_string());
        labels.insert(DIGEST_LABEL.to_owned(), digest.clone());
        template.insert("labels".into(), json!(labels));
        Ok(Wanted { template, digest })
    }

    /// The template with a revision's name in it.
    pub fn named(&self, name: &str, key: &str) -> Value {
        let mut template = Value::Object(self.template.clone());
        set(&mut template, "revision", name.into());
        if let Some(labels) = template.get_mut("labels") {
            set(labels, ATTEMPT_LABEL, names::hex(key).into());
        }
        template
    }

    /// Every value that differs from a template, or from a revision, that is there.
    pub fn differences(&self, there: Option<&Value>) -> Differences {
        let mut differences = Differences::new();
        let before = there.map(without_environment);
        let mut after = without_environment(&Value::Object(self.template.clone()));
        if let Some(fields) = after.as_object_mut() {
            fields.remove("labels");
        }
        differences.json("template", before.as_ref(), &after);
        // Of what Cloud Run fills in nobody has to hear; of an identity and a way into a network that are gone, they have.
        for field in ["serviceAccount", "vpcAccess"] {
            let gone = before.as_ref().and_then(|of| of.get(field)).filter(|_| after.get(field).is_none());
            let gone = gone.map(|gone| gone.as_str().map_or_else(|| gone.to_string(), str::to_owned));
            let gone = gone.filter(|gone| !gone.ends_with(DEFAULT_ACCOUNT));
            differences.value(&format!("template.{field}"), gone, None);
        }
        let old = there.map(environment).unwrap_or_default();
        differences.environment("template.env", &old, &environment(&Value::Object(self.template.clone())));
        differences
    }
}

fn container(config: &Config, settings: &Settings, workload: &Workload) -> Result<Value, Failure> {
    let port = settings.port.unwrap_or(config.port);
    let filled = |text: &String| text.replace("{port}", &port.to_string());
    let mut environment = config.env.clone();
    environment.extend(workload.env.iter().cloned());
    let secrets: BTreeMap<&String, &Secret> = config.secrets.iter().chain(&settings.secrets).collect();
    environment.retain(|name, _| !secrets.contains_key(name));
    if environment.remove("PORT").is_some() || secrets.contains_key(&"PORT".to_owned()) {
        return Err(Failure::invalid(format!(
            "Cloud Run sets the variable PORT itself: take it out of `env`, and set `port` (now {port})"
        )));
    }
    // What the local cloud tells a program too, so that the same program needs no other configuration here.
    environment.entry("HOST".to_owned()).or_insert_with(|| "0.0.0.0".to_owned());
    let mut variables: Vec<Value> =
        environment.iter().map(|(name, value)| json!({"name": name, "value": filled(value)})).collect();
    variables.extend(secrets.into_iter().map(|(name, of)| {
        json!({"name": name, "valueSource": {"secretKeyRef": {"secret": of.secret, "version": of.version}}})
    }));

    let memory = match workload.memory_limit {
        Some(bytes) => format!("{}Mi", bytes.div_ceil(1024 * 1024)),
        None => settings.memory.as_ref().unwrap_or(&config.memory).clone(),
    };
    let cpu = settings.cpu.as_ref().unwrap_or(&config.cpu);
    let mut container = json!({
        "image": image(workload, config.image_tags)?,
        "env": variables,
        "ports": [{"name": config.protocol.word(), "containerPort": port}],
        "resources": {
            "limits": {"cpu": cpu, "memory": memory},
            "cpuIdle": config.billing == Billing::Request,
            "startupCpuBoost": config.startup_boost == StartupBoost::Enabled,
        },
        "startupProbe": startup_probe(config, workload, port),
    });
    for (name, words) in [("command", &settings.command), ("args", &settings.args)] {
        if !words.is_empty() {
            set(&mut container, name, words.iter().map(filled).collect());
        }
    }
    if let Some(folder) = &workload.working_folder {
        set(&mut container, "workingDir", folder.clone().into());
    }
    Ok(container)
}

/// An instance gets no request before this has succeeded.
fn startup_probe(config: &Config, workload: &Workload, port: u16) -> Value {
    // A probe is due each second, so that a program that is quick is not waited for; Cloud Run takes 240 s at the most.
    let seconds = config.start_timeout.0.as_secs().clamp(1, 240);
    let mut probe = json!({"timeoutSeconds": 1, "periodSeconds": 1, "failureThreshold": seconds});
    match &workload.ready {
        Readiness::Http(path) if config.protocol == Protocol::Http1 => {
            set(&mut probe, "httpGet", json!({"path": path, "port": port}));
        }
        // Cloud Run's own checks speak HTTP/1.
        _ => set(&mut probe, "tcpSocket", json!({"port": port})),
    }
    probe
}

/// The image, which is named by its digest unless tags are allowed.
fn image(workload: &Workload, tags: ImageTags) -> Result<&str, Failure> {
    let Some(image) = workload.image.as_deref() else {
        return Err(Failure::invalid(
            "Cloud Run runs container images: give the service an `image` (`command: null` in an override takes the \
             command away; what the image runs can be changed by `settings.command` and `settings.args`)",
        ));
    };
    if tags == ImageTags::Refuse && !image.contains("@sha256:") {
        return Err(Failure::invalid(format!(
            "the image `{image}` is named by a tag, and what is behind a tag changes under the same revision: write \
             `NAME@sha256:…`, or `imageTags: allow` in the provider's configuration"
        )));
    }
    Ok(image)
}

fn vpc_access(vpc: &Vpc) -> Value {
    let mut access = json!({"egress": vpc.egress.word()});
    if let Some(connector) = &vpc.connector {
        set(&mut access, "connector", connector.clone().into());
        return access;
    }
    let mut interface = json!({});
    for (name, value) in [("network", &vpc.network), ("subnetwork", &vpc.subnetwork)] {
        if let Some(value) = value {
            set(&mut interface, name, value.clone().into());
        }
    }
    if !vpc.tags.is_empty() {
        set(&mut interface, "tags", json!(vpc.tags));
    }
    set(&mut access, "networkInterfaces", json!([interface]));
    access
}

fn without_environment(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(container) = template.pointer_mut("/containers/0").and_then(Value::as_object_mut) {
        container.remove("env");
    }
    template
}

/// Names with values; a secret counts by its reference.
fn environment(template: &Value) -> Vec<(String, String)> {
    let pair = |pair: &Value| {
        let value = match pair.get("valueSource") {
            Some(source) => source.to_string(),
            None => pair.get("value").and_then(Value::as_str).unwrap_or_default().to_owned(),
        };
        Some((pair.get("name")?.as_str()?.to_owned(), value))
    };
    let list = template.pointer("/containers/0/env").and_then(Value::as_array);
    let mut all: Vec<_> = list.into_iter().flatten().filter_map(pair).collect();
    all.sort();
    all
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}
