//! Analyses and events as they are written.

use crate::read::{Count, Expression, Flag, NonEmpty, OrNever, Place, Reader, Shape, Text, or_variable, record};
use crate::tree::{Node, shorten};
use basb_core::event::Body;
use basb_core::{Millis, PluginName};
use schemars::{Schema, SchemaGenerator, json_schema};

record! {
    /// Repeated measurements under limits, ending in one verdict.
    AnalysisFile {
        /// What is measured; at least one.
        "metrics" metrics: required NonEmpty<MetricFile>;
    }
}

record! {
    /// One metric of an analysis. At least one of `successCondition` and `failureCondition` must be there.
    MetricFile {
        /// Its name.
        "name" name: required PluginName;
        /// The name of the probe that measures, under `probes`.
        "probe" probe: required PluginName;
        /// Time from one measurement to the next; at least 100ms. Without it there is one measurement.
        "interval" interval: optional Millis;
        /// Time before the first measurement.
        "initialDelay" initial_delay: default Millis = "0s";
        /// How many measurements; more than one needs an `interval`. With an interval and without a count it is endless,
        /// for analyses beside the steps of a rollout and for bakes.
        "count" count: optional Count<1>;
        /// A CEL expression about `result` that means success.
        "successCondition" success_condition: optional Expression;
        /// A CEL expression about `result` that means failure.
        "failureCondition" failure_condition: optional Expression;
        /// More failed measurements than this fail the metric; `never` never does.
        "failureLimit" failure_limit: default OrNever<Count<0>> = 0;
        /// More inconclusive measurements than this make the metric inconclusive.
        "inconclusiveLimit" inconclusive_limit: default Count<0> = 0;
        /// More errors in a row than this make the metric an error.
        "consecutiveErrorLimit" consecutive_error_limit: default Count<0> = 4;
        /// More empty measurements in a row than this make the metric no-data.
        "consecutiveNoDataLimit" consecutive_no_data_limit: default Count<0> = 4;
        /// So many successes in a row pass the metric at once; 0 is off.
        "consecutiveSuccessLimit" consecutive_success_limit: default Count<0> = 0;
        /// Fewer judged measurements than this are not enough for a pass.
        "minSamples" min_samples: default Count<1> = 1;
        /// Measured and shown, but without effect on the verdict.
        "dryRun" dry_run: default Flag = false;
    }
}

/// A kind of events, such as `run.started`, or with a trailing `*` all that begin so.
#[derive(Debug, Clone)]
pub(crate) struct EventPattern(pub(crate) String);

impl Shape for EventPattern {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        let Text(text) = Text::read(node, place, reader)?;
        let stem = text.strip_suffix('*').unwrap_or(&text);
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
        if text.is_empty() || !stem.bytes().all(fine) {
            let message = format!("`{}` is not a kind of events", shorten(&text));
            let help = "write `run.*`, `*` or the whole kind, in small letters";
            reader.problem_with_help(place, "spec/bad-event", message, help);
            return None;
        }
        // One that never happens would leave somebody without the news that they count on.
        let known = Body::KINDS.iter().copied();
        let happens = |kind: &str| if stem == text { kind == stem } else { kind.starts_with(stem) };
        if !known.clone().any(happens) {
            let message = format!("there are no events of the kind `{}`", shorten(&text));
            let near = crate::suggest::nearest(&text, known).map(|near| format!("did you mean `{near}`?"));
            let help = near.unwrap_or_else(|| "docs/events.md has every kind".to_owned());
            reader.problem_with_help(place, "spec/unknown-event", message, help);
            return None;
        }
        Some(Self(text))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": or_variable("^([a-z0-9.-]+\\*?|\\*)$") })
    }
}
