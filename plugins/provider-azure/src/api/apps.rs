//! Container apps, their revisions and replicas.

use basb_cloud_kit::{Client, IfFound, Page, Refused, UNRESERVED, pages};
use basb_plugin::Failure;
use basb_plugin::http::{Request, Response};
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::model::{App, Replica, Revision};
use super::{Arm, VERSION};
use crate::names;

/// One app.
#[derive(Clone, Copy)]
pub struct AppsApi<'a> {
    client: Client<'a>,
    endpoint: &'a str,
    /// The app's resource id.
    id: &'a str,
    key: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct List<T> {
    value: Vec<T>,
    next_link: Option<String>,
}

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List { value: Vec::new(), next_link: None }
    }
}

impl<'a> AppsApi<'a> {
    /// The app of this resource id behind this endpoint, for a call with this key.
    pub fn new(client: Client<'a>, endpoint: &'a str, id: &'a str, key: &'a str) -> AppsApi<'a> {
        AppsApi { client, endpoint, id, key }
    }

    /// The requests' client.
    pub fn client(&self) -> Client<'a> {
        self.client
    }

    /// Whether a URL leads to the same endpoint, where our grants and the host's credentials are for.
    pub fn is_at_endpoint(&self, url: &str) -> bool {
        url.strip_prefix(self.endpoint).is_some_and(|rest| rest.starts_with('/'))
    }

    fn url(&self, rest: &str) -> String {
        format!("{}{}{rest}?api-version={VERSION}", self.endpoint, self.id)
    }

    fn marked(&self, request: Request) -> Request {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let id = names::request_id(self.key, &[&request.method, &request.url, &body]);
        request.header("accept", "application/json").header("x-ms-client-request-id", id)
    }

    fn send(&self, doing: &str, request: Request) -> Result<Response, Refused> {
        self.client.send::<Arm>(doing, self.marked(request))
    }

    fn read<T: DeserializeOwned>(&self, doing: &str, url: &str) -> Result<T, Refused> {
        self.client.json::<Arm, T>(doing, self.marked(Request::get(url)))
    }

    /// Reads whatever is at a URL.
    pub fn get_raw(&self, doing: &str, url: &str) -> Result<Response, Refused> {
        self.send(doing, Request::get(url))
    }

    /// The refusal for an answer that cannot be read.
    pub fn unreadable(&self, doing: &str, response: &Response, why: &str) -> Refused {
        self.client.not_readable(doing, response, why)
    }

    /// The app, if it is there.
    pub fn app(&self) -> Result<Option<App>, Failure> {
        self.read("GET the container app", &self.url("")).if_found()
    }

    /// All of its revisions, also those that are not active.
    pub fn revisions(&self) -> Result<Vec<Revision>, Failure> {
        let doing = "GET the app's revisions";
        pages(doing, |next| {
            let first = self.url("/revisions");
            let url = next.unwrap_or(&first);
            if !self.is_at_endpoint(url) {
                return Err(Failure::other(format!("{doing}: the next page is elsewhere: {url}")));
            }
            let list: List<Revision> = self.read(doing, url)?;
            // Azure writes `%24skipToken`. A parameter with an escape in its name could be `Action` for another reader,
            // so the host does not take such a request for one that only reads.
            Ok(Page { items: list.value, next: list.next_link.map(|next| next.replace("%24", "$")) })
        })
    }

    /// The replicas of a revision; none where there is no such revision.
    pub fn replicas(&self, revision: &str) -> Result<Vec<Replica>, Failure> {
        let url = self.url(&format!("/revisions/{}/replicas", escaped(revision)));
        let list: Option<List<Replica>> = self.read("GET the revision's replicas", &url).if_found()?;
        Ok(list.unwrap_or_default().value)
    }

    /// Makes the app.
    pub fn create(&self, body: &Value) -> Result<Response, Refused> {
        self.send("PUT the container app", Request::put(self.url("")).json(body))
    }

    /// Changes it: objects are merged, lists are replaced, `null` takes away.
    pub fn change(&self, doing: &str, body: &Value) -> Result<Response, Refused> {
        self.send(doing, Request::new("PATCH", self.url("")).json(body))
    }

    /// Removes it with everything of it.
    pub fn delete(&self) -> Result<Response, Refused> {
        self.send("DELETE the container app", Request::delete(self.url("")))
    }

    /// Has a revision run again.
    pub fn activate(&self, revision: &str) -> Result<Response, Refused> {
        self.act(revision, "activate")
    }

    /// Has a revision stop.
    pub fn deactivate(&self, revision: &str) -> Result<Response, Refused> {
        self.act(revision, "deactivate")
    }

    fn act(&self, revision: &str, action: &str) -> Result<Response, Refused> {
        let url = self.url(&format!("/revisions/{}/{action}", escaped(revision)));
        self.send(&format!("{action} revision {revision}"), Request::post(url))
    }
}

fn escaped(name: &str) -> String {
    utf8_percent_encode(name, UNRESERVED).to_string()
}
