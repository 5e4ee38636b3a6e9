use super::*;
use basb_plugin::testing::{FakeHost, Reply};
use serde_json::json;

fn target() -> Target {
    Target { service: "capture".into(), revision: None, url: "http://it:80/".into(), extras: Vec::new() }
}

fn check(host: &FakeHost, config: Value) -> Measurement {
    let config = serde_json::from_value(config).unwrap();
    HttpProbe::check(&host.probe_context(), &config, &target()).unwrap()
}

/// Answers with these, one after the other.
fn answers(list: Vec<Result<Response, HttpError>>) -> FakeHost {
    list.into_iter().fold(FakeHost::new(), |host, answer| match answer {
        Ok(response) => host.respond("GET", "http://it:80/", response),
        Err(error) => host.fail("GET", "http://it:80/", error),
    })
}

#[test]
fn a_right_answer_passes() {
    let host = FakeHost::new().respond("POST", "http://it:80/health?x=1", Reply::text(204, ""));
    let config =
        json!({"path": "/health?x=1", "method": "POST", "headers": {"x-a": "b"}, "body": "text", "timeout": "1500ms"});
    let measured = check(&host, config);
    assert_eq!(measured.verdict, Verdict::Pass);
    assert_eq!(measured.summary, "answered 204 in 5.0 ms");
    assert_eq!((measured.get("status"), measured.get("latency_ms")), (Some(204.0), Some(5.0)));
    let sent = &host.requests()[0];
    assert_eq!((sent.header_value("x-a"), sent.body.as_slice()), (Some("b"), &b"text"[..]));
    assert_eq!(sent.timeout, Some(Duration::from_millis(1500)));
}

#[test]
fn each_expectation_can_fail() {
    let body = json!({"status": "up", "load": 1.0});
    let cases = [
        (json!({"status": [201, "300-399"]}), "status 200 is not expected"),
        (json!({"contains": ["up", "down"]}), "the body does not contain `down`"),
        (json!({"json": {"/status": "down"}}), "`/status` is \"up\" and should be \"down\""),
        (json!({"json": {"/load": 1, "/more": true}}), "`/more` is missing and should be true"),
        (json!({"maxLatency": "4ms"}), "took 5.0 ms, more than 4.0 ms"),
    ];
    for (expect, words) in cases {
        let measured = check(&answers(vec![Ok(Reply::json(200, &body))]), json!({"expect": expect}));
        assert_eq!(measured.verdict, Verdict::Fail, "{expect}");
        assert!(measured.summary.contains(words), "{}", measured.summary);
    }
    let all =
        json!({"status": ["200"], "contains": ["up"], "json": {"/load": 1, "": body.clone()}, "maxLatency": "5ms"});
    assert_eq!(check(&answers(vec![Ok(Reply::json(200, &body))]), json!({"expect": all})).verdict, Verdict::Pass);
    let text = check(&answers(vec![Ok(Reply::text(200, "<html>"))]), json!({"expect": {"json": {"/a": 1}}}));
    assert!(text.summary.contains("no JSON"), "{}", text.summary);
}

#[test]
fn many_requests_are_one_measurement() {
    let mut list: Vec<_> = (0..9).map(|_| Ok(Reply::text(200, "fine"))).collect();
    list.insert(4, Ok(Reply::text(503, "busy")));
    let config = json!({"requests": 10});
    let measured = check(&answers(list.clone()), config);
    assert_eq!(measured.verdict, Verdict::Fail);
    assert_eq!(measured.get("success_rate"), Some(0.9));
    assert_eq!((measured.get("failures"), measured.get("status")), (Some(1.0), Some(503.0)));
    assert_eq!(measured.get_fact("statuses"), Some("200: 9, 503: 1"));
    assert_eq!(check(&answers(list), json!({"requests": 10, "minSuccessRate": 0.9})).verdict, Verdict::Pass);
}

#[test]
fn nothing_asked_for_is_no_data() {
    let host = FakeHost::new();
    assert_eq!(check(&host, json!({"requests": 0})).verdict, Verdict::NoData);
    assert!(host.requests().is_empty());
}

#[test]
fn a_service_that_is_not_there_fails_and_a_refusal_is_an_error() {
    let gone = check(&answers(vec![Err(HttpError::Connect("refused".into()))]), json!({}));
    assert_eq!(gone.verdict, Verdict::Fail);
    assert_eq!((gone.get("success_rate"), gone.get("latency_ms")), (Some(0.0), None));
    for error in [HttpError::Denied("add this".into()), HttpError::Dns("it".into()), HttpError::Exhausted("64".into())]
    {
        let measured = check(&answers(vec![Ok(Reply::text(200, "")), Err(error)]), json!({"requests": 2}));
        assert_eq!(measured.verdict, Verdict::Error);
    }
}

#[test]
fn percentiles_are_nearest_ranks() {
    let times: Vec<_> = (1..=20).map(Duration::from_millis).collect();
    let at = |percent| percentile(&times, percent).map(|d| d.as_millis());
    assert_eq!((at(50), at(95), at(100)), (Some(10), Some(19), Some(20)));
    assert_eq!(percentile(&[], 50), None);
}

#[test]
fn wrong_configurations_are_refused() {
    for wrong in [
        json!({"timeout": "5"}),
        json!({"expect": {"status": ["299-200"]}}),
        json!({"expect": {"status": [99]}}),
        json!({"retries": 3}),
    ] {
        assert!(serde_json::from_value::<Config>(wrong.clone()).is_err(), "{wrong}");
    }
}
