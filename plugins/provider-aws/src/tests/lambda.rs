//! Functions: a model of Lambda, from its API reference, with the optimistic lock that moto does not have.

use std::cell::RefCell;
use std::rc::Rc;

use basb_plugin::http::{HttpError, Request, Response};
use basb_plugin::provider::{Action, Observed, Progress, Provider};
use basb_plugin::testing::{FakeHost, Reply};
use basb_plugin::{Failure, FailureCode, Retry, Weight};
use serde_json::{Value, json};

use super::{desired, service};
use crate::{Aws, Config};

#[derive(Default)]
pub(super) struct State {
    pub function: Option<Value>,
    pub versions: Vec<Value>,
    pub alias: Option<Value>,
    lock: u32,
    /// What was published last.
    published: Value,
    /// How often the function is still busy after a change.
    busy: u32,
    busy_after_change: u32,
    /// Method and the end of the path of each request that changes something.
    changes: Vec<String>,
    /// Somebody else changes the alias right before this change.
    meddle: bool,
    lose_next: Option<&'static str>,
    /// The next change of this kind fails, some time after it was taken.
    pub fail_next: Option<&'static str>,
}

#[derive(Clone, Default)]
pub(super) struct Functions(pub Rc<RefCell<State>>);

fn error(status: u16, code: &str, message: &str) -> Response {
    let mut reply = Reply::json(status, &json!({"Type": "User", "Message": message}));
    reply.headers.push(("x-amzn-errortype".into(), code.into()));
    reply
}

impl Functions {
    pub(super) fn host(&self) -> FakeHost {
        let functions = self.clone();
        FakeHost::new().serve(move |request| Some(functions.answer(request)))
    }

    pub(super) fn changes(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut().changes)
    }

    fn answer(&self, request: &Request) -> Result<Response, HttpError> {
        let mut state = self.0.borrow_mut();
        let path = request.url.strip_prefix("https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions").unwrap();
        let rest = path.strip_prefix("/shop-prod-web").unwrap_or(path);
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if request.method != "GET" {
            state.changes.push(format!("{} {rest}", request.method));
        }
        let reply = state.answer(&request.method, rest, &body);
        if state.lose_next.is_some_and(|lost| lost == format!("{} {rest}", request.method)) {
            state.lose_next = None;
            return Err(HttpError::TimedOut("no answer".into()));
        }
        Ok(reply)
    }
}

impl State {
    fn answer(&mut self, method: &str, rest: &str, body: &Value) -> Response {
        let not_found = || error(404, "ResourceNotFoundException", "Function not found");
        if self.function.is_none() && (method, rest) != ("POST", "") {
            return not_found();
        }
        if self.busy > 0 && method != "GET" && !rest.starts_with("/aliases") && !rest.starts_with(':') {
            return error(409, "ResourceConflictException", "An update is in progress for resource");
        }
        let stale = |known: &Value| !body["RevisionId"].is_null() && body["RevisionId"] != *known;
        match (method, rest) {
            ("POST", "") => {
                assert_eq!(body["FunctionName"], "shop-prod-web");
                self.function = Some(
                    json!({"Configuration": {"Version": "$LATEST", "Role": body["Role"], "MemorySize": body["MemorySize"],
                    "Timeout": body["Timeout"], "Environment": body["Environment"], "CodeSha256": "sha-1", "State": "Active",
                    "Architectures": body["Architectures"],
                    "ImageConfigResponse": {"ImageConfig": body["ImageConfig"]}},
                    "Code": body["Code"], "Tags": body["Tags"]}),
                );
                self.changed();
                self.configuration()
            }
            ("GET", "") => {
                let mut function = self.function.clone().unwrap();
                if self.busy > 0 {
                    self.busy -= 1;
                    function["Configuration"]["LastUpdateStatus"] = "InProgress".into();
                }
                Reply::json(200, &function)
            }
            ("PUT", "/configuration") => {
                if stale(&self.function.as_ref().unwrap()["Configuration"]["RevisionId"]) {
                    return error(412, "PreconditionFailedException", "The RevisionId provided does not match");
                }
                for name in
                    ["Role", "MemorySize", "Timeout", "Environment"].iter().filter(|name| !body[**name].is_null())
                {
                    self.function.as_mut().unwrap()["Configuration"][name] = body[name].clone();
                }
                if !body["ImageConfig"].is_null() {
                    self.function.as_mut().unwrap()["Configuration"]["ImageConfigResponse"]["ImageConfig"] =
                        body["ImageConfig"].clone();
                }
                self.settle("PUT /configuration");
                self.changed();
                self.configuration()
            }
            ("PUT", "/code") => {
                self.function.as_mut().unwrap()["Code"]["ImageUri"] = body["ImageUri"].clone();
                self.function.as_mut().unwrap()["Configuration"]["Architectures"] = body["Architectures"].clone();
                self.function.as_mut().unwrap()["Configuration"]["CodeSha256"] = format!("sha-{}", self.lock).into();
                self.settle("PUT /code");
                self.changed();
                self.configuration()
            }
            ("POST", "/versions") => {
                let now = &self.function.as_ref().unwrap()["Configuration"];
                assert_ne!(now["LastUpdateStatus"], "Failed", "what failed is published");
                if stale(&now["RevisionId"]) || body["CodeSha256"] != now["CodeSha256"] {
                    return error(412, "PreconditionFailedException", "The RevisionId provided does not match");
                }
                // What was published last, whether it is still there or not.
                if now["RevisionId"] == self.published {
                    return Reply::json(201, self.versions.last().unwrap());
                }
                self.published = now["RevisionId"].clone();
                let mut version = now.clone();
                version["Version"] = (self.versions.len() + 7).to_string().into();
                version["Description"] = body["Description"].clone();
                self.versions.push(version.clone());
                Reply::json(201, &version)
            }
            ("GET", rest) if rest.starts_with("/versions") => {
                let latest = json!({"Version": "$LATEST"});
                let all: Vec<&Value> = std::iter::once(&latest).chain(&self.versions).collect();
                let from: usize = rest.split("?Marker=").nth(1).map_or(0, |marker| marker.parse().unwrap());
                let next = (from + 1 < all.len()).then(|| (from + 1).to_string());
                Reply::json(200, &json!({"Versions": [all[from]], "NextMarker": next}))
            }
            ("GET", rest) if rest.starts_with(':') => {
                let number = rest.trim_start_matches(':').trim_end_matches("/configuration");
                match self.versions.iter().find(|version| version["Version"] == number) {
                    Some(version) => Reply::json(200, version),
                    None => not_found(),
                }
            }
            ("DELETE", "") => {
                self.function = None;
                Reply::status(204)
            }
            ("DELETE", rest) if rest.starts_with(':') => {
                let number = rest.trim_start_matches(':');
                self.versions.retain(|version| version["Version"] != number);
                Reply::status(204)
            }
            ("GET", "/aliases/live") => match &self.alias {
                Some(alias) => Reply::json(200, alias),
                None => error(404, "ResourceNotFoundException", "Cannot find alias arn"),
            },
            ("POST", "/aliases") => {
                assert!(self.alias.is_none());
                self.alias = Some(json!({"FunctionVersion": body["FunctionVersion"], "RevisionId": "a-0"}));
                Reply::json(201, self.alias.as_ref().unwrap())
            }
            ("PUT", "/aliases/live") => {
                let meddle = std::mem::take(&mut self.meddle);
                let alias = self.alias.as_mut().unwrap();
                if meddle {
                    alias["RevisionId"] = "somebody-else".into();
                }
                if body["RevisionId"] != alias["RevisionId"] {
                    return error(
                        412,
                        "PreconditionFailedException",
                        "The RevisionId provided does not match the latest RevisionId",
                    );
                }
                self.lock += 1;
                alias["FunctionVersion"] = body["FunctionVersion"].clone();
                alias["RoutingConfig"] = body["RoutingConfig"].clone();
                alias["RevisionId"] = format!("a-{}", self.lock).into();
                Reply::json(200, alias)
            }
            ("DELETE", "/aliases/live") => {
                self.alias = None;
                Reply::status(204)
            }
            other => panic!("{other:?} is not modelled"),
        }
    }

    /// What becomes of a change. Where it fails, what was asked for is shown all the same.
    fn settle(&mut self, change: &str) {
        let now = &mut self.function.as_mut().unwrap()["Configuration"];
        let fails = self.fail_next.is_some_and(|fails| fails == change);
        if fails {
            self.fail_next = None;
        }
        now["LastUpdateStatus"] = if fails { "Failed" } else { "Successful" }.into();
        let told = |text: &str| if fails { Value::from(text) } else { Value::Null };
        now["LastUpdateStatusReason"] = told("The image cannot be pulled");
        now["LastUpdateStatusReasonCode"] = told("ImageAccessDenied");
    }

    fn changed(&mut self) {
        self.lock += 1;
        self.busy = self.busy_after_change;
        self.function.as_mut().unwrap()["Configuration"]["RevisionId"] = format!("f-{}", self.lock).into();
    }

    fn configuration(&self) -> Response {
        Reply::json(200, &self.function.as_ref().unwrap()["Configuration"])
    }
}

pub(super) fn config() -> Config {
    let config = json!({"region": "eu-west-1", "lambda": {"role": "arn:aws:iam::1:role/f"}, "services": {"web": {"url": "https://web.example"}}});
    serde_json::from_value(config).unwrap()
}

/// A workload for Lambda.
pub(super) fn function(revision: &str, replicas: u32) -> basb_plugin::provider::Desired {
    let mut desired = desired(revision, replicas);
    desired.workload.settings = r#"{"command": ["app.handler"]}"#.into();
    desired
}

fn apply(functions: &Functions, revision: &str, state: Option<&str>) -> Result<Progress, Failure> {
    let action = Action::Deploy(Box::new(function(revision, 1)));
    Aws::apply(&functions.host().provider_context(), &config(), "k", &action, state)
}

/// Deploys to the end; how many calls that took.
pub(super) fn deploy(functions: &Functions, revision: &str) -> u32 {
    let mut state = None;
    for calls in 1..20 {
        match apply(functions, revision, state.as_deref()) {
            Ok(Progress::Done(_)) => return calls,
            Ok(Progress::Running(pending)) => state = Some(pending.state),
            Err(failure) if matches!(failure.retry, Retry::After(_)) => {}
            Err(failure) => panic!("{failure:?}"),
        }
    }
    panic!("it does not end")
}

pub(super) fn traffic(functions: &Functions, weights: &[(&str, u16)]) -> Result<Progress, Failure> {
    let weights: Vec<_> =
        weights.iter().map(|(name, weight)| ((*name).to_owned(), Weight::from_hundredths(*weight))).collect();
    Aws::traffic(&functions.host().provider_context(), &config(), "k", &service(), &weights, None)
}

pub(super) fn shares(functions: &Functions) -> Vec<(String, u16)> {
    let observed: Option<Observed> = Aws::read(&functions.host().provider_context(), &config(), &service()).unwrap();
    let of = |r: basb_plugin::provider::ObservedRevision| (r.id, r.weight.hundredths());
    observed.map(|observed| observed.revisions.into_iter().map(of).collect()).unwrap_or_default()
}

#[test]
fn a_revision_is_a_version_and_an_alias_shares_out() {
    let functions = Functions::default();
    assert_eq!(deploy(&functions, "r1"), 2);
    assert_eq!(functions.changes(), ["POST ", "POST /versions"]);
    assert_eq!(shares(&functions), [("r1".into(), 0)]);
    traffic(&functions, &[("r1", 10_000)]).unwrap();
    functions.0.borrow_mut().busy_after_change = 2;
    assert!(deploy(&functions, "r2") > 3, "each change is waited for");
    let changed = functions.changes();
    assert_eq!(changed, ["POST /aliases", "PUT /configuration", "POST /versions"]);
    for share in [10_u16, 1_000, 5_000, 9_990] {
        traffic(&functions, &[("r1", 10_000 - share), ("r2", share)]).unwrap();
        assert_eq!(shares(&functions), [("r1".into(), 10_000 - share), ("r2".into(), share)]);
    }
    functions.changes();
    traffic(&functions, &[("r1", 10), ("r2", 9_990)]).unwrap();
    assert_eq!(functions.changes(), ["PUT /aliases/live"], "what was read may be of a moment ago");
    assert_eq!(shares(&functions), [("r1".into(), 10), ("r2".into(), 9_990)]);
    traffic(&functions, &[("r2", 10_000)]).unwrap();
    let retire =
        |revision: &str| Aws::retire(&functions.host().provider_context(), &config(), "k", &service(), revision, None);
    assert_eq!(retire("r2").unwrap_err().code, FailureCode::Conflict);
    retire("r1").unwrap();
    retire("r1").unwrap();
    assert_eq!(shares(&functions), [("r2".into(), 10_000)]);
    traffic(&functions, &[]).unwrap();
    functions.0.borrow_mut().lose_next = Some("DELETE :8");
    retire("r2").unwrap_err();
    retire("r2").unwrap();
    assert_eq!(functions.0.borrow().function, None, "what we made goes with its last revision");
    assert_eq!(shares(&functions), []);
}

#[test]
fn a_revision_that_was_retired_comes_back_as_a_version_of_its_own() {
    let functions = Functions::default();
    deploy(&functions, "r1");
    traffic(&functions, &[("r1", 10_000)]).unwrap();
    deploy(&functions, "r2");
    Aws::retire(&functions.host().provider_context(), &config(), "k", &service(), "r2", None).unwrap();
    functions.changes();
    // Nothing has changed since r2 was published, so Lambda publishes nothing by itself.
    deploy(&functions, "r2");
    assert_eq!(functions.changes(), ["POST /versions", "PUT /configuration", "POST /versions"]);
    assert_eq!(shares(&functions), [("r1".into(), 10_000), ("r2".into(), 0)]);
}

#[test]
fn somebody_elses_change_of_the_alias_is_looked_at_first() {
    let functions = Functions::default();
    deploy(&functions, "r1");
    traffic(&functions, &[("r1", 10_000)]).unwrap();
    deploy(&functions, "r2");
    functions.0.borrow_mut().meddle = true;
    let failure = traffic(&functions, &[("r1", 5_000), ("r2", 5_000)]).unwrap_err();
    assert_eq!(failure.code, FailureCode::Conflict);
    assert!(matches!(failure.retry, Retry::After(_)), "{failure:?}");
    assert!(
        failure.message.contains("does not match the latest RevisionId (PreconditionFailedException, status 412"),
        "{failure:?}"
    );
    assert_eq!(shares(&functions), [("r1".into(), 10_000), ("r2".into(), 0)]);
    traffic(&functions, &[("r1", 5_000), ("r2", 5_000)]).unwrap();
    assert_eq!(shares(&functions), [("r1".into(), 5_000), ("r2".into(), 5_000)]);
}

#[test]
fn an_answer_that_is_lost_makes_nothing_twice() {
    for lost in ["POST ", "PUT /configuration", "POST /versions"] {
        let functions = Functions::default();
        deploy(&functions, "r1");
        if lost == "POST " {
            *functions.0.borrow_mut() = State::default();
        }
        functions.0.borrow_mut().lose_next = Some(lost);
        let revision = if lost == "POST " { "r1" } else { "r2" };
        deploy(&functions, revision);
        assert_eq!(functions.0.borrow().lose_next, None, "{lost} was asked");
        let versions = functions.0.borrow().versions.len();
        assert_eq!(versions, if revision == "r1" { 1 } else { 2 }, "{lost}");
    }
}

#[test]
fn another_architecture_is_another_code_of_the_same_image() {
    let functions = Functions::default();
    deploy(&functions, "r1");
    functions.changes();
    let arm: Config = serde_json::from_value(json!({"region": "eu-west-1", "lambda": {"role": "arn:aws:iam::1:role/f",
        "architecture": "arm64"}, "services": {"web": {"url": "https://web.example"}}}))
    .unwrap();
    let cx = functions.host().provider_context();
    let plan = Aws::plan(&cx, &arm, &function("r2", 1)).unwrap();
    let mut changes = plan.actions.iter().flat_map(|action| &action.changes);
    let change = changes.find(|change| change.path == "function.architecture").unwrap();
    assert_eq!((change.before.as_deref(), change.after.as_deref()), (Some("x86_64"), Some("arm64")));
    let mut state = None;
    let action = Action::Deploy(Box::new(function("r2", 1)));
    while let Progress::Running(pending) = Aws::apply(&cx, &arm, "k", &action, state.as_deref()).unwrap() {
        state = Some(pending.state);
    }
    assert_eq!(functions.changes(), ["PUT /code", "PUT /configuration", "POST /versions"]);
    assert_eq!(functions.0.borrow().function.as_ref().unwrap()["Configuration"]["Architectures"], json!(["arm64"]));
}

#[test]
fn what_lambda_cannot_run_is_said_first() {
    let functions = Functions::default();
    let plan = |change: fn(&mut basb_plugin::provider::Desired)| {
        let mut desired = function("r1", 1);
        change(&mut desired);
        Aws::plan(&functions.host().provider_context(), &config(), &desired)
    };
    assert!(plan(|d| d.replicas = 3).unwrap_err().message.contains("`replicas` at 1"));
    let s3 =
        |d: &mut basb_plugin::provider::Desired| d.workload.settings = r#"{"s3": {"bucket": "b", "key": "k"}}"#.into();
    assert!(plan(s3).unwrap_err().message.contains("not both"));
    // The host takes no workload without an image or a command.
    let package = |d: &mut basb_plugin::provider::Desired| {
        d.workload.image = None;
        d.workload.command = vec!["app.handler".into()];
        d.workload.settings =
            r#"{"s3": {"bucket": "b", "key": "k"}, "codeSha256": "x", "runtime": "python3.13"}"#.into();
    };
    let first = plan(package).unwrap();
    let changes = first.actions.iter().flat_map(|action| &action.changes);
    let handler = changes.filter(|change| change.path == "function.Handler").find_map(|change| change.after.clone());
    assert_eq!(handler.as_deref(), Some("app.handler"));
    let unnamed = plan(|d| {
        d.workload.image = None;
        d.workload.command = vec!["python3".into(), "app.py".into()];
        d.workload.settings = r#"{"s3": {"bucket": "b", "key": "k"}, "runtime": "python3.13"}"#.into();
    });
    assert!(unnamed.unwrap_err().message.contains("its handler as `command: [app.handler]`"));
    let first = plan(|_| ()).unwrap();
    let summaries: Vec<_> = first.actions.iter().map(|action| action.summary.as_str()).collect();
    assert_eq!(summaries, ["function shop-prod-web", "a version of shop-prod-web for revision r1"]);
    deploy(&functions, "r1");
    assert_eq!(plan(|_| ()).unwrap().actions, []);
}

#[test]
fn three_revisions_are_one_too_many() {
    let functions = Functions::default();
    for revision in ["r1", "r2", "r3"] {
        deploy(&functions, revision);
    }
    let failure = traffic(&functions, &[("r1", 5_000), ("r2", 3_000), ("r3", 2_000)]).unwrap_err();
    assert!(failure.message.contains("two versions at the most"), "{failure:?}");
}

/// Behind a tag there may be another image than last time, of which Lambda knows nothing until its code is sent.
#[test]
fn an_image_by_its_tag_is_sent_once_for_each_revision() {
    let functions = Functions::default();
    let config: Config =
        serde_json::from_value(json!({"region": "eu-west-1", "lambda": {"role": "arn:aws:iam::1:role/f",
        "imageTags": "allow"}, "services": {"web": {"url": "https://web.example"}}}))
        .unwrap();
    let cx = functions.host().provider_context();
    let by_tag = |revision: &str| {
        let mut desired = function(revision, 1);
        desired.workload.image = Some("registry.example/web:latest".into());
        desired
    };
    let deploy = |revision: &str| {
        let action = Action::Deploy(Box::new(by_tag(revision)));
        let mut state = None;
        while let Progress::Running(pending) = Aws::apply(&cx, &config, "k", &action, state.as_deref()).unwrap() {
            state = Some(pending.state);
        }
        functions.changes()
    };
    assert_eq!(deploy("r1"), ["POST ", "POST /versions"], "it is there since the function was made");
    functions.0.borrow_mut().busy_after_change = 2;
    let plan = Aws::plan(&cx, &config, &by_tag("r2")).unwrap();
    let mut changes = plan.actions.iter().flat_map(|action| &action.changes);
    let image = changes.find(|change| change.path == "function.image").unwrap();
    assert_eq!(image.after.as_deref(), Some("registry.example/web:latest, as it is by then"));
    assert_eq!(deploy("r2"), ["PUT /code", "PUT /configuration", "POST /versions"]);
    assert_eq!(deploy("r2"), [""; 0], "a revision that is published stays what it is");
    assert_eq!(Aws::plan(&cx, &config, &by_tag("r2")).unwrap().actions, []);
}
