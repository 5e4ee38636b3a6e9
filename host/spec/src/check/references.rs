//! Every name refers to something, and no service depends on itself.

use crate::diagnostic::Diagnostic;
use crate::read::{At, Dict, Item, Place, Reader};
use crate::shape::{DeploymentFile, ServiceFile, UseFile};
use crate::suggest;
use basb_core::{PluginName, ServiceName};
use std::collections::{BTreeMap, BTreeSet};

/// What a name can refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Plugin,
    Strategy,
    Probe,
    Analysis,
    Service,
    Secret,
    Credential,
    Publisher,
}

impl Target {
    pub(crate) fn section(self) -> &'static str {
        match self {
            Self::Plugin => "plugins",
            Self::Strategy => "strategies",
            Self::Probe => "probes",
            Self::Analysis => "analyses",
            Self::Service => "services",
            Self::Secret => "secrets",
            Self::Credential => "credentials",
            Self::Publisher => "publishers",
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Strategy => "strategy",
            Self::Probe => "probe",
            Self::Analysis => "analysis",
            Self::Service => "service",
            Self::Secret => "secret",
            Self::Credential => "credential",
            Self::Publisher => "publisher",
        }
    }
}

/// What is referred to.
#[derive(Debug, Default)]
pub(crate) struct References(BTreeMap<Target, BTreeSet<String>>);

impl References {
    pub(crate) fn add(&mut self, target: Target, name: &str) {
        self.0.entry(target).or_default().insert(name.to_owned());
    }

    pub(crate) fn has(&self, target: Target, name: &str) -> bool {
        self.0.get(&target).is_some_and(|names| names.contains(name))
    }
}

struct Checker<'f, 'r, 's> {
    names: BTreeMap<Target, BTreeSet<&'f str>>,
    silent: BTreeSet<Target>,
    reader: &'r mut Reader<'s>,
    references: &'r mut References,
}

pub(crate) fn check(file: &DeploymentFile, reader: &mut Reader<'_>, references: &mut References) {
    let targets = [
        Target::Plugin,
        Target::Strategy,
        Target::Probe,
        Target::Analysis,
        Target::Service,
        Target::Credential,
        Target::Publisher,
    ];
    let names = targets.into_iter().map(|target| (target, names(file, target).into_iter().collect())).collect();
    // A section that is missing or misspelt has been told; that everything in it is missing as well is no news.
    let silent = targets.into_iter().filter(|target| is_told(file, reader, *target)).collect();
    let mut checker = Checker { names, silent, reader, references };
    for (_, service) in entries(file.services.as_ref()) {
        checker.one(Target::Strategy, service.strategy.as_ref());
        for list in [&service.readiness, &service.verify].into_iter().flatten() {
            checker.many(Target::Probe, &list.value.0);
        }
        if let Some(analyses) = service.bake.as_ref().and_then(|bake| bake.value.analyses.as_ref()) {
            checker.many(Target::Analysis, &analyses.value.0);
        }
        if let Some(depends_on) = &service.depends_on {
            checker.many(Target::Service, &depends_on.value.0);
        }
    }
    for (_, group) in entries(file.groups.as_ref()) {
        if let Some(services) = &group.services {
            checker.many(Target::Service, &services.value.0);
        }
    }
    for (_, analysis) in entries(file.analyses.as_ref()) {
        for metric in analysis.metrics.iter().flat_map(|metrics| &metrics.value.0) {
            checker.one(Target::Probe, metric.value.probe.as_ref());
        }
    }
    for (_, plugin) in entries(file.plugins.as_ref()) {
        if let Some(credentials) = &plugin.credentials {
            checker.many(Target::Credential, &credentials.value.0);
        }
        checker.one(Target::Publisher, plugin.publisher.as_ref());
    }
    for section in [&file.strategies, &file.probes] {
        for (_, uses) in entries(section.as_ref()) {
            checker.one(Target::Plugin, uses.plugin.as_ref());
        }
    }
    for (_, notifier) in entries(file.notifiers.as_ref()) {
        checker.one(Target::Plugin, notifier.plugin.as_ref());
    }
    for (_, environment) in entries(file.environments.as_ref()) {
        checker.one(Target::Plugin, environment.provider.as_ref().and_then(|provider| provider.value.plugin.as_ref()));
    }
    mentions(file, references);
    cycles(file, reader);
}

fn is_told(file: &DeploymentFile, reader: &Reader<'_>, target: Target) -> bool {
    let section = target.section();
    let there = match target {
        Target::Plugin => file.plugins.is_some(),
        Target::Strategy => file.strategies.is_some(),
        Target::Probe => file.probes.is_some(),
        Target::Analysis => file.analyses.is_some(),
        Target::Service => file.services.is_some(),
        Target::Secret => file.secrets.is_some(),
        Target::Credential => file.credentials.is_some(),
        Target::Publisher => file.publishers.is_some(),
    };
    let misspelt = |problem: &Diagnostic| {
        problem.code == "spec/unknown-key"
            && problem.pointer.strip_prefix('/').is_some_and(|key| suggest::nearest(key, [section]).is_some())
    };
    // `plugins` and `services` are required: that they are missing is told.
    !there
        && (file.has(section)
            || matches!(target, Target::Plugin | Target::Service)
            || reader.problems.iter().any(misspelt))
}

fn entries<K, V>(section: Option<&At<Dict<K, V>>>) -> impl Iterator<Item = (&Item<K, V>, &V)> {
    section.into_iter().flat_map(|section| section.value.values())
}

impl Checker<'_, '_, '_> {
    fn many<N: AsRef<str>>(&mut self, target: Target, names: &[At<N>]) {
        for name in names {
            self.one(target, Some(name));
        }
    }

    fn one<N: AsRef<str>>(&mut self, target: Target, name: Option<&At<N>>) {
        let Some(At { value, place }) = name else { return };
        let name = value.as_ref();
        self.references.add(target, name);
        if !self.knows(target, name) && !self.silent.contains(&target) && !self.reader.is_full() {
            let word = target.word();
            let help = self.help(target, name);
            let message = format!("there is no {word} `{name}`");
            self.reader.problem_with_help(place, "spec/unknown-reference", message, help);
        }
    }

    fn knows(&self, target: Target, name: &str) -> bool {
        self.names.get(&target).is_some_and(|names| names.contains(name))
    }

    fn help(&self, target: Target, name: &str) -> String {
        let known: Vec<&str> = self.names.get(&target).into_iter().flatten().copied().collect();
        if let Some(near) = suggest::nearest(name, known.iter().copied()) {
            return format!("did you mean `{near}`?");
        }
        let others = [Target::Strategy, Target::Probe, Target::Analysis, Target::Plugin, Target::Service];
        let other = others.into_iter().find(|other| *other != target && self.knows(*other, name));
        let add = match target {
            Target::Plugin => format!("add it:\nplugins:\n  {name}: {{ source: builtin:{name} }}"),
            _ => format!("add it under `{}`", target.section()),
        };
        match (other, known.as_slice()) {
            (Some(other), _) => format!("`{name}` is one of the {}; {add}", other.section()),
            (None, []) => add,
            (None, known) if known.len() <= 16 => format!("known here: {}", suggest::list(known.iter().copied())),
            (None, _) => add,
        }
    }
}

fn names(file: &DeploymentFile, target: Target) -> Vec<&str> {
    fn keys<K, V>(section: &Option<At<Dict<K, V>>>) -> Vec<&str> {
        section.iter().flat_map(|section| section.value.keys()).collect()
    }
    match target {
        Target::Plugin => keys(&file.plugins),
        Target::Strategy => keys(&file.strategies),
        Target::Probe => keys(&file.probes),
        Target::Analysis => keys(&file.analyses),
        Target::Service => keys(&file.services),
        Target::Secret => keys(&file.secrets),
        Target::Credential => keys(&file.credentials),
        Target::Publisher => keys(&file.publishers),
    }
}

/// A strategy refers to analyses in its configuration, which only its plugin understands: every text there that is the
/// name of an analysis counts as a reference to it.
fn mentions(file: &DeploymentFile, references: &mut References) {
    let known: BTreeSet<&str> = names(file, Target::Analysis).into_iter().collect();
    let configs = |section: &Option<At<Dict<PluginName, UseFile>>>| -> Vec<serde_json::Value> {
        entries(section.as_ref()).filter_map(|(_, uses)| uses.config.as_ref()).map(|c| c.value.0.clone()).collect()
    };
    mentioned(configs(&file.strategies), &known, Target::Analysis, references);
    // Credentials refer to secrets in the same way: what their keys mean is known to `basb-credentials`.
    let known: BTreeSet<&str> = names(file, Target::Secret).into_iter().collect();
    let credentials = entries(file.credentials.as_ref()).map(|(_, credential)| credential.0.clone()).collect();
    mentioned(credentials, &known, Target::Secret, references);
}

/// Every text in these values that is a known name counts as a reference.
fn mentioned(mut rest: Vec<serde_json::Value>, known: &BTreeSet<&str>, target: Target, references: &mut References) {
    while let Some(value) = rest.pop() {
        match value {
            serde_json::Value::String(text) if known.contains(text.as_str()) => references.add(target, &text),
            serde_json::Value::Array(items) => rest.extend(items),
            serde_json::Value::Object(members) => rest.extend(members.into_iter().map(|(_, value)| value)),
            _ => {}
        }
    }
}

/// A service that comes back to itself over `dependsOn` can never start. Every cycle is told once, at the entry that
/// closes it.
fn cycles(file: &DeploymentFile, reader: &mut Reader<'_>) {
    let services: BTreeMap<&str, &ServiceFile> =
        entries(file.services.as_ref()).map(|(item, service)| (item.key.as_str(), service)).collect();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in services.keys() {
        // Depth first without recursion: a chain may be as long as the file.
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        let mut on_path: BTreeSet<&str> = BTreeSet::from([*start]);
        while let Some((name, next)) = path.last_mut() {
            let step = if done.contains(name) { None } else { dependencies(&services, name).get(*next) };
            *next += 1;
            let Some(At { value, place }) = step else {
                done.insert(name);
                on_path.remove(name);
                path.pop();
                continue;
            };
            let target = value.as_str();
            if on_path.contains(target) {
                if reader.is_full() {
                    return;
                }
                let round = path.iter().map(|(name, _)| *name).skip_while(|name| *name != target).chain([target]);
                report(reader, place, &round.collect::<Vec<_>>());
            } else if services.contains_key(target) {
                on_path.insert(target);
                path.push((target, 0));
            }
        }
    }
}

fn dependencies<'f>(services: &BTreeMap<&str, &'f ServiceFile>, name: &str) -> &'f [At<ServiceName>] {
    services.get(name).and_then(|service| service.depends_on.as_ref()).map_or(&[], |list| list.value.0.as_slice())
}

fn report(reader: &mut Reader<'_>, place: &Place, round: &[&str]) {
    let message = match round {
        [one, _] => format!("the service `{one}` depends on itself"),
        _ => format!("services depend on each other in a circle: {}", round.join(" → ")),
    };
    reader.problem_with_help(place, "spec/dependency-cycle", message, "remove one of these dependencies");
}
