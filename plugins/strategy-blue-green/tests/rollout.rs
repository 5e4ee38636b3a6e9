//! Rollouts against a simulated host.
#![expect(clippy::unwrap_used, reason = "helpers of tests stop them")]

use basb_plugin::strategy::{Action, LastOutcome, ServiceView, Strategy};
use basb_plugin::testing::{Ending, Simulation, service_view};
use basb_plugin::{Severity, Verdict, Weight};
use proptest::prelude::*;
use serde_json::{Value, json};
use strategy_blue_green::BlueGreen;

fn problems(value: &Value, service: &ServiceView) -> Vec<(Severity, String)> {
    let config = serde_json::from_value(value.clone()).unwrap();
    BlueGreen::validate(&config, service).into_iter().map(|problem| (problem.severity, problem.path)).collect()
}

#[test]
fn the_order_of_events() {
    let value = json!({
        "previewReplicaCount": 1,
        "autoPromotionSeconds": 60,
        "prePromotionAnalysis": {"templates": ["health"]},
        "postPromotionAnalysis": {"templates": ["load"]},
    });
    let report = Simulation::new(service_view(3)).run::<BlueGreen>(&value).unwrap();
    let names: Vec<_> = report
        .actions
        .iter()
        .map(|action| match action {
            Action::Scale(scaling) => format!("scale {:?}", scaling.candidate.unwrap()),
            Action::SetWeight(weight) => format!("weight {weight}"),
            Action::Analyse(names) => format!("analyse {names:?}"),
            Action::AwaitPromotion(gate) => format!("wait {:?}", gate.timeout.unwrap()),
            other => format!("{other:?}"),
        })
        .collect();
    let expected =
        ["scale 1", "analyse [\"health\"]", "wait 60s", "scale 3", "weight 100 %", "analyse [\"load\"]", "Promote"];
    assert_eq!(names, expected);
}

#[test]
fn before_the_switch_nothing_is_switched_and_after_it_back() {
    for (key, switched) in [("prePromotionAnalysis", false), ("postPromotionAnalysis", true)] {
        let value = json!({key: {"templates": ["health"]}});
        let report = Simulation::new(service_view(2))
            .answer(|_| LastOutcome::Judged(Verdict::NoData))
            .run::<BlueGreen>(&value)
            .unwrap();
        assert!(matches!(report.ending, Ending::Aborted(_)));
        assert_eq!(report.weights.is_empty(), !switched);
    }
}

#[test]
fn the_time_that_is_up_promotes() {
    let value = json!({"autoPromotionSeconds": 5});
    let report = Simulation::new(service_view(2)).answer(|_| LastOutcome::TimedOut).run::<BlueGreen>(&value).unwrap();
    assert_eq!(report.ending, Ending::Promoted);
    let report = Simulation::new(service_view(2)).run::<BlueGreen>(&json!({"autoPromotionSeconds": 0})).unwrap();
    assert!(!report.actions.iter().any(|action| matches!(action, Action::AwaitPromotion(_))));
}

#[test]
fn what_is_wrong_is_said_with_its_path() {
    let two = service_view(2);
    let both = json!({"autoPromotionEnabled": false, "autoPromotionSeconds": 30});
    assert_eq!(problems(&both, &two), [(Severity::Error, "/autoPromotionSeconds".to_owned())]);
    let unknown = json!({"postPromotionAnalysis": {"templates": ["helth"]}});
    assert_eq!(problems(&unknown, &two), [(Severity::Error, "/postPromotionAnalysis/templates/0".to_owned())]);
    assert_eq!(problems(&json!({"previewReplicaCount": 0}), &two)[0].0, Severity::Error);
    assert_eq!(problems(&json!({"previewReplicaCount": 9}), &two)[0].0, Severity::Warning);
    let blind = ServiceView { abilities: vec!["split-traffic".into()], ..service_view(2) };
    assert_eq!(problems(&json!({"prePromotionAnalysis": {"templates": ["load"]}}), &blind)[0].0, Severity::Warning);
    assert!(problems(&json!({}), &two).is_empty());
}

proptest! {
    #[test]
    fn any_valid_plan_keeps_the_invariants_and_ends(
        replicas in 1u32..20,
        preview in prop::option::of(1u32..20),
        enabled: bool,
        seconds in prop::option::of(0u64..100),
        pre: bool,
        post: bool,
        initial: bool,
        deaths in prop::collection::vec(any::<bool>(), 0..40),
    ) {
        let service = ServiceView { initial, ..service_view(replicas) };
        let analysis = |there: bool| there.then(|| json!({"templates": ["health"]}));
        let value = json!({
            "previewReplicaCount": preview,
            "autoPromotionEnabled": enabled,
            "autoPromotionSeconds": if enabled { seconds } else { None },
            "prePromotionAnalysis": analysis(pre),
            "postPromotionAnalysis": analysis(post),
        });
        let mut deaths = deaths.into_iter();
        let report = Simulation::new(service)
            .disturb(move |candidate| {
                if deaths.next() == Some(true) && candidate.available > 0 && candidate.weight == Weight::ZERO {
                    candidate.available -= 1;
                }
            })
            .run::<BlueGreen>(&value)
            .map_err(TestCaseError::fail)?;
        prop_assert_eq!(report.ending, Ending::Promoted);
        prop_assert_eq!(report.weights.last(), Some(&100.0));
        prop_assert!(report.weights.iter().all(|weight| *weight == 100.0));
    }
}
