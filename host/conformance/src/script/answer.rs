//! How a scripted counterpart answers.

use super::expression::{Expressions, Names};
use super::form::{Create, CreateBy, Delete, Doing, IdFrom, List, Resource, Script, Shown, TokenAt, Update, UpdateBy};
use super::path::PathPattern;
use super::store::{Item, Operation, Store, Which};
use crate::counterpart::{Answered, Sent};
use basb_core::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

type At = BTreeMap<String, String>;

/// The status of an answer that the script could not make.
const BROKEN: u16 = 599;

/// One request on its way.
struct Turn<'a> {
    script: &'a Script,
    expressions: &'a Expressions,
    store: &'a mut Store,
    sent: &'a Sent,
    body: Value,
    now: Timestamp,
}

/// An answer that reports an error.
type Wrong = Box<Answered>;

/// The answer to a request.
pub(super) fn answer(
    script: &Script,
    expressions: &Expressions,
    store: &mut Store,
    sent: &Sent,
    now: Timestamp,
) -> Answered {
    store.settle(script, now);
    let body = serde_json::from_slice(&sent.body).unwrap_or(Value::Null);
    let mut turn = Turn { script, expressions, store, sent, body, now };
    let answer = turn.answer().unwrap_or_else(|wrong| *wrong);
    if answer.status == BROKEN {
        store.broken(sent.shown(), &answer);
    }
    answer
}

impl Turn<'_> {
    fn wrong(&self, status: u16, code: &str, message: &str) -> Wrong {
        let names =
            Names::default().with("status", &json!(status)).with("code", &json!(code)).with("message", &json!(message));
        let body = self.expressions.fill(&self.script.error, &names).unwrap_or_else(|e| json!(e));
        Box::new(Answered::json(status, &body))
    }

    fn query(&self, name: &str) -> Option<String> {
        self.sent.url.query_pairs().find(|(have, _)| have == name).map(|(_, value)| value.into_owned())
    }

    fn answer(&mut self) -> Result<Answered, Wrong> {
        if let Some(answer) = self.route()? {
            return Ok(answer);
        }
        if let Some(answer) = self.operation()? {
            return Ok(answer);
        }
        let script = self.script;
        let path = self.sent.url.path().to_owned();
        for (kind, resource) in &script.resources {
            // Paths were checked when the script was read.
            let Ok(pattern) = PathPattern::parse(&resource.path) else { continue };
            if let Some(at) = pattern.fits(&path) {
                return self.item(kind, resource, &pattern, at);
            }
            if pattern.id_name().is_some()
                && (resource.list.is_some() || resource.create.as_ref().is_some_and(|c| c.by == CreateBy::Post))
                && let Some(at) = pattern.collection().fits(&path)
            {
                return self.collection(kind, resource, &pattern, at);
            }
        }
        Err(self.wrong(404, "not-found", &format!("there is no {path}")))
    }

    // --- routes and operations

    fn route(&mut self) -> Result<Option<Answered>, Wrong> {
        let script = self.script;
        for route in script.routes.iter().filter(|route| route.method == self.sent.method) {
            let Some(at) = PathPattern::parse(&route.path).ok().and_then(|p| p.fits(self.sent.url.path())) else {
                continue;
            };
            let names = self.names(&at, None);
            if let Some(when) = &route.when
                && !self.expressions.holds(when, &names).map_err(broken)?
            {
                continue;
            }
            let body = self.expressions.fill(&route.body, &names).map_err(broken)?;
            let mut answer = match &body {
                Value::String(text) => {
                    Answered { status: route.status, headers: Vec::new(), body: text.clone().into_bytes() }
                }
                body => Answered::json(route.status, body),
            };
            for (name, value) in &route.headers {
                answer.headers.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
                answer.headers.push((name.to_ascii_lowercase(), value.clone()));
            }
            return Ok(Some(answer));
        }
        Ok(None)
    }

    fn operation(&mut self) -> Result<Option<Answered>, Wrong> {
        let Some(operations) = &self.script.operations else { return Ok(None) };
        let Ok(pattern) = PathPattern::parse(&operations.path) else { return Ok(None) };
        let Some(at) = pattern.fits(self.sent.url.path()).filter(|_| self.sent.method == "GET") else {
            return Ok(None);
        };
        let id = pattern.id_name().and_then(|name| at.get(name)).cloned().unwrap_or_default();
        if !self.store.operations.contains_key(&id) {
            return Err(self.wrong(404, "not-found", &format!("there is no operation {id}")));
        }
        Ok(Some(Answered::json(200, &self.shown_operation(&id)?)))
    }

    fn shown_operation(&self, id: &str) -> Result<Value, Wrong> {
        let (Some(operations), Some(operation)) = (&self.script.operations, self.store.operations.get(id)) else {
            return Ok(Value::Null);
        };
        let names = Names::default()
            .with("id", &json!(id))
            .with("done", &json!(operation.until <= self.now))
            .with("kind", &json!(operation.kind))
            .with("target", &json!(operation.target));
        self.expressions.fill(&operations.view, &names).map_err(broken)
    }

    fn begin(&mut self, what: &str, which: &Which, takes: basb_core::Millis) -> String {
        let id = format!("op-{}", self.store.number());
        let until = self.now.plus(takes);
        let kind = format!("{what} {}", which.0);
        self.store.operations.insert(id.clone(), Operation { kind, target: which.1.clone(), until });
        id
    }

    // --- what expressions may know

    fn names(&self, at: &At, item: Option<&Item>) -> Names {
        let query: Map<String, Value> =
            self.sent.url.query_pairs().map(|(name, value)| (name.into_owned(), json!(value))).collect();
        let headers: Map<String, Value> =
            self.sent.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), json!(value))).collect();
        let request = json!({
            "method": self.sent.method, "path": self.sent.url.path(), "query": query, "headers": headers,
            "body": self.body,
        });
        let mut all: BTreeMap<&str, Vec<Value>> =
            self.script.resources.keys().map(|kind| (kind.as_str(), Vec::new())).collect();
        let mut items: Vec<_> = self.store.items.iter().collect();
        items.sort_by_key(|(_, item)| item.number);
        for ((kind, _), item) in items {
            all.entry(kind).or_default().push(self.facts(item));
        }
        let names = Names::default()
            .with("request", &request)
            .with("params", &json!(at))
            .with("all", &json!(all))
            .with("now", &json!(self.now.0))
            .with("origin", &json!(self.sent.url.origin().ascii_serialization()));
        let facts = item.map_or_else(|| json!({}), |item| self.facts(item));
        let fact = |name: &str| facts.get(name).cloned().unwrap_or(Value::Null);
        names
            .with("exists", &json!(item.is_some()))
            .with("id", &fact("id"))
            .with("body", &fact("body"))
            .with("age", &fact("age"))
            .with("making", &fact("making"))
            .with("going", &fact("going"))
            .with("generation", &fact("generation"))
            .with("etag", &fact("etag"))
    }

    /// What is known of one.
    fn facts(&self, item: &Item) -> Value {
        json!({
            "id": item.id, "at": item.at, "body": item.body, "age": self.now.0.saturating_sub(item.changed.0),
            "making": item.making.is_some(), "going": item.going.is_some(), "generation": item.generation,
            "etag": item.etag(),
        })
    }

    /// What is shown of one. Children are shown as their own views say.
    fn view(&self, kind: &str, resource: &Resource, item: &Item) -> Result<Value, Wrong> {
        let mut shown = match &resource.view {
            None => item.body.clone(),
            Some(view) => {
                let mut children = Map::new();
                for (inner, within) in &self.script.resources {
                    if within.within.as_deref() != Some(kind) {
                        continue;
                    }
                    let mut all: Vec<&Item> = self.inside(inner, &item.at);
                    all.sort_by_key(|item| item.number);
                    let all = all.into_iter().map(|item| self.view(inner, within, item)).collect::<Result<_, _>>()?;
                    children.insert(inner.clone(), Value::Array(all));
                }
                let names = self.names(&item.at, Some(item)).with("children", &Value::Object(children));
                self.expressions.fill(view, &names).map_err(broken)?
            }
        };
        if let Some(field) = resource.etag.as_ref().and_then(|etag| etag.field.as_ref())
            && let Some(map) = shown.as_object_mut()
        {
            map.insert(field.clone(), json!(item.etag()));
        }
        Ok(shown)
    }

    fn inside(&self, kind: &str, at: &At) -> Vec<&Item> {
        let fits = |item: &Item| at.iter().all(|(name, value)| item.at.get(name) == Some(value));
        self.store.items.iter().filter(|((k, _), item)| k == kind && fits(item)).map(|(_, item)| item).collect()
    }

    /// An answer that shows one.
    fn show(&self, kind: &str, resource: &Resource, which: &Which, status: u16) -> Result<Answered, Wrong> {
        let Some(item) = self.store.items.get(which) else {
            return Ok(Answered { status: 204, ..Answered::default() });
        };
        let mut answer = Answered::json(status, &self.view(kind, resource, item)?);
        if resource.etag.as_ref().is_some_and(|etag| etag.field.is_none()) {
            answer.headers.push(("etag".to_owned(), item.etag()));
        }
        Ok(answer)
    }

    fn shown(
        &mut self,
        (kind, resource, which): (&str, &Resource, &Which),
        shown: Shown,
        (what, takes): (&str, basb_core::Millis),
        status: Option<u16>,
        usual: u16,
    ) -> Result<Answered, Wrong> {
        match shown {
            Shown::Item => self.show(kind, resource, which, status.unwrap_or(usual)),
            Shown::Nothing => Ok(Answered { status: status.unwrap_or(204), ..Answered::default() }),
            Shown::Operation => {
                let id = self.begin(what, which, takes);
                Ok(Answered::json(status.unwrap_or(202), &self.shown_operation(&id)?))
            }
            Shown::Parent => {
                let parent = resource.within.as_ref().and_then(|kind| Some((kind, self.script.resources.get(kind)?)));
                let at = PathPattern::parse(&resource.path).ok().and_then(|path| path.fits(&which.1));
                let (Some((kind, parent)), Some(at)) = (parent, at) else {
                    return Ok(Answered { status: status.unwrap_or(204), ..Answered::default() });
                };
                let Ok(path) = PathPattern::parse(&parent.path) else {
                    return Ok(Answered { status: 204, ..Answered::default() });
                };
                self.show(kind, parent, &(kind.clone(), path.with(&at)), status.unwrap_or(usual))
            }
        }
    }

    // --- resources

    fn refuse(&mut self, resource: &Resource, doing: Doing, at: &At, which: &Which) -> Result<(), Wrong> {
        for refusal in resource.refuse.iter().filter(|refusal| refusal.on.contains(&doing)) {
            let names = self.names(at, self.store.items.get(which));
            if self.expressions.holds(&refusal.when, &names).map_err(broken)? {
                if refusal.forbidden {
                    self.store.violation(format!("{} {}: {}", self.sent.method, which.1, refusal.message));
                }
                let code = if refusal.code.is_empty() { "refused" } else { &refusal.code };
                return Err(self.wrong(refusal.status, code, &refusal.message));
            }
        }
        Ok(())
    }

    fn item(&mut self, kind: &str, resource: &Resource, path: &PathPattern, at: At) -> Result<Answered, Wrong> {
        let which: Which = (kind.to_owned(), path.with(&at));
        let there = self.store.items.contains_key(&which);
        let method = self.sent.method.clone();
        match (method.as_str(), there) {
            ("GET", true) => {
                self.refuse(resource, Doing::Get, &at, &which).and_then(|()| self.show(kind, resource, &which, 200))
            }
            ("PUT", false) if resource.create.as_ref().is_some_and(|c| c.by == CreateBy::Put) => match &resource.create
            {
                Some(create) => self.create(kind, resource, (path, at, None), create),
                None => Err(self.wrong(405, "method", "it cannot be made")),
            },
            ("PUT" | "PATCH", true) => match &resource.update {
                Some(update) if update.by.takes(&method) => self.update(kind, resource, (&at, &which), update),
                _ => Err(self.wrong(405, "method", &format!("{method} is not for {}", which.1))),
            },
            ("DELETE", _) => match &resource.delete {
                Some(delete) => self.delete(kind, resource, (&at, &which), delete),
                None => Err(self.wrong(405, "method", "it cannot be removed")),
            },
            (_, false) => Err(self.wrong(404, &resource.missing, &format!("there is no {kind} at {}", which.1))),
            (method, true) => Err(self.wrong(405, "method", &format!("{method} is not for {}", which.1))),
        }
    }

    fn collection(&mut self, kind: &str, resource: &Resource, path: &PathPattern, at: At) -> Result<Answered, Wrong> {
        let method = self.sent.method.clone();
        match (method.as_str(), &resource.list, &resource.create) {
            ("GET", Some(list), _) => self.list(kind, resource, &at, list),
            ("POST", _, Some(create)) if create.by == CreateBy::Post => {
                let (id, generated) = match &create.id {
                    Some(IdFrom::Generated(form)) => (form.replace("{n}", &self.store.number().to_string()), true),
                    Some(IdFrom::Field(name)) => {
                        (self.body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned(), false)
                    }
                    Some(IdFrom::Query(name)) => (self.query(name).unwrap_or_default(), false),
                    None => (String::new(), false),
                };
                if id.is_empty() {
                    return Err(self.wrong(400, "invalid", &format!("a {kind} needs an id")));
                }
                let mut at = at;
                at.insert(path.id_name().unwrap_or_default().to_owned(), id.clone());
                self.create(kind, resource, (path, at, generated.then_some(id)), create)
            }
            _ => Err(self.wrong(405, "method", &format!("{method} is not for {}", self.sent.url.path()))),
        }
    }

    fn list(&mut self, kind: &str, resource: &Resource, at: &At, list: &List) -> Result<Answered, Wrong> {
        let which = (kind.to_owned(), self.sent.url.path().to_owned());
        self.refuse(resource, Doing::List, at, &which)?;
        self.parent(resource, at)?;
        let mut all = self.inside(kind, at);
        all.sort_by_key(|item| item.number);
        let from: usize =
            self.query(&list.ask).and_then(|token| token.strip_prefix("page-")?.parse().ok()).unwrap_or(0);
        let size = list.page.unwrap_or(usize::MAX);
        let shown: Vec<Value> =
            all.iter().skip(from).take(size).map(|item| self.view(kind, resource, item)).collect::<Result<_, _>>()?;
        let goes_on = from.saturating_add(size) < all.len();
        if goes_on || from > 0 {
            self.store.paged(kind, from > 0);
        }
        let Some(name) = &list.items else { return Ok(Answered::json(200, &Value::Array(shown))) };
        let mut body = Map::new();
        body.insert(name.clone(), Value::Array(shown));
        if goes_on {
            body.insert(list.next.clone(), json!(format!("page-{}", from.saturating_add(size))));
        }
        Ok(Answered::json(200, &Value::Object(body)))
    }

    fn parent(&self, resource: &Resource, at: &At) -> Result<(), Wrong> {
        let Some(kind) = &resource.within else { return Ok(()) };
        let Some(path) = self.script.resources.get(kind).and_then(|r| PathPattern::parse(&r.path).ok()) else {
            return Ok(());
        };
        match self.store.items.get(&(kind.clone(), path.with(at))) {
            Some(_) => Ok(()),
            None => Err(self.wrong(404, "not-found", &format!("there is no {kind} at {}", path.with(at)))),
        }
    }

    fn token(&mut self, at: &TokenAt) -> Option<String> {
        match at {
            TokenAt::Header(name) => self.sent.header(name).map(str::to_owned),
            TokenAt::Query(name) => self.query(name),
            TokenAt::Field(name) => self.body.as_object_mut()?.remove(name)?.as_str().map(str::to_owned),
        }
    }

    fn create(
        &mut self,
        kind: &str,
        resource: &Resource,
        (path, at, generated): (&PathPattern, At, Option<String>),
        create: &Create,
    ) -> Result<Answered, Wrong> {
        let asked = format!("{} {} {}", self.sent.method, self.sent.url.path(), self.body);
        let token = create.token.as_ref().and_then(|at| self.token(at));
        if let Some(token) = &token
            && let Some((before, answer)) = self.store.tokens.get(token)
        {
            if *before == asked {
                return Ok(answer.clone());
            }
            self.store.violation(format!("the token {token} came with another request"));
            return Err(self.wrong(422, "token", "this token was used for something else"));
        }
        let which: Which = (kind.to_owned(), path.with(&at));
        self.parent(resource, &at)?;
        self.refuse(resource, Doing::Create, &at, &which)?;
        if self.store.items.contains_key(&which) {
            return Err(self.wrong(409, "exists", &format!("{} exists", which.1)));
        }
        self.store.remember();
        if let Some(etag) = &resource.etag {
            etag.take(&mut self.body);
        }
        let id = match &generated {
            Some(id) => id.clone(),
            None => path.id_name().and_then(|name| at.get(name)).cloned().unwrap_or_default(),
        };
        let mut item = Item::new(at.clone(), id, self.body.clone(), self.now);
        item.generated = generated.is_some();
        item.making = (create.takes.0 > 0).then(|| self.now.plus(create.takes));
        self.store.put(kind, path, at, item);
        self.store.count(kind);
        let answer = self.shown((kind, resource, &which), create.answer, ("make", create.takes), create.status, 201)?;
        if let Some(token) = token {
            self.store.tokens.insert(token, (asked, answer.clone()));
        }
        Ok(answer)
    }

    fn update(
        &mut self,
        kind: &str,
        resource: &Resource,
        (at, which): (&At, &Which),
        update: &Update,
    ) -> Result<Answered, Wrong> {
        self.refuse(resource, Doing::Update, at, which)?;
        if let Some(etag) = &resource.etag {
            let given = match &etag.field {
                Some(_) => etag.take(&mut self.body),
                None => self.sent.header("if-match").map(str::to_owned),
            };
            let now = self.store.items.get(which).map(Item::etag);
            match given {
                None if etag.required => {
                    return Err(self.wrong(428, "etag-required", "say which version you have seen"));
                }
                Some(given) if Some(&given) != now.as_ref() => {
                    return Err(self.wrong(412, "etag-mismatch", "somebody else changed it in the meantime"));
                }
                _ => {}
            }
        }
        self.store.remember();
        let (now, sent, merges) =
            (self.now, self.body.clone(), self.sent.method == "PATCH" || update.by == UpdateBy::Merge);
        if let Some(item) = self.store.items.get_mut(which) {
            let mut body = item.next.take().map_or_else(|| item.body.clone(), |(_, body)| body);
            if merges {
                merge(&mut body, &sent)
            } else {
                body = sent
            }
            item.generation += 1;
            if update.takes.0 > 0 {
                item.next = Some((now.plus(update.takes), body));
            } else if item.body != body {
                item.body = body;
                item.changed = now;
            }
        }
        self.shown((kind, resource, which), update.answer, ("change", update.takes), update.status, 200)
    }

    fn delete(
        &mut self,
        kind: &str,
        resource: &Resource,
        (at, which): (&At, &Which),
        delete: &Delete,
    ) -> Result<Answered, Wrong> {
        if !self.store.items.contains_key(which) {
            let status = delete.missing.unwrap_or(404);
            return if status < 300 {
                Ok(Answered { status, ..Answered::default() })
            } else {
                Err(self.wrong(status, &resource.missing, &format!("there is no {kind} at {}", which.1)))
            };
        }
        self.refuse(resource, Doing::Delete, at, which)?;
        self.store.remember();
        if delete.takes.0 > 0 {
            let at = self.now.plus(delete.takes);
            if let Some(item) = self.store.items.get_mut(which) {
                item.going.get_or_insert(at);
            }
        }
        let answer = self.shown((kind, resource, which), delete.answer, ("remove", delete.takes), delete.status, 200);
        if delete.takes.0 == 0 {
            self.store.remove(self.script, which);
        }
        answer
    }
}

/// An expression that has no value is the script's mistake, and no plugin's.
fn broken(why: String) -> Wrong {
    Box::new(Answered::json(BROKEN, &json!({ "badCounterpart": why })))
}

/// RFC 7396.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    if let Some(map) = into.as_object_mut() {
        for (name, value) in patch {
            if value.is_null() {
                map.remove(name);
            } else {
                merge(map.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
    }
}
