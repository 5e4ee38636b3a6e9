//! What is there at a scripted counterpart.

use super::form::{Etag, Resource, Script};
use super::path::PathPattern;
use crate::counterpart::{Answered, State};
use basb_core::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Which one: its kind and its path.
pub(super) type Which = (String, String);

/// One thing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    /// The values of the placeholders in its path.
    pub(super) at: BTreeMap<String, String>,
    /// Its id.
    pub(super) id: String,
    /// Whether the counterpart made the id up.
    pub(super) generated: bool,
    /// What it holds.
    pub(super) body: Value,
    /// What it will hold, and when.
    pub(super) next: Option<(Timestamp, Value)>,
    /// When it last changed.
    pub(super) changed: Timestamp,
    /// Rises with every change.
    pub(super) generation: u64,
    /// Until when it is being made.
    pub(super) making: Option<Timestamp>,
    /// When it will be gone.
    pub(super) going: Option<Timestamp>,
    /// In which order it was made.
    pub(super) number: u64,
}

/// An operation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    pub(super) kind: String,
    pub(super) target: String,
    pub(super) until: Timestamp,
}

/// Everything that is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    pub(super) items: BTreeMap<Which, Item>,
    pub(super) operations: BTreeMap<String, Operation>,
    /// Requests by their tokens: what was asked for, and what came of it.
    pub(super) tokens: BTreeMap<String, (String, Answered)>,
    made: BTreeMap<String, u64>,
    violations: Vec<String>,
    /// The first request that the script had no answer for, and why.
    broken: Option<String>,
    numbers: u64,
    /// The kinds whose lists went on after a page, and whether more than the first page was ever asked for.
    pages: BTreeMap<String, bool>,
    /// As it was before the last change.
    before: Option<Box<Store>>,
}

impl Store {
    /// As at the beginning.
    pub(super) fn seeded(script: &Script) -> Self {
        let mut store = Self::default();
        for (kind, resource) in &script.resources {
            // Paths were checked when the script was read.
            let Ok(path) = PathPattern::parse(&resource.path) else { continue };
            for seed in &resource.seed {
                let id = path.id_name().and_then(|name| seed.at.get(name)).cloned().unwrap_or_default();
                store.put(
                    kind,
                    &path,
                    seed.at.clone(),
                    Item::new(seed.at.clone(), id, seed.body.clone(), Timestamp(0)),
                );
            }
        }
        store
    }

    pub(super) fn put(&mut self, kind: &str, path: &PathPattern, at: BTreeMap<String, String>, item: Item) {
        self.numbers += 1;
        let item = Item { number: self.numbers, ..item };
        self.items.insert((kind.to_owned(), path.with(&at)), item);
    }

    /// Remembers what is there, before it changes.
    pub(super) fn remember(&mut self) {
        // Not the copy of a copy.
        self.before = None;
        self.before = Some(Box::new(self.clone()));
    }

    /// As it was before the last change.
    pub(super) fn before(&self) -> Option<Self> {
        self.before.as_deref().cloned()
    }

    pub(super) fn count(&mut self, kind: &str) {
        *self.made.entry(kind.to_owned()).or_default() += 1;
    }

    pub(super) fn violation(&mut self, text: String) {
        self.violations.push(text);
    }

    /// The script has no answer.
    pub(super) fn broken(&mut self, asked: String, answer: &Answered) {
        let why = String::from_utf8_lossy(&answer.body).into_owned();
        self.broken.get_or_insert(format!("{asked}: {why}"));
    }

    /// What the script had no answer for.
    pub(super) fn without_answer(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// A list goes on after the page that was shown, or is shown from a later one.
    pub(super) fn paged(&mut self, kind: &str, beyond_the_first: bool) {
        *self.pages.entry(kind.to_owned()).or_default() |= beyond_the_first;
    }

    /// Whether the second page of a kind's list was asked for; none where there never was one.
    pub(super) fn second_page(&self, kind: &str) -> Option<bool> {
        self.pages.get(kind).copied()
    }

    /// A number that was not given out yet.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Lets everything happen that is due.
    pub(super) fn settle(&mut self, script: &Script, now: Timestamp) {
        let gone: Vec<Which> = self
            .items
            .iter()
            .filter(|(_, item)| item.going.is_some_and(|at| at <= now))
            .map(|(which, _)| which.clone())
            .collect();
        for which in gone {
            self.remove(script, &which);
        }
        for item in self.items.values_mut() {
            if item.making.is_some_and(|until| until <= now) {
                item.making = None;
            }
            if item.next.as_ref().is_some_and(|(at, _)| *at <= now)
                && let Some((at, body)) = item.next.take()
            {
                item.body = body;
                item.changed = at;
            }
        }
    }

    /// Removes one, and what belongs to it.
    pub(super) fn remove(&mut self, script: &Script, which: &Which) {
        let Some(gone) = self.items.remove(which) else { return };
        let inside: Vec<Which> = self
            .items
            .iter()
            .filter(|((kind, _), item)| {
                let within = script.resources.get(kind).and_then(|r| r.within.as_ref());
                within == Some(&which.0) && gone.at.iter().all(|(name, value)| item.at.get(name) == Some(value))
            })
            .map(|(which, _)| which.clone())
            .collect();
        for which in inside {
            self.remove(script, &which);
        }
    }

    /// What two runs that did the same agree about.
    pub(super) fn state(&mut self, script: &Script, now: Timestamp) -> State {
        self.settle(script, now);
        let mut there: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        let generated: Vec<&str> =
            self.items.values().filter(|item| item.generated).map(|item| item.id.as_str()).collect();
        for ((kind, _), item) in &self.items {
            let resource = script.resources.get(kind);
            let at: Map<String, Value> = item
                .at
                .iter()
                .map(|(name, value)| {
                    let shown = if generated.contains(&value.as_str()) { "(generated)" } else { value.as_str() };
                    (name.clone(), Value::from(shown))
                })
                .collect();
            let body = item.next.as_ref().map_or(&item.body, |(_, body)| body);
            let body = resource.map_or_else(|| body.clone(), |resource| without_volatile(resource, body, &generated));
            let state = if item.going.is_some() { "going" } else { "there" };
            there.entry(kind).or_default().push(json!({ "at": at, "body": body, "state": state }));
        }
        for all in there.values_mut() {
            all.sort_by_key(Value::to_string);
        }
        // One whose target is gone has nothing left to do.
        let is_there = |target: &str| self.items.keys().any(|(_, path)| path == target);
        let going = self.operations.values().filter(|op| op.until > now && is_there(&op.target));
        let going: Vec<&str> = going.map(|op| op.kind.as_str()).collect();
        let mut there = json!(there);
        if !going.is_empty()
            && let Some(map) = there.as_object_mut()
        {
            map.insert("(operations under way)".to_owned(), json!(going));
        }
        State { there, made: self.made.clone(), violations: self.violations.clone() }
    }
}

impl Item {
    pub(super) fn new(at: BTreeMap<String, String>, id: String, body: Value, now: Timestamp) -> Self {
        Self {
            at,
            id,
            generated: false,
            body,
            next: None,
            changed: now,
            generation: 1,
            making: None,
            going: None,
            number: 0,
        }
    }

    pub(super) fn etag(&self) -> String {
        format!("\"{}-{}\"", self.number, self.generation)
    }
}

impl Etag {
    /// Takes the etag out of a body that holds one.
    pub(super) fn take(&self, body: &mut Value) -> Option<String> {
        let field = self.field.as_ref()?;
        body.as_object_mut()?.remove(field)?.as_str().map(str::to_owned)
    }
}

fn without_volatile(resource: &Resource, body: &Value, generated: &[&str]) -> Value {
    let mut body = body.clone();
    if let Some(map) = body.as_object_mut() {
        for name in &resource.volatile {
            map.remove(name);
        }
    }
    anonymous(&mut body, generated);
    body
}

/// Ids that were made up differ between two runs that did the same.
fn anonymous(value: &mut Value, generated: &[&str]) {
    match value {
        Value::String(text) if generated.contains(&text.as_str()) => *text = "(generated)".to_owned(),
        Value::Array(all) => all.iter_mut().for_each(|value| anonymous(value, generated)),
        Value::Object(all) => all.values_mut().for_each(|value| anonymous(value, generated)),
        _ => {}
    }
}
