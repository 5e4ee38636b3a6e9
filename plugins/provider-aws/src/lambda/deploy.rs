//! Making a version of a revision: function, configuration, code, and then what is published of it. Lambda does one
//! change at a time, so each step waits until the one before it has ended.

use std::collections::BTreeMap;

use basb_cloud_kit::{Differences, Owner, Waiting, decode_state, digest};
use basb_plugin::Failure;
use basb_plugin::provider::{Desired, Outcome, Progress};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{DIGEST, Functions, MARK, REVISION_VARIABLE, digest_of};
use crate::api::lambda::{Function, FunctionConfiguration};
use crate::config::ImageTags;
use crate::{names, task};

/// What a service may say in `workload.settings` for Lambda.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Settings {
    memory: Option<u32>,
    timeout_seconds: Option<u32>,
    role: Option<String>,
    runtime: Option<String>,
    handler: Option<String>,
    command: Vec<String>,
    s3: Option<S3>,
    code_sha256: Option<String>,
}

/// Where a package lies.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct S3 {
    bucket: String,
    key: String,
    version: Option<String>,
}

/// How far a deployment has come, as far as Lambda cannot tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Step {
    /// The function's code is not known to be this revision's.
    Code,
    /// It is sent anew, since what was sent last failed before this call; the configuration has to be sent anew as well.
    Anew,
    /// It is: what is left is the configuration, and publishing.
    Rest,
    /// Lambda found nothing new to publish, and its description was changed so that there is.
    Touched,
}

/// What a function should be.
pub struct Wanted {
    configuration: Map<String, Value>,
    environment: BTreeMap<String, String>,
    code: Map<String, Value>,
    image: Option<String>,
    sha256: Option<String>,
    architecture: &'static str,
}

impl Wanted {
    /// For a workload.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Invalid`] for what Lambda cannot run.
    pub fn of(functions: &Functions<'_>, desired: &Desired) -> Result<Wanted, Failure> {
        let workload = &desired.workload;
        if desired.replicas > 1 {
            return Err(Failure::invalid("Lambda scales by itself: leave `replicas` at 1"));
        }
        let settings: Settings = serde_json::from_str(&workload.settings)
            .map_err(|error| Failure::invalid(format!("`workload.settings` does not fit Lambda: {error}")))?;
        let lambda = functions.lambda;
        let memory = match workload.memory_limit {
            Some(bytes) => u32::try_from(bytes.div_ceil(1024 * 1024)).unwrap_or(u32::MAX),
            None => settings.memory.unwrap_or(lambda.memory),
        };
        let timeout = settings.timeout_seconds.map_or(lambda.timeout.0.as_secs(), u64::from);
        let mut environment: BTreeMap<String, String> = workload.env.iter().cloned().collect();
        environment.insert(REVISION_VARIABLE.to_owned(), desired.revision.clone());
        let mut configuration = Map::new();
        configuration.insert("Role".into(), settings.role.as_ref().unwrap_or(&lambda.role).clone().into());
        configuration.insert("MemorySize".into(), memory.into());
        configuration.insert("Timeout".into(), timeout.into());
        let mut code = Map::new();
        let image = match (&settings.s3, workload.image.is_some()) {
            (None, _) => {
                let image = task::image(workload, lambda.image_tags)?.to_owned();
                code.insert("ImageUri".into(), image.clone().into());
                // An empty one too: what the version before it ran is in force otherwise.
                configuration.insert("ImageConfig".into(), json!({"Command": settings.command}));
                Some(image)
            }
            (Some(_), true) => {
                return Err(Failure::invalid(
                    "a function's code is an `image` or a package in `settings.s3`, not both",
                ));
            }
            (Some(s3), false) => {
                // A workload has an image or a command, and what a package is started by is its handler.
                let handler = settings.handler.or_else(|| match workload.command.as_slice() {
                    [handler] => Some(handler.clone()),
                    _ => None,
                });
                let (Some(runtime), Some(handler)) = (settings.runtime, handler) else {
                    return Err(Failure::invalid(
                        "a package in `settings.s3` needs `runtime` beside it, and its handler as `command: [app.handler]`",
                    ));
                };
                if s3.version.is_none() && settings.code_sha256.is_none() && lambda.image_tags == ImageTags::Refuse {
                    return Err(Failure::invalid(
                        "what is behind a key of S3 changes under the same revision: write its `version` or `codeSha256`",
                    ));
                }
                configuration.insert("Runtime".into(), runtime.into());
                configuration.insert("Handler".into(), handler.into());
                code.insert("S3Bucket".into(), s3.bucket.clone().into());
                code.insert("S3Key".into(), s3.key.clone().into());
                if let Some(version) = &s3.version {
                    code.insert("S3ObjectVersion".into(), version.clone().into());
                }
                None
            }
        };
        let architecture = lambda.architecture.word();
        Ok(Wanted { configuration, environment, code, image, sha256: settings.code_sha256, architecture })
    }

    /// Names configuration and code in few letters. The environment is the revision's own, and no part of it: what is in it
    /// may be secret. Where this covers something else one day, [`DIGEST`] has to be another one too, or every function would
    /// be published once more.
    pub fn digest(&self) -> String {
        let all = json!([self.configuration, self.code, self.sha256, self.architecture]);
        let hex: String = digest(all.to_string().as_bytes()).chars().skip("sha256:".len()).take(12).collect();
        format!("{DIGEST}{hex}")
    }

    /// Whether a version was published with this configuration and code. One without a digest is of an older basb-host: it
    /// was right when it was published, and nothing tells more.
    pub fn is_of(&self, version: &FunctionConfiguration) -> bool {
        digest_of(version).is_none_or(|digest| digest == self.digest())
    }

    /// What differs from a version that was published with another configuration, as far as the version tells.
    pub fn differences_of_version(&self, version: &FunctionConfiguration) -> Differences {
        let mut differences = self.configured(Some(version));
        if differences.is_empty() {
            // Such as what the code was sent from, which no version tells.
            let before = digest_of(version).map(str::to_owned);
            differences.value("function.configurationAndCode", before, Some(self.digest()));
        }
        differences
    }

    fn configured(&self, now: Option<&FunctionConfiguration>) -> Differences {
        let mut differences = Differences::new();
        for (name, value) in &self.configuration {
            let before = now.map(|now| current(now, name));
            differences.json(&format!("function.{name}"), before.as_ref(), value);
        }
        let before = now.map(|now| now.architectures.join(", "));
        differences.value("function.architecture", before, Some(self.architecture.to_owned()));
        differences
    }

    /// Every value that differs from what is there.
    pub fn differences(&self, there: Option<&Function>) -> Differences {
        let now = there.map(|function| &function.configuration);
        let mut differences = self.configured(now);
        if let Some(image) = &self.image {
            let before = there.and_then(|function| function.code.image_uri.clone());
            let now = if is_fixed(image) { image.clone() } else { format!("{image}, as it is by then") };
            differences.value("function.image", before, Some(now));
        }
        if let Some(sha256) = &self.sha256 {
            differences.value("function.codeSha256", now.map(|now| now.code_sha256.clone()), Some(sha256.clone()));
        }
        let pairs = |all: &BTreeMap<String, String>| all.clone().into_iter().collect::<Vec<_>>();
        let before = now.and_then(|now| now.environment.as_ref()).map(|of| pairs(&of.variables)).unwrap_or_default();
        differences.environment("function.env", &before, &pairs(&self.environment));
        differences
    }

    fn is_configured(&self, now: &FunctionConfiguration) -> bool {
        let environment = now.environment.as_ref().map(|of| of.variables.clone()).unwrap_or_default();
        let mut differences = Differences::new();
        for (name, value) in &self.configuration {
            differences.json(name, Some(&current(now, name)), value);
        }
        differences.is_empty() && environment == self.environment
    }

    /// Whether the code is this revision's; `None` where Lambda cannot tell.
    fn has_code(&self, there: &Function) -> Option<bool> {
        // An image may have code for more than one, of which Lambda has taken that of this one.
        let now = &there.configuration.architectures;
        if !now.is_empty() && *now != [self.architecture] {
            return Some(false);
        }
        match (&self.image, &self.sha256) {
            (Some(image), _) if there.code.image_uri.as_ref() != Some(image) => Some(false),
            // The same tag may have another image behind it by now; Lambda keeps the one of the last time it was sent.
            (Some(image), _) => is_fixed(image).then_some(true),
            (None, Some(sha256)) => Some(there.configuration.code_sha256 == *sha256),
            (None, None) => None,
        }
    }

    fn create_body(&self, functions: &Functions<'_>) -> Value {
        let mut body = self.configuration.clone();
        body.insert("FunctionName".into(), functions.place.function.clone().into());
        body.insert("Code".into(), Value::Object(self.code.clone()));
        body.insert("PackageType".into(), if self.image.is_some() { "Image" } else { "Zip" }.into());
        body.insert("Architectures".into(), json!([self.architecture]));
        body.insert("Environment".into(), json!({"Variables": self.environment}));
        let tags: Map<String, Value> = Owner::of_service(functions.service)
            .tags(names::TAGS)
            .into_iter()
            .map(|(key, value)| (key, value.into()))
            .collect();
        body.insert("Tags".into(), Value::Object(tags));
        Value::Object(body)
    }
}

/// Whether an image's name always leads to the same image.
fn is_fixed(image: &str) -> bool {
    image.contains("@sha256:")
}

/// A value of a configuration by its name in requests.
fn current(now: &FunctionConfiguration, name: &str) -> Value {
    match name {
        "Role" => json!(now.role),
        "MemorySize" => json!(now.memory_size),
        "Timeout" => json!(now.timeout),
        "Runtime" => json!(now.runtime),
        "Handler" => json!(now.handler),
        "ImageConfig" => {
            let command =
                now.image_config_response.as_ref().and_then(|of| of.image_config.as_ref()).map(|of| of.command.clone());
            json!({"Command": command.unwrap_or_default()})
        }
        _ => Value::Null,
    }
}

/// Deploys.
///
/// # Errors
/// What AWS says, or what cannot be made.
pub fn deploy(functions: &Functions<'_>, desired: &Desired, state: Option<&str>) -> Result<Progress, Failure> {
    let wanted = Wanted::of(functions, desired)?;
    let there = functions.versions()?.remove(&desired.revision);
    if let Some(version) = there.map(|of| of.newest).filter(|version| wanted.is_of(version)) {
        return Ok(published(functions, desired, &version));
    }
    let now = functions.api.client().cx().now();
    let waiting = decode_state(state)?.unwrap_or_else(|| Waiting::begin(Step::Code, now));
    let again = |step: Step, note: &str| {
        let waiting = Waiting { what: step, ..waiting.clone() };
        Ok(waiting.again(
            functions.api.client().jitter(),
            None,
            format!("function {}: {note}", functions.place.function),
        ))
    };
    let Some(function) = functions.api.function()? else {
        functions.api.create(&wanted.create_body(functions)).map_err(Failure::from)?;
        return again(Step::Rest, "it is being made");
    };
    let there = &function.configuration;
    if let Some(progress) = unsettled(there)? {
        return again(waiting.what, progress);
    }
    let lock = there.revision_id.clone();
    let locked = |mut body: Map<String, Value>| {
        if let Some(lock) = &lock {
            body.insert("RevisionId".into(), lock.clone().into());
        }
        Value::Object(body)
    };
    // Of a change that failed Lambda may show what was asked for, and run what was there before. So nothing of it is
    // published: where this call has sent it, that is the end; where it failed before, all of it is sent anew.
    let failed = there.last_update_status.as_deref() == Some("Failed");
    if failed && waiting.what != Step::Code {
        return Err(update_failed(functions, there));
    }
    let anew = failed || waiting.what == Step::Anew;
    let has_code = !failed && wanted.has_code(&function).unwrap_or(waiting.what != Step::Code);
    if !has_code {
        let mut body = wanted.code.clone();
        body.insert("Architectures".into(), json!([wanted.architecture]));
        functions.api.update_code(&locked(body)).map_err(Failure::from)?;
        return again(if anew { Step::Anew } else { Step::Rest }, "its code is being changed");
    }
    if anew || !wanted.is_configured(there) {
        let mut body = wanted.configuration.clone();
        body.insert("Environment".into(), json!({"Variables": wanted.environment}));
        functions.api.update_configuration(&locked(body)).map_err(Failure::from)?;
        return again(Step::Rest, "its configuration is being changed");
    }
    let mut body = Map::new();
    let mark = format!("{MARK}{} {}", desired.revision, wanted.digest());
    body.insert("Description".into(), mark.clone().into());
    if !there.code_sha256.is_empty() {
        body.insert("CodeSha256".into(), there.code_sha256.clone().into());
    }
    let version = functions.api.publish(&locked(body)).map_err(Failure::from)?;
    if version.description == mark {
        return Ok(published(functions, desired, &version));
    }
    // This revision was a version before, was retired, and comes back: to Lambda nothing has changed since.
    if waiting.what == Step::Touched {
        return Err(Failure::conflict(format!(
            "Lambda published nothing new: version {} is the same and is described as `{}`",
            version.version, version.description
        )));
    }
    let touch = json!({"Description": format!("{mark}, once more at {}", now.as_millis())});
    functions.api.update_configuration(&touch).map_err(Failure::from)?;
    again(Step::Touched, "it is changed, so that it can be published once more")
}

fn published(functions: &Functions<'_>, desired: &Desired, version: &FunctionConfiguration) -> Progress {
    let summary =
        format!("revision {} as version {} of {}", desired.revision, version.version, functions.place.function);
    let outcome = Outcome { summary, outputs: Vec::new() }.output("version", version.version.clone());
    Progress::Done(match functions.written.url() {
        Some(url) => outcome.output("url", url),
        None => outcome,
    })
}

/// What the function is still busy with; nothing where it takes the next change.
fn unsettled(there: &FunctionConfiguration) -> Result<Option<&'static str>, Failure> {
    match (there.state.as_deref(), there.last_update_status.as_deref()) {
        (Some("Pending"), _) => Ok(Some("it is being made")),
        (Some("Failed"), _) => {
            let why = why(there.state_reason.as_ref(), there.state_reason_code.as_ref());
            Err(Failure::unhealthy(format!("the function cannot be made: {why}")))
        }
        (_, Some("InProgress")) => Ok(Some("it is being changed")),
        (_, _) => Ok(None),
    }
}

/// The failure for a change that Lambda took and could not carry out.
fn update_failed(functions: &Functions<'_>, there: &FunctionConfiguration) -> Failure {
    let why = why(there.last_update_status_reason.as_ref(), there.last_update_status_reason_code.as_ref());
    Failure::unhealthy(format!(
        "function {}: its last change failed (LastUpdateStatus Failed): {why}; nothing was published: mend what Lambda \
         names, such as the image or the role, and run again, which sends the change anew",
        functions.place.function
    ))
}

/// Lambda's reason and its code for it.
fn why(reason: Option<&String>, code: Option<&String>) -> String {
    let reason = reason.map_or("Lambda does not say why", String::as_str);
    code.map_or_else(|| reason.to_owned(), |code| format!("{reason} ({code})"))
}
