//! Whether what a provider says under a fault is true: the same call is made once more without the fault, beside the run.
//!
//! A read that takes an error for an answer does no harm in a run of the kit, which looks again; in a run of the engine
//! somebody acts on it.

use super::provider::service;
use super::{Driver, End, Failed, json};
use crate::counterpart::Pace;
use crate::differences::short;
use basb_runtime::wit::provider::InstanceReport;
use basb_runtime::wit::types;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What came of a call.
type Called<T> = Result<Result<T, types::Failure>, Failed>;

impl Driver<'_> {
    /// The same call without a fault, which is no part of the run: what is asked for now is what is there now.
    async fn straight<T: DeserializeOwned>(
        &mut self,
        function: &str,
        args: impl Fn(types::CallContext) -> String,
    ) -> Called<T> {
        let config = self.config();
        let (aside, calls) = (self.stage().door.set_aside(), self.calls);
        let called = self.call(function, None, &config, args).await;
        self.stage().door.put_back(aside);
        self.calls = calls;
        called
    }

    /// Who was not answered fails, or says what it would have said: nobody could see in what it says that it is a guess.
    pub(super) async fn must_be_true(
        &mut self,
        function: &str,
        args: impl Fn(types::CallContext) -> String,
        said: &Value,
    ) -> Result<(), End> {
        let would: Called<Value> = self.straight(function, args).await;
        let would = match would {
            Ok(Ok(value)) => value,
            Ok(Err(failure)) => Value::from(failure.message),
            Err(failed) => Value::from(failed.message),
        };
        // At a counterpart with a clock of its own, something happened in the meantime.
        let same = match self.stage().door.counterpart().pace() {
            Pace::Virtual => would == *said,
            Pace::Real => lasting(&would) == lasting(said),
        };
        if same {
            return Ok(());
        }
        let (said, would) = (short(said), short(&would));
        Err(End::Wrong(format!(
            "`{function}` succeeds although it was not answered as it should be: it says {said}, and without the fault {would}"
        )))
    }

    /// Traffic follows a report that enough instances are there, so after a fault it is looked at once more whether they are.
    /// How many more there are is nothing that anybody acts on: an old answer may still name those that are ended.
    pub(super) async fn must_be_available(&mut self, revision: &str, enough: u32) -> Result<(), End> {
        if !self.stage().door.was_hit() {
            return Ok(());
        }
        let now: Called<InstanceReport> = self.straight("instances", |cx| json(&(cx, service(), revision))).await;
        let are = match now {
            Ok(Ok(report)) if report.available >= enough => return Ok(()),
            Ok(Ok(report)) => format!("{} are", report.available),
            Ok(Err(failure)) => failure.message,
            Err(failed) => failed.message,
        };
        Err(End::Wrong(format!(
            "says that {enough} instances of {revision} are available, and without the fault: {are}"
        )))
    }
}

/// What of an answer does not change while somebody looks.
fn lasting(value: &Value) -> Value {
    let moment = ["available", "instances", "hopeless", "version"];
    match value {
        Value::Object(all) => {
            let kept = all.iter().filter(|(name, _)| !moment.contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), lasting(value))).collect()
        }
        Value::Array(all) => all.iter().map(lasting).collect(),
        other => other.clone(),
    }
}
