//! What a call leaves for the call after it.

use std::time::Duration;

use basb_plugin::provider::Progress;
use basb_plugin::{Failure, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::jitter::Jitter;

/// The version of the form that states have. A provider that reads states of an older form says so in its own type.
const VERSION: u32 = 1;
/// The first and the longest pause between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u32,
    s: T,
}

/// A state as text.
pub fn encode_state<T: Serialize>(state: &T) -> String {
    // What cannot be text (a map whose keys are no strings) reads as no state later, and the call begins again.
    serde_json::to_string(&Versioned { v: VERSION, s: state }).unwrap_or_default()
}

/// A state from text; none where the call begins.
///
/// # Errors
/// [`basb_plugin::FailureCode::Invalid`] for what no state of this provider is: a run that a newer version began.
pub fn decode_state<T: DeserializeOwned>(state: Option<&str>) -> Result<Option<T>, Failure> {
    let Some(text) = state.filter(|text| !text.is_empty()) else { return Ok(None) };
    match serde_json::from_str::<Versioned<T>>(text) {
        Ok(read) if read.v == VERSION => Ok(Some(read.s)),
        Ok(read) => Err(Failure::invalid(format!(
            "the call goes on from a state of form {}, and this version of the provider knows form {VERSION}: finish the \
             run with the version that began it",
            read.v
        ))),
        Err(error) => {
            Err(Failure::invalid(format!("the call goes on from a state that this provider did not make: {error}")))
        }
    }
}

/// What is waited for, since when, and how often it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting<T> {
    /// What a later call needs to know.
    pub what: T,
    /// Since when, in milliseconds since the Unix epoch.
    pub since: u64,
    /// How often it was looked at.
    pub looks: u32,
}

impl<T: Serialize + DeserializeOwned> Waiting<T> {
    /// Begins to wait.
    pub fn begin(what: T, now: Timestamp) -> Waiting<T> {
        Waiting { what, since: now.as_millis(), looks: 0 }
    }

    /// How long it has been waited for.
    pub fn waited(&self, now: Timestamp) -> Duration {
        now.since(Timestamp(self.since))
    }

    /// Goes on waiting: soon at first, then less and less often, spread by `jitter`; no sooner than the counterpart
    /// asked for, if it did.
    pub fn again(mut self, jitter: Jitter, asked: Option<Duration>, note: impl Into<String>) -> Progress {
        let doubled = PAUSES.0.saturating_mul(1 << self.looks.min(8));
        let pause = jitter.spread(doubled.min(PAUSES.1) / 2);
        self.looks = self.looks.saturating_add(1);
        let pause = asked.map_or(pause, |asked| pause.max(jitter.after(asked)));
        Progress::running(encode_state(&self), pause, note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basb_plugin::provider::Pending;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Step {
        arn: String,
    }

    #[test]
    fn a_state_comes_back() {
        let step = Step { arn: "arn:1".into() };
        let text = encode_state(&step);
        assert_eq!(text, r#"{"v":1,"s":{"arn":"arn:1"}}"#, "a form that outlives a process");
        assert_eq!(decode_state(Some(&text)).unwrap(), Some(step));
        assert_eq!(decode_state::<Step>(None).unwrap(), None);
        for (text, said) in
            [(r#"{"v":2,"s":{"arn":""}}"#, "form 2"), ("{}", "did not make"), ("draining", "did not make")]
        {
            assert!(decode_state::<Step>(Some(text)).unwrap_err().message.contains(said), "{text}");
        }
    }

    #[test]
    fn looks_become_rarer_and_never_stop() {
        let mut waiting = Waiting::begin(Step { arn: "x".into() }, Timestamp(1_000));
        assert_eq!(waiting.waited(Timestamp(4_000)), Duration::from_secs(3));
        let mut pauses = Vec::new();
        for _ in 0..40 {
            let Progress::Running(Pending { state, poll_after, .. }) = waiting.again(Jitter::of("k", 1), None, "")
            else {
                panic!()
            };
            pauses.push(poll_after);
            waiting = decode_state(Some(&state)).unwrap().unwrap();
        }
        assert_eq!(waiting.looks, 40);
        assert!(pauses[0] <= Duration::from_secs(1), "{pauses:?}");
        assert!(pauses.is_sorted() || pauses[39] >= Duration::from_secs(5), "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= PAUSES.1), "{pauses:?}");
        let asked = Some(Duration::from_secs(60));
        let Progress::Running(pending) = waiting.again(Jitter::of("k", 1), asked, "") else { panic!() };
        assert!(pending.poll_after >= Duration::from_secs(60));
    }
}
