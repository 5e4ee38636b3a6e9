//! The small cloud's API, with what goes wrong and what it means.

use crate::{Bug, Config};
use basb_plugin::http::{HttpError, Request, Response};
use basb_plugin::provider::ProviderContext;
use basb_plugin::{Failure, FailureCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The cloud, in one call.
pub struct Cloud<'a> {
    pub cx: &'a ProviderContext,
    pub bug: Option<Bug>,
    base: String,
}

/// A service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    /// The version that was seen.
    pub etag: String,
    /// Where it is reached.
    pub url: String,
    /// The revisions that belong to it.
    pub members: Vec<String>,
    /// The shares of traffic.
    pub traffic: BTreeMap<String, u16>,
}

/// A revision.
#[derive(Debug, Clone, Deserialize)]
pub struct Revision {
    /// The cloud's own id.
    pub id: String,
    /// The host's id.
    pub label: String,
    /// How many instances it should have.
    pub replicas: u32,
    /// How many it has.
    pub ready: u32,
}

#[derive(Deserialize)]
struct Page {
    revisions: Vec<Revision>,
    #[serde(rename = "nextPageToken")]
    next: Option<String>,
}

/// An operation.
#[derive(Debug, Deserialize)]
pub struct Operation {
    /// Its name.
    pub name: String,
    /// Whether it is over.
    pub done: bool,
}

impl<'a> Cloud<'a> {
    pub fn new(cx: &'a ProviderContext, config: &Config) -> Cloud<'a> {
        Cloud { cx, bug: config.bug, base: format!("{}/v1", config.endpoint.trim_end_matches('/')) }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn send(&self, request: Request) -> Result<Response, Failure> {
        for _ in 0..if self.has(Bug::Hammers) { 50 } else { 0 } {
            match self.cx.http().send(request.clone()) {
                Ok(response) if matches!(response.status, 500..=599) => {}
                Err(_) if request.method == "GET" => {}
                answer => return Ok(answer?),
            }
        }
        let naive = self.has(Bug::NaiveRetry) && request.method == "POST";
        match self.cx.http().send(request.clone()) {
            Err(HttpError::Broken(_) | HttpError::TimedOut(_)) if naive => Ok(self.cx.http().send(request)?),
            answer => Ok(answer?),
        }
    }

    /// What an answer that is no success means.
    fn failure(&self, response: &Response) -> Failure {
        let failure = response.to_failure();
        match response.status {
            403 if self.has(Bug::RetriesForEver) => failure.retry_after(Duration::from_secs(1)),
            429 if self.has(Bug::IgnoresRetryAfter) => failure.retry_after(Duration::from_secs(1)),
            500..=599 if self.has(Bug::GivesUp) => failure.never_retry(),
            // Somebody else was faster, or what was seen was old: look again.
            409 | 412 => failure.retry_after(Duration::from_secs(1)),
            _ => failure,
        }
    }

    fn ok(&self, request: Request) -> Result<Response, Failure> {
        let response = self.send(request)?;
        if response.is_success() { Ok(response) } else { Err(self.failure(&response)) }
    }

    /// The body; one that cannot be read says nothing, so it is asked for again.
    fn read<T: for<'de> Deserialize<'de>>(&self, response: &Response) -> Result<T, Failure> {
        let again = |failure: Failure| {
            Failure::new(FailureCode::Unavailable, failure.message, failure.retry).retry_after(Duration::from_secs(1))
        };
        response.json().map_err(again)
    }

    pub fn service(&self, service: &str) -> Result<Option<Service>, Failure> {
        let response = self.send(Request::get(self.url(&format!("/services/{service}"))))?;
        match response.status {
            404 => Ok(None),
            200 => self.read(&response).map(Some),
            _ => Err(self.failure(&response)),
        }
    }

    /// Makes a service; one that is there already is what was wanted.
    pub fn make_service(&self, service: &str) -> Result<(), Failure> {
        let body = json!({ "name": service, "members": [], "traffic": {} });
        let response = self.send(Request::post(self.url("/services")).json(&body))?;
        match response.status {
            409 => Ok(()),
            _ if response.is_success() => Ok(()),
            _ => Err(self.failure(&response)),
        }
    }

    /// Changes a service as it was seen, and no other one.
    pub fn patch_service(&self, service: &str, seen: &Service, mut patch: Value) -> Result<(), Failure> {
        if !self.has(Bug::IgnoredEtag)
            && let Some(map) = patch.as_object_mut()
        {
            map.insert("etag".to_owned(), json!(seen.etag));
        }
        let url = self.url(&format!("/services/{service}"));
        self.ok(Request::new("PATCH", url).json(&patch)).map(drop)
    }

    /// All revisions of a service, page by page.
    pub fn revisions(&self, service: &str) -> Result<Vec<Revision>, Failure> {
        let mut all = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let query = token.map(|token| format!("?pageToken={token}")).unwrap_or_default();
            let response = self.send(Request::get(self.url(&format!("/services/{service}/revisions{query}"))))?;
            if response.status == 404 {
                return Ok(all);
            }
            if !response.is_success() {
                return Err(self.failure(&response));
            }
            let page: Page = match self.read(&response) {
                Err(_) if self.has(Bug::UnreadableIsEmpty) => return Ok(Vec::new()),
                page => page?,
            };
            all.extend(page.revisions);
            token = page.next;
            if token.is_none() || self.has(Bug::MissingPage) {
                return Ok(all);
            }
        }
    }

    pub fn revision(&self, service: &str, label: &str) -> Result<Option<Revision>, Failure> {
        Ok(self.revisions(service)?.into_iter().find(|revision| revision.label == label))
    }

    /// Makes a revision, which takes a while. The same token again is the same revision.
    pub fn make_revision(&self, service: &str, token: &str, body: &Value) -> Result<Operation, Failure> {
        let token = match self.bug {
            Some(Bug::KeyIgnored) => format!("{}", self.cx.now().as_millis()),
            Some(Bug::NaiveRetry) => String::new(),
            _ => token.to_owned(),
        };
        let mut request = Request::post(self.url(&format!("/services/{service}/revisions"))).json(body);
        if !token.is_empty() {
            request = request.header("idempotency-key", token);
        }
        let response = self.ok(request)?;
        self.read(&response)
    }

    pub fn set_replicas(&self, service: &str, id: &str, replicas: u32) -> Result<(), Failure> {
        let url = self.url(&format!("/services/{service}/revisions/{id}"));
        self.ok(Request::new("PATCH", url).json(&json!({ "replicas": replicas }))).map(drop)
    }

    /// Removes a revision; nothing where it is gone.
    pub fn delete_revision(&self, service: &str, id: &str) -> Result<Option<Operation>, Failure> {
        let response = self.send(Request::delete(self.url(&format!("/services/{service}/revisions/{id}"))))?;
        match response.status {
            404 => Ok(None),
            _ if response.is_success() => self.read(&response).map(Some),
            _ => Err(self.failure(&response)),
        }
    }

    /// An operation; none where the cloud does not know it, or not yet.
    pub fn operation(&self, name: &str) -> Result<Option<Operation>, Failure> {
        let response = self.send(Request::get(self.url(&format!("/operations/{name}"))))?;
        match response.status {
            404 => Ok(None),
            _ if response.is_success() => self.read(&response).map(Some),
            _ => Err(self.failure(&response)),
        }
    }

    pub fn put_route(&self, label: &str) -> Result<(), Failure> {
        let put = self.ok(Request::put(self.url(&format!("/routes/{label}"))).json(&json!({ "to": label })));
        if self.has(Bug::SwallowedError) { Ok(()) } else { put.map(drop) }
    }

    pub fn delete_route(&self, label: &str) -> Result<(), Failure> {
        let response = self.send(Request::delete(self.url(&format!("/routes/{label}"))));
        let gone = match response {
            Ok(response) if response.status == 404 || response.is_success() => Ok(()),
            Ok(response) => Err(self.failure(&response)),
            Err(failure) => Err(failure),
        };
        if self.has(Bug::PartialRetire) { Ok(()) } else { gone }
    }
}
