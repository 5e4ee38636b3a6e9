//! One story for every target: the deployment of the example, with nothing changed but the environment that it is deployed
//! to, through a canary, a failure with its way back, undo, drift and its repair, blue-green, and the end of what was
//! replaced.
//!
//! What it must **never** do: know which target it runs on, or take a target's word for what users get. Users are asked, and
//! a client that is not basb-host looks at what is there.

use std::path::Path;
use std::process::Command;

use basb_e2e::{Events, Following, Lab, Load, Mcp, Output, swap};
use serde_json::Value;

/// The services of the example, in the order of its file.
pub const SERVICES: [&str; 4] = ["capture", "organize", "distill", "express"];

/// The shares that a candidate of the example has, one after the other.
const CANARY: [u16; 5] = [10, 25, 50, 75, 100];

/// The plugins of a small deployment beside its provider, below `plugins:`: the canary, and a probe that asks services.
pub const CANARY_AND_HTTP: &str = "  canary: { source: \"builtin:strategy-canary\" }
  http:
    source: builtin:probe-http
    grants: { http: [{ target: service, methods: [GET], path: \"/**\" }] }
";

/// Where the example is deployed to.
pub trait Site {
    /// Where basb-host runs.
    fn lab(&self) -> &Lab;

    /// What the target adds to the deployment file.
    fn sections(&self) -> Sections;

    /// Where users reach each of [`SERVICES`] on 127.0.0.1.
    fn ports(&self) -> [u16; 4];

    /// The revisions of a service that can take requests, as another client than basb-host sees them.
    fn revisions(&self, service: &str) -> Vec<String>;

    /// Changes what serves `capture`, by another client than basb-host, so that it differs from what was rolled out.
    fn meddle(&self);

    /// A `basb-host` command; with the target's keys in its environment, where it has some.
    fn command(&self, args: &[&str]) -> Command {
        self.lab().command(args)
    }
}

/// What a target adds to the deployment file.
#[derive(Debug, Clone, Default)]
pub struct Sections {
    /// Sections of their own, such as `secrets:` and `credentials:`, each on a line without indentation.
    pub access: String,
    /// The provider's plugin with its grants, below `plugins:`, indented by two.
    pub plugin: String,
    /// The environment, below `environments:`, indented by two.
    pub environment: String,
}

/// The example's deployment file, for a site.
///
/// # Panics
/// When the example is not as it was.
#[must_use]
pub fn example(sections: &Sections) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/second-brain/deployment.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let Sections { access, plugin, environment } = sections;
    let text = swap(&text, "plugins:\n", &format!("{access}plugins:\n{plugin}"));
    swap(&text, "environments:\n  local:\n    provider: { plugin: local }\n", &format!("environments:\n{environment}"))
}

/// The same with blue-green in place of the canary.
#[must_use]
pub fn blue_green(example: &str) -> String {
    let text = swap(example, "builtin:strategy-canary", "builtin:strategy-blue-green");
    let (before, rest) = text.split_once("strategies:\n").expect("it has strategies");
    let (_, after) = rest.split_once("\nprobes:").expect("probes come next");
    let strategy = "  careful:\n    plugin: canary\n    config: { prePromotionAnalysis: { templates: [healthy] } }\n";
    format!("{before}strategies:\n{strategy}\nprobes:{after}")
}

/// Lives through all of it.
///
/// # Panics
/// When anything is not as it should be.
pub fn second_brain(site: &dyn Site) {
    let file = example(&site.sections());
    site.lab().write_text(&file);
    let users = || site.ports().map(|port| Mcp::new(port).release());
    // One revision of each service, and nothing of any other.
    let only = || SERVICES.map(|service| site.revisions(service)).map(|there| <[String; 1]>::try_from(there).unwrap());

    assert!(host(site, &["plan"]).exits(2).stdout.contains("(first release)"));
    let events = run(site, 1, 0);
    assert_eq!(events.count("service.promoted"), SERVICES.len());
    assert_eq!(users(), [Ok(1), Ok(1), Ok(1), Ok(1)]);
    let first = only();
    nothing_differs(site);
    assert!(host(site, &["plan"]).exits(0).stdout.contains("nothing to do"));

    // The canary, while somebody works.
    let load = Load::start(site.ports()[0]);
    let events = run(site, 2, 0);
    let report = load.stop();
    SERVICES.iter().for_each(|service| assert_eq!(events.weights(service), CANARY, "{service}"));
    assert_eq!(report.failed, Vec::<String>::new(), "nobody was turned away");
    assert!(report.answered.keys().eq(&[1, 2]), "both releases had traffic: {report:?}");
    assert_eq!(users(), [Ok(2), Ok(2), Ok(2), Ok(2)]);
    let second = only();
    assert!(first.iter().zip(&second).all(|(first, second)| first != second), "what was replaced is gone");

    // A release that breaks its tools goes back by itself.
    let events = run(site, 3, 3);
    assert_eq!(events.count("service.promoted"), 0);
    assert_eq!(events.weights("capture").last(), Some(&0), "all of it was taken back");
    assert_eq!((users(), only()), ([Ok(2), Ok(2), Ok(2), Ok(2)], second.clone()));
    nothing_differs(site);

    // Back to what was stable before: in one go, without steps.
    let events = to_its_end(site, &["--json", "undo"]).exits(0).events();
    SERVICES.iter().for_each(|service| assert_eq!(events.weights(service), [100], "{service}"));
    assert_eq!((users(), only()), ([Ok(1), Ok(1), Ok(1), Ok(1)], first.clone()));
    nothing_differs(site);

    // Somebody changes what is there: it is found, told, and repaired by the same release once more.
    site.meddle();
    let report = host(site, &["--json", "drift"]).exits(2).json();
    assert_ne!(differences(&report, "capture"), 0, "{report}");
    SERVICES[1..].iter().for_each(|other| assert_eq!(differences(&report, other), 0, "{report}"));
    run(site, 1, 0);
    nothing_differs(site);
    assert_eq!(users(), [Ok(1), Ok(1), Ok(1), Ok(1)]);

    // The same deployment by blue-green: all at once, or not at all.
    site.lab().write_text(&blue_green(&file));
    host(site, &["run", "--set", "release=2"]).exits(1).says("lock/differs", &["builtin:strategy-blue-green now"]);
    host(site, &["plugin", "update", "canary", "--accept"]).exits(0);
    let load = Load::start(site.ports()[0]);
    let events = run(site, 2, 0);
    let report = load.stop();
    SERVICES.iter().for_each(|service| assert_eq!(events.weights(service), [100], "{service}"));
    assert_eq!(report.failed, Vec::<String>::new(), "nobody was turned away");
    assert_eq!(users(), [Ok(2), Ok(2), Ok(2), Ok(2)]);
    let events = run(site, 3, 3);
    assert!(events.weights("capture").iter().all(|share| *share == 0), "a preview that fails gets no traffic");
    assert_eq!((users(), only()), ([Ok(2), Ok(2), Ok(2), Ok(2)], second));
    nothing_differs(site);
}

fn host(site: &dyn Site, args: &[&str]) -> Output {
    Following::start(site.command(args)).end()
}

/// Follows a command that writes events to its end: each of them has a patience of its own.
///
/// # Panics
/// When an event does not come.
pub fn to_its_end(site: &dyn Site, args: &[&str]) -> Output {
    let mut following = Following::start(site.command(args));
    while following.until("another event", |_| true).body.kind() != "run.finished" {}
    following.end()
}

fn run(site: &dyn Site, release: u8, code: i32) -> Events {
    to_its_end(site, &["--json", "run", "--set", &format!("release={release}")]).exits(code).events()
}

fn nothing_differs(site: &dyn Site) {
    host(site, &["drift"]).exits(0);
}

fn differences(report: &Value, service: &str) -> usize {
    let services = report["services"].as_array().unwrap();
    let of = services.iter().find(|of| of["service"] == service).unwrap_or_else(|| panic!("{report}"));
    of["differences"].as_array().unwrap().len()
}

/// That a provider can speak HTTP and write to the log, and nothing else, by what `audit` says of it.
///
/// # Panics
/// When it can do something else, or `audit` says nothing of it.
#[track_caller]
pub fn reaches_http_alone(audit: &str, provider: &str) {
    let (_, rest) = audit.split_once(&format!("{provider}  provider-{provider}")).unwrap();
    let (about, _) = rest.split_once("can do").unwrap();
    let imports: Vec<&str> =
        about.lines().filter(|line| line.contains("basb:host/") && !line.contains("types")).collect();
    let doors = ["basb:host/http", "basb:host/log"];
    assert!(imports.iter().all(|line| doors.iter().any(|door| line.contains(door))), "{imports:?}");
    assert!(imports.iter().any(|line| line.contains(doors[0])), "{imports:?}");
}
