//! The file beside a plugin that says how it is certified: `conformance.yaml`, version 1.

use crate::KitError;
use crate::counterpart::Recording;
use crate::fault::Fault;
use crate::script::form::Script;
use basb_grants::Grants;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// The version of the form.
pub const KIT_FILE_VERSION: u32 = 1;

/// How a plugin is certified.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KitFile {
    /// The version of this form: 1.
    pub conformance: u32,
    /// The plugin's configuration.
    #[serde(default)]
    pub config: Value,
    /// What is granted to it, as in a deployment file.
    #[serde(default)]
    pub grants: Value,
    /// What stands in the environment for secrets from there, in place of that of this process.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Files that are there at the beginning, by their paths in the folder that relative paths in `grants` start from.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Where secrets come from, as in a deployment file.
    #[serde(default)]
    pub secret_stores: Value,
    /// Secrets, as in a deployment file.
    #[serde(default)]
    pub secrets: Value,
    /// Credentials, as in a deployment file. All of them are for the plugin.
    #[serde(default)]
    pub credentials: Value,
    /// What it talks to.
    #[serde(default)]
    pub counterpart: CounterpartFile,
    /// What is asked of a provider.
    #[serde(default)]
    pub provider: Option<ProviderScenario>,
    /// What is asked of a probe.
    #[serde(default)]
    pub probe: Option<ProbeScenario>,
    /// What is asked of a notifier.
    #[serde(default)]
    pub notifier: Option<NotifierScenario>,
}

/// What the plugin talks to: one of these; files alone when none is given.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CounterpartFile {
    /// A scripted counterpart, in a file of its own.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// A scripted counterpart, here.
    #[serde(default)]
    pub script: Option<Box<Script>>,
    /// What was recorded of a run: its calls are asked for once more, and answered as they were.
    #[serde(default)]
    pub recording: Option<Box<Recording>>,
    /// One that runs on this machine: `http://127.0.0.1:PORT` or `unix:/path`.
    #[serde(default)]
    pub address: Option<String>,
    /// What starts it: program and arguments; `{port}` stands for a free port, here and in the addresses.
    #[serde(default)]
    pub command: Vec<String>,
    /// Where it is set back (`POST`): a path at its address, or a URL on this machine.
    #[serde(default)]
    pub reset: Option<String>,
    /// Where its state is (`GET`): a path at its address, or a URL on this machine.
    #[serde(default)]
    pub state: Option<String>,
    /// Where its state is kept (`POST` with `?as=N`) and gone back to (`POST` with `?back=N`): a path at its address, or a URL
    /// on this machine. Without it, what comes before a step is done again for each fault.
    #[serde(default)]
    pub keep: Option<String>,
    /// A path that is asked for until it answers.
    #[serde(default)]
    pub ready: Option<String>,
    /// Whether a wait takes time there.
    #[serde(default)]
    pub time: TimeFile,
    /// Why it cannot show what was there before, such as `one process answers, under one lock`. Stale reads are left out then,
    /// and the report says why.
    #[serde(default)]
    pub consistent: Option<String>,
}

/// How time passes at a counterpart that is a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TimeFile {
    /// It has a clock of its own: a wait is real.
    #[default]
    Real,
    /// It has none, or reads the time from the header `x-kit-now` of each request, in milliseconds: a wait costs nothing.
    Virtual,
}

/// What is asked of a provider.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderScenario {
    /// Where users reach the service, as `host:port`.
    #[serde(default)]
    pub listen: Option<String>,
    /// What runs, in every revision.
    #[serde(default)]
    pub workload: WorkloadFile,
    /// How many instances.
    #[serde(default = "two")]
    pub replicas: u32,
    /// A change behind the host's back, for the drift that must be seen.
    #[serde(default)]
    pub drift: Option<RequestFile>,
    /// Only these steps, in this order; all of them when left out.
    #[serde(default)]
    pub steps: Vec<crate::drive::provider::StepName>,
}

fn two() -> u32 {
    2
}

/// A request of the kit's own to the counterpart.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestFile {
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, as JSON. `{a}`, `{b}` and `{c}` in its texts and in the URL stand for the revisions' ids.
    #[serde(default)]
    pub body: Value,
}

/// What runs.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadFile {
    /// Program and arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// The container image. `{release}` stands for `a`, `b` and `c`.
    #[serde(default)]
    pub image: Option<String>,
    /// Environment variables; `RELEASE` is added, and is another one in each revision.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The path that is asked for to see whether an instance is ready; a process that lives is, when left out.
    #[serde(default)]
    pub ready_path: Option<String>,
    /// The most memory of an instance, in bytes.
    #[serde(default)]
    pub memory_limit: Option<u64>,
    /// Settings of the provider.
    #[serde(default)]
    pub settings: Value,
}

/// What is asked of a probe.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProbeScenario {
    /// What is measured, one after the other.
    pub targets: Vec<TargetFile>,
}

/// Something that is measured.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetFile {
    /// Its name in reports.
    pub name: String,
    /// Its URL.
    pub url: String,
    /// What must come of it.
    pub verdict: VerdictFile,
    /// The configuration for this one, in place of the other.
    #[serde(default)]
    pub config: Value,
    /// Faults that it may pass with although what met them was never answered as it should be, and why: `403: whoever
    /// answers 403 is alive`.
    #[serde(default)]
    pub passes_despite: BTreeMap<String, String>,
    /// Named values for which the target has no field.
    #[serde(default)]
    pub extras: BTreeMap<String, String>,
}

/// What comes of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictFile {
    /// It is well.
    Pass,
    /// It is not.
    Fail,
    /// That cannot be told.
    Inconclusive,
    /// The measurement itself failed.
    Error,
    /// There was nothing to measure.
    NoData,
}

impl VerdictFile {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
            Self::Error => "error",
            Self::NoData => "no-data",
        }
    }
}

/// What is asked of a notifier.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NotifierScenario {
    /// The kinds of events that are delivered; a few usual ones when left out.
    #[serde(default)]
    pub events: Vec<String>,
}

impl KitFile {
    /// Reads one.
    ///
    /// # Errors
    /// [`KitError`] with the place of what is wrong.
    pub fn read(path: &Path) -> Result<Self, KitError> {
        let text = read(path)?;
        let mut file: Self = parse(path, &text)?;
        if file.conformance != KIT_FILE_VERSION {
            let message =
                format!("{} is of version {}, and this program reads version 1", path.display(), file.conformance);
            return Err(KitError::new("kit/newer", message, "use a newer basb-host"));
        }
        file.is_of_one_mind(path)?;
        if let Some(script) = &file.counterpart.file {
            let path = path.parent().unwrap_or(Path::new(".")).join(script);
            let text = read(&path)?;
            file.counterpart.script = Some(Box::new(parse(&path, &text)?));
        }
        Ok(file)
    }

    /// Nothing that is written in the file is without effect.
    fn is_of_one_mind(&self, path: &Path) -> Result<(), KitError> {
        let bad =
            |what: String, next: &str| Err(KitError::new("kit/bad-file", format!("{}: {what}", path.display()), next));
        let counterpart = &self.counterpart;
        let given = [
            ("file", counterpart.file.is_some()),
            ("script", counterpart.script.is_some()),
            ("recording", counterpart.recording.is_some()),
            ("address", counterpart.address.is_some()),
        ];
        let given: Vec<&str> = given.into_iter().filter_map(|(name, is)| is.then_some(name)).collect();
        if given.len() > 1 {
            return bad(format!("`counterpart` has {}", given.join(" and ")), "keep one of them");
        }
        if !counterpart.command.is_empty() && counterpart.address.is_none() {
            let what = "`counterpart` has a `command` and no `address`".to_owned();
            return bad(what, "add `address: \"http://127.0.0.1:{port}\"`");
        }
        // The folder of the kit is in a temporary one, which is removed afterwards: nothing is written anywhere else.
        let inside = |name: &&String| {
            let parts = || Path::new(name.as_str()).components();
            parts().next().is_some() && parts().all(|part| matches!(part, Component::Normal(_)))
        };
        if let Some(name) = self.files.keys().find(|name| !inside(name)) {
            return bad(
                format!("`files` names `{name}`, which does not stay in the folder of the kit"),
                "write a relative path without `..`, such as `vault/Home.md`",
            );
        }
        let targets = self.probe.iter().flat_map(|probe| &probe.targets);
        match targets.flat_map(|target| target.passes_despite.keys()).find(|word| Fault::from_word(word).is_none()) {
            Some(word) => bad(
                format!("`passesDespite` names `{word}`, which is no fault"),
                "docs/plugin-conformance.md lists them",
            ),
            None => Ok(()),
        }
    }

    /// What is granted.
    ///
    /// # Errors
    /// [`KitError`] with everything that is wrong there.
    pub fn granted(&self) -> Result<Grants, KitError> {
        Grants::parse(&self.grants).map_err(|wrong| {
            let all: Vec<String> = wrong.into_iter().map(|p| format!("{}: {}", p.pointer, p.message)).collect();
            KitError::new("kit/bad-file", format!("`grants`: {}", all.join("; ")), "docs/grants.md")
        })
    }

    /// The JSON Schema of this file.
    #[must_use]
    pub fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}

fn read(path: &Path) -> Result<String, KitError> {
    std::fs::read_to_string(path).map_err(|e| {
        let message = format!("{} cannot be read: {e}", path.display());
        KitError::new(
            "kit/unreadable",
            message,
            "give the file with `--kit FILE`; its form: `basb-host plugin test --schema`",
        )
    })
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, KitError> {
    serde_saphyr::from_str(text).map_err(|e| {
        let message = format!("{}: {e}", path.display());
        KitError::new("kit/bad-file", message, "its form: `basb-host plugin test --schema`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> KitError {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conformance.yaml");
        std::fs::write(&path, text).unwrap();
        KitFile::read(&path).unwrap_err()
    }

    #[test]
    fn files_stay_in_the_folder_of_the_kit() {
        for name in ["/tmp/x", "../x", "a/../../x", "./x", "a/..", ""] {
            let error = refused(&format!("conformance: 1\nfiles: {{ \"{name}\": text }}\n"));
            assert_eq!(error.code, "kit/bad-file", "{name}");
            assert!(error.message.contains("does not stay in the folder"), "{name}: {error}");
        }
        let file: KitFile = serde_saphyr::from_str("conformance: 1\nfiles: { vault/Home.md: text }\n").unwrap();
        assert!(file.is_of_one_mind(Path::new("conformance.yaml")).is_ok());
    }
}
