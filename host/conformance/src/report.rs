//! What came of it: a table for people, JSON and JUnit for programs.

use crate::fault::Fault;
use basb_runtime::Kind;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The version of the JSON document.
pub const REPORT_VERSION: u32 = 1;

/// What came of one fault at one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All was as without it.
    Passed,
    /// It was not.
    Failed(String),
    /// The fault did not happen: it says nothing.
    Skipped(String),
}

/// One fault at one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The fault.
    pub fault: Fault,
    /// The step.
    pub step: String,
    /// The exchange in it, from 1.
    pub exchange: usize,
    /// What was asked for.
    pub what: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// One fault at one exchange, and why it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The fault.
    pub fault: Fault,
    /// The step.
    pub step: String,
    /// The exchange in it, from 1.
    pub exchange: usize,
    /// What was asked for.
    pub what: String,
    /// What is wrong.
    pub why: String,
}

/// How often a fault happened, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// How often it happened.
    pub injected: usize,
    /// How often all was as without it.
    pub passed: usize,
    /// How often it was not.
    pub failed: usize,
    /// How often it was to happen and did not.
    pub skipped: usize,
}

/// What came of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Its version.
    pub plugin_version: String,
    /// What it is.
    pub kind: Kind,
    /// The digest of its bytes.
    pub digest: String,
    /// What it talked to.
    pub counterpart: String,
    /// What was asked of it.
    pub steps: Vec<String>,
    /// How many calls the run without a fault took.
    pub calls: u64,
    /// How many exchanges it had.
    pub exchanges: usize,
    /// What is wrong without any fault, if anything is; no fault was injected then.
    pub without_fault: Option<String>,
    /// By fault.
    pub faults: BTreeMap<Fault, Counts>,
    /// Everything that is wrong.
    pub failures: Vec<Failure>,
    /// Every fault that did not happen.
    pub skipped: Vec<Failure>,
    /// Faults that were left out, and why they cannot happen.
    pub left_out: Vec<(Fault, String)>,
    /// The faults that were to happen.
    pub chosen: Vec<Fault>,
    /// At one exchange of so many.
    pub every: usize,
    /// Whether it was cut short at the first failure.
    pub cut_short: bool,
}

impl Report {
    /// What is wrong before any fault is looked at.
    fn not_tested(&self) -> Option<String> {
        let nothing = || (self.injected() == 0).then(|| "no fault happened, so nothing was tested".to_owned());
        self.without_fault.clone().or_else(nothing)
    }

    /// Whether it is the whole matrix: every fault that can happen, at every exchange. Anything less is a look.
    #[must_use]
    pub fn complete(&self) -> bool {
        let can = |fault: &Fault| !self.left_out.iter().any(|(out, _)| out == fault);
        let all = Fault::ALL.into_iter().filter(can).all(|fault| self.chosen.contains(&fault));
        all && self.every <= 1 && !self.cut_short && self.without_fault.is_none()
    }

    /// Whether the plugin is certified: without a fault, and with every one that happened. A plugin that no fault could
    /// happen to was not tested.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.not_tested().is_none() && self.failures.is_empty()
    }

    /// How many faults happened.
    #[must_use]
    pub fn injected(&self) -> usize {
        self.faults.values().map(|counts| counts.injected).sum()
    }

    /// How many of them changed nothing.
    #[must_use]
    pub fn unharmed(&self) -> usize {
        self.faults.values().map(|counts| counts.passed).sum()
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let faults: Vec<Value> = self
            .faults
            .iter()
            .map(|(fault, counts)| {
                json!({
                    "fault": fault.word(), "injected": counts.injected, "passed": counts.passed,
                    "failed": counts.failed, "skipped": counts.skipped,
                })
            })
            .collect();
        let told = |all: &[Failure]| -> Vec<Value> {
            let one = |f: &Failure| {
                json!({
                    "fault": f.fault.word(), "step": f.step, "exchange": f.exchange, "request": f.what, "why": f.why,
                })
            };
            all.iter().map(one).collect()
        };
        json!({
            "version": REPORT_VERSION,
            "plugin": {
                "name": self.name, "version": self.plugin_version, "kind": self.kind, "digest": self.digest,
            },
            "counterpart": self.counterpart,
            "passed": self.passed(),
            "complete": self.complete(),
            "every": self.every,
            "chosen": self.chosen.iter().map(|fault| fault.word()).collect::<Vec<_>>(),
            "notTested": self.not_tested(),
            "steps": self.steps,
            "calls": self.calls,
            "exchanges": self.exchanges,
            "withoutFault": self.without_fault,
            "faults": faults,
            "failures": told(&self.failures),
            "skipped": told(&self.skipped),
            "leftOut": self.left_out.iter().map(|(fault, why)| json!({ "fault": fault.word(), "why": why })).collect::<Vec<_>>(),
        })
    }

    /// As a table.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{} {} ({}), {}", self.name, self.plugin_version, self.kind, self.counterpart);
        let (steps, calls) = (self.steps.len(), self.calls);
        let _ = writeln!(text, "without a fault: {steps} steps, {calls} calls, {} exchanges", self.exchanges);
        if let Some(why) = &self.without_fault {
            let _ = writeln!(text, "\n  FAILED without a fault: {why}\n");
            return text;
        }
        let _ =
            writeln!(text, "\n  {:<16} {:>8} {:>8} {:>8} {:>8}", "fault", "injected", "passed", "failed", "skipped");
        for (fault, counts) in &self.faults {
            let Counts { injected, passed, failed, skipped } = counts;
            let _ = writeln!(text, "  {:<16} {injected:>8} {passed:>8} {failed:>8} {skipped:>8}", fault.word());
        }
        for (fault, why) in &self.left_out {
            let _ = writeln!(text, "  {:<16} left out: {why}", fault.word());
        }
        let _ = writeln!(text);
        for failure in &self.failures {
            let Failure { fault, step, exchange, what, why } = failure;
            let _ = writeln!(text, "  FAILED {fault} at {step}, exchange {exchange}: {what}\n         {why}");
        }
        if !self.skipped.is_empty() {
            let _ = writeln!(text, "  {} faults did not happen and say nothing", self.skipped.len());
        }
        if self.without_fault.is_none()
            && let Some(why) = self.not_tested()
        {
            let _ = writeln!(text, "  {why}");
        }
        let verdict = match (self.passed(), self.complete()) {
            (true, true) => "passed",
            (true, false) => "passed, in part",
            (false, _) => "FAILED",
        };
        let _ = writeln!(text, "{verdict}: {} of {} faults changed nothing", self.unharmed(), self.injected());
        text
    }

    /// As JUnit: one test case for each fault, one more for the run without any.
    #[must_use]
    pub fn junit(&self) -> String {
        let mut cases = String::new();
        let mut case = |name: &str, wrong: &[String], skipped: bool| {
            let _ = write!(cases, "  <testcase classname=\"{}\" name=\"{}\"", xml(&self.name), xml(name));
            match (wrong, skipped) {
                ([], false) => cases.push_str("/>\n"),
                ([], true) => cases.push_str("><skipped/></testcase>\n"),
                (wrong, _) => {
                    let _ = writeln!(
                        cases,
                        ">\n    <failure message=\"{}\">{}</failure>\n  </testcase>",
                        xml(wrong.first().map_or("", String::as_str)),
                        xml(&wrong.join("\n"))
                    );
                }
            }
        };
        case("without a fault", &self.not_tested().into_iter().collect::<Vec<_>>(), false);
        for (fault, counts) in &self.faults {
            let wrong = self.failures.iter().filter(|f| f.fault == *fault);
            let wrong: Vec<String> =
                wrong.map(|f| format!("{} exchange {}: {}: {}", f.step, f.exchange, f.what, f.why)).collect();
            case(fault.word(), &wrong, counts.injected == 0);
        }
        let failed = self.faults.values().filter(|c| c.failed > 0).count() + usize::from(self.not_tested().is_some());
        let chosen: Vec<&str> = self.chosen.iter().map(|fault| fault.word()).collect();
        let properties = [
            ("complete", self.complete().to_string()),
            ("every", self.every.to_string()),
            ("faults", chosen.join(" ")),
            ("digest", self.digest.clone()),
        ];
        let property =
            |(name, value): &(&str, String)| format!("    <property name=\"{name}\" value=\"{}\"/>\n", xml(value));
        let properties: String = properties.iter().map(property).collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\">\n  \
             <properties>\n{properties}  </properties>\n{cases}</testsuite>\n",
            xml(&self.name),
            self.faults.len() + 1,
        )
    }
}

/// Text that may stand in XML.
fn xml(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    clean.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let failure = Failure {
            fault: Fault::ResetAfter,
            step: "deploy-a".to_owned(),
            exchange: 2,
            what: "POST https://cloud.example/v1/<x>".to_owned(),
            why: "makes 2 of revision, and without the fault 1".to_owned(),
        };
        let counts = Counts { injected: 3, passed: 2, failed: 1, skipped: 0 };
        Report {
            name: "provider-x".to_owned(),
            plugin_version: "0.1.0".to_owned(),
            kind: Kind::Provider,
            digest: "sha256:0".to_owned(),
            counterpart: "scripted: x".to_owned(),
            steps: vec!["deploy-a".to_owned()],
            calls: 1,
            exchanges: 3,
            without_fault: None,
            faults: BTreeMap::from([(Fault::ResetAfter, counts)]),
            failures: vec![failure],
            skipped: Vec::new(),
            left_out: Vec::new(),
            chosen: Fault::ALL.to_vec(),
            every: 1,
            cut_short: false,
        }
    }

    #[test]
    fn a_failure_is_told_in_every_form() {
        let report = report();
        assert!(!report.passed());
        assert!(report.text().contains("FAILED reset-after at deploy-a, exchange 2"), "{}", report.text());
        let json = report.json();
        assert_eq!(json["failures"][0]["why"], "makes 2 of revision, and without the fault 1");
        assert_eq!((&json["passed"], &json["version"]), (&json!(false), &json!(1)));
        let junit = report.junit();
        assert!(junit.contains("failures=\"1\"") && junit.contains("&lt;x&gt;") && !junit.contains("<x>"), "{junit}");
    }

    #[test]
    fn what_was_not_tested_has_not_passed() {
        let mut report = report();
        report.failures.clear();
        report.faults.clear();
        assert!(!report.passed());
        assert!(report.junit().contains("failures=\"1\""), "{}", report.junit());
        report.faults.insert(Fault::ServerError, Counts { injected: 1, passed: 1, failed: 0, skipped: 0 });
        assert!(report.passed());
        report.without_fault = Some("deploy-a: no".to_owned());
        assert!(!report.passed());
    }

    #[test]
    fn a_part_of_the_matrix_is_no_certificate() {
        let mut whole = report();
        whole.failures.clear();
        assert!(whole.text().contains("\npassed: ") && whole.json()["complete"] == true, "{}", whole.text());
        let few = Report { chosen: vec![Fault::ResetAfter], ..whole.clone() };
        let seldom = Report { every: 3, ..whole.clone() };
        for part in [few, seldom, Report { cut_short: true, ..whole.clone() }] {
            assert!(part.passed() && part.text().contains("\npassed, in part: "), "{}", part.text());
            assert_eq!(part.json()["complete"], false);
            assert!(part.junit().contains("<property name=\"complete\" value=\"false\"/>"), "{}", part.junit());
        }
        // What cannot happen is no part that is missing.
        whole.chosen.retain(|fault| *fault != Fault::StaleRead);
        assert!(!whole.complete());
        whole.left_out.push((Fault::StaleRead, "one lock".to_owned()));
        assert!(whole.complete());
    }

    #[test]
    fn a_run_that_failed_says_why_in_json() {
        let mut report = report();
        report.failures.clear();
        report.faults.clear();
        assert_eq!(report.json()["notTested"], "no fault happened, so nothing was tested");
        report.without_fault = Some("deploy-a: no".to_owned());
        assert_eq!(report.json()["notTested"], "deploy-a: no");
    }
}
