//! What came of it: counted, and said.

use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What became of a disturbed run, or of several.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many runs.
    pub runs: u64,
    /// How often a process was killed.
    pub kills: u64,
    /// Effects of the undisturbed run that are missing.
    pub lost: Vec<String>,
    /// Effects that the undisturbed run has not, or has fewer of.
    pub doubled: Vec<String>,
    /// What else differs at the end.
    pub differs: Vec<String>,
    /// Requests of users that failed.
    pub failed_requests: Vec<String>,
    /// Requests of users.
    pub requests: u64,
    /// Requests that were under way through an agent that was killed, or came while there was none.
    pub cut_off: u64,
}

impl Outcome {
    /// One run, of which nothing is known yet.
    #[must_use]
    pub fn one() -> Self {
        Self { runs: 1, ..Self::default() }
    }

    /// Adds that of another run, with its name.
    pub fn add(&mut self, name: &str, other: Self) {
        let named = |texts: Vec<String>| texts.into_iter().map(|text| format!("{name}: {text}")).collect::<Vec<_>>();
        self.runs += other.runs;
        self.kills += other.kills;
        self.lost.extend(named(other.lost));
        self.doubled.extend(named(other.doubled));
        self.differs.extend(named(other.differs));
        self.failed_requests.extend(named(other.failed_requests));
        self.requests += other.requests;
        self.cut_off += other.cut_off;
    }
}

/// The counts of one part.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Disturbed runs.
    pub runs: u64,
    /// Kills.
    pub kills: u64,
    /// Effects lost.
    pub lost: u64,
    /// Effects done twice.
    pub doubled: u64,
    /// In how many respects runs ended otherwise than the undisturbed one.
    pub end_state_differs: u64,
    /// Requests of users that failed.
    pub failed_requests: u64,
    /// Requests of users.
    pub requests: u64,
    /// Requests under way through a killed agent, or sent while there was none: no proxy can answer them.
    pub cut_off: u64,
    /// The time of the part in seconds.
    pub seconds: f64,
    /// The time of a disturbed run in milliseconds, from copying the state to comparing the end, in the mean.
    pub ms_per_run: u64,
    /// The first faults, in words.
    pub faults: Vec<String>,
}

/// The whole report.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The version of this form.
    pub version: u32,
    /// The seed of everything that is random.
    pub seed: u64,
    /// Kills in all.
    pub kills: u64,
    /// Effects lost.
    pub lost: u64,
    /// Effects done twice.
    pub doubled: u64,
    /// In how many respects runs ended otherwise than the undisturbed one.
    pub end_state_differs: u64,
    /// Requests of users that failed.
    pub failed_requests: u64,
    /// Part by part.
    pub parts: Vec<Part>,
}

impl Report {
    /// Adds a part.
    pub fn add(&mut self, part: Part) {
        self.kills += part.kills;
        self.lost += part.lost;
        self.doubled += part.doubled;
        self.end_state_differs += part.end_state_differs;
        self.failed_requests += part.failed_requests;
        self.parts.push(part);
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn good(&self) -> bool {
        self.lost + self.doubled + self.end_state_differs + self.failed_requests == 0
            && self.parts.iter().all(|part| part.faults.is_empty())
    }
}

/// Counts while many work.
#[derive(Debug)]
pub struct Tally {
    part: Mutex<Part>,
    busy: Mutex<Duration>,
    began: Instant,
}

/// So many faults are told in words.
const MOST_FAULTS: usize = 20;
/// After so many runs it is said how far it is.
const SAY_EVERY: u64 = 50;

impl Tally {
    /// Begins a part.
    #[must_use]
    pub fn begin(name: &str) -> Self {
        let part = Part { name: name.to_owned(), ..Part::default() };
        Self { part: Mutex::new(part), busy: Mutex::new(Duration::ZERO), began: Instant::now() }
    }

    /// Takes the outcome of a disturbed run in.
    pub fn take(&self, what: &str, took: Duration, outcome: Result<Outcome, String>) {
        let mut part = self.part.lock().unwrap_or_else(PoisonError::into_inner);
        *self.busy.lock().unwrap_or_else(PoisonError::into_inner) += took;
        let say = |part: &mut Part, kind: &str, texts: &[String]| {
            for text in texts {
                let text = format!("{what}: {kind}: {text}");
                if part.faults.len() < MOST_FAULTS {
                    crate::say(&format!("   {text}"));
                    part.faults.push(text);
                }
            }
        };
        let before = part.runs;
        match outcome {
            Ok(outcome) => {
                part.runs += outcome.runs;
                part.kills += outcome.kills;
                part.lost += outcome.lost.len() as u64;
                part.doubled += outcome.doubled.len() as u64;
                part.end_state_differs += outcome.differs.len() as u64;
                part.failed_requests += outcome.failed_requests.len() as u64;
                part.requests += outcome.requests;
                part.cut_off += outcome.cut_off;
                say(&mut part, "lost", &outcome.lost);
                say(&mut part, "done twice", &outcome.doubled);
                say(&mut part, "end state", &outcome.differs);
                say(&mut part, "failed request", &outcome.failed_requests);
            }
            Err(why) => {
                part.runs += 1;
                part.end_state_differs += 1;
                say(&mut part, "did not get to its end", &[why]);
            }
        }
        if before / SAY_EVERY < part.runs / SAY_EVERY {
            crate::say(&format!(
                "   … {} runs, {} kills, {} lost, {} done twice, {} end otherwise, {} requests failed",
                part.runs, part.kills, part.lost, part.doubled, part.end_state_differs, part.failed_requests
            ));
        }
    }

    /// Ends the part.
    #[must_use]
    pub fn end(self) -> Part {
        let mut part = self.part.into_inner().unwrap_or_else(PoisonError::into_inner);
        let busy = self.busy.into_inner().unwrap_or_else(PoisonError::into_inner);
        part.seconds = (self.began.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        part.ms_per_run = u64::try_from(busy.as_millis()).unwrap_or(0).checked_div(part.runs).unwrap_or(0);
        crate::say(&format!(
            "   {} runs, {} kills, {} lost, {} done twice, {} end otherwise, {} of {} requests failed{}, {} s, {} ms a run",
            part.runs,
            part.kills,
            part.lost,
            part.doubled,
            part.end_state_differs,
            part.failed_requests,
            part.requests,
            if part.cut_off > 0 { format!(", {} cut off with the agent", part.cut_off) } else { String::new() },
            part.seconds,
            part.ms_per_run
        ));
        part
    }
}

/// Which of two multisets has what the other has not: `(missing, more)`.
#[must_use]
pub fn difference(wanted: &[String], found: &[String]) -> (Vec<String>, Vec<String>) {
    let mut rest: Vec<&String> = found.iter().collect();
    let mut missing = Vec::new();
    for one in wanted {
        match rest.iter().position(|other| *other == one) {
            Some(place) => {
                rest.remove(place);
            }
            None => missing.push(one.clone()),
        }
    }
    (missing, rest.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_more() {
        let all = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let (missing, more) = difference(&all(&["a", "b", "b"]), &all(&["b", "c", "a", "c"]));
        assert_eq!((missing, more), (all(&["b"]), all(&["c", "c"])));
    }

    #[test]
    fn anything_wrong_is_not_good() {
        let tally = Tally::begin("x");
        tally.take("one", Duration::ZERO, Ok(Outcome { kills: 1, ..Outcome::one() }));
        let mut report = Report::default();
        report.add(tally.end());
        assert!(report.good());
        let tally = Tally::begin("y");
        tally.take("two", Duration::ZERO, Err("why".to_owned()));
        report.add(tally.end());
        assert!(!report.good());
        assert_eq!((report.kills, report.end_state_differs), (1, 1));
    }
}
