//! A revision's way from nothing to all of the traffic, and out again.

use basb_plugin::FailureCode;
use basb_plugin::provider::Provider;
use serde_json::json;

use super::cloud::{Fault, Model, NAME, error};
use super::{config, service, to_end};
use crate::Gcp;

#[test]
fn a_release_goes_from_nothing_to_all_traffic_and_the_old_one_goes() {
    let model = Model::new();
    assert_eq!(model.read(), None);
    model.deploy("k1", "rev1").unwrap();
    assert_eq!(model.changes(), ["POST services"], "service, revision, pin and tag in one request");
    assert_eq!(model.shares(), [("rev1".into(), 100, 2, 2)], "Cloud Run has no service without traffic");
    model.traffic(&[("rev1", 100)]).unwrap();
    model.changes();
    model.traffic(&[("rev1", 100)]).unwrap();
    assert_eq!(model.changes(), [""; 0], "the traffic is as it should be");
    assert_eq!(model.retire("rev1").unwrap_err().code, FailureCode::Conflict, "it was released");

    model.deploy("k2", "rev2").unwrap();
    let patch = format!("PATCH services/{NAME}");
    assert_eq!(model.changes(), [format!("{patch} template"), format!("{patch} annotations,traffic")]);
    assert_eq!(model.shares(), [("rev1".into(), 100, 2, 2), ("rev2".into(), 0, 2, 2)]);
    let preview = model.read().unwrap().revisions[1].preview_url.clone();
    assert!(
        preview
            .as_deref()
            .is_some_and(|url| url.starts_with("https://") && url.ends_with("---shop-prod-web-abc.run.app"))
    );
    for share in [1_u16, 25, 99] {
        model.traffic(&[("rev1", 100 - share), ("rev2", share)]).unwrap();
        assert_eq!(model.shares(), [("rev1".into(), 100 - share, 2, 2), ("rev2".into(), share, 2, 2)]);
        assert_eq!(model.changes(), [format!("{patch} traffic")]);
    }
    assert_eq!(model.retire("rev1").unwrap_err().code, FailureCode::Conflict, "it has traffic");
    model.traffic(&[("rev2", 100)]).unwrap();
    assert!(model.read().unwrap().revisions[0].preview_url.is_some(), "the older one can be gone back to");
    model.changes();
    model.retire("rev1").unwrap();
    let changes = model.changes();
    assert_eq!(changes[0], format!("{patch} traffic,annotations"));
    assert!(changes[1].starts_with(&format!("DELETE revisions/{NAME}-rev1-")) && changes.len() == 2, "{changes:?}");
    model.retire("rev1").unwrap();
    assert_eq!(model.shares(), [("rev2".into(), 100, 2, 2)]);
    assert_eq!((model.names().len(), model.targets().len()), (1, 1), "nothing is left behind");
}

#[test]
fn what_failed_stays_out_of_reach_and_goes_with_the_next() {
    let model = Model::new();
    model.deploy("k1", "rev1").unwrap();
    model.0.borrow_mut().broken.insert("rev2".into());
    let failure = model.deploy("k2", "rev2").unwrap_err();
    assert_eq!(failure.code, FailureCode::Unhealthy);
    assert!(failure.message.contains("failed to start and listen on the port"), "{failure:?}");
    assert!(failure.message.contains("HEALTH_CHECK_CONTAINER_ERROR"), "{failure:?}");
    assert_eq!(model.shares(), [("rev1".into(), 100, 2, 2)], "nobody was led there");
    let cx = model.host().provider_context();
    let report = Gcp::instances(&cx, &config(json!({})), &service(), "rev2").unwrap();
    assert_eq!((report.available, report.hopeless), (0, true), "{report:?}");

    // Traffic can be set all the same: it is at revisions that are well.
    model.traffic(&[("rev1", 100)]).unwrap();
    model.0.borrow_mut().stubborn = true;
    let said = model.retire("rev2").unwrap();
    assert!(said.contains("Cloud Run keeps shop-prod-web-rev2-"), "{said}");
    assert_eq!(model.names().len(), 2, "Cloud Run does not let its latest one go");
    assert_eq!(model.shares(), [("rev1".into(), 100, 2, 2)], "and nobody can reach it");

    // The same once more, by the same call, fails again and makes nothing; by another, it is another one.
    assert_eq!(model.deploy("k2", "rev2").unwrap_err().code, FailureCode::Unhealthy);
    model.0.borrow_mut().broken.clear();
    assert_eq!(model.names().len(), 2);
    model.deploy("k3", "rev2").unwrap();
    assert_eq!(model.shares(), [("rev1".into(), 100, 2, 2), ("rev2".into(), 0, 2, 2)]);
    assert_eq!(model.names().len(), 2, "the one that failed is gone: {:?}", model.names());
    model.traffic(&[("rev2", 100)]).unwrap();
    model.retire("rev1").unwrap();
    assert_eq!((model.names().len(), model.targets().len()), (1, 1));
}

#[test]
fn what_was_rolled_back_leaves_nothing() {
    for broken in [false, true] {
        let model = Model::new();
        model.deploy("k1", "rev1").unwrap();
        if broken {
            model.0.borrow_mut().broken.insert("rev2".into());
            model.deploy("k2", "rev2").unwrap_err();
        } else {
            model.deploy("k2", "rev2").unwrap();
            model.traffic(&[("rev1", 90), ("rev2", 10)]).unwrap();
            model.traffic(&[("rev1", 100)]).unwrap();
        }
        model.retire("rev2").unwrap();
        assert_eq!((model.names().len(), model.targets().len()), (1, 1), "{:?}", model.names());
        assert_eq!(model.shares(), [("rev1".into(), 100, 2, 2)]);
        let state = model.0.borrow();
        let template = &state.service.as_ref().unwrap()["template"];
        assert_eq!(template["containers"], state.revisions[0]["containers"], "nobody starts from what was rolled back");
    }
}

#[test]
fn whatever_cloud_run_says_against_the_clean_up_is_told_and_holds_nothing_up() {
    let retiring = |answers: &[(u16, &str)]| {
        let model = Model::new();
        model.deploy("k1", "rev1").unwrap();
        // It never came up, so it has no tag: the one change is that of the template.
        model.0.borrow_mut().broken.insert("rev2".into());
        model.deploy("k2", "rev2").unwrap_err();
        for (status, code) in answers {
            model.fault("PATCH", Fault::Before(Ok(error(*status, code, "it will not be"))));
        }
        let host = model.host();
        let cx = host.provider_context();
        let done = to_end(|state| Gcp::retire(&cx, &config(json!({})), "k", &service(), "rev2", state));
        (done.map(|(said, _)| said), host.log_lines(), model)
    };
    for (status, code) in [
        (400, "INVALID_ARGUMENT"),
        (400, "FAILED_PRECONDITION"),
        (404, "NOT_FOUND"),
        (409, "ALREADY_EXISTS"),
        (412, ""),
        (422, "SOMETHING_NEW"),
    ] {
        let (done, told, model) = retiring(&[(status, code)]);
        assert!(done.unwrap().contains("Cloud Run keeps shop-prod-web-rev2-"), "{status} {code}");
        assert!(told.iter().any(|(_, line)| line.contains("is left") && line.contains("it will not be")), "{told:?}");
        assert_eq!((model.shares(), model.names().len()), (vec![("rev1".into(), 100, 2, 2)], 2));
    }
    for (status, code) in [(401, "UNAUTHENTICATED"), (403, "PERMISSION_DENIED"), (429, "RESOURCE_EXHAUSTED")] {
        let failure = retiring(&[(status, code)]).0.unwrap_err();
        assert!(failure.message.contains("it will not be"), "{failure:?}");
    }
    // Somebody else was faster: once more, from what is there.
    let (done, told, model) = retiring(&[(409, "ABORTED")]);
    assert!(done.unwrap().contains("is gone"));
    assert_eq!((model.names().len(), told.len()), (1, 0), "{told:?}");
}

#[test]
fn a_name_that_cannot_be_used_again_is_not_insisted_on() {
    let model = Model::new();
    model.deploy("k1", "rev1").unwrap();
    model.deploy("k2", "rev2").unwrap();
    let gone = model.names().remove(1);
    model.retire("rev2").unwrap();
    model.0.borrow_mut().taken.insert(gone.clone());
    model.deploy("k3", "rev2").unwrap();
    assert!(model.names()[1].starts_with(&format!("{gone}-")), "{:?}", model.names());
    assert_eq!(model.shares()[1].0, "rev2");
}

#[test]
fn a_first_release_that_fails_leaves_nothing() {
    let model = Model::new();
    model.deploy("k1", "rev1").unwrap();
    model.traffic(&[]).unwrap();
    assert_eq!(model.read(), None);
    assert!(model.0.borrow().service.is_none(), "a service without traffic is none");
    model.retire("rev1").unwrap();
    model.traffic(&[]).unwrap();

    // One that was given no traffic has it all the same, and goes with the service.
    model.deploy("k1", "rev1").unwrap();
    model.retire("rev1").unwrap();
    assert!(model.0.borrow().service.is_none());
    model.0.borrow_mut().broken.insert("rev1".into());
    model.deploy("k2", "rev1").unwrap_err();
    model.retire("rev1").unwrap();
    assert!(model.0.borrow().service.is_none());

    // One that never came up is tried again in its place.
    model.0.borrow_mut().broken.insert("rev1".into());
    assert_eq!(model.deploy("k1", "rev1").unwrap_err().code, FailureCode::Unhealthy);
    model.0.borrow_mut().broken.clear();
    model.deploy("k2", "rev1").unwrap();
    assert_eq!(model.shares(), [("rev1".into(), 100, 2, 2)]);
}

#[test]
fn another_configuration_takes_the_place_of_the_first() {
    let model = Model::new();
    model.deploy("k1", "rev1").unwrap();
    model.deploy("k2", "rev2").unwrap();
    model.traffic(&[("rev1", 60), ("rev2", 40)]).unwrap();
    let before = model.names();
    model.deploy_with(&config(json!({"cpu": "2"})), "k3", "rev1", 2).unwrap();
    assert_eq!(model.shares(), [("rev2".into(), 40, 2, 2), ("rev1".into(), 60, 2, 2)], "the shares are as they were");
    let after = model.names();
    assert_eq!(after.len(), 2, "{after:?}");
    assert!(!after.contains(&before[0]) && after.contains(&before[1]), "{before:?} {after:?}");
}

#[test]
fn sizes_are_written_down_and_kept() {
    let model = Model::new();
    model.deploy("k1", "rev1").unwrap();
    model.deploy("k2", "rev2").unwrap();
    model.changes();
    model.scale("rev2", 5).unwrap();
    model.scale("rev2", 5).unwrap();
    assert_eq!(model.changes(), [format!("PATCH services/{NAME} annotations")]);
    assert_eq!(model.shares(), [("rev1".into(), 100, 2, 2), ("rev2".into(), 0, 5, 5)]);
    assert_eq!(model.scale("rev9", 1).unwrap_err().code, FailureCode::NotFound);
    model.traffic(&[("rev2", 100)]).unwrap();
    model.retire("rev1").unwrap();
    let annotations = model.0.borrow().service.as_ref().unwrap()["annotations"].clone();
    assert_eq!(annotations, json!({"basb-host/replicas": "rev2=5"}));
    let said =
        &Gcp::instances(&model.host().provider_context(), &config(json!({})), &service(), "rev2").unwrap().instances[0];
    assert!(said.state.contains("as many instances as requests need, at least 0"), "{said:?}");
}

#[test]
fn shares_are_whole_percents_at_revisions_that_are_there() {
    let model = Model::new();
    model.deploy("k1", "rev1").unwrap();
    assert_eq!(model.traffic(&[("rev9", 100)]).unwrap_err().code, FailureCode::NotFound);
    let cx = model.host().provider_context();
    let half = [
        ("rev1".to_owned(), basb_plugin::Weight::from_hundredths(9_950)),
        ("rev2".to_owned(), basb_plugin::Weight::from_hundredths(50)),
    ];
    let failure = Gcp::traffic(&cx, &config(json!({})), "k", &service(), &half, None).unwrap_err();
    assert!(failure.message.contains("smallest change here is 1 %"), "{failure:?}");
}
