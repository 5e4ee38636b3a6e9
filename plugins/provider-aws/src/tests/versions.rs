//! Versions of a function: another configuration of the same revision, changes that fail after Lambda took them, and answers
//! with `null` in them.

use basb_plugin::provider::{Action, ActionKind, Progress, Provider};
use basb_plugin::testing::{FakeHost, Reply};
use basb_plugin::{Failure, FailureCode, Retry};
use serde_json::{Value, json};

use super::lambda::{Functions, config, deploy, function, shares, traffic};
use super::service;
use crate::{Aws, Config};

/// With more below `lambda`.
fn with(more: &Value) -> Config {
    let mut lambda = json!({"role": "arn:aws:iam::1:role/f"});
    lambda.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let services = json!({"web": {"url": "https://web.example"}});
    serde_json::from_value(json!({"region": "eu-west-1", "lambda": lambda, "services": services})).unwrap()
}

/// Deploys to the end, or to the failure.
fn deploy_with(functions: &Functions, config: &Config, revision: &str) -> Result<(), Failure> {
    let action = Action::Deploy(Box::new(function(revision, 1)));
    let mut state: Option<String> = None;
    for _ in 0..20 {
        match Aws::apply(&functions.host().provider_context(), config, "k", &action, state.as_deref())? {
            Progress::Done(_) => return Ok(()),
            Progress::Running(pending) => state = Some(pending.state),
        }
    }
    panic!("it does not end")
}

fn plan(functions: &Functions, config: &Config, revision: &str) -> Vec<basb_plugin::provider::PlannedAction> {
    Aws::plan(&functions.host().provider_context(), config, &function(revision, 1)).unwrap().actions
}

fn retire(functions: &Functions, revision: &str) -> Result<Progress, Failure> {
    Aws::retire(&functions.host().provider_context(), &config(), "k", &service(), revision, None)
}

/// Number and description of each version.
fn versions(functions: &Functions) -> Vec<(String, String)> {
    let text = |of: &Value| of.as_str().unwrap().to_owned();
    functions.0.borrow().versions.iter().map(|of| (text(&of["Version"]), text(&of["Description"]))).collect()
}

fn led_to(functions: &Functions) -> Value {
    functions.0.borrow().alias.as_ref().unwrap()["FunctionVersion"].clone()
}

/// One with r1, to which all invocations go.
fn with_r1() -> Functions {
    let functions = Functions::default();
    deploy(&functions, "r1");
    traffic(&functions, &[("r1", 10_000)]).unwrap();
    functions.changes();
    functions
}

#[test]
fn another_configuration_of_the_same_revision_is_planned_and_published() {
    for (more, path, before, after, changes) in [
        (json!({"memory": 512}), "function.MemorySize", "256", "512", &["PUT /configuration", "POST /versions"][..]),
        (json!({"timeout": "60s"}), "function.Timeout", "30", "60", &["PUT /configuration", "POST /versions"]),
        (
            json!({"role": "arn:aws:iam::1:role/other"}),
            "function.Role",
            "arn:aws:iam::1:role/f",
            "arn:aws:iam::1:role/other",
            &["PUT /configuration", "POST /versions"],
        ),
        (
            json!({"architecture": "arm64"}),
            "function.architecture",
            "x86_64",
            "arm64",
            &["PUT /code", "POST /versions"],
        ),
    ] {
        let functions = with_r1();
        let other = with(&more);
        assert_eq!(plan(&functions, &config(), "r1"), []);
        let planned = plan(&functions, &other, "r1");
        let [action] = &planned[..] else { panic!("{planned:?}") };
        assert_eq!(action.kind, ActionKind::Replace);
        assert!(action.summary.contains("version 7 of shop-prod-web, which revision r1 is"), "{action:?}");
        let [change] = &action.changes[..] else { panic!("{action:?}") };
        let told = (change.path.as_str(), change.before.as_deref(), change.after.as_deref());
        assert_eq!(told, (path, Some(before), Some(after)));

        deploy_with(&functions, &other, "r1").unwrap();
        assert_eq!(functions.changes(), changes);
        // Users are where they were until the traffic follows, and the plan tells where it did not.
        assert_eq!((shares(&functions), led_to(&functions)), (vec![("r1".into(), 10_000)], json!("7")));
        let planned = plan(&functions, &other, "r1");
        let [action] = &planned[..] else { panic!("{planned:?}") };
        assert_eq!(action.summary, "the alias live leads to an older version of revision r1");
        traffic(&functions, &[("r1", 10_000)]).unwrap();
        assert_eq!((shares(&functions), led_to(&functions)), (vec![("r1".into(), 10_000)], json!("8")));
        assert_eq!(plan(&functions, &other, "r1"), []);
        functions.changes();
        deploy_with(&functions, &other, "r1").unwrap();
        assert_eq!(functions.changes(), [""; 0], "the same again publishes nothing");
    }
}

#[test]
fn all_versions_of_a_revision_go_with_it() {
    let functions = with_r1();
    let other = with(&json!({"memory": 512}));
    deploy_with(&functions, &other, "r1").unwrap();
    deploy_with(&functions, &other, "r2").unwrap();
    assert_eq!(retire(&functions, "r1").unwrap_err().code, FailureCode::Conflict, "its older version has traffic");
    traffic(&functions, &[("r2", 10_000)]).unwrap();
    functions.changes();
    retire(&functions, "r1").unwrap();
    assert_eq!(functions.changes(), ["DELETE :7", "DELETE :8"]);
    assert_eq!(shares(&functions), [("r2".into(), 10_000)]);
    // The newest is that of the largest number, in whatever order they are listed.
    let functions = with_r1();
    deploy_with(&functions, &other, "r1").unwrap();
    functions.0.borrow_mut().versions.reverse();
    assert_eq!(plan(&functions, &other, "r1").len(), 1, "the alias has to follow");
    traffic(&functions, &[("r1", 10_000)]).unwrap();
    assert_eq!(led_to(&functions), "8");
}

/// What was published by an older basb-host, or is described in a form of a newer one, is as it should be.
#[test]
fn a_version_without_a_digest_never_differs() {
    for described in ["basb-host revision r1", "basb-host revision r1 config-2-0123"] {
        let functions = with_r1();
        let (_, now) = versions(&functions).remove(0);
        let (mark, digest) = now.rsplit_once(' ').unwrap();
        assert_eq!((mark, &digest[..9], digest.len()), ("basb-host revision r1", "config-1-", 21));
        functions.0.borrow_mut().versions[0]["Description"] = described.into();
        let other = with(&json!({"memory": 512}));
        assert_eq!(plan(&functions, &other, "r1"), []);
        deploy_with(&functions, &other, "r1").unwrap();
        assert_eq!(functions.changes(), [""; 0]);
        assert_eq!(shares(&functions), [("r1".into(), 10_000)]);
    }
}

/// What no version tells, such as where its package was sent from, is told by the digest.
#[test]
fn what_a_version_does_not_tell_differs_in_its_digest() {
    let functions = with_r1();
    let mut version = functions.0.borrow().versions[0]["Description"].as_str().unwrap().to_owned();
    version.truncate(version.len() - 1);
    functions.0.borrow_mut().versions[0]["Description"] = version.clone().into();
    let planned = plan(&functions, &config(), "r1");
    let [action] = &planned[..] else { panic!("{planned:?}") };
    let [change] = &action.changes[..] else { panic!("{action:?}") };
    assert_eq!(change.path, "function.configurationAndCode");
    assert_eq!(change.before.as_deref(), version.rsplit(' ').next());
    // To Lambda nothing has changed, and it is published once more all the same.
    deploy_with(&functions, &config(), "r1").unwrap();
    assert_eq!(functions.changes(), ["POST /versions", "PUT /configuration", "POST /versions"]);
}

#[test]
fn a_change_that_fails_after_it_was_taken_is_told_in_lambdas_words() {
    for (fails, more) in [("PUT /configuration", json!({})), ("PUT /code", json!({"architecture": "arm64"}))] {
        let (functions, other) = (with_r1(), with(&more));
        functions.0.borrow_mut().fail_next = Some(fails);
        let failure = deploy_with(&functions, &other, "r2").unwrap_err();
        assert_eq!((failure.code, failure.retry), (FailureCode::Unhealthy, Retry::Never), "{failure:?}");
        for part in [
            "function shop-prod-web",
            "LastUpdateStatus Failed",
            "The image cannot be pulled (ImageAccessDenied)",
            "run again",
        ] {
            assert!(failure.message.contains(part), "{part}: {failure:?}");
        }
        assert_eq!(versions(&functions).len(), 1, "{fails}");
        assert!(!functions.changes().contains(&"POST /versions".to_owned()));

        // Another call tries all of it anew, also where what is shown is what is wanted.
        deploy_with(&functions, &other, "r2").unwrap();
        assert_eq!(functions.changes(), ["PUT /code", "PUT /configuration", "POST /versions"]);
        // It may fail once more.
        functions.0.borrow_mut().fail_next = Some(fails);
        assert!(deploy_with(&functions, &with(&json!({"architecture": "x86_64", "memory": 1024})), "r3").is_err());
        functions.0.borrow_mut().fail_next = Some("PUT /configuration");
        let failure = deploy_with(&functions, &config(), "r3").unwrap_err();
        assert!(failure.message.contains("ImageAccessDenied"), "{failure:?}");
        assert_eq!(versions(&functions).len(), 2);
    }
}

/// AWS and emulators write out what is not there.
#[test]
fn null_is_what_is_not_there() {
    let version = json!({"Version": "3", "Description": "basb-host revision r1", "State": null, "Role": null,
        "MemorySize": null, "Timeout": null, "CodeSha256": null, "Architectures": null, "Environment": {"Variables": null},
        "ImageConfigResponse": {"ImageConfig": {"Command": null}}, "LastUpdateStatusReason": null});
    let by_hand = json!({"Version": "2", "Description": null, "Environment": null, "ImageConfigResponse": null});
    let host = || {
        let (version, by_hand) = (version.clone(), by_hand.clone());
        FakeHost::new().serve(move |request| {
            let answer = match request.url.rsplit("shop-prod-web").next().unwrap() {
                "" => json!({"Configuration": version, "Code": null, "Tags": null}),
                "/versions" => json!({"Versions": [by_hand, version], "NextMarker": null}),
                "/aliases/live" => json!({"FunctionVersion": "3", "Description": null,
                    "RoutingConfig": {"AdditionalVersionWeights": null}}),
                other => panic!("{other}"),
            };
            Some(Ok(Reply::json(200, &answer)))
        })
    };
    let observed = Aws::read(&host().provider_context(), &config(), &service()).unwrap().unwrap();
    let seen: Vec<_> = observed.revisions.iter().map(|of| (of.id.as_str(), of.weight.hundredths())).collect();
    assert_eq!(seen, [("r1", 10_000)]);
    let plan = Aws::plan(&host().provider_context(), &config(), &function("r2", 1)).unwrap();
    assert_eq!(plan.actions.len(), 2);

    // So is a list.
    let none = FakeHost::new().serve(|request| {
        let is_list = request.url.ends_with("/versions");
        let gone = Reply::json(404, &json!({"Message": "Function not found", "Type": "User"}));
        Some(Ok(if is_list { Reply::json(200, &json!({"Versions": null})) } else { gone }))
    });
    assert_eq!(Aws::read(&none.provider_context(), &config(), &service()).unwrap(), None);
}
