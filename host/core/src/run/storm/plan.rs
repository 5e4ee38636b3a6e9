//! Random plans: services that depend on one another, some in groups, some reverted, some at gates that need several
//! people, over what is there from before.

use super::reel::Reel;
use super::world::{Cloud, Instances};
use crate::analysis::Sample;
use crate::model::{
    Analysis, Approve, Bake, Deployment, DryRun, Group, Metric, Quorum, Readiness, Service, Use, Workload,
};
use crate::run::{OnTimeout, RECORD_VERSION, RunStart, ServiceStart, StableRevision, StartMode};
use crate::{Millis, PluginName, RevisionId, RunId, ServiceName, Weight};
use std::collections::BTreeMap;

pub fn name(n: &str) -> PluginName {
    PluginName::new(n).unwrap()
}
pub fn service_name(n: &str) -> ServiceName {
    ServiceName::new(n).unwrap()
}
pub fn revision(n: &str) -> RevisionId {
    RevisionId::new(n).unwrap()
}

/// A sample with a verdict.
pub fn sample(verdict: crate::Verdict) -> Sample {
    Sample { verdict, summary: verdict.to_string(), values: BTreeMap::new(), facts: BTreeMap::new() }
}

/// Who may approve, and one who may not.
pub const PEOPLE: [&str; 4] = ["ann", "ben", "cid", "mallory"];

fn workload() -> Workload {
    Workload {
        command: vec!["x".into()],
        image: None,
        working_folder: None,
        env: BTreeMap::new(),
        ready: Readiness::None,
        min_ready: Millis::ZERO,
        stop_grace: Millis::ZERO,
        memory_limit: None,
        settings: serde_json::Value::Null,
    }
}

fn quorum(reel: &mut Reel) -> Quorum {
    let approvers = if reel.chance(50) { PEOPLE[..3].iter().map(|p| (*p).to_owned()).collect() } else { Vec::new() };
    Quorum { approvals: 1 + u32::try_from(reel.below(2)).unwrap(), approvers }
}

fn service(reel: &mut Reel, depends_on: Vec<ServiceName>) -> Service {
    let probes = |reel: &mut Reel| if reel.chance(50) { vec![name("p")] } else { Vec::new() };
    let analyses = if reel.chance(50) { vec![name("healthy")] } else { Vec::new() };
    Service {
        workload: workload(),
        replicas: 1 + u32::try_from(reel.below(8)).unwrap(),
        listen: None,
        depends_on,
        strategy: name("s"),
        readiness: probes(reel),
        verify: probes(reel),
        bake: reel.chance(40).then_some(Bake { duration: Millis(25), analyses }),
        gates: reel.chance(20).then(|| quorum(reel)),
        progress_deadline: Millis::secs(60),
        scale_down_delay: Millis(u64::try_from(reel.below(3)).unwrap()),
        abort_scale_down_delay: reel.chance(80).then_some(Millis::ZERO),
    }
}

pub(super) fn metric() -> Metric {
    Metric {
        name: name("m"),
        probe: name("p"),
        interval: Some(Millis(10)),
        initial_delay: Millis::ZERO,
        count: Some(2),
        success_condition: Some("result.verdict == 'pass'".into()),
        failure_condition: Some("result.verdict == 'fail'".into()),
        failure_limit: Some(0),
        inconclusive_limit: 0,
        consecutive_error_limit: 1,
        consecutive_no_data_limit: 1,
        consecutive_success_limit: 0,
        min_samples: 1,
        dry_run: DryRun::No,
    }
}

/// What there is of a service before the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// The stable revision, as it should be.
    Stable,
    /// A rollout that was never finished.
    HalfWay,
    /// A stable revision that cannot take traffic.
    Dead,
    /// The very revision that is wanted, as it should be.
    Same,
    /// The same, but not as it should be.
    Drifted,
    /// The same as it should be, and what is left over of a rollout beside it.
    LeftOver,
}

/// A plan, and what there is before it.
pub fn plan(reel: &mut Reel) -> (RunStart, Cloud, BTreeMap<ServiceName, Before>) {
    let names: Vec<ServiceName> = ["a", "b", "c", "d"][..1 + reel.below(4)].iter().map(|n| service_name(n)).collect();
    let (mut services, mut starts) = (BTreeMap::new(), BTreeMap::new());
    let (mut cloud, mut before) = (Cloud::default(), BTreeMap::new());
    // In some plans nothing is to be done by what is recorded.
    let recorded = reel.chance(20);
    for (i, service_name) in names.iter().enumerate() {
        // On earlier ones only: no circles.
        let depends_on = names[..i].iter().filter(|_| reel.chance(50)).cloned().collect();
        let spec = service(reel, depends_on);
        let kinds = [
            Before::Nothing,
            Before::Stable,
            Before::Stable,
            Before::HalfWay,
            Before::Dead,
            Before::Same,
            Before::Drifted,
            Before::LeftOver,
        ];
        let kind = *reel.one(if recorded { &kinds[5..] } else { &kinds });
        let (n, full) = (spec.replicas, |available| Instances { desired: available, available, weight: 10_000 });
        let there: Vec<(&str, Instances)> = match kind {
            Before::Nothing => vec![],
            Before::Stable => vec![("old", full(n))],
            Before::HalfWay => {
                let weight = u16::try_from(reel.below(10_000)).unwrap();
                let half = |weight| Instances { desired: n, available: n, weight };
                vec![("old", half(10_000 - weight)), ("mid", half(weight))]
            }
            Before::Dead => vec![("old", Instances { desired: n, available: 0, weight: 10_000 })],
            Before::Same => vec![("new", full(n))],
            Before::LeftOver => {
                let idle = Instances { desired: n, available: n - 1, weight: 0 };
                vec![("mid", idle), ("new", full(n))]
            }
            Before::Drifted => vec![("new", Instances { desired: n, available: n - 1, weight: 10_000 })],
        };
        cloud.services.insert(service_name.clone(), there.into_iter().map(|(r, i)| (revision(r), i)).collect());
        let stable = match kind {
            Before::Nothing => None,
            Before::Same | Before::Drifted | Before::LeftOver => Some("new"),
            _ => Some("old"),
        };
        let stable = stable.map(|r| StableRevision { revision: revision(r), replicas: n, workload: workload().into() });
        let mode = if reel.chance(20) { StartMode::Revert } else { StartMode::Rollout };
        let start =
            ServiceStart { candidate: revision("new"), stable, mode, irreversible: Vec::new(), outdated: Vec::new() };
        starts.insert(service_name.clone(), start);
        services.insert(service_name.clone(), spec.into());
        before.insert(service_name.clone(), kind);
    }
    // The last ones of the row: what is between two members of a group would wait for it and hold it up.
    let size = reel.below(names.len() + 1);
    let groups = if size > 1 && reel.chance(60) {
        [(name("g"), Group { services: names[names.len() - size..].to_vec() })].into()
    } else {
        BTreeMap::new()
    };
    let approve = reel.chance(if recorded { 60 } else { 25 }).then(|| Approve {
        quorum: quorum(reel),
        timeout: reel.chance(50).then_some(Millis(40)),
        on_timeout: if reel.chance(50) { OnTimeout::Abort } else { OnTimeout::Promote },
    });
    let uses = Use { plugin: name("p"), config: serde_json::json!({}) };
    let deployment = Deployment {
        name: service_name("deployment"),
        environment: name("production"),
        provider: uses,
        approve,
        services,
        groups,
        strategies: BTreeMap::new(),
        probes: BTreeMap::new(),
        analyses: [(name("healthy"), Analysis { metrics: vec![metric()] })].into(),
        notifiers: BTreeMap::new(),
        plugins: BTreeMap::new(),
        secret_stores: serde_json::Value::Null,
        secrets: serde_json::Value::Null,
        credentials: serde_json::Value::Null,
        publishers: BTreeMap::new(),
        tapes: None,
    };
    let start = RunStart {
        version: RECORD_VERSION,
        run: RunId::new("run-1").unwrap(),
        deployment,
        services: starts,
        plugins: BTreeMap::new(),
        abilities: vec!["split-traffic".into()],
        granularity: Weight::new(1).unwrap(),
        plan: None,
    };
    (start, cloud, before)
}

/// One service `a` with an update to make, and nothing of chance in it.
pub fn simple() -> RunStart {
    let mut reel = Reel::new(vec![0]);
    let (mut start, _, _) = plan(&mut reel);
    let old = StableRevision { revision: revision("old"), replicas: 4, workload: workload().into() };
    let from = ServiceStart {
        candidate: revision("new"),
        stable: Some(old),
        mode: StartMode::Rollout,
        irreversible: Vec::new(),
        outdated: Vec::new(),
    };
    let mut spec = service(&mut reel, Vec::new());
    spec.replicas = 4;
    (spec.readiness, spec.verify, spec.bake, spec.gates) = (Vec::new(), Vec::new(), None, None);
    start.services = [(service_name("a"), from)].into();
    start.deployment.services = [(service_name("a"), spec.into())].into();
    start.deployment.groups = BTreeMap::new();
    start.deployment.approve = None;
    start
}
