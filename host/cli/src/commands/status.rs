//! `basb-host status`.

use super::session;
use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use basb_engine::{Session, StatusReport};
use console::style;
use std::path::Path;
use std::time::Duration;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Shows what is deployed; with `watch` until nothing is unfinished.
pub async fn run(watch: bool, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let mut shown = String::new();
    loop {
        let report = session.status().await?;
        let text = match printer.form() {
            Form::Json => serde_json::to_string(&report).unwrap_or_default(),
            Form::Text => text(&report),
        };
        // Only what changed is worth a person's attention, or a program's.
        if text != shown {
            if watch && printer.can_draw() {
                printer.raw(b"\x1b[H\x1b[2J");
            }
            printer.line(&text);
            shown = text;
        }
        if !watch || report.unfinished.is_empty() {
            return Ok(Exit::Done);
        }
        wait(&session).await;
    }
}

async fn wait(_session: &Session) {
    tokio::time::sleep(LOOK).await;
}

fn text(report: &StatusReport) -> String {
    let mut lines = Vec::new();
    for deployed in &report.deployed {
        lines.push(format!(
            "{}  {}/{}  stable {}  {} instances, since {}",
            style(&deployed.service).bold(),
            deployed.deployment,
            deployed.environment,
            deployed.revision,
            deployed.replicas,
            deployed.since
        ));
    }
    if lines.is_empty() && report.unfinished.is_empty() {
        lines.push("nothing is deployed yet".to_owned());
    }
    for run in &report.unfinished {
        let at_work = match &run.held {
            Some(held) => format!("at work: {}", held.sentence()),
            None => "nobody is at work on it".to_owned(),
        };
        lines.push(format!(
            "unfinished run {} of {}/{}, {at_work}:",
            style(&run.run).bold(),
            run.deployment,
            run.environment
        ));
        for gate in &run.gates {
            let agreed = gate.needs.map_or_else(String::new, |needs| {
                let who = if gate.approvals.is_empty() { "nobody yet".to_owned() } else { gate.approvals.join(", ") };
                format!("; {} of {needs} approvals ({who}) to plan {}", gate.approvals.len(), gate.plan)
            });
            lines.push(format!("  gate {}: {}{agreed}", gate.gate, gate.reason));
        }
        for s in &run.services {
            let step = s.step.as_deref().map_or(String::new(), |s| format!("  step {s}"));
            let doing = s.doing.as_deref().map_or(String::new(), |d| format!("  {d}"));
            let paused = s.paused.as_deref().map_or(String::new(), |p| format!("  paused by {p}"));
            lines.push(format!(
                "  {}  {}  {} at {}{step}{doing}{paused}",
                s.service, s.phase, s.candidate, s.candidate_weight
            ));
        }
    }
    lines.join("\n")
}
