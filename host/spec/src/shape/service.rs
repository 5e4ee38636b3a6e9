//! Services as they are written.

use super::people::QuorumFile;
use crate::read::{
    Address, At, Bytes, Count, Dict, List, Name, NonEmpty, Object, OrNever, Place, Reader, Shape, Text, record,
};
use crate::tree::{Kind, Node, shorten};
use basb_core::{Millis, PluginName, ServiceName};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};
use std::borrow::Cow;

record! {
    /// A service and how it is released.
    ServiceFile {
        /// What runs: either `command` or `image`.
        "workload" workload: required WorkloadFile;
        /// How many instances it has in full.
        "replicas" replicas: default Count<1> = 1;
        /// Where users reach it, as `host:port`.
        "listen" listen: optional Address;
        /// The services that must be done before this one starts.
        "dependsOn" depends_on: optional List<ServiceName>;
        /// The name of its strategy under `strategies`.
        "strategy" strategy: required PluginName;
        /// Probes that must pass before anything is changed; measured at the stable revision, if there is one.
        "readiness" readiness: optional List<PluginName>;
        /// Probes that must pass after the rollout, measured at the service's address.
        "verify" verify: optional List<PluginName>;
        /// What must hold for a while after that.
        "bake" bake: optional BakeFile;
        /// Who must agree at each gate of its rollout; without it anybody may promote.
        "gates" gates: optional QuorumFile;
        /// No progress for so long aborts the rollout; paused time does not count.
        "progressDeadline" progress_deadline: default Millis = "10m";
        /// How long the old revision is kept after success.
        "scaleDownDelay" scale_down_delay: default Millis = "30s";
        /// How long the candidate is kept after an abort; `never` keeps it for good.
        "abortScaleDownDelay" abort_scale_down_delay: default OrNever<Millis> = "30s";
    }
}

record! {
    /// What runs: either `command` or `image`.
    WorkloadFile {
        /// Program and arguments. `{port}` stands for the port that the instance must listen on. A program with a `/` in
        /// its name is relative to this file.
        "command" command: optional NonEmpty<Text>;
        /// The container image.
        "image" image: optional Text;
        /// The folder that the program starts in, relative to this file.
        "workingFolder" working_folder: optional Text;
        /// Environment variables.
        "env" env: optional Dict<EnvName, Text>;
        /// How to tell that an instance can take traffic: `tcp` for an accepted connection, `none` for a process that
        /// lives, or `http: /path` for an answer of 2xx or 3xx. By default `tcp` for a service that listens, else `none`.
        "ready" ready: optional ReadyFile;
        /// How long an instance must be ready before it counts as available.
        "minReady" min_ready: default Millis = "10s";
        /// How long an instance has to end after being asked to.
        "stopGrace" stop_grace: default Millis = "5s";
        /// The most memory that an instance may use, such as `256MiB`.
        "memoryLimit" memory_limit: optional Bytes;
        /// Settings of the provider.
        "settings" settings: optional Object;
    }
}

record! {
    /// What must hold for a while after a rollout.
    BakeFile {
        /// For how long.
        "duration" duration: required Millis;
        /// The analyses that run meanwhile, by their names under `analyses`.
        "analyses" analyses: required NonEmpty<PluginName>;
    }
}

record! {
    /// A GET of a path is answered with 2xx or 3xx.
    ReadyHttp {
        /// The path, from `/`.
        "http" http: required Text;
    }
}

/// How to tell that an instance can take traffic.
#[derive(Debug, Clone)]
pub(crate) enum ReadyFile {
    None,
    Tcp,
    Http(String),
}

impl Shape for ReadyFile {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        let expected = "`tcp`, `none` or `http: /path`";
        match &node.kind {
            Kind::Text(text) if text == "tcp" => return Some(Self::Tcp),
            Kind::Text(text) if text == "none" => return Some(Self::None),
            Kind::Text(text) if text.starts_with('/') => {
                let help = format!("write `{{ http: {} }}`", shorten(text));
                reader.wrong_type(node, place, expected, Some(help));
            }
            Kind::Text(text) => {
                let near = crate::suggest::nearest(text, ["tcp", "none"]);
                let help = near.map(|near| format!("did you mean `{near}`?"));
                reader.wrong_type(node, place, expected, help);
            }
            Kind::Map(_) if node.get("tcp").is_some() => {
                reader.wrong_type(node, place, expected, Some("write `ready: tcp`".to_owned()));
            }
            Kind::Map(_) => {
                let At { value: path, place } = ReadyHttp::read(node, place, reader)?.http?;
                if path.0.starts_with('/') {
                    return Some(Self::Http(path.0));
                }
                let message = format!("`{}` is not a path", shorten(&path.0));
                let help = format!("write `/{}`", shorten(path.0.trim_start_matches("./")));
                reader.problem_with_help(&place, "spec/bad-path", message, help);
            }
            _ => reader.wrong_type(node, place, expected, None),
        }
        None
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let http = <ReadyHttp as Shape>::schema(generator);
        json_schema!({ "anyOf": [{ "enum": ["tcp", "none"] }, http] })
    }
}

/// The name of an environment variable of a process.
#[derive(Debug, Clone)]
pub(crate) struct EnvName;

impl Name for EnvName {
    fn check(name: &str) -> Result<Self, String> {
        if name.is_empty() || name.contains(['=', '\0']) {
            Err(format!("`{}` cannot be the name of an environment variable", shorten(name)))
        } else {
            Ok(Self)
        }
    }
    const PATTERN: &'static str = "^[^=\\u0000]+$";
}

/// What differs in an environment. What is read here is only that it is a map: merged into the services it is read as
/// a part of them.
#[derive(Debug, Clone)]
pub(crate) struct ServiceOverrides;

impl Shape for ServiceOverrides {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        reader.is_map(node, place).then_some(Self)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<ServiceOverride>();
        json_schema!({ "type": "object", "additionalProperties": one })
    }
}

struct ServiceOverride;

impl JsonSchema for ServiceOverride {
    fn schema_name() -> Cow<'static, str> {
        "ServiceOverride".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let workload = generator.subschema_for::<WorkloadOverride>();
        let mut schema = partial(ServiceFile::json_schema(generator), "What differs in a service.");
        if let Some(slot) = schema.pointer_mut("/properties/workload/anyOf/0") {
            *slot = workload.to_value();
        }
        schema
    }
}

struct WorkloadOverride;

impl JsonSchema for WorkloadOverride {
    fn schema_name() -> Cow<'static, str> {
        "WorkloadOverride".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        partial(WorkloadFile::json_schema(generator), "What differs in a workload.")
    }
}

/// The same keys, but none that must be there, without defaults, and with null to remove one.
fn partial(mut schema: Schema, about: &str) -> Schema {
    schema.remove("required");
    schema.insert("description".to_owned(), Value::from(about));
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for property in properties.values_mut() {
            let mut inner = property.take();
            let about = inner.as_object_mut().and_then(|inner| {
                inner.shift_remove("default");
                inner.shift_remove("description")
            });
            *property = json!({ "anyOf": [inner, { "type": "null" }], "description": about });
        }
    }
    schema
}
