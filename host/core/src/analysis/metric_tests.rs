use super::*;
use crate::PluginName;
use proptest::prelude::*;

fn metric() -> Metric {
    Metric {
        name: PluginName::new("m").unwrap(),
        probe: PluginName::new("p").unwrap(),
        interval: Some(Millis::secs(1)),
        initial_delay: Millis::ZERO,
        count: Some(3),
        success_condition: Some("result.verdict == 'pass'".into()),
        failure_condition: Some("result.verdict == 'fail'".into()),
        failure_limit: Some(0),
        inconclusive_limit: 0,
        consecutive_error_limit: 4,
        consecutive_no_data_limit: 4,
        consecutive_success_limit: 0,
        min_samples: 1,
        dry_run: DryRun::No,
    }
}

fn sample(verdict: Verdict) -> Sample {
    Sample { verdict, summary: verdict.to_string(), values: Default::default(), facts: Default::default() }
}

fn run(metric: Metric, verdicts: &[Verdict]) -> MetricRun {
    let mut run = MetricRun::new(metric, Stop::AtCount, Timestamp(0));
    for (i, v) in verdicts.iter().enumerate() {
        run.record(&sample(*v), Timestamp(1000 * i as u64));
    }
    run
}

use Verdict::{Error, Fail, Inconclusive, NoData, Pass};

#[test]
fn the_limits() {
    assert_eq!(run(metric(), &[Pass, Pass]).verdict(), None);
    assert_eq!(run(metric(), &[Pass, Pass, Pass]).verdict(), Some(Pass));
    assert_eq!(run(metric(), &[Pass, Fail]).verdict(), Some(Fail));
    let tolerant = Metric { failure_limit: Some(1), ..metric() };
    assert_eq!(run(tolerant.clone(), &[Fail, Pass, Pass]).verdict(), Some(Pass));
    assert_eq!(run(tolerant, &[Fail, Fail]).verdict(), Some(Fail));
    assert_eq!(run(Metric { failure_limit: None, ..metric() }, &[Fail, Fail, Fail]).verdict(), Some(Inconclusive));
    assert_eq!(run(metric(), &[Inconclusive]).verdict(), Some(Inconclusive));
    assert_eq!(run(metric(), &[Error; 4]).verdict(), None);
    assert_eq!(run(metric(), &[Error; 5]).verdict(), Some(Error));
    assert_eq!(run(metric(), &[NoData; 5]).verdict(), Some(NoData));
    assert_eq!(run(metric(), &[Pass, Error, Pass, NoData, Pass]).verdict(), Some(Pass));
    let eager = Metric { consecutive_success_limit: 2, ..metric() };
    assert_eq!(run(eager.clone(), &[Pass, Pass]).verdict(), Some(Pass));
    let eager = Metric { failure_limit: Some(5), ..eager };
    assert_eq!(run(eager, &[Pass, Fail, Pass]).verdict(), Some(Inconclusive));
    assert_eq!(run(Metric { min_samples: 5, ..metric() }, &[Pass; 3]).verdict(), Some(Inconclusive));
}

#[test]
fn ended_before_anything_was_measured_is_inconclusive() {
    let mut run = run(metric(), &[]);
    run.close();
    assert_eq!(run.verdict(), Some(Inconclusive));
}

#[test]
fn a_deadline_ends_an_endless_metric() {
    let endless = Metric { count: None, ..metric() };
    let mut run = MetricRun::new(endless, Stop::At(Timestamp(2500)), Timestamp(0));
    for at in [0, 1000] {
        run.record(&sample(Pass), Timestamp(at));
        assert_eq!(run.verdict(), None);
    }
    run.record(&sample(Pass), Timestamp(2000));
    assert_eq!(run.verdict(), Some(Pass));
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(Pass), Just(Fail), Just(Inconclusive), Just(Error), Just(NoData)]
}

proptest! {
    /// Promise 4: only `pass` moves traffic forward. No history without a passing measurement ends in a pass, none
    /// whose last measurement was an error or empty does, and more failures than the limit never do.
    #[test]
    fn no_pass_without_a_passing_measurement(
        verdicts in prop::collection::vec(any_verdict(), 0..20),
        count in prop::option::of(1u32..6), limit in prop::option::of(0u32..3), row in 0u32..3, min in 1u32..4,
    ) {
        let metric = Metric { count, failure_limit: limit, consecutive_success_limit: row, min_samples: min, ..metric() };
        let mut run = run(metric, &verdicts);
        run.close();
        let seen = &verdicts[..run.taken() as usize];
        if run.verdict() == Some(Pass) {
            prop_assert!(seen.contains(&Pass));
            prop_assert!(!matches!(seen.last(), Some(Error | NoData)));
            prop_assert!(seen.iter().filter(|v| matches!(v, Pass | Fail | Inconclusive)).count() as u32 >= min);
            if let Some(limit) = limit {
                prop_assert!(seen.iter().filter(|v| **v == Fail).count() as u32 <= limit);
            }
        }
    }
}
