//! What the one-machine cloud says of itself.

use serde_json::Value;
use std::collections::BTreeMap;

/// The agent and its services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloud {
    /// The agent's process.
    pub pid: u32,
    /// Its services, by the last part of their names.
    pub services: BTreeMap<String, Service>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Where it is reached.
    pub url: String,
    /// Its revisions, by id.
    pub revisions: BTreeMap<String, Revision>,
}

/// A revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its share of traffic, in hundredths of a percent.
    pub weight: u64,
    /// How many instances it should have.
    pub desired: u64,
    /// How many can take traffic.
    pub available: u64,
    /// Whether it is going away.
    pub retiring: bool,
    /// Its instances.
    pub instances: Vec<Instance>,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its process.
    pub pid: Option<u64>,
    /// How often it was started again.
    pub restarts: u64,
}

impl Cloud {
    pub(crate) fn read(status: &Value) -> Self {
        let number = |v: &Value| v.as_u64().unwrap_or_else(|| panic!("{v} is no number"));
        let list = |v: &Value| v.as_array().cloned().unwrap_or_else(|| panic!("{v} is no list"));
        let text = |v: &Value| v.as_str().unwrap_or_else(|| panic!("{v} is no text")).to_owned();
        let instance = |i: &Value| Instance { pid: i["pid"].as_u64(), restarts: number(&i["restarts"]) };
        let revision = |r: &Value| Revision {
            weight: number(&r["weight"]),
            desired: number(&r["desired"]),
            available: number(&r["available"]),
            retiring: r["retiring"].as_bool().unwrap(),
            instances: list(&r["instances"]).iter().map(instance).collect(),
        };
        let service = |s: &Value| Service {
            url: text(&s["url"]),
            revisions: list(&s["revisions"]).iter().map(|r| (text(&r["id"]), revision(r))).collect(),
        };
        let short = |s: &Value| text(&s["name"]).rsplit('.').next().unwrap().to_owned();
        Self {
            pid: u32::try_from(number(&status["agent"]["pid"])).unwrap(),
            services: list(&status["services"]).iter().map(|s| (short(s), service(s))).collect(),
        }
    }

    /// A service.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    #[track_caller]
    pub fn service(&self, name: &str) -> &Service {
        self.services.get(name).unwrap_or_else(|| panic!("no service {name} in {self:?}"))
    }
}

impl Service {
    /// The one revision that there is, with all of the traffic and all of its instances.
    ///
    /// # Panics
    /// When there is anything else.
    #[must_use]
    #[track_caller]
    pub fn only(&self) -> (&str, &Revision) {
        let all: Vec<_> = self.revisions.iter().collect();
        let [(id, revision)] = all[..] else { panic!("not exactly one revision: {self:?}") };
        assert_eq!(revision.weight, 10_000, "{self:?}");
        assert_eq!(revision.available, revision.desired, "{self:?}");
        assert!(!revision.retiring, "{self:?}");
        (id, revision)
    }
}

impl Revision {
    /// Its processes, in order.
    #[must_use]
    pub fn pids(&self) -> Vec<u64> {
        let mut pids: Vec<_> = self.instances.iter().filter_map(|i| i.pid).collect();
        pids.sort_unstable();
        pids
    }
}
