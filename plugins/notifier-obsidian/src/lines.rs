//! What an event has to say, and where in the log.

use crate::document::{Line, Missing, Section};
use crate::time::Local;
use basb_plugin::notifier::Event;
use serde_json::Value;

/// The lines for an event.
pub(crate) fn of(event: &Event, local: &Local) -> Vec<Line> {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    let said = Said { event, data, time: local.time() };
    let own = |section| vec![said.line(section, &event.key, said.plain())];
    match event.kind.as_str() {
        "run.started" => {
            let reference = format!("- run {0}: `basb-host show {0}`", event.run);
            vec![
                said.line(Section::Goals, &format!("goal-{}", event.run), format!("- [ ] {}", said.goal())),
                said.line(Section::References, &format!("ref-{}", event.run), reference),
            ]
        }
        "run.finished" => said.finished(),
        "service.promoted" => own(Section::Deployments),
        // How a service is, not what was done: one line for each, the newest.
        "service.unchanged" => {
            vec![said.line(Section::Health, &format!("health-{}", said.service()), said.plain())]
        }
        // The incident that follows describes it.
        "service.aborted" => own(Section::Alerts),
        "service.failed" | "service.skipped" | "incident.opened" => own(Section::Description),
        "service.rollback-failed" => vec![
            said.line(Section::Description, &event.key, said.plain()),
            said.line(Section::Alerts, &format!("{}-alert", event.key), said.plain()),
        ],
        "service.rolled-back" | "gate.passed" => own(Section::ActionsTaken),
        // A probe that measures again says the same thing anew.
        "probe.measured" => {
            let word = |name| said.field(name).unwrap_or("any");
            let service = said.service();
            if word("phase") == "readiness" {
                let key = format!("health-{service}-{}", word("probe"));
                return vec![said.line(Section::Health, &key, said.plain())];
            }
            let key = format!("probe-{}-{service}-{}-{}", event.run, word("phase"), word("probe"));
            vec![said.line(Section::Testing, &key, said.plain())]
        }
        "analysis.finished" => own(Section::Testing),
        "gate.opened" | "drift.found" | "warning" => own(Section::Alerts),
        _ => own(Section::Health),
    }
}

struct Said<'a> {
    event: &'a Event,
    data: Value,
    time: String,
}

impl Said<'_> {
    fn field(&self, name: &str) -> Option<&str> {
        self.data.get(name).and_then(Value::as_str)
    }

    fn service(&self) -> &str {
        self.event.service.as_deref().unwrap_or("any")
    }

    /// Time, a sign, whom it is about, and the title.
    fn plain(&self) -> String {
        let whom = self.event.service.as_deref().unwrap_or(&self.event.deployment);
        format!("- {} {} **{whom}** {}", self.time, self.sign(), self.event.title)
    }

    fn sign(&self) -> &'static str {
        let bad = || match self.event.severity {
            basb_plugin::Severity::Info => None,
            basb_plugin::Severity::Warning => Some("⚠️"),
            basb_plugin::Severity::Error => Some("❌"),
        };
        match (self.field("verdict"), self.event.kind.as_str()) {
            (Some("pass"), _) | (None, "service.promoted" | "service.rolled-back") => "✅",
            (Some("fail" | "error"), _) => "❌",
            (Some(_), _) => "⚠️",
            (None, _) => bad().unwrap_or("ℹ️"),
        }
    }

    fn goal(&self) -> String {
        let mut text = format!("deploy **{}** to {}", self.event.deployment, self.event.environment);
        let services = self.data.get("services").and_then(Value::as_object).into_iter().flatten();
        let list: Vec<String> = services
            .map(|(name, revision)| match revision.as_str() {
                Some(revision) => format!("{name} {revision}"),
                None => name.clone(),
            })
            .collect();
        if !list.is_empty() {
            text.push_str(&format!(": {}", list.join(", ")));
        }
        text
    }

    fn finished(&self) -> Vec<Line> {
        // The word is the engine's; an unknown one is not taken for a success.
        let done = self.field("outcome") == Some("done");
        let event = self.event;
        let sign = if done { "✅" } else { "❌" };
        let text = format!("- {} {sign} **{}** to {}: {}", self.time, event.deployment, event.environment, event.title);
        let mut lines = vec![self.line(Section::Deployments, &event.key, text.clone())];
        if done {
            let goal = format!("- [x] deploy **{}** to {}: {}", event.deployment, event.environment, event.title);
            let mut goal = self.line(Section::Goals, &format!("goal-{}", event.run), goal);
            goal.missing = Missing::Leave;
            lines.push(goal);
        } else {
            lines.push(self.line(Section::Alerts, &format!("{}-alert", event.key), text));
        }
        lines
    }

    fn line(&self, section: Section, key: &str, text: String) -> Line {
        Line::new(section, key, self.event.at.0, &text)
    }
}
