//! Task definitions: what runs, in ECS's words.

use basb_cloud_kit::{Owner, digest};
use basb_plugin::Failure;
use basb_plugin::provider::{Desired, Workload};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::ecs::{EcsTag, TaskDefinition};
use crate::config::{Config, Ecs, ImageTags, LaunchType, NetworkMode};
use crate::names;

/// The tag that holds the digest of what was registered: answers of AWS have fields and orders of their own.
const DIGEST_TAG: &str = "basb-host:digest";

/// What a service may say in `workload.settings` for ECS.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    pub cpu: Option<u32>,
    pub memory: Option<u32>,
    pub port: Option<u16>,
    pub task_role: Option<String>,
    pub execution_role: Option<String>,
    pub command: Vec<String>,
    pub entry_point: Vec<String>,
    pub user: Option<String>,
    pub read_only_root: Option<bool>,
    pub architecture: Option<String>,
}

/// The settings of a workload.
///
/// # Errors
/// [`basb_plugin::FailureCode::Invalid`] for keys that ECS does not have.
pub fn settings(workload: &Workload) -> Result<Settings, Failure> {
    serde_json::from_str(&workload.settings)
        .map_err(|error| Failure::invalid(format!("`workload.settings` does not fit ECS: {error}")))
}

/// The port that a container listens on.
///
/// # Errors
/// As [`settings`].
pub fn port(ecs: &Ecs, workload: &Workload) -> Result<u16, Failure> {
    Ok(settings(workload)?.port.unwrap_or(ecs.port))
}

/// The image, which is named by its digest unless tags are allowed.
///
/// # Errors
/// [`basb_plugin::FailureCode::Invalid`] where there is none, or one that may change under its name.
pub fn image(workload: &Workload, tags: ImageTags) -> Result<&str, Failure> {
    let Some(image) = workload.image.as_deref() else {
        return Err(Failure::invalid(
            "AWS runs container images: give the service an `image` (`command: null` in an override takes the command \
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

/// What has to be registered, and its digest in a tag.
///
/// # Errors
/// [`basb_plugin::FailureCode::Invalid`] for what ECS cannot run.
pub fn definition(config: &Config, ecs: &Ecs, desired: &Desired) -> Result<Value, Failure> {
    let workload = &desired.workload;
    let settings = settings(workload)?;
    let port = settings.port.unwrap_or(ecs.port);
    let filled = |text: &String| text.replace("{port}", &port.to_string());
    let mut environment: Vec<(String, String)> =
        workload.env.iter().map(|(name, value)| (name.clone(), filled(value))).collect();
    // What the local cloud tells a program too, so that the same program needs no other configuration here.
    for (name, value) in [("HOST", "0.0.0.0".to_owned()), ("PORT", port.to_string())] {
        if !environment.iter().any(|(known, _)| known == name) {
            environment.push((name.into(), value));
        }
    }
    environment.sort();
    let pairs: Vec<Value> = environment.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();

    let mut ports = json!({"containerPort": port, "protocol": "tcp"});
    if ecs.network_mode != NetworkMode::Bridge {
        set(&mut ports, "hostPort", port.into());
    }
    let mut container = json!({
        "name": desired.service.service,
        "image": image(workload, ecs.image_tags)?,
        "essential": true,
        "environment": pairs,
        "portMappings": [ports],
        "stopTimeout": workload.stop_grace.as_secs().clamp(2, 120),
    });
    for (name, words) in [("entryPoint", &settings.entry_point), ("command", &settings.command)] {
        let words: Vec<String> = words.iter().map(filled).collect();
        if !words.is_empty() {
            set(&mut container, name, json!(words));
        }
    }
    for (name, text) in [("workingDirectory", &workload.working_folder), ("user", &settings.user)] {
        if let Some(text) = text {
            set(&mut container, name, json!(text));
        }
    }
    if let Some(read_only) = settings.read_only_root {
        set(&mut container, "readonlyRootFilesystem", json!(read_only));
    }
    let memory = settings.memory.unwrap_or(ecs.memory);
    if let Some(bytes) = workload.memory_limit {
        let limit = bytes.div_ceil(1024 * 1024).max(6);
        if limit > u64::from(memory) {
            return Err(Failure::invalid(format!(
                "`memoryLimit` is {limit} MiB and the task has {memory} MiB: set `memory` in `workload.settings` or in `ecs`"
            )));
        }
        set(&mut container, "memory", json!(limit));
    } else if ecs.launch_type != LaunchType::Fargate {
        set(&mut container, "memory", json!(memory));
    }
    if let Some(logs) = &ecs.logs {
        let options = json!({
            "awslogs-group": logs.group,
            "awslogs-region": config.region,
            "awslogs-stream-prefix": desired.service.service,
        });
        set(&mut container, "logConfiguration", json!({"logDriver": "awslogs", "options": options}));
    }

    let mut whole = json!({
        "family": names::of_revision(&desired.service, &desired.revision),
        "networkMode": ecs.network_mode.word(),
        "requiresCompatibilities": [ecs.launch_type.word()],
        "cpu": settings.cpu.unwrap_or(ecs.cpu).to_string(),
        "memory": memory.to_string(),
        "containerDefinitions": [container],
    });
    let roles = [
        ("executionRoleArn", settings.execution_role.as_ref().or(ecs.execution_role.as_ref())),
        ("taskRoleArn", settings.task_role.as_ref().or(ecs.task_role.as_ref())),
    ];
    for (name, role) in roles {
        if let Some(role) = role {
            set(&mut whole, name, json!(role));
        }
    }
    if let Some(architecture) = &settings.architecture {
        set(&mut whole, "runtimePlatform", json!({"cpuArchitecture": architecture, "operatingSystemFamily": "LINUX"}));
    }
    let mut tags = names::ecs_tags(&Owner::of_revision(&desired.service, &desired.revision));
    tags.push(EcsTag { key: DIGEST_TAG.into(), value: digest(whole.to_string().as_bytes()) });
    set(&mut whole, "tags", json!(tags));
    Ok(whole)
}

/// Whether what is registered is what has to be. By the tag, whatever the answer looks like; where there is none, by
/// every value of it.
pub fn is_same(wanted: &Value, there: &TaskDefinition) -> bool {
    let value = |tags: &[EcsTag]| tags.iter().find(|tag| tag.key == DIGEST_TAG).map(|tag| tag.value.clone());
    let wanted_tags: Vec<EcsTag> =
        wanted.get("tags").cloned().and_then(|tags| serde_json::from_value(tags).ok()).unwrap_or_default();
    match value(&there.tags) {
        Some(digest) => value(&wanted_tags) == Some(digest),
        None => differences(wanted, Some(there)).is_empty(),
    }
}

/// Every value that differs, without the environment's values.
pub fn differences(wanted: &Value, there: Option<&TaskDefinition>) -> basb_cloud_kit::Differences {
    let mut differences = basb_cloud_kit::Differences::new();
    let before = there.map(|there| without_environment(&there.content));
    let after = without_environment(wanted);
    differences.json("taskDefinition", before.as_ref(), &after);
    let old = there.map(|there| environment(&there.content)).unwrap_or_default();
    differences.environment("taskDefinition.env", &old, &environment(wanted));
    differences
}

fn without_environment(definition: &Value) -> Value {
    let mut definition = definition.clone();
    if let Some(fields) = definition.as_object_mut() {
        fields.remove("tags");
    }
    for container in containers(&mut definition) {
        container.remove("environment");
    }
    definition
}

fn environment(definition: &Value) -> Vec<(String, String)> {
    let pair = |pair: &Value| {
        Some((
            pair.get("name")?.as_str()?.to_owned(),
            pair.get("value").and_then(Value::as_str).unwrap_or_default().to_owned(),
        ))
    };
    let list = definition.pointer("/containerDefinitions/0/environment").and_then(Value::as_array);
    let mut all: Vec<_> = list.into_iter().flatten().filter_map(pair).collect();
    all.sort();
    all
}

fn containers(definition: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let list = definition.get_mut("containerDefinitions").and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}
