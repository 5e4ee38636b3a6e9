//! What runs, in Azure's words: the template of a revision.
//!
//! A revision cannot be changed, its size included. So the name of one has a digest of all of it, and another size is
//! another revision of the app for the same revision of the service.

use std::collections::BTreeMap;

use basb_cloud_kit::{Differences, digest};
use basb_plugin::Failure;
use basb_plugin::provider::{Desired, Readiness, Workload};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::{Config, ImageTags};
use crate::names::{self, REVISION_VARIABLE, TEMPLATE_VARIABLE};

/// What a service may say in `workload.settings` for Azure.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Settings {
    cpu: Option<f64>,
    memory: Option<String>,
    command: Vec<String>,
    args: Vec<String>,
    secret_env: BTreeMap<String, String>,
}

/// A revision of an app, as it should be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its whole name.
    pub name: String,
    /// Its template, with the suffix.
    pub template: Value,
}

impl Wanted {
    /// For a workload.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Invalid`] for what Azure cannot run.
    pub fn of(config: &Config, app: &str, desired: &Desired) -> Result<Wanted, Failure> {
        let mut template = content(config, desired)?;
        let whole = digest(template.to_string().as_bytes());
        let marks = [(REVISION_VARIABLE, desired.revision.as_str()), (TEMPLATE_VARIABLE, whole.as_str())];
        if let Some(list) = template.pointer_mut("/containers/0/env").and_then(Value::as_array_mut) {
            list.extend(marks.iter().map(|(name, value)| json!({"name": name, "value": value})));
        }
        Ok(Wanted::sized(config, app, &desired.revision, &whole, template, desired.replicas))
    }

    /// The same as what is there, in another size. `None` for what others made: we do not know how to make it again.
    pub fn resized(config: &Config, app: &str, there: &Value, replicas: u32) -> Option<Wanted> {
        let revision = names::variable(there, REVISION_VARIABLE)?;
        let whole = names::variable(there, TEMPLATE_VARIABLE)?;
        Some(Wanted::sized(config, app, revision, whole, as_sent(there), replicas))
    }

    fn sized(config: &Config, app: &str, revision: &str, whole: &str, template: Value, replicas: u32) -> Wanted {
        let scale = scale(config, replicas);
        let suffix = names::suffix(revision, whole, &scale);
        let mut template = template;
        set(&mut template, "scale", scale);
        set(&mut template, "revisionSuffix", suffix.clone().into());
        Wanted { name: names::revision(app, &suffix), template }
    }

    /// Whether a revision of the same name has the same content. One that others made may not.
    pub fn is_same(&self, there: &Value) -> bool {
        let same = |name| names::variable(&self.template, name) == names::variable(there, name);
        same(REVISION_VARIABLE) && same(TEMPLATE_VARIABLE)
    }

    /// Every value that differs from a revision that is there, without the environment's values.
    pub fn differences(&self, there: Option<&Value>) -> Differences {
        let mut differences = Differences::new();
        let plain = |template: &Value| {
            let mut template = as_sent(template);
            if let Some(list) = template.get_mut("containers").and_then(Value::as_array_mut) {
                for container in list.iter_mut().filter_map(Value::as_object_mut) {
                    container.remove("env");
                }
            }
            template
        };
        differences.json("template", there.map(plain).as_ref(), &plain(&self.template));
        let before = there.map(environment).unwrap_or_default();
        differences.environment("template.env", &before, &environment(&self.template));
        differences
    }
}

fn content(config: &Config, desired: &Desired) -> Result<Value, Failure> {
    let workload = &desired.workload;
    let settings: Settings = serde_json::from_str(&workload.settings)
        .map_err(|error| Failure::invalid(format!("`workload.settings` does not fit Container Apps: {error}")))?;
    if workload.working_folder.is_some() {
        return Err(Failure::invalid(
            "Container Apps knows no working folder: it is the image's own (`workingFolder: null` in an override of the \
             environment takes it away)",
        ));
    }
    let port = config.service(&desired.service.service).target_port.unwrap_or(config.ingress.target_port);
    let filled = |text: &String| text.replace("{port}", &port.to_string());
    let mut container = json!({
        "name": desired.service.service,
        "image": image(workload, config.image_tags)?,
        "resources": resources(config, &settings, workload)?,
        "env": variables(config, &settings, workload, port)?,
    });
    for (name, words) in [("command", &settings.command), ("args", &settings.args)] {
        let words: Vec<String> = words.iter().map(filled).collect();
        if !words.is_empty() {
            set(&mut container, name, json!(words));
        }
    }
    if let Some(probe) = readiness(workload, port) {
        set(&mut container, "probes", json!([probe]));
    }
    Ok(json!({
        "containers": [container],
        "terminationGracePeriodSeconds": workload.stop_grace.as_secs().clamp(1, 600),
    }))
}

fn image(workload: &Workload, tags: ImageTags) -> Result<&str, Failure> {
    let Some(image) = workload.image.as_deref() else {
        return Err(Failure::invalid(
            "Container Apps runs container images: give the service an `image` (`command: null` in an override takes the \
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

/// Processors and memory. A limit of memory is Azure's `memory`, which comes in steps, so it is only checked against it.
fn resources(config: &Config, settings: &Settings, workload: &Workload) -> Result<Value, Failure> {
    let memory = settings.memory.as_ref().unwrap_or(&config.memory);
    let Some(gib) = memory.strip_suffix("Gi").and_then(|number| number.parse::<f64>().ok()).filter(|gib| *gib > 0.0)
    else {
        return Err(Failure::invalid(format!("`memory` is written in Gi, such as `0.5Gi`, and not `{memory}`")));
    };
    if let Some(limit) = workload.memory_limit {
        // Exact for every amount of memory that a machine has.
        let limit = f64::from(u32::try_from(limit.div_ceil(1 << 20)).unwrap_or(u32::MAX)) / 1024.0;
        if limit > gib {
            return Err(Failure::invalid(format!(
                "`memoryLimit` is {limit}Gi and the container has {memory}: set `cpu` and `memory` in \
                 `workload.settings` or in the provider's configuration"
            )));
        }
    }
    Ok(json!({"cpu": settings.cpu.unwrap_or(config.cpu), "memory": memory}))
}

fn variables(config: &Config, settings: &Settings, workload: &Workload, port: u16) -> Result<Vec<Value>, Failure> {
    let filled = |text: &String| text.replace("{port}", &port.to_string());
    let mut plain: BTreeMap<String, String> = config.env.clone();
    plain.extend(workload.env.iter().map(|(name, value)| (name.clone(), filled(value))));
    // What the local cloud tells a program too, so that the same program needs no other configuration here.
    for (name, value) in [("HOST", "0.0.0.0".to_owned()), ("PORT", port.to_string())] {
        plain.entry(name.to_owned()).or_insert(value);
    }
    for name in settings.secret_env.keys().chain([REVISION_VARIABLE, TEMPLATE_VARIABLE].map(str::to_owned).iter()) {
        if plain.contains_key(name) {
            return Err(Failure::invalid(format!("the variable {name} is written twice, or is one of basb-host's")));
        }
    }
    for (name, secret) in &settings.secret_env {
        if !config.secrets.iter().any(|known| known.name == *secret) {
            return Err(Failure::invalid(format!(
                "`secretEnv` names the secret `{secret}` for {name}, and `secrets` of the provider's configuration does not"
            )));
        }
    }
    let plain = plain.iter().map(|(name, value)| json!({"name": name, "value": value}));
    let secret = settings.secret_env.iter().map(|(name, secret)| json!({"name": name, "secretRef": secret}));
    Ok(plain.chain(secret).collect())
}

/// The probe that lets requests in. `minReady` is how long it has to pass: at most ten times, as Azure counts.
fn readiness(workload: &Workload, port: u16) -> Option<Value> {
    let wanted = workload.min_ready.as_millis().div_ceil(1_000).max(1);
    let period = wanted.div_ceil(10).clamp(1, 240);
    let times = wanted.div_ceil(period).clamp(1, 10);
    let (kind, how) = match &workload.ready {
        Readiness::None => return None,
        Readiness::Tcp => ("tcpSocket", json!({"port": port})),
        Readiness::Http(path) => ("httpGet", json!({"path": path, "port": port})),
    };
    let number = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
    let mut probe = json!({
        "type": "Readiness",
        "periodSeconds": number(period),
        "successThreshold": number(times),
        "failureThreshold": 3,
        "timeoutSeconds": 5,
    });
    set(&mut probe, kind, how);
    Some(probe)
}

/// How many replicas. Azure adds some under load, up to `max`.
fn scale(config: &Config, replicas: u32) -> Value {
    // A revision is first asked for without any; at Azure it would never become ready then.
    let least = replicas.max(config.scale.min).max(1);
    let mut scale = json!({"minReplicas": least, "maxReplicas": config.scale.max.max(least)});
    if let Some(requests) = config.scale.concurrent_requests {
        let rule = json!({"name": "http", "http": {"metadata": {"concurrentRequests": requests.to_string()}}});
        set(&mut scale, "rules", json!([rule]));
    }
    scale
}

/// A template without what Azure fills in and what is empty, so that it can be sent, and compared with what was.
fn as_sent(template: &Value) -> Value {
    const FIELDS: [&str; 6] =
        ["containers", "initContainers", "scale", "serviceBinds", "terminationGracePeriodSeconds", "volumes"];
    const OF_CONTAINER: [&str; 8] = ["args", "command", "env", "image", "name", "probes", "resources", "volumeMounts"];
    let kept = |of: &Value, fields: &[&str]| -> Map<String, Value> {
        let all = fields.iter().filter_map(|name| Some(((*name).to_owned(), of.get(name)?.clone())));
        all.filter(|(_, value)| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())).collect()
    };
    let mut whole = kept(template, &FIELDS);
    for list in ["containers", "initContainers"] {
        let containers = whole.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let mut fields = kept(container, &OF_CONTAINER);
            if let Some(resources) = fields.get_mut("resources") {
                *resources = Value::Object(kept(resources, &["cpu", "memory"]));
            }
            *container = Value::Object(fields);
        }
    }
    Value::Object(whole)
}

fn environment(template: &Value) -> Vec<(String, String)> {
    let pair = |pair: &Value| {
        let name = pair.get("name")?.as_str()?.to_owned();
        let value = pair.get("value").or_else(|| pair.get("secretRef")).and_then(Value::as_str);
        Some((name, value.unwrap_or_default().to_owned()))
    };
    let list = template.pointer("/containers/0/env").and_then(Value::as_array);
    // The digest stands for what is shown beside it.
    list.into_iter().flatten().filter_map(pair).filter(|(name, _)| name != TEMPLATE_VARIABLE).collect()
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}
