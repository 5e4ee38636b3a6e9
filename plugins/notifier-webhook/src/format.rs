//! An event in the words of its receiver.

use basb_plugin::Severity;
use basb_plugin::notifier::Event;
use serde::Deserialize;
use serde_json::{Value, json};

/// The version of the JSON form. Readers must ignore fields that they do not know.
pub const FORMAT_VERSION: u32 = 1;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The event with all its data.
    #[default]
    Json,
    /// `text` and `blocks`.
    Slack,
    /// One line.
    Text,
}

impl Format {
    /// Content type and body.
    pub(crate) fn render(self, event: &Event) -> (&'static str, Vec<u8>) {
        match self {
            Self::Json => ("application/json", json_form(event).to_string().into_bytes()),
            Self::Slack => ("application/json", slack(event).to_string().into_bytes()),
            Self::Text => ("text/plain; charset=utf-8", format!("{}\n", line(event)).into_bytes()),
        }
    }
}

fn json_form(event: &Event) -> Value {
    // Data that is no JSON is passed on as the text that it is.
    let data = serde_json::from_str(&event.data).unwrap_or_else(|_| Value::from(event.data.as_str()));
    json!({
        "version": FORMAT_VERSION,
        "key": event.key,
        "at": event.at.as_millis(),
        "kind": event.kind,
        "severity": word(event.severity),
        "deployment": event.deployment,
        "environment": event.environment,
        "run": event.run,
        "service": event.service,
        "revision": event.revision,
        "title": event.title,
        "data": data,
    })
}

fn slack(event: &Event) -> Value {
    let sign = match event.severity {
        Severity::Info => ":information_source:",
        Severity::Warning => ":warning:",
        Severity::Error => ":x:",
    };
    let whom = escaped(event.service.as_deref().unwrap_or(&event.deployment));
    let title = escaped(&event.title);
    let mut about = vec![format!("{} in {}", escaped(&event.deployment), escaped(&event.environment))];
    about.push(format!("run `{}`", escaped(&event.run)));
    about.extend(event.revision.as_deref().map(|revision| format!("revision `{}`", escaped(revision))));
    about.push(escaped(&event.kind));
    json!({
        "text": format!("{whom}: {title}"),
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": format!("{sign} *{whom}* {title}")}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": about.join(" · ")}]},
        ],
    })
}

/// What Slack's markup needs; blocks take 3000 characters at the most.
fn escaped(text: &str) -> String {
    let short: String = text.chars().take(500).collect();
    short.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn line(event: &Event) -> String {
    let whom = event.service.as_deref().map(|service| format!("/{service}")).unwrap_or_default();
    let text = format!(
        "[{}] {}{whom} ({}) {}: {}",
        word(event.severity),
        event.deployment,
        event.environment,
        event.kind,
        event.title
    );
    text.replace(['\r', '\n'], " ")
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}
