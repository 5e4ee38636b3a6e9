//! Sends every event to a URL, as JSON, as plain text, or in the form that Slack reads.
//!
//! **Must never** hold a credential, or leave the receiver without a way to tell a repeat: every request carries the
//! event's key as `Idempotency-Key`.

mod format;

pub use format::{FORMAT_VERSION, Format};

use basb_plugin::config::HumanDuration;
use basb_plugin::http::{Request, Response};
use basb_plugin::notifier::{Event, Info, Notifier, NotifierContext, Receipt};
use basb_plugin::{Failure, FailureCode, Retry};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The configuration; its meaning is told in the schema of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Where events are sent.
    pub url: String,
    /// The request's method.
    #[serde(default = "post")]
    pub method: String,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What is sent.
    #[serde(default)]
    pub format: Format,
    /// The longest to wait for the answer.
    #[serde(default = "ten_seconds")]
    pub timeout: HumanDuration,
}

/// Without a word from the receiver, a delivery is tried again after this time.
const PAUSE: Duration = Duration::from_secs(30);

/// No receiver keeps a delivery waiting for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The notifier.
#[derive(Debug)]
pub struct WebhookNotifier;

impl Notifier for WebhookNotifier {
    type Config = Config;

    fn describe() -> Info {
        Info::every_event()
    }

    fn notify(cx: &NotifierContext, config: &Config, event: &Event) -> Result<Receipt, Failure> {
        let (kind, body) = config.format.render(event);
        let mut request = Request::new(&config.method, &config.url).body(body).timeout(config.timeout.0);
        let given = |name: &str| config.headers.keys().any(|known| known.eq_ignore_ascii_case(name));
        for (name, value) in [("content-type", kind), ("idempotency-key", event.key.as_str())] {
            if !given(name) {
                request = request.header(name, value);
            }
        }
        for (name, value) in &config.headers {
            request = request.header(name, value);
        }
        let response = cx.http().send(request)?;
        if response.is_success() {
            return Ok(Receipt::new(format!("answered {}", response.status)));
        }
        Err(refusal(&response))
    }
}

basb_plugin::export!(WebhookNotifier as notifier);

/// What an answer that is no success means: too many requests and trouble at the receiver pass, everything else stays.
fn refusal(response: &Response) -> Failure {
    let code = match response.status {
        429 => FailureCode::Throttled,
        500..=599 => FailureCode::Unavailable,
        401 | 403 => FailureCode::Denied,
        404 | 410 => FailureCode::NotFound,
        _ => FailureCode::Invalid,
    };
    let retry = match response.status {
        429 | 500..=599 => {
            let asked = response.header("retry-after").and_then(|value| value.trim().parse().ok());
            Retry::After(asked.map_or(PAUSE, Duration::from_secs).min(LONGEST_PAUSE))
        }
        _ => Retry::Never,
    };
    let said = match (response.header("location"), response.excerpt(200)) {
        (Some(place), _) if response.is_redirect() => format!(", a redirect to {place}: set `url` to it"),
        (_, excerpt) if excerpt.is_empty() => String::new(),
        (_, excerpt) => format!(": {excerpt}"),
    };
    Failure::new(code, format!("the receiver answered {}{said}", response.status), retry)
}

fn post() -> String {
    "POST".to_owned()
}

fn ten_seconds() -> HumanDuration {
    HumanDuration(Duration::from_secs(10))
}

#[cfg(test)]
mod tests;
