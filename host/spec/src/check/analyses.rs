//! Analyses that could never give the verdict they are meant to give.

use crate::diagnostic::Diagnostic;
use crate::read::{At, Count, Reader};
use crate::shape::{DeploymentFile, MetricFile};
use basb_core::Millis;
use std::collections::BTreeMap;

/// Faster than this measures the probe, not the service.
const SHORTEST_INTERVAL: Millis = Millis(100);

pub(crate) fn check(file: &DeploymentFile, reader: &mut Reader<'_>) {
    let analyses = file.analyses.iter().flat_map(|analyses| analyses.value.values());
    for metrics in analyses.filter_map(|(_, analysis)| analysis.metrics.as_ref()) {
        let mut names = BTreeMap::new();
        for metric in &metrics.value.0 {
            check_metric(metric, reader);
            let Some(name) = &metric.value.name else { continue };
            if let Some(first) = names.insert(name.value.as_str(), name.place.span) {
                let message = format!("two metrics of an analysis are named `{}`", name.value);
                reader.push(
                    Diagnostic::at(reader.source, name.place.span, &name.place.pointer, "spec/duplicate-name", message)
                        .with_label("again here")
                        .with_also(first, "first here")
                        .with_help("give each metric a name of its own"),
                );
            }
        }
    }
}

fn check_metric(At { value: metric, place }: &At<MetricFile>, reader: &mut Reader<'_>) {
    // What is there but wrong has been told already, and is asked for with `has` for that reason.
    if !metric.has("successCondition") && !metric.has("failureCondition") {
        let place = metric.name.as_ref().map_or(place, |name| &name.place);
        reader.problem_with_help(
            place,
            "spec/no-condition",
            "a metric needs a `successCondition` or a `failureCondition`",
            "write `successCondition: result.verdict == \"pass\"` for the probe's own opinion",
        );
    }
    match (&metric.interval, &metric.count) {
        (Some(interval), _) if interval.value < SHORTEST_INTERVAL => {
            let message = format!("an interval of {} is too short; the least is {SHORTEST_INTERVAL}", interval.value);
            reader.problem(&interval.place, "spec/out-of-range", message);
        }
        (None, Some(At { value: Count(count), place })) if *count > 1 && !metric.has("interval") => {
            let message = format!("{count} measurements need an `interval` between them");
            reader.problem_with_help(place, "spec/no-interval", message, "add `interval: 10s`");
        }
        _ => {}
    }
    let count = match (&metric.count, &metric.interval) {
        (Some(count), _) => count.value.0,
        (None, None) if !metric.has("count") && !metric.has("interval") => 1,
        _ => return,
    };
    let limits = [
        ("minSamples", &metric.min_samples.as_ref().map(|at| (at.value.0, &at.place))),
        ("consecutiveSuccessLimit", &metric.consecutive_success_limit.as_ref().map(|at| (at.value.0, &at.place))),
    ];
    for (key, limit) in limits {
        if let Some((limit, place)) = limit
            && *limit > count
        {
            let message = format!("`{key}` ({limit}) is more than the number of measurements ({count})");
            let help = "such a metric can never pass; make `count` larger or this smaller";
            reader.problem_with_help(place, "spec/unreachable", message, help);
        }
    }
}
