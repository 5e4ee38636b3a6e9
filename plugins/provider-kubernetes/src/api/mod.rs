//! A thin client of the API server, and how Kubernetes puts its errors.

mod object;
mod time;

use std::fmt::Write as _;
use std::time::Duration;

use basb_cloud_kit::{ApiError, Class, Client, Dialect, IfFound, Page, Refused, UNRESERVED, pages};
use basb_plugin::http::{Request, Response};
use basb_plugin::{Failure, FailureCode, Timestamp};
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;
use serde_json::{Value, json};

pub use object::{Meta, Object, Progressing, condition};

/// So many objects are asked for at once.
const PAGE: u32 = 250;
/// Of an error: another manager has set the field.
pub const FIELD_CONFLICT: &str = "FieldManagerConflict";

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Deployment,
    Service,
    Pod,
    /// Where a Service leads, as the cluster has carried it out.
    Endpoints,
    /// With the version of the Gateway API that the cluster has.
    Route(RouteVersion),
}

/// A version of the Gateway API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteVersion {
    V1,
    V1Beta1,
}

impl RouteVersion {
    /// In a path.
    pub fn word(self) -> &'static str {
        match self {
            RouteVersion::V1 => "v1",
            RouteVersion::V1Beta1 => "v1beta1",
        }
    }
}

impl Kind {
    /// For people, and in an object.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Deployment => "Deployment",
            Kind::Service => "Service",
            Kind::Pod => "Pod",
            Kind::Endpoints => "Endpoints",
            Kind::Route(_) => "HTTPRoute",
        }
    }

    /// In an object.
    pub fn api_version(self) -> String {
        match self {
            Kind::Deployment => "apps/v1".to_owned(),
            Kind::Service | Kind::Pod | Kind::Endpoints => "v1".to_owned(),
            Kind::Route(version) => format!("{GATEWAY}/{}", version.word()),
        }
    }

    fn path(self, namespace: &str) -> String {
        let (group, plural) = match self {
            Kind::Deployment => ("/apis/apps/v1".to_owned(), "deployments"),
            Kind::Service => ("/api/v1".to_owned(), "services"),
            Kind::Pod => ("/api/v1".to_owned(), "pods"),
            Kind::Endpoints => ("/api/v1".to_owned(), "endpoints"),
            Kind::Route(version) => (format!("/apis/{GATEWAY}/{}", version.word()), "httproutes"),
        };
        format!("{group}/namespaces/{namespace}/{plural}")
    }
}

/// The group of the Gateway API.
const GATEWAY: &str = "gateway.networking.k8s.io";

/// Who writes, and what becomes of fields that others have set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writer {
    pub manager: &'static str,
    pub force: Force,
}

/// What becomes of fields that others have set to another value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// The request is refused.
    No,
    /// They are taken.
    Yes,
}

/// Whether a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// It is.
    Real,
    /// The server checks it and says what would be there.
    Dry,
}

/// The API server.
#[derive(Debug, Clone, Copy)]
pub struct Api<'a> {
    client: Client<'a>,
    server: &'a str,
    namespace: &'a str,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    metadata: ListMeta,
    items: Option<Vec<Object>>,
}

#[derive(Default, Deserialize)]
struct ListMeta {
    #[serde(rename = "continue")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    versions: Vec<GroupVersion>,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
}

impl<'a> Api<'a> {
    pub fn new(client: Client<'a>, server: &'a str, namespace: &'a str) -> Api<'a> {
        Api { client, server: server.trim_end_matches('/'), namespace }
    }

    /// The requests' client.
    pub fn client(&self) -> Client<'a> {
        self.client
    }

    fn url(&self, kind: Kind, name: Option<&str>, query: &str) -> String {
        let mut url = format!("{}{}", self.server, kind.path(self.namespace));
        if let Some(name) = name {
            let _ = write!(url, "/{}", utf8_percent_encode(name, UNRESERVED));
        }
        if !query.is_empty() {
            let _ = write!(url, "?{query}");
        }
        url
    }

    /// The object of this name.
    ///
    /// # Errors
    /// What the server says.
    pub fn get(&self, kind: Kind, name: &str) -> Result<Option<Object>, Failure> {
        let request = Request::get(self.url(kind, Some(name), "")).header("accept", "application/json");
        self.client.json::<Dialectic, _>(&format!("GET {} {name}", kind.word()), request).if_found()
    }

    /// The route of this name, in whichever version of the Gateway API the cluster has. None where it has none, and where the
    /// role or the grants have no routes: whoever has never used a gateway need not allow them.
    ///
    /// # Errors
    /// What else the server says.
    pub fn route_if_told(&self, name: &str) -> Result<Option<Object>, Failure> {
        for version in [RouteVersion::V1, RouteVersion::V1Beta1] {
            let request =
                Request::get(self.url(Kind::Route(version), Some(name), "")).header("accept", "application/json");
            let refused = match self.client.json::<Dialectic, Object>(&format!("GET HTTPRoute {name}"), request) {
                Ok(route) => return Ok(Some(route)),
                Err(refused) => refused,
            };
            if refused.class() == Some(Class::NotFound) {
                // Where it is the object that is not there, the server names it; otherwise it has not this version.
                if refused.message().contains(name) {
                    return Ok(None);
                }
                continue;
            }
            let failure = Failure::from(refused);
            return if failure.code == FailureCode::Denied { Ok(None) } else { Err(failure) };
        }
        Ok(None)
    }

    /// Every object of this kind that a selector covers.
    ///
    /// # Errors
    /// What the server says.
    pub fn list(&self, kind: Kind, selector: &str) -> Result<Vec<Object>, Failure> {
        let doing = format!("GET {}s", kind.word());
        let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        pages(&doing, |next| {
            let mut query = format!("limit={PAGE}");
            if !selector.is_empty() {
                let _ = write!(query, "&labelSelector={}", encode(selector));
            }
            if let Some(next) = next {
                let _ = write!(query, "&continue={}", encode(next));
            }
            let request = Request::get(self.url(kind, None, &query)).header("accept", "application/json");
            let list: List = self.client.json::<Dialectic, _>(&doing, request)?;
            Ok(Page { items: list.items.unwrap_or_default(), next: list.metadata.next })
        })
    }

    /// Makes the fields of an object be what they are in `body`, by server-side apply; what there is afterwards.
    ///
    /// # Errors
    /// What the server says.
    pub fn apply(&self, kind: Kind, name: &str, body: &Value, writer: Writer, run: Run) -> Result<Object, Refused> {
        let force = if writer.force == Force::Yes { "true" } else { "false" };
        let mut query = format!("fieldManager={}&force={force}", writer.manager);
        if run == Run::Dry {
            query.push_str("&dryRun=All");
        }
        // JSON is YAML.
        let request =
            Request::new("PATCH", self.url(kind, Some(name), &query)).json(body).header("accept", "application/json");
        let request = with_type(request, "application/apply-patch+yaml");
        self.client.json::<Dialectic, _>(&format!("APPLY {} {name}", kind.word()), request)
    }

    /// Changes an object that is not ours: some fields, and only while it is as it was read.
    ///
    /// # Errors
    /// What the server says.
    pub fn merge(&self, kind: Kind, object: &Object, change: Value) -> Result<(), Failure> {
        let mut change = change;
        crate::template::set_at(&mut change, "metadata", "resourceVersion", json!(object.metadata.resource_version));
        let name = &object.metadata.name;
        let query = format!("fieldManager={}", crate::names::MANAGER);
        let request = Request::new("PATCH", self.url(kind, Some(name), &query)).json(&change);
        let request = with_type(request, "application/merge-patch+json");
        Ok(self.client.send::<Dialectic>(&format!("PATCH {} {name}", kind.word()), request).map(drop)?)
    }

    /// Removes this very object, a Deployment's pods before it. One that is not there is removed.
    ///
    /// # Errors
    /// What the server says.
    pub fn delete(&self, kind: Kind, object: &Object) -> Result<(), Failure> {
        let Meta { name, uid, resource_version, .. } = &object.metadata;
        // Only a Deployment has anything behind it: what a collector has to look at first may wait for that collector.
        let policy = if kind == Kind::Deployment { "Foreground" } else { "Background" };
        let options = json!({
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": policy,
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
        });
        let request = Request::delete(self.url(kind, Some(name), "")).json(&options);
        self.client.send::<Dialectic>(&format!("DELETE {} {name}", kind.word()), request).if_found().map(drop)
    }

    /// The newest version of the Gateway API that the cluster has and this provider knows.
    ///
    /// # Errors
    /// What the server says.
    pub fn gateway_version(&self) -> Result<Option<RouteVersion>, Failure> {
        let request = Request::get(format!("{}/apis/{GATEWAY}", self.server)).header("accept", "application/json");
        let group: Option<Group> = self.client.json::<Dialectic, _>("GET the Gateway API", request).if_found()?;
        let has = |version: RouteVersion| {
            group.iter().flat_map(|group| &group.versions).any(|known| known.version == version.word())
        };
        Ok([RouteVersion::V1, RouteVersion::V1Beta1].into_iter().find(|version| has(*version)))
    }
}

fn with_type(mut request: Request, kind: &str) -> Request {
    for (name, value) in &mut request.headers {
        if name == "content-type" {
            kind.clone_into(value);
        }
    }
    request
}

/// How Kubernetes puts errors: a `Status`.
pub struct Dialectic;

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    causes: Vec<Cause>,
    retry_after_seconds: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
    message: String,
    field: String,
}

impl Dialect for Dialectic {
    fn error(response: &Response, now: Timestamp) -> ApiError {
        let mut error = ApiError::of(response, now);
        error.request_id = response.header("audit-id").map(str::to_owned);
        let Ok(status) = serde_json::from_slice::<Status>(&response.body) else {
            if response.status == 409 {
                // Which conflict it is was cut off: it is asked again, like one that passes.
                error.code = "Conflict".to_owned();
            }
            return error;
        };
        error.code = status.reason;
        error.message = one_line(&status.message);
        let wait = status.details.retry_after_seconds;
        if wait > 0 && error.retry_after.is_none() {
            error.retry_after = Some(Duration::from_secs(wait));
        }
        if status.details.causes.iter().any(|cause| cause.reason == FIELD_CONFLICT) {
            error.code = FIELD_CONFLICT.to_owned();
        }
        for cause in &status.details.causes {
            // A message that holds its causes already says them once.
            let said = one_line(&cause.message);
            if !said.is_empty() && !error.message.contains(&said) {
                let field = if cause.field.is_empty() { String::new() } else { format!("{}: ", cause.field) };
                let _ = write!(error.message, "; {field}{said}");
            }
        }
        error
    }

    fn class(error: &ApiError) -> Option<Class> {
        Some(match error.code.as_str() {
            FIELD_CONFLICT | "AlreadyExists" => Class::Conflict,
            // Somebody else wrote in between: it is read again, and compared again.
            "Conflict" => Class::Busy,
            // The list has changed too much since its first page: it is read from its beginning.
            "Expired" | "Gone" => Class::Busy,
            "Timeout" => Class::InDoubt,
            "ServerTimeout" => Class::Unavailable,
            "TooManyRequests" => Class::Throttled,
            _ => return None,
        })
    }
}

/// Kubernetes lists what conflicts line by line.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}
