//! Rollouts against a simulated host: the invariants hold for any plan, and failures go back to the stable revision.
#![expect(clippy::unwrap_used, reason = "helpers of tests stop them")]

use basb_plugin::strategy::{Action, LastOutcome, OnTimeout, ServiceView, Strategy};
use basb_plugin::testing::{Ending, Simulation, service_view};
use basb_plugin::{Severity, Verdict, Weight};
use proptest::prelude::*;
use serde_json::{Value, json};
use strategy_canary::{Canary, Config};

fn config(value: &Value) -> Config {
    serde_json::from_value(value.clone()).unwrap()
}

fn without_split(replicas: u32) -> ServiceView {
    ServiceView { abilities: Vec::new(), ..service_view(replicas) }
}

fn errors(value: &Value, service: &ServiceView) -> Vec<String> {
    Canary::validate(&config(value), service)
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| format!("{}: {}", problem.path, problem.message))
        .collect()
}

#[test]
fn weights_rise_after_the_instances_for_them() {
    let steps = json!({"steps": [{"setWeight": 10}, {"pause": {"duration": "1m"}}, {"setWeight": 50}]});
    let report = Simulation::new(service_view(4)).run::<Canary>(&steps).unwrap();
    let scale = |candidate| Action::Scale(basb_plugin::strategy::Scaling { candidate: Some(candidate), stable: None });
    let weight = |percent| Action::SetWeight(Weight::from_percent(percent).unwrap());
    assert_eq!(
        report.actions,
        [
            scale(1),
            weight(10.0),
            Action::Pause(std::time::Duration::from_secs(60)),
            scale(2),
            weight(50.0),
            scale(4),
            weight(100.0),
            Action::Promote
        ]
    );
}

#[test]
fn the_first_revision_skips_the_steps() {
    let service = ServiceView { initial: true, ..service_view(3) };
    let steps = json!({"steps": [{"setWeight": 10}, {"pause": {}}]});
    let report = Simulation::new(service.clone()).run::<Canary>(&steps).unwrap();
    assert_eq!(report.actions.len(), 3);
    let preview = Canary::preview(&config(&steps), &service).unwrap();
    assert!(preview[0].summary.contains("without steps"), "{preview:?}");
}

#[test]
fn only_pass_goes_on() {
    let steps = json!({"steps": [{"setWeight": 20}, {"analysis": {"templates": ["health"]}}]});
    for verdict in [Verdict::Fail, Verdict::Error, Verdict::NoData] {
        let report = Simulation::new(service_view(4))
            .answer(move |_| LastOutcome::Judged(verdict))
            .run::<Canary>(&steps)
            .unwrap();
        assert!(matches!(&report.ending, Ending::Aborted(reason) if reason.contains("`health`")), "{report:?}");
        assert_eq!(report.weights, [20.0]);
    }
}

#[test]
fn an_inconclusive_analysis_asks_a_human() {
    let steps = json!({"steps": [{"setWeight": 20}, {"analysis": {"templates": ["health"]}}]});
    let answer = |action: &Action| match action {
        Action::Analyse(_) => LastOutcome::Judged(Verdict::Inconclusive),
        Action::AwaitPromotion(gate) => {
            assert_eq!((gate.timeout, gate.on_timeout), (None, OnTimeout::Abort));
            LastOutcome::Promoted
        }
        _ => LastOutcome::Done,
    };
    let report = Simulation::new(service_view(4)).answer(answer).run::<Canary>(&steps).unwrap();
    assert_eq!(report.ending, Ending::Promoted);
    assert!(report.actions.iter().any(|action| matches!(action, Action::AwaitPromotion(_))));
}

#[test]
fn a_gate_obeys_its_timeout() {
    for (on_timeout, promoted) in [("abort", false), ("continue", true)] {
        let steps = json!({"steps": [{"setWeight": 20}, {"pause": {"timeout": "1h", "onTimeout": on_timeout}}]});
        let report = Simulation::new(service_view(4)).answer(|_| LastOutcome::TimedOut).run::<Canary>(&steps).unwrap();
        assert_eq!(report.ending == Ending::Promoted, promoted, "{report:?}");
    }
}

#[test]
fn a_shrunken_stable_revision_grows_before_an_abort() {
    let steps = json!({"dynamicStableScale": true, "steps": [
        {"setWeight": 75}, {"analysis": {"templates": ["load"]}}]});
    let report =
        Simulation::new(service_view(4)).answer(|_| LastOutcome::Judged(Verdict::Fail)).run::<Canary>(&steps).unwrap();
    let last: Vec<_> = report.actions.iter().rev().take(2).collect();
    assert!(matches!(last[0], Action::Abort(_)));
    assert!(matches!(last[1], Action::Scale(scaling) if scaling.stable == Some(4)), "{last:?}");
}

#[test]
fn neither_side_has_fewer_than_the_floor_while_it_has_traffic() {
    let steps = json!({"minReplicas": 2, "dynamicStableScale": true, "steps": [{"setWeight": 10}, {"setWeight": 90}]});
    let report = Simulation::new(service_view(10)).run::<Canary>(&steps).unwrap();
    let scaled: Vec<_> = report
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Scale(scaling) => Some((scaling.candidate, scaling.stable)),
            _ => None,
        })
        .collect();
    let expected = [(Some(2), None), (None, Some(9)), (Some(9), None), (None, Some(2)), (Some(10), None)];
    assert_eq!(scaled, expected);
}

#[test]
fn the_preview_shows_what_is_achieved() {
    let steps = json!({"maxSurge": 0, "steps": [{"setWeight": 10}]});
    let preview = Canary::preview(&config(&steps), &without_split(4)).unwrap();
    assert_eq!(preview[0].achieved, Weight::from_percent(25.0));
    let preview = Canary::preview(&config(&steps), &service_view(4)).unwrap();
    assert_eq!(preview[0].achieved, None);
    assert_eq!(preview.len(), 2);
}

#[test]
fn what_is_wrong_is_said_with_its_path() {
    let four = service_view(4);
    let found = errors(&json!({"steps": [{"setCanaryScale": {"weight": 10}}, {"setWeight": 90}]}), &four);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("/steps/0/setCanaryScale: step 1 leaves the candidate at 1 of 4"), "{found:?}");

    let found = errors(&json!({"steps": [{"analysis": {"templates": ["health", "laod"]}}]}), &four);
    assert_eq!(
        found,
        ["/steps/0/analysis/templates/1: there is no analysis `laod`; did you mean `load`? known: health, load"]
    );

    for key in ["setHeaderRoute", "setMirrorRoute", "experiment", "plugin", "replicaProgressThreshold"] {
        let found = errors(&json!({"steps": [{key: {}}]}), &four);
        assert!(found[0].contains("not supported by this version"), "{found:?}");
        assert!(found[0].starts_with(&format!("/steps/0/{key}")), "{found:?}");
    }
    for (wrong, path) in [
        (json!({"steps": [{}]}), "/steps/0:"),
        (json!({"steps": [{"setWeight": 5, "pause": {}}]}), "/steps/0:"),
        (json!({"steps": [{"setWeight": 101}]}), "/steps/0/setWeight:"),
        (json!({"steps": [{"setWeight": 0.25}]}), "/steps/0/setWeight:"),
        (json!({"steps": [{"pause": {"duration": "1m", "timeout": "1m"}}]}), "/steps/0/pause:"),
        (json!({"steps": [{"pause": {"onTimeout": "abort"}}]}), "/steps/0/pause:"),
        (json!({"steps": [{"setCanaryScale": {"replicas": 1, "weight": 5}}]}), "/steps/0/setCanaryScale:"),
        (json!({"maxSurge": 0, "maxUnavailable": "0%"}), "/maxSurge:"),
        (json!({"minReplicas": 0}), "/minReplicas:"),
        (
            json!({"steps": [{"setWeight": 5}], "analysis": {"templates": ["load"], "startingStep": 1}}),
            "/analysis/startingStep:",
        ),
        (json!({"analysis": {"templates": []}}), "/analysis/templates:"),
    ] {
        let found = errors(&wrong, &four);
        assert_eq!(found.len(), 1, "{wrong}: {found:?}");
        assert!(found[0].starts_with(path), "{wrong}: {found:?}");
    }
    assert!(errors(&json!({"steps": [{"setWeight": 33.3}]}), &four).is_empty());
    assert!(errors(&json!({"steps": [{"setWeight": 50}, {"setWeight": 20}]}), &four).is_empty(), "a warning only");
    let coarse = ServiceView { weight_granularity: Weight::from_percent(5.0).unwrap(), ..service_view(4) };
    assert_eq!(errors(&json!({"steps": [{"setWeight": 12}]}), &coarse).len(), 1);
    assert_eq!(errors(&json!({"dynamicStableScale": true}), &without_split(4)).len(), 1);
}

#[test]
fn the_background_analysis_begins_where_it_should() {
    let steps = json!({"steps": [{"setWeight": 10}, {"setWeight": 50}],
        "analysis": {"templates": ["load"], "startingStep": 1}});
    let report = Simulation::new(service_view(4)).run::<Canary>(&steps).unwrap();
    let at = report.actions.iter().position(|action| matches!(action, Action::Watch(_))).unwrap();
    assert!(matches!(report.actions[at - 1], Action::SetWeight(weight) if weight.percent() == 10.0));
}

fn step() -> impl Strategy_ {
    prop_oneof![
        4 => (0u32..=1000).prop_map(|tenths| json!({"setWeight": f64::from(tenths) / 10.0})),
        1 => Just(json!({"pause": {"duration": "1s"}})),
        1 => Just(json!({"pause": {}})),
        1 => Just(json!({"analysis": {"templates": ["health"]}})),
        1 => (0u32..12).prop_map(|replicas| json!({"setCanaryScale": {"replicas": replicas}})),
        1 => (0u32..=100).prop_map(|weight| json!({"setCanaryScale": {"weight": weight}})),
        1 => Just(json!({"setCanaryScale": {"matchTrafficWeight": true}})),
    ]
}

use proptest::strategy::Strategy as PropStrategy;
trait Strategy_: PropStrategy<Value = Value> {}
impl<T: PropStrategy<Value = Value>> Strategy_ for T {}

proptest! {
    #[test]
    fn any_valid_plan_keeps_the_invariants_and_ends(
        replicas in 1u32..12,
        steps in prop::collection::vec(step(), 0..8),
        dynamic: bool,
        min_replicas in 1u32..4,
        deaths in prop::collection::vec(any::<bool>(), 0..40),
    ) {
        let service = service_view(replicas);
        let value = json!({"steps": steps, "dynamicStableScale": dynamic, "minReplicas": min_replicas});
        prop_assume!(errors(&value, &service).is_empty());
        let mut deaths = deaths.into_iter();
        let report = Simulation::new(service)
            .disturb(move |candidate| {
                if deaths.next() == Some(true) && candidate.available > 0 && candidate.weight == Weight::ZERO {
                    candidate.available -= 1;
                }
            })
            .run::<Canary>(&value)
            .map_err(TestCaseError::fail)?;
        prop_assert_eq!(report.ending, Ending::Promoted);
        prop_assert!(report.most_instances <= 2 * replicas.max(12));
    }

    #[test]
    fn instances_alone_make_the_share_too(
        replicas in 1u32..12,
        weights in prop::collection::vec(0u32..=100, 0..6),
        surge in 0u32..4,
        unavailable in 0u32..4,
    ) {
        let service = without_split(replicas);
        let steps: Vec<_> = weights.iter().map(|weight| json!({"setWeight": weight})).collect();
        let value = json!({"steps": steps, "maxSurge": surge, "maxUnavailable": unavailable});
        prop_assume!(errors(&value, &service).is_empty());
        let report = Simulation::new(service)
            .capacity(replicas.saturating_sub(unavailable))
            .run::<Canary>(&value)
            .map_err(TestCaseError::fail)?;
        prop_assert_eq!(report.ending, Ending::Promoted);
        prop_assert!(report.most_instances <= replicas + surge.max(u32::from(unavailable == 0)));
    }
}
