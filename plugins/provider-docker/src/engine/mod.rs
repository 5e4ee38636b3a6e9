//! The container engine, as far as this provider needs it: the operations on containers of its HTTP API, and what its errors
//! mean.

mod error;
mod logs;
mod model;

use std::time::Duration;

use basb_cloud_kit::{Owner, TagStyle, UNRESERVED};
use basb_plugin::http::{HttpError, Request, Response};
use basb_plugin::provider::ProviderContext;
use basb_plugin::{Failure, ServiceRef};
use percent_encoding::utf8_percent_encode;
use serde_json::{Value, json};

use error::Failures;
pub use model::{Container, Inspected};

/// The engine's socket, as the host names it.
const BASE: &str = "http://docker.socket.internal";
/// The newest version of the API whose answers this provider knows, and the oldest.
const VERSIONS: (u32, u32) = (40, 44);
/// How long a stop may take before somebody else may look again; the engine goes on with it.
const STOP_PATIENCE: Duration = Duration::from_secs(8);
/// Lines of a container's output that explain why it does not run.
const LAST_LINES: u32 = 8;

/// How tags are named at an engine.
pub const TAGS: TagStyle = TagStyle::Colon;

/// Labels beside those that say whose a container is.
pub mod label {
    /// The number of the instance within the revision.
    pub const INSTANCE: &str = "basb-host:instance";
    /// The port of 127.0.0.1 by which it is reached.
    pub const PORT: &str = "basb-host:port";
    /// What it was made from.
    pub const TEMPLATE: &str = "basb-host:template";
}

/// The engine.
#[derive(Debug)]
pub struct Engine<'a> {
    cx: &'a ProviderContext,
    failures: Failures<'a>,
    base: String,
}

/// What became of containers that are to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// All of them have.
    All,
    /// Some take longer; the engine goes on.
    NotYet,
}

impl<'a> Engine<'a> {
    /// The engine, with the newest version of its API that both sides know.
    ///
    /// # Errors
    /// Where it does not answer, or speaks none of these versions.
    pub fn connect(cx: &'a ProviderContext, about: &ServiceRef) -> Result<Engine<'a>, Failure> {
        let failures = Failures::of(cx, &about.service);
        let doing = "asking the engine for its version";
        let response = cx.http().send(Request::get(format!("{BASE}/_ping")));
        let response = failures.succeeded(response.map_err(|error| failures.unreachable(doing, &error))?, doing)?;
        let (oldest, newest) = VERSIONS;
        let Some(told) = response.header("api-version").map(str::to_owned) else {
            return Err(Failure::unavailable(format!("{doing}: what answers is no container engine, or not only one")));
        };
        let minor = told.strip_prefix("1.").and_then(|minor| minor.parse::<u32>().ok());
        match minor {
            Some(minor) if minor >= oldest => {
                Ok(Engine { cx, failures, base: format!("{BASE}/v1.{}", minor.min(newest)) })
            }
            _ => Err(Failure::invalid(format!(
                "the container engine speaks version `{told}` of the Docker Engine API; 1.{oldest} or newer is needed"
            ))),
        }
    }

    /// Every container of a service, of whatever revision, running or not.
    ///
    /// # Errors
    /// What the engine says.
    pub fn list(&self, service: &ServiceRef) -> Result<Vec<Container>, Failure> {
        let labels: Vec<String> = Owner::of_service(service)
            .tags(TAGS)
            .into_iter()
            .map(|(label, value)| format!("{label}={value}"))
            .collect();
        let filters = json!({ "label": labels }).to_string();
        let filters = utf8_percent_encode(&filters, UNRESERVED);
        let url = format!("{}/containers/json?all=true&filters={filters}", self.base);
        let doing = "listing containers";
        let listed: Vec<model::Listed> = self.failures.whole(&self.ask(doing, Request::get(url))?, doing)?;
        // Names are what everything else goes by, so one that is not ours is not touched, whatever its labels say.
        let mut all: Vec<Container> = listed.into_iter().filter_map(Container::of).collect();
        all.sort_by(|a, b| (&a.revision, a.instance, &a.name).cmp(&(&b.revision, b.instance, &b.name)));
        Ok(all)
    }

    /// Whether the engine has an image.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::NotFound`] where it has not, with what to do.
    pub fn require_image(&self, name: &str) -> Result<(), Failure> {
        let doing = format!("looking for the image `{name}`");
        let response = self.send(&doing, Request::get(format!("{}/images/{name}/json", self.base)))?;
        if error::is_absent(&response) {
            return Err(Failure::not_found(format!(
                "the container engine has no image `{name}`: pull or load it first (`docker pull {name}`)"
            ))
            .at("/image"));
        }
        self.failures.succeeded(response, &doing).map(drop)
    }

    /// Makes a container. One that is there under this name is a conflict.
    ///
    /// # Errors
    /// What the engine says.
    pub fn create(&self, name: &str, body: &Value) -> Result<(), Failure> {
        let request = Request::post(format!("{}/containers/create?name={name}", self.base)).json(body);
        self.ask(&format!("making the container {name}"), request).map(drop)
    }

    /// Starts a container; one that runs is left alone.
    ///
    /// # Errors
    /// What the engine says: a program that is not in the image, a port that is taken.
    pub fn start(&self, name: &str) -> Result<(), Failure> {
        let doing = format!("starting the container {name}");
        let response = self.send(&doing, Request::post(format!("{}/containers/{name}/start", self.base)))?;
        self.failures.started(&response, &doing)
    }

    /// Asks containers to stop, all at once, and ends those that do not within the time that each of them has.
    ///
    /// # Errors
    /// What the engine says.
    pub fn stop(&self, names: &[&str]) -> Result<Stopped, Failure> {
        let request =
            |name: &&str| Request::post(format!("{}/containers/{name}/stop", self.base)).timeout(STOP_PATIENCE);
        let mut stopped = Stopped::All;
        for (result, name) in self.cx.http().send_many(names.iter().map(request).collect()).into_iter().zip(names) {
            let doing = format!("stopping the container {name}");
            match result {
                // Not modified: it has stopped already. Not found: it is gone.
                Ok(response) if response.status == 304 || error::is_absent(&response) => {}
                Ok(response) => drop(self.failures.succeeded(response, &doing)?),
                Err(HttpError::TimedOut(_)) => stopped = Stopped::NotYet,
                Err(other) => return Err(self.failures.unreachable(&doing, &other)),
            }
        }
        Ok(stopped)
    }

    /// Removes a container that has stopped; one that is not there is done. It is not forced: the engine would kill what runs
    /// (somebody may have started it meanwhile), requests under way and all.
    ///
    /// # Errors
    /// What the engine says: that it runs, for one, which is a conflict that passes once it was stopped.
    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        let doing = format!("removing the container {name}");
        let url = format!("{}/containers/{name}?v=true", self.base);
        let response = self.send(&doing, Request::delete(url))?;
        if error::is_absent(&response) {
            return Ok(());
        }
        self.failures.succeeded(response, &doing).map(drop)
    }

    /// Everything about containers, in their order; nothing for one that is not there.
    ///
    /// # Errors
    /// What the engine says.
    pub fn inspect(&self, names: &[&str]) -> Result<Vec<Option<Inspected>>, Failure> {
        let request = |name: &&str| Request::get(format!("{}/containers/{name}/json", self.base));
        let mut all = Vec::new();
        for (result, name) in self.cx.http().send_many(names.iter().map(request).collect()).into_iter().zip(names) {
            let doing = format!("looking at the container {name}");
            let response = result.map_err(|error| self.failures.unreachable(&doing, &error))?;
            if error::is_absent(&response) {
                all.push(None);
                continue;
            }
            let response = self.failures.succeeded(response, &doing)?;
            all.push(Some(Inspected(self.failures.whole(&response, &doing)?)));
        }
        Ok(all)
    }

    /// The last lines that a container wrote; none where they are not to be had.
    pub fn last_lines(&self, name: &str) -> Vec<String> {
        let url = format!("{}/containers/{name}/logs?stdout=true&stderr=true&tail={LAST_LINES}", self.base);
        match self.send("reading its output", Request::get(url)) {
            Ok(response) if response.is_success() => logs::lines(&response.body),
            _ => Vec::new(),
        }
    }

    fn send(&self, doing: &str, request: Request) -> Result<Response, Failure> {
        self.cx.http().send(request).map_err(|error| self.failures.unreachable(doing, &error))
    }

    /// As `send`, where nothing but a success will do.
    fn ask(&self, doing: &str, request: Request) -> Result<Response, Failure> {
        self.failures.succeeded(self.send(doing, request)?, doing)
    }
}
