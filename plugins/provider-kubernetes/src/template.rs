//! What runs, in Kubernetes' words: the Deployment of a revision, and the Service that leads to it alone.

use std::collections::BTreeMap;

use basb_cloud_kit::Owner;
use basb_plugin::Failure;
use basb_plugin::provider::{Desired, Readiness, Workload};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::Kind;
use crate::cluster::Cluster;
use crate::config::{Drain, ImageTags, Resources, Security, Toleration};
use crate::names;

/// What a service may say in `workload.settings`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    pub command: Vec<String>,
    pub entry_point: Vec<String>,
    pub port: Option<u16>,
    pub resources: Resources,
    pub user: Option<u32>,
    pub group: Option<u32>,
    pub read_only_root: Option<ReadOnlyRoot>,
    pub scratch: Vec<String>,
    pub secrets: Vec<String>,
    pub config_maps: Vec<String>,
    pub service_account: Option<String>,
    pub image_pull_secrets: Vec<String>,
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub annotations: BTreeMap<String, String>,
    pub security: Option<Security>,
    pub grace: Option<u32>,
    pub drain: Option<Drain>,
}

impl Settings {
    /// How long a pod serves on, where it does.
    fn drain<'a>(&'a self, cluster: &'a Cluster<'_>) -> Option<&'a Drain> {
        self.drain.as_ref().or(cluster.config.pods.drain.as_ref()).filter(|drain| drain.seconds > 0)
    }
}

/// Whether the root file system of a container can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadOnlyRoot {
    ReadOnly,
    Writable,
}

/// The settings of a workload.
///
/// # Errors
/// [`basb_plugin::FailureCode::Invalid`] for keys that there are not.
pub fn settings(workload: &Workload) -> Result<Settings, Failure> {
    let settings: Settings = serde_json::from_str(&workload.settings)
        .map_err(|error| Failure::invalid(format!("`workload.settings` does not fit Kubernetes: {error}")))?;
    if let Some(path) = settings.scratch.iter().find(|path| !path.starts_with('/')) {
        return Err(Failure::invalid(format!("`{path}` is not a path in a container: begin it with `/`"))
            .at("/settings/scratch"));
    }
    Ok(settings)
}

/// The image, which is named by its digest unless tags are allowed.
fn image(workload: &Workload, tags: ImageTags) -> Result<&str, Failure> {
    let Some(image) = workload.image.as_deref() else {
        return Err(Failure::invalid(
            "Kubernetes runs container images: give the service an `image` (`command: null` in an override takes the command \
             away; what the image runs can be changed by `settings.command`)",
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

/// The Deployment of a revision.
///
/// # Errors
/// [`basb_plugin::FailureCode::Invalid`] for what Kubernetes cannot run.
pub fn deployment(cluster: &Cluster<'_>, desired: &Desired, replicas: u32) -> Result<Value, Failure> {
    let workload = &desired.workload;
    let settings = settings(workload)?;
    let config = cluster.config;
    let pods = &config.pods;
    let owner = Owner::of_revision(&desired.service, &desired.revision);
    let security = settings.security.or(pods.security).unwrap_or_default();

    // What a pod does before it is asked to end counts as a part of its end.
    let grace = settings.grace.map_or(whole_seconds(workload.stop_grace).max(1), u64::from);
    let drain = settings.drain(cluster).map_or(0, |drain| u64::from(drain.seconds));
    let mut pod = json!({
        "containers": [container(cluster, desired, &settings, security)?],
        // A program that needs the API server's ear says so by its service account.
        "automountServiceAccountToken": settings.service_account.is_some() || pods.service_account.is_some(),
        "terminationGracePeriodSeconds": grace.saturating_add(drain),
    });
    if security == Security::Restricted {
        set(&mut pod, "securityContext", json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}));
    }
    if let Some(account) = settings.service_account.as_ref().or(pods.service_account.as_ref()) {
        set(&mut pod, "serviceAccountName", json!(account));
    }
    let secrets: Vec<Value> =
        pods.image_pull_secrets.iter().chain(&settings.image_pull_secrets).map(|name| json!({"name": name})).collect();
    if !secrets.is_empty() {
        set(&mut pod, "imagePullSecrets", json!(secrets));
    }
    let selector = merged(&pods.node_selector, &settings.node_selector);
    if !selector.is_empty() {
        set(&mut pod, "nodeSelector", json!(selector));
    }
    let tolerations: Vec<&Toleration> = pods.tolerations.iter().chain(&settings.tolerations).collect();
    if !tolerations.is_empty() {
        set(&mut pod, "tolerations", json!(tolerations));
    }
    if !settings.scratch.is_empty() {
        let volumes: Vec<Value> =
            (0..settings.scratch.len()).map(|at| json!({"name": format!("scratch-{at}"), "emptyDir": {}})).collect();
        set(&mut pod, "volumes", json!(volumes));
    }

    let labels = names::labels(&owner);
    let mut metadata = json!({"labels": labels});
    let annotations = merged(&pods.annotations, &settings.annotations);
    if !annotations.is_empty() {
        set(&mut metadata, "annotations", json!(annotations));
    }
    let mut whole = cluster.head(Kind::Deployment, &names::of_revision(&desired.service, &desired.revision), labels);
    let spec = json!({
        "replicas": replicas,
        "minReadySeconds": whole_seconds(workload.min_ready),
        "progressDeadlineSeconds": whole_seconds(config.progress_deadline.0).max(whole_seconds(workload.min_ready) + 1),
        // A revision never changes: there is nothing in a Deployment to go back to.
        "revisionHistoryLimit": 0,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
        "selector": {"matchLabels": names::selector(&desired.service, Some(&desired.revision))},
        "template": {"metadata": metadata, "spec": pod},
    });
    set(&mut whole, "spec", spec);
    Ok(whole)
}

fn container(
    cluster: &Cluster<'_>,
    desired: &Desired,
    settings: &Settings,
    security: Security,
) -> Result<Value, Failure> {
    let workload = &desired.workload;
    let port = settings.port.unwrap_or(cluster.config.port);
    let filled = |text: &String| text.replace("{port}", &port.to_string());
    let mut environment: Vec<(String, String)> =
        workload.env.iter().map(|(name, value)| (name.clone(), escaped(&filled(value)))).collect();
    // What the local cloud tells a program too, so that the same program needs no other configuration here.
    for (name, value) in [("HOST", "0.0.0.0".to_owned()), ("PORT", port.to_string())] {
        if !environment.iter().any(|(known, _)| known == name) {
            environment.push((name.into(), value));
        }
    }
    environment.sort();
    let pairs: Vec<Value> = environment.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();

    let mut container = json!({
        "name": desired.service.service,
        "image": image(workload, cluster.config.image_tags)?,
        "env": pairs,
        "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}],
    });
    for (name, words) in [("command", &settings.entry_point), ("args", &settings.command)] {
        let words: Vec<String> = words.iter().map(|word| escaped(&filled(word))).collect();
        if !words.is_empty() {
            set(&mut container, name, json!(words));
        }
    }
    if let Some(folder) = &workload.working_folder {
        set(&mut container, "workingDir", json!(folder));
    }
    let from = |kind: &str, names: &[String]| -> Vec<Value> {
        names.iter().map(|name| json!({kind: {"name": name}})).collect()
    };
    let mut sources = from("secretRef", &settings.secrets);
    sources.extend(from("configMapRef", &settings.config_maps));
    if !sources.is_empty() {
        set(&mut container, "envFrom", json!(sources));
    }
    let probe = match &workload.ready {
        Readiness::None => None,
        Readiness::Tcp => Some(json!({"tcpSocket": {"port": "http"}})),
        Readiness::Http(path) => Some(json!({"httpGet": {"path": path, "port": "http", "scheme": "HTTP"}})),
    };
    if let Some(mut probe) = probe {
        for (name, number) in
            [("periodSeconds", 2), ("timeoutSeconds", 2), ("successThreshold", 1), ("failureThreshold", 3)]
        {
            set(&mut probe, name, number.into());
        }
        set(&mut container, "readinessProbe", probe);
    }
    if let Some(drain) = settings.drain(cluster) {
        let hook = match drain.command.as_slice() {
            [] => json!({"sleep": {"seconds": drain.seconds}}),
            words => json!({"exec": {"command": words}}),
        };
        set(&mut container, "lifecycle", json!({"preStop": hook}));
    }
    let resources = resources(&cluster.config.pods.resources, &settings.resources, workload.memory_limit);
    if !resources.is_empty() {
        set(&mut container, "resources", Value::Object(resources));
    }
    let context = security_context(settings, security);
    if !context.is_empty() {
        set(&mut container, "securityContext", Value::Object(context));
    }
    if !settings.scratch.is_empty() {
        let mounts: Vec<Value> = settings
            .scratch
            .iter()
            .enumerate()
            .map(|(at, path)| json!({"name": format!("scratch-{at}"), "mountPath": path}))
            .collect();
        set(&mut container, "volumeMounts", json!(mounts));
    }
    Ok(container)
}

fn resources(all: &Resources, own: &Resources, memory_limit: Option<u64>) -> Map<String, Value> {
    let requests = merged(&all.requests, &own.requests);
    let mut limits = merged(&all.limits, &own.limits);
    limits.extend(memory_limit.map(|bytes| ("memory".to_owned(), bytes.to_string())));
    let mut resources = Map::new();
    for (name, amounts) in [("requests", requests), ("limits", limits)] {
        if !amounts.is_empty() {
            resources.insert(name.to_owned(), json!(amounts));
        }
    }
    resources
}

fn security_context(settings: &Settings, security: Security) -> Map<String, Value> {
    let mut context = Map::new();
    if security == Security::Restricted {
        context.insert("allowPrivilegeEscalation".into(), json!(false));
        context.insert("capabilities".into(), json!({"drop": ["ALL"]}));
    }
    for (name, id) in [("runAsUser", settings.user), ("runAsGroup", settings.group)] {
        context.extend(id.map(|id| (name.to_owned(), json!(id))));
    }
    context.extend(
        settings
            .read_only_root
            .map(|root| ("readOnlyRootFilesystem".to_owned(), json!(root == ReadOnlyRoot::ReadOnly))),
    );
    context
}

/// The Service that leads to a revision alone: what a route's weights are about, and where a preview leads.
pub fn revision_service(cluster: &Cluster<'_>, revision: &str) -> Value {
    let owner = Owner::of_revision(cluster.service, revision);
    let name = names::of_revision(cluster.service, revision);
    let mut whole = cluster.head(Kind::Service, &name, names::labels(&owner));
    set(&mut whole, "spec", service_spec(cluster, json!(names::selector(cluster.service, Some(revision)))));
    whole
}

/// The Service that users reach, which leads there.
pub fn users_service(
    cluster: &Cluster<'_>,
    selector: &BTreeMap<String, String>,
    annotations: &Map<String, Value>,
) -> Value {
    let owner = Owner::of_service(cluster.service);
    let mut whole = cluster.head(Kind::Service, &names::of_service(cluster.service), names::labels(&owner));
    if !annotations.is_empty() {
        set_at(&mut whole, "metadata", "annotations", Value::Object(annotations.clone()));
    }
    set(&mut whole, "spec", service_spec(cluster, json!(selector)));
    whole
}

/// What a Service of ours is: the port that it listens on leads to the container's port of the name `http`.
fn service_spec(cluster: &Cluster<'_>, selector: Value) -> Value {
    json!({
        "type": "ClusterIP",
        "selector": selector,
        "ports": [{"name": "http", "port": cluster.config.service_port, "targetPort": "http", "protocol": "TCP"}],
    })
}

/// Whole seconds, rounded up.
fn whole_seconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX)
}

/// Kubernetes replaces `$(NAME)` in `env` and `args`, and reads `$$` as `$`; the deployment file means its text as it is
/// written.
fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}

/// Both, the second one's values first.
fn merged(all: &BTreeMap<String, String>, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut merged = all.clone();
    merged.extend(own.clone());
    merged
}

/// Sets a field of an object.
pub fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

/// Sets a field of an object in an object, which is made where it is missing.
pub fn set_at(object: &mut Value, outer: &str, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        set(fields.entry(outer).or_insert_with(|| json!({})), name, value);
    }
}
