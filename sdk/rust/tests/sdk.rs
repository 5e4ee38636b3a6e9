//! What plugin authors rely on.
#![expect(clippy::unwrap_used, reason = "helpers of tests stop them")]

use std::time::Duration;

use basb_plugin::doors::{Exchange, Expectation, FilesError, TcpError, TcpReply};
use basb_plugin::http::{HttpError, Request, Response};
use basb_plugin::script::{Script, ScriptState};
use basb_plugin::strategy::{Action, Decision, RolloutView, Scaling, ServiceView, StepPreview, Strategy};
use basb_plugin::testing::{FakeHost, Reply, Simulation, check_manifest, file_digest, service_view};
use basb_plugin::{Failure, FailureCode, NoConfig, Problem, Retry, Weight};
use serde::Deserialize;
use serde_json::{Value, json};

#[test]
fn weights_are_hundredths() {
    assert_eq!(Weight::from_percent(33.3).unwrap().hundredths(), 3330);
    assert_eq!(Weight::from_percent(100.5), None);
    assert_eq!(Weight::from_percent(f64::NAN), None);
    let shown: Vec<_> = [0, 5, 1000, 1250, 1255].map(|w| Weight::from_hundredths(w).to_string()).into();
    assert_eq!(shown, ["0 %", "0.05 %", "10 %", "12.5 %", "12.55 %"]);
    assert_eq!(Weight::from_percent(10.0).unwrap().replicas_up(4), 1);
    assert_eq!(Weight::FULL.replicas_up(u32::MAX), u32::MAX);
}

#[test]
fn shares_are_whole_grains_and_neither_nothing_nor_everything() {
    let share = |part, rest, grain| Weight::share(part, rest, Weight::from_hundredths(grain)).hundredths();
    assert_eq!((share(0, 4, 1), share(4, 0, 1), share(1, 2, 1)), (0, 10_000, 3333));
    assert_eq!((share(1, 2, 100), share(1, 1000, 500), share(1000, 1, 500)), (3300, 500, 9500));
    assert_eq!((share(1, 1, 0), share(1, 3, 10_000)), (5000, 5000));
}

#[test]
fn a_status_becomes_the_failure_that_it_stands_for() {
    let failure = |status, headers: &[(&str, &str)]| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Response { status, headers, body: b"first line\nsecond".to_vec(), ..Response::default() }.to_failure()
    };
    assert_eq!(failure(404, &[]).code, FailureCode::NotFound);
    assert_eq!(failure(403, &[]).retry, Retry::Never);
    assert_eq!(failure(429, &[("retry-after", "7")]).retry, Retry::After(Duration::from_secs(7)));
    assert_eq!(failure(503, &[]).code, FailureCode::Unavailable);
    assert!(failure(500, &[]).message.ends_with("500: first line"));
    let long = Response { body: "ä".repeat(500).into_bytes(), ..Response::default() };
    assert_eq!(long.excerpt(10), format!("{}…", "ä".repeat(10)));
    assert!(Reply::text(200, "no").json::<Value>().unwrap_err().message.contains("status 200"));
}

#[test]
fn the_fake_host_answers_in_turn_and_remembers() {
    let host = FakeHost::new().respond("POST", "http://a/", Reply::json(200, &json!({"n": 1}))).respond(
        "POST",
        "http://a/",
        Reply::json(200, &json!({"n": 2})),
    );
    let cx = host.notifier_context();
    let send = || cx.http().send(Request::post("http://a/").json(&json!({"x": 1}))).unwrap().json::<Value>().unwrap();
    assert_eq!([send(), send(), send()], [json!({"n": 1}), json!({"n": 2}), json!({"n": 2})]);
    assert_eq!(host.requests()[0].header_value("Content-Type"), Some("application/json"));
    let nowhere = cx.http().send_many(vec![Request::get("http://b/")]);
    assert!(matches!(&nowhere[..], [Err(HttpError::Connect(_))]));
    cx.log().warn("careful");
    assert_eq!(host.log_lines()[0].1, "careful");
}

#[test]
fn the_fake_host_has_files_with_digests() {
    let host = FakeHost::new().file("vault", "log/a.md", "one");
    let cx = host.notifier_context();
    let files = cx.files();
    let there = files.read("vault", "log/a.md").unwrap();
    assert_eq!(there.digest, file_digest(b"one"));
    host.interfere_once("vault", "log/a.md", "somebody else");
    let stale = Expectation::Digest(there.digest);
    assert!(matches!(files.write("vault", "log/a.md", b"two", &stale), Err(FilesError::Conflict(_))));
    files.write("vault", "log/b.md", b"new", &Expectation::Absent).unwrap();
    let names: Vec<_> = files.list("vault", "log").unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["a.md", "b.md"]);
    assert_eq!(files.read_if_there("vault", "none").unwrap(), None);
    assert!(matches!(files.read("other", "x"), Err(FilesError::Denied(_))));
    assert_eq!(host.file_text("vault", "log/a.md").unwrap(), "somebody else");
}

#[test]
fn the_fake_host_speaks_tcp() {
    let host = FakeHost::new().tcp("h", 1, Ok(TcpReply { received: b"PONG".to_vec(), ..TcpReply::default() }));
    let cx = host.probe_context();
    let exchange = Exchange::connect("h", 1, Duration::from_secs(1)).send("PING").read_up_to(4);
    assert_eq!(cx.tcp().run(exchange).unwrap().received, b"PONG");
    let refused = cx.tcp().run(Exchange::connect("h", 2, Duration::from_secs(1)));
    assert_eq!(refused, Err(TcpError::Refused("h:2".into())));
    assert_eq!(Failure::from(refused.unwrap_err()).code, FailureCode::Unavailable);
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    #[expect(dead_code, reason = "only read")]
    limit: u32,
}

#[test]
fn a_manifest_that_does_not_fit_is_found_out() {
    let good = json!({
        "manifestVersion": 1, "name": "p", "version": "1.0.0", "kind": "probe", "publisher": "me", "wit": "0.1",
        "capabilities": [{"name": "http", "reason": "asks"}],
        "configSchema": {"type": "object", "additionalProperties": false,
            "properties": {"limit": {"type": "integer", "description": "how many", "default": 3}}},
    });
    let problems = |value: &Value| check_manifest::<Config>(&value.to_string(), "p", "1.0.0", "probe");
    assert_eq!(problems(&good), Vec::<String>::new());
    for (pointer, value, says) in [
        ("/name", json!("q"), "name is `q`"),
        ("/version", json!("1.0.1"), "version is `1.0.1`"),
        ("/kind", json!("notifier"), "kind is `notifier`"),
        ("/capabilities/0/name", json!("smtp"), "cannot have the capability `smtp`"),
        ("/capabilities/0/reason", json!(" "), "has no reason"),
        ("/configSchema/additionalProperties", json!(true), "additionalProperties"),
        ("/configSchema/properties/limit/description", json!(""), "`limit` has no description"),
        ("/configSchema/properties/limit/default", json!("three"), "do not make a configuration"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(problems(&bad).iter().any(|problem| problem.contains(says)), "{pointer}: {:?}", problems(&bad));
    }
    assert!(check_manifest::<Config>("{}", "p", "1.0.0", "probe")[0].starts_with("not a manifest"));
}

/// Does what its configuration names, however wrong.
struct Wrong;

impl Strategy for Wrong {
    type Config = Vec<(String, u32)>;
    type State = ScriptState;

    fn validate(_: &Self::Config, _: &ServiceView) -> Vec<Problem> {
        Vec::new()
    }

    fn preview(_: &Self::Config, _: &ServiceView) -> Result<Vec<StepPreview>, Failure> {
        Ok(Vec::new())
    }

    fn next(
        config: &Self::Config,
        view: &RolloutView,
        state: Option<ScriptState>,
    ) -> Result<Decision<ScriptState>, Failure> {
        let mut script = Script::new();
        for (what, number) in config {
            let action = match what.as_str() {
                "candidate" => Action::Scale(Scaling { candidate: Some(*number), stable: None }),
                "stable" => Action::Scale(Scaling { candidate: None, stable: Some(*number) }),
                "weight" => Action::SetWeight(Weight::from_percent(f64::from(*number)).unwrap()),
                "abort" => Action::Abort("enough".into()),
                _ => Action::Promote,
            };
            script.push(1, what, action);
        }
        script.next(view, state)
    }
}

#[test]
fn the_simulation_stops_at_a_broken_invariant() {
    let broken = |plan: Value| Simulation::new(service_view(4)).run::<Wrong>(&plan).unwrap_err();
    assert!(broken(json!([["weight", 10]])).contains("has 10 % and no instance"));
    assert!(broken(json!([["candidate", 1], ["weight", 50]])).contains("r2 has 50 % with 1 available of the 4"));
    assert!(broken(json!([["candidate", 1], ["weight", 25], ["stable", 2]])).contains("r1 has 75 % with 2 available"));
    assert!(broken(json!([["candidate", 4], ["promote", 0]])).contains("promoted at 0 %"));
    assert!(broken(json!([["candidate", 5], ["weight", 100], ["promote", 0]])).contains("promoted with 5 of 4"));
    let shrunken = json!([["candidate", 3], ["weight", 75], ["stable", 1], ["abort", 0]]);
    assert!(broken(shrunken).contains("aborted to 1 of 4"));
    assert!(broken(json!([["candidate", 1]])).contains("belongs to another configuration"));
    let fine = json!([["candidate", 4], ["weight", 100], ["promote", 0]]);
    assert!(Simulation::new(service_view(4)).run::<Wrong>(&fine).is_ok());
}

#[test]
fn no_config_takes_no_key() {
    assert!(serde_json::from_str::<NoConfig>("{}").is_ok());
    assert!(serde_json::from_str::<NoConfig>("{\"a\": 1}").is_err());
}
