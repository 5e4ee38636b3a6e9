use super::*;
use crate::plan::{Change, PlannedStep};
use basb_core::RevisionId;

fn service(name: &str) -> ServicePlan {
    ServicePlan {
        service: ServiceName::new(name).unwrap(),
        stable: Some(RevisionId::new("r1").unwrap()),
        candidate: RevisionId::new("r2").unwrap(),
        actions: vec![PlannedAction {
            kind: "replace".into(),
            summary: "the volume".into(),
            changes: vec![Change { path: "size".into(), before: Some("1".into()), after: Some("2".into()) }],
            irreversible: Some("its data is lost".into()),
        }],
        steps: vec![PlannedStep { summary: "20 %".into(), weight: None, achieved: None, duration: None }],
        repairs: Vec::new(),
        strays: Vec::new(),
    }
}

fn plan() -> PlanFile {
    let services = vec![service("a"), service("b")];
    PlanFile {
        format: FORMAT.into(),
        version: VERSION,
        plan_digest: Digest::of(b"plan"),
        made_from: MadeFrom {
            at: "2026-01-02T03:04:05.000Z".into(),
            by: "basb-host 0.1.0".into(),
            file: "deployment.yaml".into(),
            deployment: ServiceName::new("lab").unwrap(),
            environment: PluginName::new("local").unwrap(),
            variables: [("release".to_owned(), "2".to_owned())].into(),
            plugins: [(PluginName::new("local").unwrap(), "local 1.0.0 sha256:aa".to_owned())].into(),
            parts: [("probes/health".to_owned(), "0123".to_owned())].into(),
        },
        cannot_undo: services.iter().flat_map(ServicePlan::cannot_undo).collect(),
        services,
        digest: None,
    }
}

fn code(result: Result<PlanFile, EngineError>) -> String {
    result.unwrap_err().code().to_owned()
}

#[test]
fn what_is_written_is_what_is_read() {
    let text = plan().text().unwrap();
    let read = PlanFile::parse(&text, "p").unwrap();
    assert_eq!(PlanFile { digest: None, ..read.clone() }, plan());
    assert_eq!(read.moved(&plan()), []);
    assert_eq!(read.cannot_undo.len(), 2);
    assert_eq!(read.cannot_undo[0].why, "its data is lost");
    // The order of keys and white space mean nothing.
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(PlanFile::parse(&canonical(&value).to_string(), "p").is_ok());
}

#[test]
fn the_form_is_the_golden_one() {
    let golden = include_str!("../../golden/plan-v1.json");
    assert_eq!(plan().text().unwrap(), golden);
}

/// Whatever character is changed: the file is refused, or says the same as before.
#[test]
fn an_edit_anywhere_is_refused() {
    let text = plan().text().unwrap();
    let whole = PlanFile::parse(&text, "p").unwrap();
    for (at, c) in text.char_indices() {
        let other = if c == '1' { "2" } else { "1" };
        let edited = format!("{}{other}{}", &text[..at], &text[at + c.len_utf8()..]);
        match PlanFile::parse(&edited, "p") {
            Ok(read) => assert!(c.is_whitespace() && read == whole, "{at}: {c}"),
            Err(e) => assert!(["plan/damaged", "plan/newer"].contains(&e.code()), "{at}: {e}"),
        }
        assert!(text[at..].trim().is_empty() || PlanFile::parse(&text[..at], "p").is_err(), "cut at {at}");
    }
    let added = text.replacen("\"services\"", "\"more\": 1, \"services\"", 1);
    assert_eq!(code(PlanFile::parse(&added, "p")), "plan/damaged", "an unknown key is an edit too");
    let twice = text.replacen("\"version\": 1", "\"version\": 1, \"version\": 1", 1);
    assert!(PlanFile::parse(&twice, "p").is_ok_and(|p| p == whole), "said twice alike");
    let newer = text.replacen("\"version\": 1", "\"version\": 2", 1);
    assert_eq!(code(PlanFile::parse(&newer, "p")), "plan/newer");
}

#[test]
fn a_plan_is_known_by_its_first_words_and_nothing_else_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.json");
    assert!(!is_plan(&path) && !is_plan(folder.path()));
    plan().write(&path).unwrap();
    assert!(is_plan(&path));
    plan().write(&path).unwrap();
    assert_eq!(PlanFile { digest: None, ..PlanFile::read(&path).unwrap() }, plan());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert!(is_plan(&path), "half of a plan is a damaged plan, not another file");
    for other in ["", "{}", "version: 1\nname: x\n", "{ \"format\": \"x\" }", "{ \"a\": \"format\" }"] {
        std::fs::write(&path, other).unwrap();
        assert!(!is_plan(&path), "{other}");
        assert_eq!(plan().write(&path).unwrap_err().code(), "plan/not-a-plan");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), other);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn everything_that_moved_is_named() {
    type Change = fn(&mut PlanFile);
    let cases: [(What, &str, Change); 13] = [
        (What::Deployment, "environment: was local, is other", |p| {
            p.made_from.environment = PluginName::new("other").unwrap();
        }),
        (What::File, "the file's probes/health: was 0123, is 4567", |p| {
            p.made_from.parts.insert("probes/health".into(), "4567".into());
        }),
        (What::File, "the file's probes/more: was not there, is 1", |p| {
            p.made_from.parts.insert("probes/more".into(), "1".into());
        }),
        (What::Plugin, "plugin local: was local 1.0.0 sha256:aa, is not there", |p| p.made_from.plugins.clear()),
        (What::Service, "service b: was there, is not there", |p| p.services.truncate(1)),
        (What::Service, "service c: was not there, is there", |p| p.services.push(service("c"))),
        (What::Stable, "a: stable was r1, is none", |p| p.services[0].stable = None),
        (What::Candidate, "b: the candidate was r2, is r3", |p| {
            p.services[1].candidate = RevisionId::new("r3").unwrap();
        }),
        (What::Actions, "a: the actions were `replace the volume`, are `nothing`", |p| p.services[0].actions.clear()),
        (What::Actions, "size: 1 -> -", |p| p.services[0].actions[0].changes[0].after = None),
        (What::Steps, "a: the steps were `20 %`, are `50 %`", |p| p.services[0].steps[0].summary = "50 %".into()),
        (What::Repairs, "a: to be repaired was nothing, is r1: no traffic", |p| {
            p.services[0].repairs.push("r1: no traffic".into());
        }),
        (What::Strays, "b: left over was nothing, is r0", |p| {
            p.services[1].strays.push(RevisionId::new("r0").unwrap());
        }),
    ];
    for (what, said, change) in cases {
        let mut now = plan();
        change(&mut now);
        let moved = plan().moved(&now);
        assert_eq!(moved.iter().map(|m| m.what).collect::<Vec<_>>(), [what], "{said}");
        assert!(moved[0].to_string().contains(said), "{} / {said}", moved[0]);
    }
    let mut now = plan();
    now.plan_digest = Digest::of(b"other");
    assert_eq!(plan().moved(&now)[0].what, What::Plan, "what nothing else tells apart");
    now.made_from.at = "later".into();
    now.made_from.by = "a newer one".into();
    now.plan_digest = plan().plan_digest;
    assert_eq!(plan().moved(&now), [], "when and with what it was made is no difference");
}
