//! The deployment file as it is written: its keys, their types, defaults and descriptions. The reader and the JSON
//! Schema are made from these declarations.

mod analysis;
mod people;
mod service;

pub(crate) use analysis::{AnalysisFile, EventPattern, MetricFile};
pub(crate) use people::{ApproveFile, GroupFile};
pub(crate) use service::{ReadyFile, ServiceFile, ServiceOverrides, WorkloadFile};

use crate::read::{Dict, List, Object, PluginLocation, Text, VariableName, Version, record};
use basb_core::{Millis, PluginName, ServiceName};

/// The variables of a file or of an environment.
pub(crate) type Variables = Dict<VariableName, Text>;

/// The services of a file.
pub(crate) type Services = Dict<ServiceName, ServiceFile>;

record! {
    /// What is deployed, where to, and how a release is rolled out, checked and reported.
    DeploymentFile {
        /// The version of this format: 1.
        "version" version: required Version;
        /// The name of the deployment: 1 to 63 of a-z, 0-9 and inner `-`.
        "name" name: required ServiceName;
        /// Variables: `${release}` in any text is replaced by the variable's value, `$${` stands for `${` itself.
        /// An environment may override them, and `--set release=2` overrides both.
        "vars" vars: optional Variables;
        /// Where secrets come from, beside `env`, the environment of basb-host itself, which is always there.
        "secretStores" secret_stores: optional Dict<PluginName, Object>;
        /// Secrets, by the names that credentials and `${secret.NAME}` refer to; where each is to be had, never its
        /// value.
        "secrets" secrets: optional Dict<PluginName, Object>;
        /// What the host adds to requests on their way out, by the names that plugins refer to: each is bound to
        /// destinations, and no plugin sees it.
        "credentials" credentials: optional Dict<PluginName, Object>;
        /// The minisign public keys of those who sign plugins. With one key here every plugin that is a file must be
        /// signed.
        "publishers" publishers: optional Dict<PluginName, Text>;
        /// The environment that is used when none is asked for. Not needed when there is only one.
        "defaultEnvironment" default_environment: optional PluginName;
        /// The plugins, by the names that the rest of the file uses, and what they may do.
        "plugins" plugins: required Dict<PluginName, PluginFile>;
        /// Where the services can be deployed to; at least one.
        "environments" environments: required Dict<PluginName, EnvironmentFile>;
        /// What is deployed; at least one.
        "services" services: required Services;
        /// Services that become stable together or not at all, by the names of the groups.
        "groups" groups: optional Dict<PluginName, GroupFile>;
        /// How a new revision gets its traffic, by the names that services refer to.
        "strategies" strategies: optional Dict<PluginName, UseFile>;
        /// What takes a measurement, by the names that services and analyses refer to.
        "probes" probes: optional Dict<PluginName, UseFile>;
        /// Repeated measurements under limits, by the names that services and strategies refer to.
        "analyses" analyses: optional Dict<PluginName, AnalysisFile>;
        /// Who is told what.
        "notifiers" notifiers: optional Dict<PluginName, NotifierFile>;
        /// How long the tapes of runs are kept; without it, until `basb-host tape prune` drops them.
        "tapes" tapes: optional TapesFile;
    }
}

record! {
    /// How long what passed between plugins and the outside is kept.
    TapesFile {
        /// How long after the end of a run. The texts of older ones are dropped after each run of the same deployment in
        /// the same environment; their digests stay.
        "keep" keep: required Millis;
    }
}

record! {
    /// Where a plugin comes from and what it may do.
    PluginFile {
        /// `builtin:NAME`, or the path of a component file, relative to this file.
        "source" source: required PluginLocation;
        /// What it may do: by default nothing. `basb-host plugin inspect` shows what a plugin asks for.
        "grants" grants: optional Object;
        /// The credentials that the host may add to its requests, by their names under `credentials`.
        "credentials" credentials: optional List<PluginName>;
        /// Who must have signed it: a name under `publishers`.
        "publisher" publisher: optional PluginName;
    }
}

record! {
    /// A plugin with its configuration.
    UseFile {
        /// The name of the plugin under `plugins`.
        "plugin" plugin: required PluginName;
        /// Its configuration, which is checked against the schema that the plugin carries.
        "config" config: default Object = {};
    }
}

record! {
    /// A place to deploy to.
    EnvironmentFile {
        /// The plugin that talks to it.
        "provider" provider: required UseFile;
        /// Who must agree before a run changes anything here; without it nobody is asked.
        "approve" approve: optional ApproveFile;
        /// Variables that differ here.
        "vars" vars: optional Variables;
        /// What differs here in the services: maps are merged key by key, lists and all else are replaced, `null`
        /// removes a key.
        "services" services: optional ServiceOverrides;
    }
}

record! {
    /// Who is told what.
    NotifierFile {
        /// The name of the plugin under `plugins`.
        "plugin" plugin: required PluginName;
        /// The kinds of events it is told; a trailing `*` stands for the rest. Without it, what the plugin asks for.
        "events" events: optional List<EventPattern>;
        /// Its configuration, which is checked against the schema that the plugin carries.
        "config" config: default Object = {};
    }
}
