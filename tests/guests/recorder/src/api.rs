//! The recording cloud's API.

use crate::Config;
use basb_plugin::http::{Request, Response};
use basb_plugin::provider::ProviderContext;
use basb_plugin::{Failure, Weight};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

/// The cloud, for one account.
pub struct Cloud<'a> {
    cx: &'a ProviderContext,
    base: String,
}

/// An operation that goes on at the cloud.
#[derive(Debug, Deserialize)]
pub struct Operation {
    /// Its number.
    pub number: u64,
    /// Whether it is done.
    pub done: bool,
}

/// A service.
#[derive(Debug, Deserialize)]
pub struct ServiceView {
    /// Where users reach it.
    pub url: String,
    /// Its revisions.
    pub revisions: Vec<RevisionView>,
}

/// A revision.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionView {
    /// Its id.
    pub id: String,
    /// How many instances it should have.
    pub desired: u32,
    /// How many it has.
    pub available: u32,
    /// Its share of traffic, in hundredths of a percent.
    pub weight: u16,
    /// Where it alone is reached.
    pub preview_url: String,
}

impl ServiceView {
    /// The revision with this id.
    pub fn revision(&self, id: &str) -> Option<&RevisionView> {
        self.revisions.iter().find(|revision| revision.id == id)
    }
}

impl<'a> Cloud<'a> {
    /// The cloud that the configuration names.
    pub fn new(cx: &'a ProviderContext, config: &Config) -> Cloud<'a> {
        Cloud { cx, base: format!("{}/v1", config.endpoint.trim_end_matches('/')) }
    }

    /// A service, if it is there.
    pub fn service(&self, service: &str) -> Result<Option<ServiceView>, Failure> {
        let response = self.cx.http().send(Request::get(format!("{}/services/{service}", self.base)))?;
        if response.status == 404 { Ok(None) } else { response.require_success()?.json().map(Some) }
    }

    /// Makes a service.
    pub fn make_service(&self, key: &str, service: &str) -> Result<(), Failure> {
        let request = Request::post(format!("{}/services", self.base)).json(&json!({ "name": service }));
        self.send(request.header("idempotency-key", format!("{key}/service"))).map(drop)
    }

    /// Files a paper behind the one with this ticket; its own ticket.
    pub fn file_paper(&self, key: &str, service: &str, number: u32, after: &str) -> Result<String, Failure> {
        let request = Request::post(format!("{}/services/{service}/papers", self.base));
        let request = request.json(&json!({ "number": number, "after": after }));
        self.send(request.header("idempotency-key", format!("{key}/paper-{number}")))?.json()
    }

    /// Makes a revision, which takes a while.
    pub fn make_revision(
        &self,
        key: &str,
        service: &str,
        id: &str,
        replicas: u32,
        release: &str,
    ) -> Result<Operation, Failure> {
        let body = json!({ "id": id, "replicas": replicas, "release": release });
        let request = Request::post(format!("{}/services/{service}/revisions", self.base)).json(&body);
        self.send(request.header("idempotency-key", format!("{key}/revision")))?.json()
    }

    /// Sets how many instances a revision has; nothing where it has as many.
    pub fn set_replicas(&self, service: &str, id: &str, replicas: u32) -> Result<Option<Operation>, Failure> {
        let url = format!("{}/services/{service}/revisions/{id}/replicas", self.base);
        changed(&self.send(Request::put(url).json(&json!(replicas)))?)
    }

    /// Sets the shares of traffic; nothing where they are so.
    pub fn set_traffic(&self, service: &str, weights: &[(String, Weight)]) -> Result<Option<Operation>, Failure> {
        let weights: BTreeMap<_, _> = weights.iter().map(|(id, weight)| (id, weight.hundredths())).collect();
        let url = format!("{}/services/{service}/traffic", self.base);
        changed(&self.send(Request::put(url).json(&weights))?)
    }

    /// Removes a revision; nothing where it is gone.
    pub fn delete_revision(&self, service: &str, id: &str) -> Result<Option<Operation>, Failure> {
        let url = format!("{}/services/{service}/revisions/{id}", self.base);
        let response = self.cx.http().send(Request::delete(url))?;
        if response.status == 404 { Ok(None) } else { changed(&response.require_success()?) }
    }

    /// An operation, as it is now.
    pub fn operation(&self, number: u64) -> Result<Operation, Failure> {
        self.send(Request::get(format!("{}/operations/{number}", self.base)))?.json()
    }

    /// Adds a line to a service's record: each request that is let through adds one.
    pub fn put_on_record(&self, key: &str, service: &str, line: &str) -> Result<(), Failure> {
        let request = Request::post(format!("{}/services/{service}/record", self.base)).json(&json!(line));
        self.send(request.header("idempotency-key", format!("{key}/record"))).map(drop)
    }

    fn send(&self, request: Request) -> Result<Response, Failure> {
        self.cx.http().send(request)?.require_success()
    }
}

fn changed(response: &Response) -> Result<Option<Operation>, Failure> {
    if response.status == 204 { Ok(None) } else { response.json().map(Some) }
}
