//! The smallest probe works, and stays small.

use basb_plugin::http::HttpError;
use basb_plugin::probe::{Probe, Target};
use basb_plugin::testing::{FakeHost, Reply};
use basb_plugin::{NoConfig, Verdict};
use smallest_probe::Alive;

fn target() -> Target {
    Target { service: "capture".into(), revision: None, url: "http://it".into(), extras: Vec::new() }
}

#[test]
fn it_measures() {
    let host = FakeHost::new().respond("GET", "http://it/health", Reply::status(204)).respond(
        "GET",
        "http://it/health",
        Reply::status(500),
    );
    let cx = host.probe_context();
    let first = Alive::check(&cx, &NoConfig {}, &target()).unwrap();
    assert_eq!((first.verdict, first.get("status")), (Verdict::Pass, Some(204.0)));
    let second = Alive::check(&cx, &NoConfig {}, &target()).unwrap();
    assert_eq!((second.verdict, second.get("status")), (Verdict::Fail, Some(500.0)));
}

#[test]
fn no_answer_is_an_error_and_not_a_verdict_on_the_service() {
    let host = FakeHost::new().fail("GET", "http://it/health", HttpError::Connect("refused".into()));
    let failure = Alive::check(&host.probe_context(), &NoConfig {}, &target()).unwrap_err();
    assert_eq!(basb_plugin::probe::Measurement::from(failure).verdict, Verdict::Error);
}

#[test]
fn it_is_under_twenty_lines() {
    assert!(include_str!("../src/lib.rs").lines().count() < 20);
}
