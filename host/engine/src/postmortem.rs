//! What happened in a run, from its journal alone: when, why, what was rolled back, what could not be undone, and what
//! says so.

use crate::history::rebuild;
use crate::{EngineError, RunView, check_tapes};
use basb_core::event::{Body, Event, Severity};
use basb_core::run::{Record, RunOutcome, ServiceOutcome};
use basb_core::{PluginName, RevisionId, RunId, ServiceName, Timestamp};
use basb_journal::{Journal, VerifyError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Postmortem {
    /// The version of this form.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// The deployment.
    pub deployment: ServiceName,
    /// The environment.
    pub environment: PluginName,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How it ended; none while it has not.
    pub outcome: Option<RunOutcome>,
    /// Why it did not come to a good end; none where it did.
    pub cause: Option<String>,
    /// Each service that changed or was to change.
    pub services: Vec<ServicePostmortem>,
    /// What could not be undone.
    pub not_undone: Vec<String>,
    /// Everything worth telling, in order.
    pub timeline: Vec<TimelineLine>,
    /// Calls of plugins that did not come to their end.
    pub failed_calls: Vec<FailedCall>,
    /// How often the run was taken up again.
    pub resumed: u32,
    /// How many records it has.
    pub records: u64,
    /// The end of its chain of hashes; none when the chain is broken.
    pub head: Option<String>,
    /// What of the journal is not as it was written.
    pub doubts: Vec<String>,
}

/// What became of a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePostmortem {
    /// The service.
    pub service: ServiceName,
    /// How it ended.
    pub outcome: Option<ServiceOutcome>,
    /// The revision that it was to get.
    pub candidate: RevisionId,
    /// The revision that it came from.
    pub stable: Option<RevisionId>,
    /// Why it was given up.
    pub reason: Option<String>,
    /// The record that says so.
    pub seq: Option<u64>,
    /// The revision that has all traffic again, and the time from the abort to that, in milliseconds.
    pub rolled_back: Option<(Option<RevisionId>, u64)>,
    /// What could not be undone.
    pub not_undone: Vec<String>,
}

/// A line of what happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineLine {
    /// When.
    pub at: Timestamp,
    /// The record.
    pub seq: u64,
    /// The service.
    pub service: Option<ServiceName>,
    /// How much it matters.
    pub severity: Severity,
    /// The event's kind.
    pub kind: String,
    /// What happened.
    pub text: String,
}

/// A call of a plugin that did not come to its end, or that was refused something.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedCall {
    /// When.
    pub at: Timestamp,
    /// The record.
    pub seq: u64,
    /// The service.
    pub service: Option<ServiceName>,
    /// The plugin.
    pub plugin: PluginName,
    /// The function.
    pub function: String,
    /// The code of what ended it.
    pub outcome: String,
    /// What it did last.
    pub last: Option<String>,
    /// The number of its tape.
    pub tape: Option<u64>,
}

/// Tells what happened in a run.
///
/// # Errors
/// [`EngineError`] when there is no such run, or its journal cannot be understood.
pub async fn postmortem(journal: &Journal, run: &str) -> Result<Postmortem, EngineError> {
    let run = journal.run(run).await?.start.run;
    let entries = journal.entries(&run, 1).await?;
    let view = rebuild(&run, &entries)?;
    let mut doubts = Vec::new();
    let head = match journal.verify(&run).await {
        Ok(head) => Some(head.hash.to_string()),
        Err(VerifyError::Broken(broken)) => {
            doubts.push(broken.to_string());
            None
        }
        Err(VerifyError::Journal(e)) => return Err(e.into()),
    };
    doubts.extend(check_tapes(journal, &run).await?.into_iter().map(|tampered| tampered.why));
    let mut failed_calls = Vec::new();
    for entry in entries.iter().filter(|entry| entry.kind == "called") {
        let record: Record = serde_json::from_str(&entry.body).map_err(|e| EngineError::Entry {
            run: run.to_string(),
            seq: entry.seq,
            why: e.to_string(),
        })?;
        let Record::Called { service, call } = record else { continue };
        if call.outcome == "ok" {
            continue;
        }
        failed_calls.push(FailedCall {
            at: entry.at,
            seq: entry.seq,
            service,
            last: call.calls.last().map(|last| format!("{}: {} -> {}", last.capability, last.what, last.outcome)),
            plugin: call.plugin,
            function: call.function,
            outcome: call.outcome,
            tape: call.tape.map(|tape| tape.call),
        });
    }
    Ok(told(view, failed_calls, head, doubts))
}

fn told(view: RunView, failed_calls: Vec<FailedCall>, head: Option<String>, doubts: Vec<String>) -> Postmortem {
    let start = view.run.start();
    let mut services: BTreeMap<ServiceName, ServicePostmortem> = start
        .services
        .iter()
        .map(|(name, from)| {
            let of = ServicePostmortem {
                service: name.clone(),
                outcome: view.run.services().get(name).and_then(|s| s.outcome()),
                candidate: from.candidate.clone(),
                stable: from.stable.as_ref().map(|s| s.revision.clone()),
                reason: None,
                seq: None,
                rolled_back: None,
                not_undone: Vec::new(),
            };
            (name.clone(), of)
        })
        .collect();
    let mut cause: Option<String> = None;
    let mut resumed = 0;
    let mut finished_at = None;
    for event in &view.events {
        match &event.body {
            Body::RunResumed {} => resumed += 1,
            Body::RunFinished { .. } => finished_at = Some(event.at),
            _ => {}
        }
        let Some(of) = event.service.as_ref().and_then(|name| services.get_mut(name)) else { continue };
        match &event.body {
            Body::Aborted { reason, .. } | Body::Failed { reason } | Body::RollbackFailed { reason } => {
                let place = format!("{}: {reason} (record {})", of.service, event.seq);
                cause.get_or_insert(place);
                of.reason.get_or_insert_with(|| reason.clone());
                of.seq.get_or_insert(event.seq);
            }
            Body::RolledBack { revision, took, not_undone } => {
                of.rolled_back = Some((revision.clone(), took.0));
                of.not_undone.clone_from(not_undone);
            }
            _ => {}
        }
    }
    let services: Vec<ServicePostmortem> = services.into_values().collect();
    let named = |of: &ServicePostmortem| of.not_undone.iter().map(|what| format!("{}: {what}", of.service)).collect();
    let not_undone = services.iter().flat_map(|of| -> Vec<String> { named(of) }).collect();
    Postmortem {
        version: 1,
        run: view.run.id().clone(),
        deployment: start.deployment.name.clone(),
        environment: start.deployment.environment.clone(),
        started_at: view.events.first().map_or(view.last, |event| event.at),
        finished_at,
        outcome: view.run.finished(),
        cause,
        not_undone,
        services,
        timeline: view.events.iter().filter(|event| matters(event)).map(line).collect(),
        failed_calls,
        resumed,
        records: view.seq,
        head,
        doubts,
    }
}

/// Single measurements that passed are in `show`; what somebody wants to read afterwards is what they led to.
fn matters(event: &Event) -> bool {
    !matches!(event.body, Body::MetricMeasured { .. } if event.body.severity() == Severity::Info)
}

fn line(event: &Event) -> TimelineLine {
    TimelineLine {
        at: event.at,
        seq: event.seq,
        service: event.service.clone(),
        severity: event.body.severity(),
        kind: event.body.kind().to_owned(),
        text: event.body.title(),
    }
}

impl Postmortem {
    /// The report as Markdown, which reads as plain text too.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // What a plugin says may have lines of its own: none of them begins as one of the report's does.
        let mut put = |line: &str| {
            text.push_str(&line.replace('\n', "\n    | "));
            text.push('\n');
        };
        let outcome = self.outcome.map_or("not finished", RunOutcome::sentence);
        put(&format!("# Run {}: {} on {}, {outcome}", self.run, self.deployment, self.environment));
        put("");
        let end = self.finished_at.map_or_else(|| "it has not ended".to_owned(), |at| format!("ended {at}"));
        put(&format!(
            "Began {}, {end}. {} records, taken up again {} times.",
            self.started_at, self.records, self.resumed
        ));
        put("");
        put("## Cause");
        put("");
        put(&sentence(self.cause.as_deref().unwrap_or("nothing failed")));
        put("");
        put("## Services");
        put("");
        for of in &self.services {
            let mut line = format!("- {}: {}", of.service, of.outcome.map_or("not finished".to_owned(), word));
            let _ = write!(line, ", {}", of.candidate);
            if let Some(stable) = &of.stable {
                let _ = write!(line, " in place of {stable}");
            }
            if let Some((back, took)) = &of.rolled_back {
                let to =
                    back.as_ref().map_or("nothing had traffic before".to_owned(), |r| format!("all traffic on {r}"));
                let _ = write!(line, "; rolled back, verified after {took} ms: {to}");
            }
            if let Some(reason) = &of.reason {
                let _ = write!(line, "; {reason}");
            }
            put(&line);
        }
        put("");
        put("## Not undone");
        put("");
        match self.not_undone.is_empty() {
            true => put("Nothing that is known of."),
            false => self.not_undone.iter().for_each(|what| put(&format!("- {what}"))),
        }
        put("");
        put("## Failed calls of plugins");
        put("");
        if self.failed_calls.is_empty() {
            put("None.");
        }
        for call in &self.failed_calls {
            let service = call.service.as_ref().map_or_else(String::new, |s| format!(" for {s}"));
            let last = call.last.as_ref().map_or_else(String::new, |last| format!("; last: {last}"));
            let tape = call.tape.map_or_else(String::new, |n| format!(", tape {n}"));
            put(&format!(
                "- {} {}.{}{service}: {}{last} (record {}{tape})",
                call.at, call.plugin, call.function, call.outcome, call.seq
            ));
        }
        put("");
        put("## Timeline");
        put("");
        for line in &self.timeline {
            let mark = match line.severity {
                Severity::Info => "",
                Severity::Warning => "warning: ",
                Severity::Error => "error: ",
            };
            let service = line.service.as_ref().map_or_else(String::new, |s| format!("{s}: "));
            put(&format!("- {} #{} {mark}{service}{}", line.at, line.seq, line.text));
        }
        put("");
        put("## Evidence");
        put("");
        match &self.head {
            Some(head) => put(&format!("The records are as they were written: their chain ends in {head}.")),
            None => put("The records are not as they were written."),
        }
        for doubt in &self.doubts {
            put(&format!("- {doubt}"));
        }
        put(&format!("Every line above names its record: `basb-host show {}`.", self.run));
        text
    }
}

fn word(outcome: ServiceOutcome) -> String {
    serde_json::to_value(outcome).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}
