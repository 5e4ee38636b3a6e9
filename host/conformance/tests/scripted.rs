//! A counterpart that is written down answers as its file says.
#![expect(clippy::unwrap_used, reason = "helpers of tests stop them")]

use basb_conformance::counterpart::{Counterpart, Sent, State};
use basb_conformance::script::{Scripted, form};
use basb_core::Timestamp;
use serde_json::{Value, json};
use url::Url;

const CLOUD: &str = r#"
counterpart: 1
name: a small cloud
operations: { path: "/v1/operations/{operation}" }
resources:
  service:
    path: /v1/services/{service}
    create: { by: put }
    update: { by: patch }
    etag: { field: etag, required: true }
    view: { "...": "= body", name: "= id", revisions: "= children.revision" }
  revision:
    path: /v1/services/{service}/revisions/{revision}
    within: service
    create: { by: post, id: { generated: "rev-{n}" }, token: { header: idempotency-key }, takes: 3s, answer: operation }
    delete: { takes: 2s, answer: operation }
    list: { items: revisions, page: 2 }
    view: { id: "= id", ready: "= !making && age >= 5000" }
    refuse:
      - { on: [create], when: "request.body.replicas > 9", status: 400, code: too-many, message: at most nine, forbidden: true }
"#;

fn cloud() -> Scripted {
    Scripted::new(serde_saphyr::from_str(CLOUD).unwrap()).unwrap()
}

fn ask(cloud: &Scripted, now: u64, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> (u16, Value) {
    let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let url = Url::parse(&format!("https://cloud.example{path}")).unwrap();
    let sent = Sent { method: method.to_owned(), url, headers, body };
    let answer = futures_util::FutureExt::now_or_never(cloud.http(&sent, Timestamp(now))).unwrap().unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
}

fn state(cloud: &Scripted, now: u64) -> State {
    futures_util::FutureExt::now_or_never(cloud.state(Timestamp(now))).unwrap().unwrap()
}

#[test]
fn what_is_made_is_there_and_counted_once_for_a_token() {
    let cloud = cloud();
    assert_eq!(ask(&cloud, 0, "GET", "/v1/services/s", &[], Value::Null).0, 404);
    assert_eq!(ask(&cloud, 0, "POST", "/v1/services/s/revisions", &[], json!({ "replicas": 1 })).0, 404, "no parent");
    assert_eq!(ask(&cloud, 0, "PUT", "/v1/services/s", &[], json!({ "a": 1 })).0, 201);
    let token = [("idempotency-key", "k1")];
    let (status, first) = ask(&cloud, 0, "POST", "/v1/services/s/revisions", &token, json!({ "replicas": 1 }));
    assert_eq!((status, &first["done"]), (202, &json!(false)));
    let again = ask(&cloud, 10, "POST", "/v1/services/s/revisions", &token, json!({ "replicas": 1 }));
    assert_eq!(again, (202, first.clone()));
    assert_eq!(ask(&cloud, 10, "POST", "/v1/services/s/revisions", &token, json!({ "replicas": 2 })).0, 422);
    assert_eq!(ask(&cloud, 10, "POST", "/v1/services/s/revisions", &[], json!({ "replicas": 10 })).0, 400);
    let state = state(&cloud, 10);
    assert_eq!((state.made["revision"], state.violations.len()), (1, 2), "{:?}", state.violations);
    let name = first["name"].as_str().unwrap();
    assert_eq!(ask(&cloud, 3000, "GET", &format!("/v1/operations/{name}"), &[], Value::Null).1["done"], json!(true));
}

#[test]
fn lists_have_pages_and_views_have_children() {
    let cloud = cloud();
    ask(&cloud, 0, "PUT", "/v1/services/s", &[], json!({}));
    for _ in 0..3 {
        ask(&cloud, 0, "POST", "/v1/services/s/revisions", &[], json!({ "replicas": 1 }));
    }
    let (_, first) = ask(&cloud, 6000, "GET", "/v1/services/s/revisions", &[], Value::Null);
    assert_eq!((first["revisions"].as_array().unwrap().len(), &first["nextPageToken"]), (2, &json!("page-2")));
    let (_, last) = ask(&cloud, 6000, "GET", "/v1/services/s/revisions?pageToken=page-2", &[], Value::Null);
    assert_eq!((last["revisions"].as_array().unwrap().len(), last.get("nextPageToken")), (1, None));
    assert_eq!(cloud.unread(), Ok(None));
    let (_, service) = ask(&cloud, 6000, "GET", "/v1/services/s", &[], Value::Null);
    assert_eq!(service["revisions"][0]["ready"], json!(true));
    assert_eq!(service["name"], "s");
}

#[test]
fn a_second_page_that_nobody_asks_for_or_that_never_is_there_is_told() {
    let cloud = cloud();
    ask(&cloud, 0, "PUT", "/v1/services/s", &[], json!({}));
    for _ in 0..2 {
        ask(&cloud, 0, "POST", "/v1/services/s/revisions", &[], json!({ "replicas": 1 }));
    }
    ask(&cloud, 0, "GET", "/v1/services/s/revisions", &[], Value::Null);
    assert_eq!(cloud.unread().unwrap_err().code, "kit/no-second-page");
    ask(&cloud, 0, "POST", "/v1/services/s/revisions", &[], json!({ "replicas": 1 }));
    ask(&cloud, 0, "GET", "/v1/services/s/revisions", &[], Value::Null);
    assert!(cloud.unread().unwrap().unwrap().contains("no second page was ever asked for"));
}

#[test]
fn a_change_needs_the_version_that_it_is_about() {
    let cloud = cloud();
    ask(&cloud, 0, "PUT", "/v1/services/s", &[], json!({}));
    let (_, service) = ask(&cloud, 0, "GET", "/v1/services/s", &[], Value::Null);
    let etag = service["etag"].clone();
    assert_eq!(ask(&cloud, 0, "PATCH", "/v1/services/s", &[], json!({ "b": 2 })).0, 428);
    let (status, changed) = ask(&cloud, 0, "PATCH", "/v1/services/s", &[], json!({ "b": 2, "etag": etag }));
    assert_eq!((status, &changed["b"]), (200, &json!(2)));
    assert_eq!(ask(&cloud, 0, "PATCH", "/v1/services/s", &[], json!({ "b": 3, "etag": etag })).0, 412);
}

#[test]
fn a_stale_read_shows_what_was_before_the_last_change() {
    let cloud = cloud();
    ask(&cloud, 0, "PUT", "/v1/services/s", &[], json!({}));
    let url = Url::parse("https://cloud.example/v1/services/s").unwrap();
    let sent = Sent { method: "GET".to_owned(), url, headers: Vec::new(), body: Vec::new() };
    assert_eq!(cloud.stale(&sent, Timestamp(0)).unwrap().status, 404);
    assert_eq!(ask(&cloud, 0, "GET", "/v1/services/s", &[], Value::Null).0, 200);
}

#[test]
fn what_is_removed_is_gone_after_its_time_and_a_saved_state_comes_back() {
    let cloud = cloud();
    ask(&cloud, 0, "PUT", "/v1/services/s", &[], json!({}));
    ask(&cloud, 0, "POST", "/v1/services/s/revisions", &[], json!({ "replicas": 1 }));
    let (_, all) = ask(&cloud, 0, "GET", "/v1/services/s/revisions", &[], Value::Null);
    let path = format!("/v1/services/s/revisions/{}", all["revisions"][0]["id"].as_str().unwrap());
    let saved = futures_util::FutureExt::now_or_never(cloud.save()).unwrap().unwrap().unwrap();
    assert_eq!(ask(&cloud, 0, "DELETE", &path, &[], Value::Null).0, 202);
    assert_eq!(ask(&cloud, 1999, "GET", &path, &[], Value::Null).0, 200);
    assert_eq!(ask(&cloud, 2000, "GET", &path, &[], Value::Null).0, 404);
    assert_eq!(state(&cloud, 2000).there.get("revision"), None);
    futures_util::FutureExt::now_or_never(cloud.restore(&saved)).unwrap().unwrap();
    assert_eq!(ask(&cloud, 2000, "GET", &path, &[], Value::Null).0, 200);
}

#[test]
fn what_is_wrong_with_a_script_is_said_at_once() {
    let broken =
        "counterpart: 1\nname: x\nresources:\n  a: { path: v1, within: b, create: { by: post }, view: '= 1 +' }\n";
    let wrong = Scripted::new(serde_saphyr::from_str(broken).unwrap()).unwrap_err().message;
    for part in ["must begin with `/`", "within `b`", "needs an `id`", "not a CEL expression"] {
        assert!(wrong.contains(part), "{part}: {wrong}");
    }
    assert!(serde_saphyr::from_str::<form::Script>("counterpart: 1\nname: x\nsurprise: 1\n").is_err());
}
