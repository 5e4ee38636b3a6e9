//! The notifier against a fake receiver.

use super::*;
use basb_plugin::http::HttpError;
use basb_plugin::testing::{FakeHost, Reply};
use basb_plugin::{Severity, Timestamp};
use serde_json::{Value, json};

const URL: &str = "https://hooks.example.com/x";

fn event() -> Event {
    Event {
        key: "0123abcd".into(),
        at: Timestamp(1_767_323_045_000),
        kind: "service.aborted".into(),
        severity: Severity::Error,
        deployment: "second-brain".into(),
        environment: "local".into(),
        run: "01ab".into(),
        service: Some("capture".into()),
        revision: Some("r3".into()),
        title: "giving <r3> up\nback to r2".into(),
        data: json!({"kind": "service.aborted", "reason": "it fails"}).to_string(),
    }
}

fn notify(host: &FakeHost, more: Value) -> Result<Receipt, Failure> {
    let mut config = json!({"url": URL});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    WebhookNotifier::notify(&host.notifier_context(), &serde_json::from_value(config).unwrap(), &event())
}

fn sent(more: Value) -> Request {
    let method = more["method"].as_str().unwrap_or("POST").to_owned();
    let host = FakeHost::new().respond(&method, URL, Reply::status(204));
    assert_eq!(notify(&host, more).unwrap().summary, "answered 204");
    host.requests().remove(0)
}

#[test]
fn the_event_is_sent_with_its_key() {
    let request = sent(json!({"headers": {"X-Team": "a"}, "timeout": "3s"}));
    assert_eq!(request.header_value("idempotency-key"), Some("0123abcd"));
    assert_eq!(
        (request.header_value("content-type"), request.header_value("x-team")),
        (Some("application/json"), Some("a"))
    );
    assert_eq!(request.timeout, Some(Duration::from_secs(3)));
    let expected = json!({
        "version": 1, "key": "0123abcd", "at": 1_767_323_045_000_u64, "kind": "service.aborted", "severity": "error",
        "deployment": "second-brain", "environment": "local", "run": "01ab", "service": "capture", "revision": "r3",
        "title": "giving <r3> up\nback to r2", "data": {"kind": "service.aborted", "reason": "it fails"},
    });
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), expected);
}

#[test]
fn slack_and_text_read_well() {
    let slack: Value = serde_json::from_slice(&sent(json!({"format": "slack", "method": "PUT"})).body).unwrap();
    assert_eq!(slack["text"], "capture: giving &lt;r3&gt; up\nback to r2");
    assert_eq!(slack["blocks"][0]["text"]["text"], ":x: *capture* giving &lt;r3&gt; up\nback to r2");
    assert_eq!(
        slack["blocks"][1]["elements"][0]["text"],
        "second-brain in local · run `01ab` · revision `r3` · service.aborted"
    );
    let text = sent(json!({"format": "text", "headers": {"Content-Type": "text/x-log"}}));
    let line = "[error] second-brain/capture (local) service.aborted: giving <r3> up back to r2\n";
    assert_eq!(String::from_utf8(text.body).unwrap(), line);
    let kinds: Vec<_> = text.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type")).collect();
    assert_eq!(kinds.len(), 1);
}

#[test]
fn only_what_may_pass_is_tried_again() {
    let after = |status: u16, header: Option<&str>| {
        let mut response = Reply::text(status, "why");
        response.headers.extend(header.map(|value| ("retry-after".to_owned(), value.to_owned())));
        notify(&FakeHost::new().respond("POST", URL, response), json!({})).unwrap_err()
    };
    let seconds = |n| Retry::After(Duration::from_secs(n));
    for (status, header, retry) in [
        (429, Some("7"), seconds(7)),
        (503, Some("99999"), seconds(3600)),
        (503, Some("Wed, 21 Oct 2015 07:28:00 GMT"), seconds(30)),
        (500, None, seconds(30)),
        (400, None, Retry::Never),
        (404, Some("7"), Retry::Never),
        (301, None, Retry::Never),
    ] {
        let failure = after(status, header);
        assert_eq!(failure.retry, retry, "{status}");
        assert!(failure.message.contains(&status.to_string()) && failure.message.contains("why"));
    }
}

#[test]
fn what_did_not_arrive_is_tried_again_and_a_refusal_is_not() {
    let with = |error| notify(&FakeHost::new().fail("POST", URL, error), json!({})).unwrap_err().retry;
    assert!(matches!(with(HttpError::Connect("x".into())), Retry::After(_)));
    assert!(matches!(with(HttpError::Broken("x".into())), Retry::After(_)));
    assert_eq!(with(HttpError::Denied("x".into())), Retry::Never);
}

#[test]
fn wrong_configurations_are_refused() {
    for wrong in [
        json!({}),
        json!({"url": URL, "format": "xml"}),
        json!({"url": URL, "timeout": "1"}),
        json!({"url": URL, "x": 1}),
    ] {
        assert!(serde_json::from_value::<Config>(wrong.clone()).is_err(), "{wrong}");
    }
}
