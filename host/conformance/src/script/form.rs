//! The file of a scripted counterpart, version 1.

use super::expression::{Expressions, is_expression};
use super::path::PathPattern;
use basb_core::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// The version of the form.
pub const COUNTERPART_VERSION: u32 = 1;

/// The names that expressions about a request may use.
const NAMES: [&str; 13] = [
    "request",
    "params",
    "all",
    "now",
    "origin",
    "exists",
    "id",
    "body",
    "age",
    "making",
    "going",
    "generation",
    "etag",
];

/// A counterpart: what is asked for first matches a route, and then a resource.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Script {
    /// The version of this form: 1.
    pub counterpart: u32,
    /// What it is, for people.
    pub name: String,
    /// What can be made, changed and removed, by kind.
    #[serde(default)]
    pub resources: BTreeMap<String, Resource>,
    /// How long-running operations are looked at.
    #[serde(default)]
    pub operations: Option<Operations>,
    /// Answers that belong to no resource. The first that matches counts.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Who listens on TCP.
    #[serde(default)]
    pub tcp: Vec<Tcp>,
    /// The body of an answer that reports an error: a template over `status`, `code` and `message`.
    #[serde(default = "error_form")]
    pub error: Value,
}

/// A kind of thing.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource {
    /// Where one of them is, such as `/v1/services/{service}/revisions/{revision}`. The last placeholder is its id. What is
    /// in front of the last segment is where they are listed and made.
    pub path: String,
    /// The kind that it belongs to: without that one it cannot be made, and it goes with it.
    #[serde(default)]
    pub within: Option<String>,
    /// The code of the error for one that is not there.
    #[serde(default = "not_found")]
    pub missing: String,
    /// How one is made; not at all when left out.
    #[serde(default)]
    pub create: Option<Create>,
    /// How one is changed; not at all when left out.
    #[serde(default)]
    pub update: Option<Update>,
    /// How one is removed; not at all when left out.
    #[serde(default)]
    pub delete: Option<Delete>,
    /// How they are listed; not at all when left out.
    #[serde(default)]
    pub list: Option<List>,
    /// How a change is kept from undoing another one.
    #[serde(default)]
    pub etag: Option<Etag>,
    /// What is shown of one: a template; its body when left out.
    #[serde(default)]
    pub view: Option<Value>,
    /// What is refused, and when.
    #[serde(default)]
    pub refuse: Vec<Refusal>,
    /// Names of members of the body that may differ between two runs which did the same.
    #[serde(default)]
    pub volatile: Vec<String>,
    /// What is there at the beginning: each with `at`, a value for every placeholder of the path, and a `body`.
    #[serde(default)]
    pub seed: Vec<Seed>,
}

/// Something that is there at the beginning.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seed {
    /// The values of the placeholders in the path.
    pub at: BTreeMap<String, String>,
    /// Its body.
    #[serde(default)]
    pub body: Value,
}

/// How one is made.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Create {
    /// `put` to its own place, or `post` to where they are listed.
    pub by: CreateBy,
    /// Where its id comes from, for `post`.
    #[serde(default)]
    pub id: Option<IdFrom>,
    /// The status of the answer [default: 201, or 202 for an operation]
    #[serde(default)]
    pub status: Option<u16>,
    /// What tells a repeated request from a new one: with the same token nothing is made, and the answer is the same.
    #[serde(default)]
    pub token: Option<TokenAt>,
    /// How long it takes until it is there in full, such as `3s`.
    #[serde(default, deserialize_with = "span")]
    #[schemars(with = "Option<String>")]
    pub takes: Millis,
    /// What is answered.
    #[serde(default)]
    pub answer: Shown,
}

/// `put` or `post`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CreateBy {
    /// To its own place.
    Put,
    /// To where they are listed.
    Post,
}

/// Where an id comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum IdFrom {
    /// The counterpart makes one up; `{n}` stands for a number: `rev-{n}`.
    Generated(String),
    /// A member of the body.
    Field(String),
    /// A parameter of the query.
    Query(String),
}

/// Where a token is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TokenAt {
    /// A header.
    Header(String),
    /// A parameter of the query.
    Query(String),
    /// A member of the body, which is not kept.
    Field(String),
}

/// How one is changed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Update {
    /// `put` replaces the body, `patch` merges into it (RFC 7396).
    pub by: UpdateBy,
    /// The status of the answer [default: 200, or 202 for an operation]
    #[serde(default)]
    pub status: Option<u16>,
    /// How long it takes until it has its effect, such as `3s`.
    #[serde(default, deserialize_with = "span")]
    #[schemars(with = "Option<String>")]
    pub takes: Millis,
    /// What is answered.
    #[serde(default)]
    pub answer: Shown,
}

/// `put` or `patch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum UpdateBy {
    /// The body is replaced.
    Put,
    /// What is sent is merged into it.
    Patch,
    /// `put` replaces, `patch` merges.
    Both,
    /// `put` merges too.
    Merge,
}

/// How one is removed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delete {
    /// The status of the answer [default: 200 with a body, 204 without, 202 for an operation]
    #[serde(default)]
    pub status: Option<u16>,
    /// The status for one that is not there [default: 404]
    #[serde(default)]
    pub missing: Option<u16>,
    /// How long it takes until it is gone, such as `3s`.
    #[serde(default, deserialize_with = "span")]
    #[schemars(with = "Option<String>")]
    pub takes: Millis,
    /// What is answered.
    #[serde(default = "nothing")]
    pub answer: Shown,
}

/// What is answered to a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Shown {
    /// The thing itself.
    #[default]
    Item,
    /// The operation that was begun.
    Operation,
    /// The thing that it belongs to.
    Parent,
    /// No body.
    Nothing,
}

/// How they are listed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct List {
    /// The member of the answer that holds them; the answer is the list itself when left out.
    #[serde(default)]
    pub items: Option<String>,
    /// How many are on one page; all when left out.
    #[serde(default)]
    pub page: Option<usize>,
    /// The parameter of the query that asks for a page.
    #[serde(default = "page_token")]
    pub ask: String,
    /// The member of the answer that holds what to ask for next.
    #[serde(default = "next_page_token")]
    pub next: String,
}

/// How a change is kept from undoing another one.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Etag {
    /// The member of the body that holds it; the headers `etag` and `if-match` when left out.
    #[serde(default)]
    pub field: Option<String>,
    /// Whether a change without it is refused.
    #[serde(default)]
    pub required: bool,
}

/// Something that is refused.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refusal {
    /// What is asked for.
    pub on: Vec<Doing>,
    /// When: an expression.
    pub when: String,
    /// The status.
    pub status: u16,
    /// The error's code.
    #[serde(default)]
    pub code: String,
    /// What is said.
    #[serde(default)]
    pub message: String,
    /// Whether a plugin that asks for it has done wrong, such as traffic for what is not ready.
    #[serde(default)]
    pub forbidden: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Doing {
    /// To make one.
    Create,
    /// To change one.
    Update,
    /// To remove one.
    Delete,
    /// To look at one.
    Get,
    /// To look at all.
    List,
}

/// How long-running operations are looked at.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operations {
    /// Where one is, such as `/v1/operations/{operation}`.
    pub path: String,
    /// What is shown: a template over `id`, `done`, `kind` and `target`.
    #[serde(default = "operation_form")]
    pub view: Value,
}

/// An answer that belongs to no resource.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// The method.
    pub method: String,
    /// The path, with placeholders.
    pub path: String,
    /// When: an expression over `request` and `all`; always when left out.
    #[serde(default)]
    pub when: Option<String>,
    /// The status.
    #[serde(default = "ok")]
    pub status: u16,
    /// Headers of the answer.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body: a template. A text is sent as it is, anything else as JSON.
    #[serde(default)]
    pub body: Value,
}

/// Somebody who listens on TCP.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tcp {
    /// The port.
    pub port: u16,
    /// What it says.
    #[serde(default)]
    pub says: String,
}

fn error_form() -> Value {
    serde_json::json!({ "error": { "code": "= code", "message": "= message" } })
}

fn operation_form() -> Value {
    serde_json::json!({ "name": "= id", "done": "= done" })
}

fn not_found() -> String {
    "not-found".to_owned()
}

fn nothing() -> Shown {
    Shown::Nothing
}

fn page_token() -> String {
    "pageToken".to_owned()
}

fn next_page_token() -> String {
    "nextPageToken".to_owned()
}

fn ok() -> u16 {
    200
}

/// A time such as `500ms`, `3s` or `2m`.
fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Millis, D::Error> {
    let text = String::deserialize(from)?;
    parse_span(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no time such as 500ms, 3s or 2m")))
}

/// A time such as `500ms`, `3s` or `2m`.
#[must_use]
pub fn parse_span(text: &str) -> Option<Millis> {
    let (digits, factor) = match text {
        _ if text.ends_with("ms") => (text.strip_suffix("ms")?, 1),
        _ if text.ends_with('s') => (text.strip_suffix('s')?, 1000),
        _ => (text.strip_suffix('m')?, 60_000),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor).map(Millis)
}

impl UpdateBy {
    /// Whether a change is made by this method.
    #[must_use]
    pub fn takes(self, method: &str) -> bool {
        match self {
            Self::Put => method == "PUT",
            Self::Patch => method == "PATCH",
            Self::Both | Self::Merge => matches!(method, "PUT" | "PATCH"),
        }
    }
}

impl Script {
    /// A counterpart that knows nothing.
    #[must_use]
    pub fn empty(name: &str) -> Self {
        Self {
            counterpart: COUNTERPART_VERSION,
            name: name.to_owned(),
            resources: BTreeMap::new(),
            operations: None,
            routes: Vec::new(),
            tcp: Vec::new(),
            error: error_form(),
        }
    }

    /// Everything that is wrong with it.
    #[must_use]
    pub fn problems(&self, expressions: &Expressions) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.counterpart != COUNTERPART_VERSION {
            wrong.push(format!("its form is version {}, this program reads version 1", self.counterpart));
        }
        let mut template = |at: &str, value: &Value, names: &[&str]| {
            each(value, &mut |text| {
                if let Err(e) = expressions.check(text, names) {
                    wrong.push(format!("{at}: {e}"));
                }
            });
        };
        template("error", &self.error, &["status", "code", "message"]);
        let in_views: Vec<&str> = NAMES.into_iter().chain(["children"]).collect();
        for (kind, resource) in &self.resources {
            if let Some(view) = &resource.view {
                template(&format!("{kind}: view"), view, &in_views);
            }
            for refusal in &resource.refuse {
                template(&format!("{kind}: refuse"), &Value::from(format!("= {}", refusal.when)), &NAMES);
            }
        }
        if let Some(operations) = &self.operations {
            template("operations: view", &operations.view, &["id", "done", "kind", "target"]);
        }
        for route in &self.routes {
            template(&route.path, &route.body, &NAMES);
            if let Some(when) = &route.when {
                template(&route.path, &Value::from(format!("= {when}")), &NAMES);
            }
        }
        let mut path = |at: &str, text: &str| {
            if let Err(e) = PathPattern::parse(text) {
                wrong.push(format!("{at}: {e}"));
            }
        };
        for (kind, resource) in &self.resources {
            path(kind, &resource.path);
        }
        for route in &self.routes {
            path("routes", &route.path);
        }
        if let Some(operations) = &self.operations {
            path("operations", &operations.path);
        }
        for (kind, resource) in &self.resources {
            if let Some(parent) = resource.within.as_ref().filter(|parent| !self.resources.contains_key(*parent)) {
                wrong.push(format!("{kind}: it is within `{parent}`, which is not there"));
            }
            let post =
                resource.create.as_ref().is_some_and(|create| create.by == CreateBy::Post && create.id.is_none());
            if post {
                wrong.push(format!(
                    "{kind}: what is made by `post` needs an `id`, such as `generated: \"{kind}-{{n}}\"`"
                ));
            }
        }
        wrong
    }
}

/// Every expression in a template.
fn each(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => {
            if let Some(expression) = is_expression(text) {
                see(expression);
            }
        }
        Value::Array(all) => all.iter().for_each(|value| each(value, see)),
        Value::Object(all) => all.values().for_each(|value| each(value, see)),
        _ => {}
    }
}
