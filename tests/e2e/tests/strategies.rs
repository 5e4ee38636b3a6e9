//! Blue-green and rolling updates, forward and back.

use basb_core::event::Body;
use basb_e2e::{Events, FileOptions, Lab, Load, Mcp};

/// Release 1, then another one under load: its run's exit code and events, and what the load saw.
fn update(lab: &Lab, release: u8, code: i32) -> (Events, basb_e2e::LoadReport) {
    let load = Load::start(lab.port());
    let events = lab.run(release).exits(code).events();
    (events, load.stop())
}

fn lab(strategy: &'static str, config: &'static str, replicas: u32) -> Lab {
    let lab = Lab::new();
    lab.write(&FileOptions { strategy, config, replicas, ..FileOptions::default() });
    let first = lab.run(1).exits(0).events();
    assert_eq!(first.weights("capture"), [100], "a first release has no steps");
    lab
}

#[test]
fn blue_green_switches_all_at_once() {
    let config = "{ prePromotionAnalysis: { templates: [healthy] }, postPromotionAnalysis: { templates: [healthy] } }";
    let lab = lab("strategy-blue-green", config, 2);
    let (events, load) = update(&lab, 2, 0);
    assert_eq!(load.failed, Vec::<String>::new());
    assert_eq!(events.weights("capture"), [100]);
    // Checked before the switch, at full size, and after it.
    assert!(events.at("analysis.finished") < events.at("traffic.shifted"));
    assert!(events.count("analysis.finished") >= 2, "{:?}", events.kinds());
    let full = events.0.iter().position(|e| matches!(e.body, Body::RevisionAvailable { available: 2, .. })).unwrap();
    assert!(full < events.at("traffic.shifted"));
    assert_eq!(Mcp::new(lab.port()).release(), Ok(2));
    let _ = lab.cloud().service("capture").only();
}

#[test]
fn blue_green_never_shows_users_what_fails_before_the_switch() {
    let lab = lab("strategy-blue-green", "{ prePromotionAnalysis: { templates: [healthy] } }", 2);
    let before = lab.cloud().service("capture").only().1.pids();
    let (events, load) = update(&lab, 3, 3);
    assert_eq!(load.failed, Vec::<String>::new(), "no request reached the broken release");
    assert!(load.answered.keys().eq(&[1]), "{:?}", load.answered);
    assert!(!events.weights("capture").iter().any(|w| *w > 0), "{:?}", events.weights("capture"));
    assert_eq!(events.count("service.rolled-back"), 1);
    assert_eq!(lab.cloud().service("capture").only().1.pids(), before);
}

#[test]
fn blue_green_switches_back_after_the_switch() {
    let lab = lab("strategy-blue-green", "{ postPromotionAnalysis: { templates: [healthy] } }", 2);
    let before = lab.cloud().service("capture").only().1.pids();
    let (events, load) = update(&lab, 3, 3);
    assert_eq!(events.weights("capture"), [100, 0]);
    assert!(load.failed.iter().all(|why| why.contains("unexpected generation")), "{:?}", load.failed);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
    assert_eq!(lab.cloud().service("capture").only().1.pids(), before, "the old one was kept for that");
}

#[test]
fn blue_green_waits_for_a_person() {
    let lab = lab("strategy-blue-green", "{ autoPromotionEnabled: false }", 1);
    let out = lab.run(2).exits(4);
    assert!(out.events().weights("capture").is_empty(), "no traffic before somebody decides");
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
    lab.host(&["promote"]).exits(0);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(2));
}

#[test]
fn rolling_replaces_instances_in_batches() {
    let config = "{ maxSurge: 1, maxUnavailable: 0, analysis: { templates: [healthy] } }";
    let lab = lab("strategy-rolling", config, 3);
    let (events, load) = update(&lab, 2, 0);
    assert_eq!(load.failed, Vec::<String>::new());
    assert_eq!(events.weights("capture"), [33, 66, 100]);
    // One more than there should be, at the most.
    let desired = |e: &Body| match e {
        Body::RevisionAvailable { desired, .. } => Some(*desired),
        _ => None,
    };
    let sizes: Vec<u32> = events.0.iter().filter_map(|e| desired(&e.body)).collect();
    assert!(sizes.iter().all(|n| *n <= 3), "{sizes:?}");
    assert_eq!(Mcp::new(lab.port()).release(), Ok(2));
    assert_eq!(lab.cloud().service("capture").only().1.instances.len(), 3);
}

#[test]
fn rolling_goes_back_to_full_size() {
    let config = "{ maxSurge: 1, maxUnavailable: 0, analysis: { templates: [healthy] } }";
    let lab = lab("strategy-rolling", config, 2);
    let (events, load) = update(&lab, 3, 3);
    assert_eq!(events.weights("capture"), [50, 0]);
    assert!(load.failed.iter().all(|why| why.contains("unexpected generation")), "{:?}", load.failed);
    let cloud = lab.cloud();
    let (_, stable) = cloud.service("capture").only();
    assert_eq!((stable.desired, stable.available), (2, 2));
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
}
