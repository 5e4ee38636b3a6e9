//! One account: what is there, what is going on, and what was done, without any I/O.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Something that changed in the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The service.
    pub service: String,
    /// What, in words that are the same for the same effect.
    pub what: String,
    /// Who asked for it: the value of the header `x-runner`.
    pub runner: String,
}

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notified {
    /// The run that it is of.
    pub run: String,
    /// The service; `-` for the run itself.
    pub service: String,
    /// The kind of event.
    pub kind: String,
    /// How often it came with the same key.
    pub times: u64,
}

/// An answer: status and body.
pub type Answer = (u16, Value);

/// A request, as far as it matters.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// The path below the account, in segments.
    pub path: Vec<&'a str>,
    /// The header `idempotency-key`.
    pub key: Option<&'a str>,
    /// The header `x-runner`.
    pub runner: &'a str,
    /// The body as JSON; null where there is none.
    pub body: Value,
}

/// One account.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Where its services are reached: `http://127.0.0.1:PORT/t/NAME`.
    pub base: String,
    services: BTreeMap<String, Service>,
    operations: Vec<Operation>,
    answered: BTreeMap<String, (Value, Answer)>,
    /// Everything that was done, in order.
    pub effects: Vec<Effect>,
    /// Requests with a key that was known, and requests that set what was set: what a host may send again.
    pub repeats: u64,
    /// What no host may ask for.
    pub violations: Vec<String>,
    /// Notifications by their keys.
    pub notified: BTreeMap<String, Notified>,
    /// Who sent each request that is no read, in order, whatever became of it.
    pub senders: Vec<String>,
    /// The key of each request that is no read, in order, as it arrived; empty where it has none.
    pub arrived: Vec<String>,
    /// The request that is never answered.
    pub trap: Option<Trap>,
    /// Whether it has arrived.
    pub caught: bool,
}

/// A request that is never answered: whoever sent it waits until it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trap {
    /// Its number among those that are no reads, from 1.
    pub request: usize,
    /// Whether it has its effect.
    pub acts: Acts,
}

/// Whether a request that is never answered has its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acts {
    /// It was received and carried out.
    Yes,
    /// It was lost on its way.
    No,
}

#[derive(Debug, Clone, Default)]
struct Service {
    revisions: BTreeMap<String, Revision>,
    record: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Revision {
    release: String,
    desired: u32,
    available: u32,
    weight: u16,
}

#[derive(Debug, Clone)]
struct Operation {
    service: String,
    /// How often it has yet to be looked at.
    polls: u32,
    change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Make { id: String, replicas: u32, release: String },
    Replicas { id: String, replicas: u32 },
    Traffic(BTreeMap<String, u16>),
    Delete { id: String },
}

impl Change {
    /// How often an operation is looked at until it is done.
    fn polls(&self) -> u32 {
        match self {
            Self::Make { .. } => 3,
            Self::Replicas { .. } | Self::Delete { .. } => 2,
            Self::Traffic(_) => 1,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Make { id, replicas, .. } => format!("make {id} with {replicas}"),
            Self::Replicas { id, replicas } => format!("scale {id} to {replicas}"),
            Self::Traffic(weights) => {
                let shares: Vec<String> = weights.iter().map(|(id, weight)| format!("{id}={weight}")).collect();
                format!("traffic {}", shares.join(" "))
            }
            Self::Delete { id } => format!("delete {id}"),
        }
    }
}

impl Account {
    /// A request that arrives; none for one that is never answered.
    pub fn arrive(&mut self, request: &Request<'_>) -> Option<Answer> {
        if request.method == "GET" {
            return Some(self.take(request));
        }
        self.arrived.push(request.key.unwrap_or_default().to_owned());
        match self.trap {
            Some(trap) if trap.request == self.arrived.len() => {
                if trap.acts == Acts::Yes {
                    self.take(request);
                }
                self.caught = true;
                None
            }
            _ => Some(self.take(request)),
        }
    }

    /// Takes a request of the API.
    pub fn take(&mut self, request: &Request<'_>) -> Answer {
        if request.method != "GET" {
            self.senders.push(request.runner.to_owned());
        }
        let Some(key) = request.key else { return self.act(request) };
        let asked = json!([request.method, request.path, request.body]);
        if let Some((before, answer)) = self.answered.get(key) {
            let answer = answer.clone();
            if *before != asked {
                self.violations.push(format!("the key {key} came with another request"));
                return (422, json!("this key was used for something else"));
            }
            self.repeats += 1;
            return answer;
        }
        let answer = self.act(request);
        if answer.0 < 300 {
            self.answered.insert(key.to_owned(), (asked, answer.clone()));
        }
        answer
    }

    fn act(&mut self, request: &Request<'_>) -> Answer {
        let body = &request.body;
        match (request.method, request.path.as_slice()) {
            ("GET", ["services", service]) => self.view(service),
            ("GET", ["operations", number]) => self.poll(number),
            ("POST", ["services"]) => {
                let name = body["name"].as_str().unwrap_or_default();
                if self.services.contains_key(name) {
                    return (409, json!("it is there"));
                }
                self.services.insert(name.to_owned(), Service::default());
                self.done(name, "make the service".to_owned(), request.runner);
                (201, json!({}))
            }
            ("POST", ["services", service, "record"]) => {
                let line = body.as_str().unwrap_or_default().to_owned();
                let Some(known) = self.services.get_mut(*service) else { return not_there() };
                known.record.push(line.clone());
                self.done(service, format!("record {line}"), request.runner);
                (201, json!({}))
            }
            ("POST", ["services", service, "papers"]) => {
                if !self.services.contains_key(*service) {
                    return not_there();
                }
                let after = body["after"].as_str().unwrap_or_default();
                self.done(service, format!("paper {} after `{after}`", body["number"]), request.runner);
                (201, json!(format!("ticket-{}", self.effects.len())))
            }
            ("POST", ["services", service, "revisions"]) => {
                let change = Change::Make {
                    id: body["id"].as_str().unwrap_or_default().to_owned(),
                    replicas: number(&body["replicas"]),
                    release: body["release"].as_str().unwrap_or_default().to_owned(),
                };
                self.begin(service, change, request.runner)
            }
            ("PUT", ["services", service, "revisions", id, "replicas"]) => {
                let change = Change::Replicas { id: (*id).to_owned(), replicas: number(body) };
                self.begin(service, change, request.runner)
            }
            ("PUT", ["services", service, "traffic"]) => {
                let weights = body.as_object().into_iter().flatten();
                let weights = weights
                    .filter_map(|(id, weight)| Some((id.clone(), u16::try_from(weight.as_u64()?).ok()?)))
                    .filter(|(_, weight)| *weight > 0);
                let change = Change::Traffic(weights.collect());
                self.begin(service, change, request.runner)
            }
            ("DELETE", ["services", service, "revisions", id]) => {
                self.begin(service, Change::Delete { id: (*id).to_owned() }, request.runner)
            }
            _ => (404, json!("there is no such thing in this API")),
        }
    }

    /// Begins an operation, unless there is nothing to change or it goes on already.
    fn begin(&mut self, service: &str, change: Change, runner: &str) -> Answer {
        let Some(known) = self.services.get(service) else { return not_there() };
        if let Some((number, going)) =
            self.operations.iter().enumerate().find(|(_, o)| o.service == service && o.polls > 0)
        {
            if going.change == change {
                self.repeats += 1;
                return (202, json!({ "number": number, "done": false }));
            }
            let what =
                format!("{service}: `{}` was asked for while `{}` goes on", change.words(), going.change.words());
            self.violations.push(what);
            return (409, json!("another operation goes on"));
        }
        let revision = |id: &String| known.revisions.get(id);
        let nothing = match &change {
            Change::Make { id, .. } => {
                if revision(id).is_some() {
                    self.violations.push(format!("{service}: {id} was made although it is there"));
                    return (409, json!("it is there"));
                }
                false
            }
            Change::Replicas { id, replicas } => match revision(id) {
                None => return not_there(),
                Some(there) => {
                    if *replicas == 0 && there.weight > 0 {
                        self.violations.push(format!("{service}: {id} was scaled away with traffic on it"));
                    }
                    there.desired == *replicas
                }
            },
            Change::Traffic(weights) => {
                for id in weights.keys() {
                    if revision(id).is_none_or(|there| there.available == 0) {
                        self.violations.push(format!("{service}: traffic for {id}, which has no instance"));
                    }
                }
                let now: BTreeMap<String, u16> = known
                    .revisions
                    .iter()
                    .filter(|(_, r)| r.weight > 0)
                    .map(|(id, r)| (id.clone(), r.weight))
                    .collect();
                now == *weights
            }
            Change::Delete { id } => match revision(id) {
                None => return not_there(),
                Some(there) => {
                    if there.weight > 0 {
                        self.violations.push(format!("{service}: {id} was deleted with traffic on it"));
                    }
                    false
                }
            },
        };
        if nothing {
            self.repeats += 1;
            return (204, Value::Null);
        }
        self.done(service, change.words(), runner);
        let polls = change.polls();
        self.operations.push(Operation { service: service.to_owned(), polls, change });
        (202, json!({ "number": self.operations.len() - 1, "done": false }))
    }

    fn poll(&mut self, number: &str) -> Answer {
        let Ok(number) = number.parse::<usize>() else { return not_there() };
        let Some(operation) = self.operations.get_mut(number) else { return not_there() };
        if operation.polls > 0 {
            operation.polls -= 1;
            if operation.polls == 0 {
                let (service, change) = (operation.service.clone(), operation.change.clone());
                self.complete(&service, change);
            }
        }
        let done = self.operations.get(number).is_some_and(|o| o.polls == 0);
        (200, json!({ "number": number, "done": done }))
    }

    fn complete(&mut self, service: &str, change: Change) {
        let Some(service) = self.services.get_mut(service) else { return };
        match change {
            Change::Make { id, replicas, release } => {
                let revision = Revision { release, desired: replicas, available: replicas, weight: 0 };
                service.revisions.insert(id, revision);
            }
            Change::Replicas { id, replicas } => {
                if let Some(revision) = service.revisions.get_mut(&id) {
                    (revision.desired, revision.available) = (replicas, replicas);
                }
            }
            Change::Traffic(weights) => {
                for (id, revision) in &mut service.revisions {
                    revision.weight = weights.get(id).copied().unwrap_or(0);
                }
            }
            Change::Delete { id } => {
                service.revisions.remove(&id);
            }
        }
    }

    fn view(&self, name: &str) -> Answer {
        let Some(service) = self.services.get(name) else { return not_there() };
        let url = format!("{}/s/{name}", self.base);
        let revisions: Vec<Value> = service
            .revisions
            .iter()
            .map(|(id, r)| {
                json!({ "id": id, "desired": r.desired, "available": r.available, "weight": r.weight,
                        "previewUrl": format!("{url}/r/{id}") })
            })
            .collect();
        (200, json!({ "url": url, "revisions": revisions }))
    }

    /// What a user, or a probe, is answered: release 3 is broken.
    pub fn visit(&self, service: &str, revision: Option<&str>) -> u16 {
        let Some(service) = self.services.get(service) else { return 404 };
        let asked = service.revisions.iter().filter(|(id, r)| match revision {
            Some(revision) => *id == revision && r.available > 0,
            None => r.weight > 0,
        });
        let releases: Vec<&str> = asked.map(|(_, r)| &*r.release).collect();
        match releases[..] {
            [] => 503,
            _ if releases.iter().all(|release| *release == "3") => 500,
            _ => 200,
        }
    }

    /// Takes a notification.
    pub fn notify(&mut self, key: &str, event: &Value) {
        let text = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
        let new = || Notified { run: text("run"), service: text("service"), kind: text("kind"), times: 0 };
        self.notified.entry(key.to_owned()).or_insert_with(new).times += 1;
    }

    fn done(&mut self, service: &str, what: String, runner: &str) {
        self.effects.push(Effect { service: service.to_owned(), what, runner: runner.to_owned() });
    }

    /// What is there, as text: the same for the same state.
    #[must_use]
    pub fn state(&self) -> String {
        let mut text = String::new();
        for (name, service) in &self.services {
            text.push_str(&format!("{name}: {:?}; record {:?}\n", service.revisions, service.record));
        }
        let open = self.operations.iter().filter(|o| o.polls > 0).count();
        if open > 0 {
            text.push_str(&format!("{open} operations go on\n"));
        }
        text
    }
}

fn not_there() -> Answer {
    (404, json!("it is not there"))
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(account: &mut Account, method: &str, path: &str, key: Option<&str>, body: Value) -> Answer {
        account.take(&Request { method, path: path.split('/').collect(), key, runner: "a", body })
    }

    fn with_revision() -> Account {
        let mut account = Account::default();
        assert_eq!(ask(&mut account, "POST", "services", Some("k"), json!({ "name": "s" })).0, 201);
        let made = json!({ "id": "r", "replicas": 2, "release": "1" });
        assert_eq!(ask(&mut account, "POST", "services/s/revisions", Some("k2"), made).0, 202);
        for _ in 0..3 {
            ask(&mut account, "GET", "operations/0", None, Value::Null);
        }
        account
    }

    #[test]
    fn the_same_key_has_its_effect_once() {
        let mut account = with_revision();
        let line = || json!("hello");
        assert_eq!(ask(&mut account, "POST", "services/s/record", Some("k3"), line()).0, 201);
        let before = account.effects.len();
        assert_eq!(ask(&mut account, "POST", "services/s/record", Some("k3"), line()).0, 201);
        assert_eq!((account.effects.len(), account.repeats), (before, 1));
        // Without the key, or with another one, it is another effect: what a host that forgets its keys is caught by.
        assert_eq!(ask(&mut account, "POST", "services/s/record", Some("k4"), line()).0, 201);
        assert_eq!(account.effects.len(), before + 1);
        assert_eq!(ask(&mut account, "POST", "services/s/record", Some("k4"), json!("other")).0, 422);
        assert_eq!(account.violations.len(), 1);
    }

    #[test]
    fn a_trapped_request_is_not_answered_and_the_next_one_is() {
        let mut account = with_revision();
        let file = |account: &mut Account, key: &str, after: &str| {
            let body = json!({ "number": 1, "after": after });
            let path = vec!["services", "s", "papers"];
            account.arrive(&Request { method: "POST", path, key: Some(key), runner: "a", body })
        };
        let before = account.effects.len();
        account.trap = Some(Trap { request: 1, acts: Acts::No });
        assert_eq!((file(&mut account, "p", ""), account.caught, account.effects.len()), (None, true, before));
        account.trap = Some(Trap { request: 2, acts: Acts::Yes });
        assert_eq!((file(&mut account, "p", ""), account.effects.len()), (None, before + 1));
        // Sent once more: the same answer, and no second effect.
        assert_eq!(file(&mut account, "p", "").unwrap().0, 201);
        assert_eq!((account.effects.len(), account.arrived.len()), (before + 1, 3));
        // With another ticket in it, it is another request.
        assert_eq!(file(&mut account, "p", "ticket-9").unwrap().0, 422);
    }

    #[test]
    fn setting_what_is_set_is_no_effect() {
        let mut account = with_revision();
        let before = account.effects.len();
        assert_eq!(ask(&mut account, "PUT", "services/s/revisions/r/replicas", None, json!(2)).0, 204);
        assert_eq!(account.effects.len(), before);
        assert_eq!(ask(&mut account, "PUT", "services/s/traffic", None, json!({ "r": 10_000 })).0, 202);
        assert_eq!(ask(&mut account, "PUT", "services/s/traffic", None, json!({ "r": 10_000 })).0, 202, "it goes on");
        assert_eq!(account.effects.len(), before + 1);
        assert_eq!(ask(&mut account, "PUT", "services/s/revisions/r/replicas", None, json!(3)).0, 409);
        assert_eq!(account.violations.len(), 1);
    }

    #[test]
    fn an_operation_is_done_when_it_was_polled() {
        let mut account = with_revision();
        ask(&mut account, "PUT", "services/s/traffic", None, json!({ "r": 10_000 }));
        assert!(account.state().contains("1 operations go on"));
        assert_eq!(account.visit("s", None), 503);
        assert_eq!(ask(&mut account, "GET", "operations/1", None, Value::Null).1["done"], true);
        assert_eq!((account.visit("s", None), account.visit("s", Some("r"))), (200, 200));
        assert!(!account.state().contains("go on"));
    }

    #[test]
    fn traffic_without_an_instance_is_a_violation() {
        let mut account = with_revision();
        ask(&mut account, "PUT", "services/s/traffic", None, json!({ "other": 10_000 }));
        assert_eq!(account.violations.len(), 1);
    }
}
