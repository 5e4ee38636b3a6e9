//! Rollouts against a simulated host.
#![expect(clippy::unwrap_used, reason = "helpers of tests stop them")]

use basb_plugin::strategy::{Action, LastOutcome, ServiceView, Strategy};
use basb_plugin::testing::{Ending, Simulation, service_view};
use basb_plugin::{Severity, Verdict, Weight};
use proptest::prelude::*;
use serde_json::{Value, json};
use strategy_rolling::Rolling;

fn problems(value: &Value, service: &ServiceView) -> Vec<(Severity, String)> {
    let config = serde_json::from_value(value.clone()).unwrap();
    Rolling::validate(&config, service).into_iter().map(|problem| (problem.severity, problem.path)).collect()
}

#[test]
fn batches_add_move_and_then_take() {
    let report = Simulation::new(service_view(4)).capacity(3).run::<Rolling>(&json!({})).unwrap();
    let names: Vec<_> = report
        .actions
        .iter()
        .map(|action| match action {
            Action::Scale(scaling) => format!("{:?}/{:?}", scaling.candidate, scaling.stable),
            Action::SetWeight(weight) => weight.to_string(),
            other => format!("{other:?}"),
        })
        .collect();
    let expected =
        ["Some(1)/None", "33.33 %", "None/Some(2)", "Some(3)/None", "100 %", "None/Some(0)", "Some(4)/None", "Promote"];
    assert_eq!(names, expected);
    assert_eq!(report.most_instances, 5);
}

#[test]
fn a_single_instance_is_replaced_without_a_gap() {
    let report = Simulation::new(service_view(1)).run::<Rolling>(&json!({})).unwrap();
    assert_eq!(report.weights, [100.0]);
    assert_eq!(report.most_instances, 2);
}

#[test]
fn a_batch_that_fails_restores_what_was_taken() {
    let value = json!({"analysis": {"templates": ["health"]}});
    let report = Simulation::new(service_view(4))
        .capacity(3)
        .answer(|_| LastOutcome::Judged(Verdict::Fail))
        .run::<Rolling>(&value)
        .unwrap();
    assert!(matches!(report.ending, Ending::Aborted(_)));
    let before = &report.actions[report.actions.len() - 2];
    assert!(matches!(before, Action::Scale(scaling) if scaling.stable == Some(4)), "{before:?}");
}

#[test]
fn what_is_wrong_is_said_with_its_path() {
    let four = service_view(4);
    assert_eq!(
        problems(&json!({"maxSurge": "0%", "maxUnavailable": 0}), &four),
        [(Severity::Error, "/maxSurge".into())]
    );
    assert_eq!(problems(&json!({"maxParallel": 0}), &four), [(Severity::Error, "/maxParallel".into())]);
    assert_eq!(problems(&json!({"maxUnavailable": 3}), &four), [(Severity::Error, "/maxUnavailable".into())]);
    assert!(problems(&json!({"maxUnavailable": 2}), &four).is_empty(), "the host lets half of them be missing");
    let unknown = json!({"analysis": {"templates": ["helth"]}});
    assert_eq!(problems(&unknown, &four), [(Severity::Error, "/analysis/templates/0".into())]);
    assert!(problems(&json!({}), &four).is_empty());
}

fn amount() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::strategy::Strategy as _;
    prop_oneof![(0u32..6).prop_map(|count| json!(count)), (0u32..=100).prop_map(|share| json!(format!("{share}%")))]
}

proptest! {
    #[test]
    fn any_valid_plan_keeps_the_invariants_and_ends(
        replicas in 1u32..20,
        surge in amount(),
        unavailable in amount(),
        parallel in prop::option::of(1u32..6),
        splits: bool,
        checked: bool,
        initial: bool,
        deaths in prop::collection::vec(any::<bool>(), 0..40),
    ) {
        let mut service = ServiceView { initial, ..service_view(replicas) };
        if !splits {
            service.abilities.clear();
        }
        let value = json!({
            "maxSurge": surge,
            "maxUnavailable": unavailable,
            "maxParallel": parallel,
            "analysis": checked.then(|| json!({"templates": ["health"]})),
        });
        prop_assume!(!problems(&value, &service).iter().any(|(severity, _)| *severity == Severity::Error));
        let whole: basb_plugin::config::Amount = serde_json::from_value(surge).unwrap();
        let surge = whole.of_rounded_up(replicas);
        let part: basb_plugin::config::Amount = serde_json::from_value(unavailable).unwrap();
        let missing = part.of_rounded_down(replicas).min(replicas - 1);
        let mut deaths = deaths.into_iter();
        let report = Simulation::new(service)
            .capacity(replicas - missing)
            .disturb(move |candidate| {
                if splits && deaths.next() == Some(true) && candidate.available > 0 && candidate.weight == Weight::ZERO {
                    candidate.available -= 1;
                }
            })
            .run::<Rolling>(&value)
            .map_err(TestCaseError::fail)?;
        prop_assert_eq!(report.ending, Ending::Promoted);
        let surge = if surge == 0 && missing == 0 { 1 } else { surge };
        prop_assert!(report.most_instances <= replicas + surge);
        prop_assert!(report.weights.is_sorted(), "{:?}", report.weights);
    }
}
