//! From a file without problems to the model. Relative paths become absolute here.

use crate::read::{At, Count, Dict, Flag, NonEmpty, Object, Text};
use crate::shape::{
    AnalysisFile, ApproveFile, DeploymentFile, GroupFile, MetricFile, NotifierFile, PluginFile, ReadyFile, ServiceFile,
    UseFile, WorkloadFile,
};
use basb_core::model::{
    Analysis, Approve, Bake, Deployment, DryRun, Group, Metric, Notifier, PluginSource, Quorum, Readiness, Service,
    Shared, Tapes, Use, Workload,
};
use basb_core::run::OnTimeout;
use basb_core::{PluginName, ServiceName};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Makes the model. Nothing when a part is missing, which a file without problems never has.
pub(crate) fn build(file: DeploymentFile, environment: &str, base: &Path) -> Option<Deployment> {
    let here = file.environments?.value.0.into_iter().find(|item| item.key == environment)?.value?;
    let provider = here.provider?.value;
    let services: BTreeMap<ServiceName, Shared<Service>> =
        each(file.services?.value, |service: ServiceFile| build_service(service, base).map(Shared::from))?;
    let strategies = all(file.strategies, build_use)?;
    let probes = all(file.probes, build_use)?;
    let analyses = all(file.analyses, build_analysis)?;
    let notifiers = all(file.notifiers, build_notifier)?;
    let plugins = each(file.plugins?.value, |plugin: PluginFile| build_plugin(plugin, base))?;

    let used: BTreeSet<PluginName> = services.values().map(|service| service.strategy.clone()).collect();
    let strategies = keep(strategies, &used);
    let measured = analyses.values().flat_map(|analysis: &Analysis| analysis.metrics.iter().map(|m| m.probe.clone()));
    let direct = services.values().flat_map(|service| service.readiness.iter().chain(&service.verify).cloned());
    let used = measured.chain(direct).collect();
    let probes = keep(probes, &used);
    let provider = build_use(provider)?;
    let used = strategies
        .values()
        .chain(probes.values())
        .chain(notifiers.values().map(|notifier: &Notifier| &notifier.uses))
        .chain([&provider])
        .map(|uses: &Use| uses.plugin.clone())
        .collect();
    Some(Deployment {
        name: file.name?.value,
        environment: PluginName::new(environment).ok()?,
        plugins: keep(plugins, &used),
        provider,
        approve: here.approve.map(|approve| build_approve(approve.value)),
        services,
        groups: all(file.groups, |group: GroupFile| Some(Group { services: list(group.services?.value.0) }))?,
        strategies,
        probes,
        analyses,
        notifiers,
        secret_stores: section(file.secret_stores),
        secrets: section(file.secrets),
        credentials: section(file.credentials),
        publishers: all(file.publishers, |key: Text| Some(key.0))?,
        tapes: match file.tapes {
            Some(tapes) => Some(Tapes { keep: tapes.value.keep?.value }),
            None => None,
        },
    })
}

fn each<K: Ord, V, M>(section: Dict<K, V>, build: impl Fn(V) -> Option<M>) -> Option<BTreeMap<K, M>> {
    section.0.into_iter().map(|item| Some((item.name?, build(item.value?)?))).collect()
}

fn all<K: Ord, V, M>(section: Option<At<Dict<K, V>>>, build: impl Fn(V) -> Option<M>) -> Option<BTreeMap<K, M>> {
    section.map_or_else(|| Some(BTreeMap::new()), |section| each(section.value, build))
}

fn keep<V>(all: BTreeMap<PluginName, V>, used: &BTreeSet<PluginName>) -> BTreeMap<PluginName, V> {
    all.into_iter().filter(|(name, _)| used.contains(name)).collect()
}

fn list<T>(items: Vec<At<T>>) -> Vec<T> {
    items.into_iter().map(|item| item.value).collect()
}

/// A section that somebody else reads, as it is written; null where there is none.
fn section(section: Option<At<Dict<PluginName, Object>>>) -> Value {
    section.map_or(Value::Null, |section| {
        let entries = section.value.0.into_iter();
        Value::Object(entries.filter_map(|item| Some((item.key, item.value?.0))).collect())
    })
}

fn object(config: Option<At<Object>>) -> Value {
    config.map_or_else(|| Value::Object(Map::new()), |config| config.value.0)
}

fn build_use(uses: UseFile) -> Option<Use> {
    Some(Use { plugin: uses.plugin?.value, config: object(uses.config) })
}

fn build_notifier(notifier: NotifierFile) -> Option<Notifier> {
    let uses = Use { plugin: notifier.plugin?.value, config: object(notifier.config) };
    let events = notifier.events.map(|events| list(events.value.0)).unwrap_or_default();
    Some(Notifier { uses, events: events.into_iter().map(|event| event.0).collect() })
}

fn build_plugin(plugin: PluginFile, base: &Path) -> Option<PluginSource> {
    let source = plugin.source?.value.0;
    let source = if source.starts_with("builtin:") { source } else { absolute(&source, base) };
    Some(PluginSource {
        source,
        grants: object(plugin.grants),
        credentials: plugin.credentials.map(|names| list(names.value.0)).unwrap_or_default(),
        publisher: plugin.publisher.map(|name| name.value),
    })
}

fn build_service(service: ServiceFile, base: &Path) -> Option<Service> {
    let listens = service.listen.is_some();
    let bake = match service.bake {
        Some(bake) => Some(Bake { duration: bake.value.duration?.value, analyses: list(bake.value.analyses?.value.0) }),
        None => None,
    };
    Some(Service {
        workload: build_workload(service.workload?.value, listens, base)?,
        replicas: service.replicas?.value.0,
        listen: service.listen.map(|listen| listen.value.text),
        depends_on: service.depends_on.map(|names| list(names.value.0)).unwrap_or_default(),
        strategy: service.strategy?.value,
        readiness: service.readiness.map(|names| list(names.value.0)).unwrap_or_default(),
        verify: service.verify.map(|names| list(names.value.0)).unwrap_or_default(),
        bake,
        gates: service.gates.map(|gates| build_quorum(gates.value.approvals, gates.value.approvers)),
        progress_deadline: service.progress_deadline?.value,
        scale_down_delay: service.scale_down_delay?.value,
        abort_scale_down_delay: service.abort_scale_down_delay?.value.get(),
    })
}

fn build_quorum(approvals: Option<At<Count<1>>>, approvers: Option<At<NonEmpty<Text>>>) -> Quorum {
    let mut approvers: Vec<String> = approvers.into_iter().flat_map(|a| list(a.value.0)).map(|name| name.0).collect();
    approvers.sort();
    approvers.dedup();
    Quorum { approvals: approvals.map_or(1, |count| count.value.0), approvers }
}

fn build_approve(approve: ApproveFile) -> Approve {
    Approve {
        quorum: build_quorum(approve.approvals, approve.approvers),
        timeout: approve.timeout.map(|timeout| timeout.value),
        on_timeout: approve.on_timeout.map_or(OnTimeout::Abort, |word| word.value.0),
    }
}

fn build_workload(workload: WorkloadFile, listens: impl Into<Listens>, base: &Path) -> Option<Workload> {
    let mut command: Vec<String> = workload
        .command
        .map(|command| list(command.value.0))
        .unwrap_or_default()
        .into_iter()
        .map(|arg| arg.0)
        .collect();
    if let Some(program) = command.first_mut().filter(|program| program.contains('/')) {
        *program = absolute(program, base);
    }
    let ready = match (workload.ready.map(|ready| ready.value), listens.into()) {
        (Some(ReadyFile::None), _) | (None, Listens::No) => Readiness::None,
        (Some(ReadyFile::Tcp), _) | (None, Listens::Yes) => Readiness::Tcp,
        (Some(ReadyFile::Http(path)), _) => Readiness::Http(path),
    };
    let env = workload.env.map(|env| env.value.0).unwrap_or_default();
    Some(Workload {
        command,
        image: workload.image.map(|image| image.value.0),
        working_folder: workload.working_folder.map(|folder| absolute(&folder.value.0, base)),
        env: env.into_iter().map(|item| Some((item.key, item.value?.0))).collect::<Option<_>>()?,
        ready,
        min_ready: workload.min_ready?.value,
        stop_grace: workload.stop_grace?.value,
        memory_limit: workload.memory_limit.map(|limit| limit.value.0),
        settings: workload.settings.map_or(Value::Null, |settings| settings.value.0),
    })
}

/// Whether a service listens: then its instances are ready when they accept a connection.
enum Listens {
    Yes,
    No,
}

impl From<bool> for Listens {
    fn from(listens: bool) -> Self {
        if listens { Self::Yes } else { Self::No }
    }
}

fn build_analysis(analysis: AnalysisFile) -> Option<Analysis> {
    let metrics =
        analysis.metrics?.value.0.into_iter().map(|metric| build_metric(metric.value)).collect::<Option<_>>()?;
    Some(Analysis { metrics })
}

fn build_metric(metric: MetricFile) -> Option<Metric> {
    Some(Metric {
        name: metric.name?.value,
        probe: metric.probe?.value,
        interval: metric.interval.map(|interval| interval.value),
        initial_delay: metric.initial_delay?.value,
        count: metric.count.map(|count| count.value.0),
        success_condition: metric.success_condition.map(|condition| condition.value.0),
        failure_condition: metric.failure_condition.map(|condition| condition.value.0),
        failure_limit: metric.failure_limit?.value.get().map(|limit| limit.0),
        inconclusive_limit: metric.inconclusive_limit?.value.0,
        consecutive_error_limit: metric.consecutive_error_limit?.value.0,
        consecutive_no_data_limit: metric.consecutive_no_data_limit?.value.0,
        consecutive_success_limit: metric.consecutive_success_limit?.value.0,
        min_samples: metric.min_samples?.value.0,
        dry_run: match metric.dry_run?.value {
            Flag::True => DryRun::Yes,
            Flag::False => DryRun::No,
        },
    })
}

/// A path against the file's folder, without `.`. A `..` stays: behind a symbolic link it is not what the text says.
fn absolute(path: &str, base: &Path) -> String {
    let parts = base.join(path);
    parts
        .components()
        .filter(|part| !matches!(part, Component::CurDir))
        .collect::<PathBuf>()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_from_the_folder_of_the_file() {
        let base = Path::new("/srv/demo");
        for (path, expected) in
            [("./a", "/srv/demo/a"), ("../a/./b", "/srv/demo/../a/b"), ("/abs/x", "/abs/x"), (".", "/srv/demo")]
        {
            assert_eq!(absolute(path, base), expected, "{path}");
        }
    }
}
