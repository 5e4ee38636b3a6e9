//! A service's first release, one that is unchanged, a canary under load, and a broken one that is rolled back.

use basb_core::event::Body;
use basb_e2e::{FileOptions, Lab, Load, Mcp, Two};

#[test]
fn a_release_is_deployed_rolled_out_under_load_and_a_broken_one_rolled_back() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());

    // The first release: no steps, all of the traffic at once.
    let plan = lab.host(&["plan"]).exits(2);
    assert!(plan.stdout.contains("(first release)"), "{}", plan.stdout);
    let first = lab.run(1).exits(0).events();
    assert_eq!(first.weights("capture"), [100]);
    let client = Mcp::new(lab.port());
    assert_eq!(client.release(), Ok(1));
    assert!(!client.tools().contains(&"capture_quote".to_owned()));
    let cloud = lab.cloud();
    let (r1, before) = cloud.service("capture").only();
    assert_eq!(before.pids().len(), 2);

    // The same again changes nothing.
    assert!(lab.host(&["plan"]).exits(0).stdout.contains("nothing to do"));
    let again = lab.run(1).exits(0).events();
    assert_eq!(again.count("service.unchanged"), 1, "{:?}", again.kinds());
    assert_eq!(again.count("traffic.shifted"), 0, "{:?}", again.kinds());
    assert_eq!(lab.cloud().services, cloud.services, "same processes, same weights, nothing restarted");

    // A canary under load: no request fails, and the weights come in the order of the steps.
    let load = Load::start(lab.port());
    let second = lab.run(2).exits(0).events();
    let report = load.stop();
    assert_eq!(report.failed, Vec::<String>::new());
    assert_eq!(second.weights("capture"), [20, 50, 80, 100]);
    assert_eq!(second.count("service.promoted"), 1);
    assert!(report.answered.keys().eq(&[1, 2]), "both releases had traffic: {report:?}");
    assert!(report.answered.values().sum::<u64>() > 200, "too little load to say anything: {report:?}");
    assert!(second.at("analysis.finished") < second.at("service.promoted"));
    assert!(second.at("service.promoted") < second.at("revision.retired"));
    let cloud = lab.cloud();
    let (r2, after) = cloud.service("capture").only();
    assert_ne!(r1, r2);
    assert!(after.pids().iter().all(|pid| !before.pids().contains(pid)));
    assert!(client.tools().contains(&"capture_quote".to_owned()));

    // A person writes into the log.
    let log = lab.daily_logs().pop().unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    let text = basb_e2e::swap(&text, "## Tomorrow's Plan\n", "## Tomorrow's Plan\n\n- ask Ada about the quotes\n");
    std::fs::write(&log, text).unwrap();

    // A broken release is found by the first analysis, and is gone again without a person's help.
    let load = Load::start(lab.port());
    let out = lab.run(3).exits(3);
    let report = load.stop();
    let third = out.events();
    assert_eq!(third.weights("capture"), [20, 0], "only the first step's share, and back");
    assert_eq!(third.count("service.rolled-back"), 1);
    assert!(third.at("service.aborted") < third.at("service.rolled-back"));
    let reason = third.titles("service.aborted").pop().unwrap();
    assert!(reason.contains("tool-success"), "{reason}");
    // Of the calls that failed each was answered by the broken release: the way there and back costs none.
    assert!(report.failed.iter().all(|why| why.contains("unexpected generation")), "{:?}", report.failed);
    assert_eq!(lab.cloud().service("capture").only().0, r2);
    assert_eq!(lab.cloud().service("capture").only().1.pids(), after.pids(), "the stable revision was left alone");
    for _ in 0..20 {
        assert_eq!(client.release(), Ok(2));
    }

    // The log has it all, and the person's line.
    let text: String = lab.daily_logs().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for section in [
        "## Today's DevOps Goals",
        "## Completed Work",
        "### Deployments",
        "### Basic Service Testing",
        "## Monitoring Status",
        "### System Health",
        "### Alerts Overview",
        "## Issues Encountered",
        "### Description",
        "### Actions Taken",
        "## Tomorrow's Plan",
        "## References",
    ] {
        assert!(text.lines().any(|line| line == section), "no `{section}` in\n{text}");
    }
    assert!(text.contains("- ask Ada about the quotes\n"), "{text}");
    let section = |title: &str| text.split(title).nth(1).unwrap().split("\n#").next().unwrap().to_owned();
    assert!(section("### Deployments\n").contains("capture"), "{text}");
    assert!(section("### Deployments\n").contains(r2), "{text}");
    assert!(section("### Description\n").contains("tool-success"), "{text}");
    assert!(section("### Actions Taken\n").contains(r2), "{text}");
    let runs = lab.history();
    assert_eq!(
        runs.iter().map(|(_, outcome)| outcome.as_str()).collect::<Vec<_>>(),
        ["rolled-back", "done", "done", "done"]
    );
    for (run, _) in &runs {
        assert!(text.contains(run), "run {run} is not in\n{text}");
        lab.verify_journal(run);
    }
    lab.stop();
}

#[test]
fn services_wait_for_those_they_depend_on() {
    let lab = Lab::new();
    lab.write(&FileOptions { two: Two::Yes, replicas: 1, ..FileOptions::default() });
    let events = lab.run(1).exits(0).events();
    let first = |service: &str, wanted: fn(&Body) -> bool| {
        let found =
            events.0.iter().position(|e| e.service.as_ref().is_some_and(|s| s.as_str() == service) && wanted(&e.body));
        found.unwrap()
    };
    let promoted = first("capture", |body| matches!(body, Body::Promoted { .. }));
    let started = first("organize", |_| true);
    assert!(promoted < started, "{:?}", events.kinds());

    // A dependency that is rolled back takes those with it that did not begin.
    let third = lab.run(3).exits(3).events();
    assert_eq!(third.titles("service.skipped"), ["not started: it depends on capture, which did not succeed"]);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
    assert_eq!(Mcp::new(lab.second_port()).release(), Ok(1));
}
