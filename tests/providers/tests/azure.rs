//! `provider-azure`: container apps and their revisions, through the real binary.

use basb_e2e::{Following, Load, Mcp};
use basb_providers_e2e::azure::{AzureLab, IMAGE};
use basb_providers_e2e::suite::{self, Site, example};
use serde_json::{Value, json};

const ALL: &[&str] = &["GET", "PUT", "PATCH", "POST", "DELETE"];

#[test]
fn the_example_in_container_apps() {
    let Some(mut azure) = AzureLab::start(ALL, 1) else { return };
    azure.more = "        scale: { min: 2 }\n".to_owned();
    suite::second_brain(&azure);
}

/// The first service of the example, by itself.
fn alone(example: &str) -> String {
    let (before, rest) = example.split_once("\n  organize:\n    workload:\n      command").expect("the second service");
    let (_, after) = rest.split_once("\nstrategies:\n").expect("strategies come next");
    format!("{before}\n\nstrategies:\n{after}")
}

/// One service with all of the traffic on one active revision by its name, in its full size; the revision.
#[track_caller]
fn only(app: &Value) -> String {
    let tag = |key: &str| app["tags"][format!("basb-host:{key}")].as_str().unwrap_or_default().to_owned();
    assert_eq!((tag("deployment"), tag("environment")), ("second-brain".into(), "azure".into()), "{app}");
    assert_eq!(
        (tag("service").as_str(), &app["mode"]),
        (app["service"].as_str().unwrap(), &json!("Multiple")),
        "{app}"
    );
    let active: Vec<&Value> = app["revisions"].as_array().unwrap().iter().filter(|of| of["active"] == true).collect();
    let [revision] = active[..] else { panic!("not one active revision: {app}") };
    assert_eq!((&revision["least"], &revision["ready"]), (&json!(2), &json!(2)), "{app}");
    let table: Vec<&Value> = app["table"].as_array().unwrap().iter().filter(|line| line["weight"] != 0).collect();
    let [line] = table[..] else { panic!("more than one has traffic: {app}") };
    assert_eq!(
        (&line["revision"], &line["weight"], &line["latest"]),
        (&revision["name"], &json!(100), &json!(null)),
        "{app}"
    );
    revision["revision"].as_str().unwrap().to_owned()
}

#[test]
fn revisions_grow_with_their_share_and_what_others_change_is_found() {
    let Some(mut azure) = AzureLab::start(ALL, 2) else { return };
    azure.services = 1;
    azure.lab.write_text(&alone(&example(&azure.sections())));
    let plan = azure.host(&["plan"]).exits(2).stdout;
    assert!(plan.contains("the container app second-brain-azure-capt-"), "{plan}");
    assert_eq!(azure.facts(), [] as [Value; 0], "a plan makes nothing");
    assert!(azure.log().iter().all(|entry| entry["method"] == "GET"));

    azure.run(1).exits(0);
    let first = only(&azure.app("capture"));
    // Without `scale.min` a candidate begins with one replica, and a revision with two takes its place.
    let load = Load::start(azure.ports()[0]);
    azure.run(2).exits(0);
    let report = load.stop();
    assert_eq!(report.failed, Vec::<String>::new(), "nobody was turned away");
    let second = only(&azure.app("capture"));
    let app = azure.app("capture");
    let sizes: Vec<&Value> =
        app["revisions"].as_array().unwrap().iter().filter(|of| of["revision"] == second.as_str()).collect();
    let sizes: Vec<_> =
        sizes.iter().map(|of| (of["least"].as_u64().unwrap(), of["active"].as_bool().unwrap())).collect();
    assert_eq!(sizes, [(1, false), (2, true)], "{app}");

    // Microsoft's client activates what was retired and gives it a third of the requests.
    let split = azure.client(&["split", "capture", "33"]);
    assert_eq!(split["changed"], app["name"]);
    let drift = azure.host(&["--json", "drift"]).exits(2).json();
    let of_capture = drift["services"].as_array().unwrap().iter().find(|of| of["service"] == "capture").unwrap();
    let kinds: Vec<&str> =
        of_capture["differences"].as_array().unwrap().iter().map(|of| of["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"traffic"), "{drift}");
    azure.run(2).exits(0);
    azure.host(&["drift"]).exits(0);
    assert_eq!(only(&azure.app("capture")), second);

    // Back by activation: nothing is made.
    let before = azure.app("capture")["revisions"].as_array().unwrap().len();
    suite::to_its_end(&azure, &["--json", "undo"]).exits(0);
    assert_eq!(only(&azure.app("capture")), first);
    assert_eq!(azure.app("capture")["revisions"].as_array().unwrap().len(), before);
    assert_eq!(Mcp::new(azure.ports()[0]).release(), Ok(1));

    // What was sent is what Microsoft's own client sends for the same.
    let wire = azure.client(&["wire", "capture"]);
    assert_eq!(wire["compared"].as_array().unwrap().len(), 7);
    assert_eq!(wire["differ"], json!({}), "{wire}");

    // The journal is lost: what is there is adopted.
    std::fs::rename(azure.lab.state().join("journal"), azure.lab.root().join("lost")).unwrap();
    azure.host(&["import"]).exits(0);
    azure.host(&["drift"]).exits(0);

    suite::reaches_http_alone(&azure.host(&["audit"]).exits(0).stdout, "azure");
}

/// One service of the example in an app that somebody else made.
fn adopting(azure: &AzureLab) -> String {
    let mut sections = azure.sections();
    sections.environment =
        sections.environment.replace("          capture: { url", "          capture: { app: legacy, url");
    alone(&example(&sections))
}

#[test]
fn an_app_of_others_is_adopted_only_where_it_is_named() {
    let Some(mut azure) = AzureLab::start(ALL, 1) else { return };
    azure.services = 1;
    let args = json!(["capture", "--vault", azure.lab.vault(), "--release", "1"]).to_string();
    let made = azure.client(&["foreign", "legacy", "capture", IMAGE, &args]);
    assert_eq!(made["made"], "legacy");
    assert_eq!(Mcp::new(azure.ports()[0]).release(), Ok(1));
    azure.lab.write_text(&adopting(&azure));
    azure.host(&["import"]).exits(0);
    let plan = azure.host(&["plan"]).exits(2).stdout;
    assert!(plan.contains("the traffic of legacy is pinned to who has it now: legacy--"), "{plan}");
    // A candidate gets nothing by being new, although the app led everybody to the latest revision.
    let load = Load::start(azure.ports()[0]);
    let events = azure.run(2).exits(0).events();
    assert_eq!(events.weights("capture"), [10, 25, 50, 75, 100]);
    assert_eq!(load.stop().failed, Vec::<String>::new());
    let app = azure.app("capture");
    assert_eq!((&app["name"], &app["mode"]), (&json!("legacy"), &json!("Multiple")));
    assert_eq!(azure.active("capture").len(), 1, "{app}");
}

#[test]
fn what_azure_does_not_allow_is_said_in_its_own_words() {
    let Some(mut azure) = AzureLab::start(&["GET"], 1) else { return };
    azure.services = 1;
    azure.lab.write_text(&alone(&example(&azure.sections())));
    azure.host(&["plan"]).exits(2);
    let failed = azure.run(1);
    let said = format!("{}{}", failed.stdout, failed.stderr);
    assert_ne!(failed.code, Some(0), "{said}");
    for words in
        ["PUT the container app", "does not have authorization", "AuthorizationFailed, status 403", "correlation id"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(azure.facts(), [] as [Value; 0]);
    // Another secret than the client's: Entra's words, and the secret is nowhere.
    let mut command = azure.lab.command(&["plan"]);
    command.env("AZURE_CLIENT_SECRET", "a-secret-that-is-not-the-clients");
    let refused = Following::start(command).end();
    assert_ne!(refused.code, Some(0));
    assert!(
        refused.stderr.contains("AADSTS7000215") || refused.stderr.contains("invalid_client"),
        "{}",
        refused.stderr
    );
    assert!(!refused.stderr.contains("a-secret-that-is-not-the-clients"), "{}", refused.stderr);
}
