//! What is there of a service: the Cloud Run service, its revisions, and which of them are ours.

use std::collections::BTreeMap;
use std::time::Duration;

use basb_cloud_kit::{Owner, TagStyle, from_units};
use basb_plugin::provider::{Instance, InstanceReport, Observed, ObservedRevision};
use basb_plugin::{Failure, ServiceRef, Weight};
use serde_json::{Map, Value};

use crate::api::{Condition, Revision, Service, TrafficStatus, TrafficTarget, short};
use crate::config::Place;
use crate::names;
use crate::template::{ATTEMPT_LABEL, DIGEST_LABEL};

/// The annotation of a service that says how many instances the host wants of each revision: `r1=2,r2=1`. A revision
/// cannot be changed, and Cloud Run scales by itself, so there is no other place for it.
pub const REPLICAS: &str = "basb-host/replicas";
/// The annotation of a service whose first revision has the traffic only because there is no other: the host has not given
/// it any.
pub const UNRELEASED: &str = "basb-host/unreleased";
/// After that, what was changed is what is read.
pub const A_MOMENT: Duration = Duration::from_secs(1);
/// The annotation of a service that others made.
pub const ADOPTED: &str = "basb-host/adopted";

/// What a revision has of the template that it was made from.
const OF_TEMPLATE: &[&str] = &[
    "annotations",
    "scaling",
    "vpcAccess",
    "timeout",
    "serviceAccount",
    "containers",
    "volumes",
    "executionEnvironment",
    "encryptionKey",
    "encryptionKeyRevocationAction",
    "encryptionKeyShutdownDuration",
    "maxInstanceRequestConcurrency",
    "serviceMesh",
    "sessionAffinity",
    "nodeSelector",
    "ambientNetworking",
    "workloadIdentityConfig",
];

/// What is there.
pub struct View<'a> {
    place: &'a Place,
    of: &'a ServiceRef,
    /// The Cloud Run service.
    pub service: Service,
    /// All of its revisions, ours and others'.
    pub revisions: Vec<Seen>,
}

/// A revision of Cloud Run.
#[derive(Debug)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// As Cloud Run has it.
    pub revision: Revision,
}

/// Whose a revision is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Ours: the revision's id, the digest of its configuration, and the call that made it.
    Ours { id: String, digest: String, attempt: String },
    /// Somebody else's.
    Foreign,
}

/// How a revision stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It can take requests.
    Ready,
    /// It is being made; what it says.
    Pending(String),
    /// It never will; why.
    Failed(String),
}

impl Seen {
    fn of(place: &Place, service: &ServiceRef, revision: Revision) -> Seen {
        let name = short(&revision.name).to_owned();
        let kind = kind(place, service, &name, &revision.labels).unwrap_or(Kind::Foreign);
        Seen { name, kind, revision }
    }

    /// Its id: ours, or the one that we give to what others made.
    pub fn id(&self) -> String {
        match &self.kind {
            Kind::Ours { id, .. } => id.clone(),
            Kind::Foreign => names::adopted(&self.name),
        }
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let ready = self.revision.conditions.iter().find(|condition| condition.kind == "Ready");
        match ready.map(|condition| (condition.state.as_str(), condition)) {
            Some(("CONDITION_SUCCEEDED", _)) => Standing::Ready,
            Some(("CONDITION_FAILED", condition)) => Standing::Failed(self.why(condition)),
            Some((_, condition)) if condition.message.is_empty() => Standing::Pending("it is being made".into()),
            Some((_, condition)) => Standing::Pending(condition.message.clone()),
            None => Standing::Pending("it is being made".into()),
        }
    }

    /// What Cloud Run says, and what other conditions add to it.
    fn why(&self, ready: &Condition) -> String {
        let mut said = ready.said();
        let others = self.revision.conditions.iter().filter(|condition| condition.state == "CONDITION_FAILED");
        for other in others.filter(|other| other.kind != "Ready" && !other.message.is_empty()) {
            if !said.contains(&other.message) {
                said = format!("{said}; {}: {}", other.kind, other.said());
            }
        }
        if !self.revision.log_uri.is_empty() {
            said = format!("{said}; its log: {}", self.revision.log_uri);
        }
        said
    }

    /// The template that it was made from.
    pub fn template(&self) -> Value {
        let mut template = Map::new();
        for field in OF_TEMPLATE {
            if let Some(value) = self.revision.content.get(*field) {
                template.insert((*field).to_owned(), value.clone());
            }
        }
        if !self.revision.labels.is_empty() {
            template.insert("labels".to_owned(), serde_json::json!(self.revision.labels));
        }
        template.insert("revision".to_owned(), self.name.clone().into());
        Value::Object(template)
    }

    fn least(&self) -> u64 {
        let least = self.revision.content.get("scaling").and_then(|of| of.get("minInstanceCount"));
        least.and_then(Value::as_u64).unwrap_or(0)
    }
}

/// Ours, where labels and name say the same. Labels alone do not: who changes a service by other means makes a revision
/// that has them too.
fn kind(place: &Place, service: &ServiceRef, name: &str, labels: &BTreeMap<String, String>) -> Option<Kind> {
    let pairs = labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let owner = Owner::from_tags(TagStyle::Underscore, pairs).filter(|owner| owner.is_of(service))?;
    let (id, digest) = (owner.revision?, labels.get(DIGEST_LABEL)?.clone());
    let attempt = labels.get(ATTEMPT_LABEL)?.clone();
    let is_ours = [None, Some(attempt.as_str())]
        .into_iter()
        .any(|attempt| names::of_revision(&place.name, &id, &digest, attempt) == name);
    is_ours.then_some(Kind::Ours { id, digest, attempt })
}

impl<'a> View<'a> {
    /// Of what was read.
    pub fn new(place: &'a Place, of: &'a ServiceRef, service: Service, revisions: Vec<Revision>) -> View<'a> {
        let mut revisions: Vec<Seen> = revisions.into_iter().map(|revision| Seen::of(place, of, revision)).collect();
        revisions.sort_by(|one, other| {
            (&one.revision.create_time, &one.name).cmp(&(&other.revision.create_time, &other.name))
        });
        View { place, of, service, revisions }
    }

    /// Whose the service is.
    fn owner(&self) -> Option<Owner> {
        owner_of(&self.service)
    }

    /// Whether it is ours to change: its labels say so, or the configuration names it and nobody else has it.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Conflict`] where it is not.
    pub fn check_owner(&self) -> Result<(), Failure> {
        let name = &self.place.name;
        match self.owner() {
            Some(owner) if owner.is_of(self.of) => Ok(()),
            Some(owner) => Err(Failure::conflict(format!(
                "the Cloud Run service {name} belongs to {} of {}/{}",
                owner.service.service, owner.service.deployment, owner.service.environment
            ))),
            None if self.place.written.service.is_some() => Ok(()),
            None if self.has_lost_labels() => Err(Failure::conflict(format!(
                "the Cloud Run service {name} has revisions of {} and not its labels, so it is left as it is: somebody \
                 else changed them. Put them back: {}",
                self.of.service,
                self.own_labels().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
            ))),
            None => Err(Failure::conflict(format!(
                "there is a Cloud Run service {name} that basb-host did not make: to adopt it, name it under \
                 `services.{}.service` in the provider's configuration and run `basb-host import`",
                self.of.service
            ))),
        }
    }

    fn own_labels(&self) -> impl Iterator<Item = (String, String)> {
        Owner::of_service(self.of).tags(TagStyle::Underscore).into_iter()
    }

    /// Whether it is ours by a revision of ours in it, and only its labels do not say so: they are missing or cut, and
    /// none of them names somebody else.
    pub fn has_lost_labels(&self) -> bool {
        let there = &self.service.labels;
        let names_others = self.own_labels().any(|(key, value)| there.get(&key).is_some_and(|of| *of != value));
        self.owner().is_none() && !names_others && self.revisions.iter().any(|seen| seen.kind != Kind::Foreign)
    }

    /// The service's labels that were ours and are not `wanted` any more: those by which we know our own, and those that a
    /// revision of ours was made with, which nobody can change. Of a service that others made, all may be theirs.
    pub fn surplus_labels(&self, wanted: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        if !self.is_made_by_us() {
            return BTreeMap::new();
        }
        let prefix = TagStyle::Underscore.key("");
        let ours = || self.revisions.iter().filter(|seen| seen.kind != Kind::Foreign);
        let was_ours = |key: &str, value: &String| {
            key.starts_with(&prefix) || ours().any(|seen| seen.revision.labels.get(key) == Some(value))
        };
        let there = self.service.labels.iter().filter(|(key, _)| !wanted.contains_key(*key));
        there.filter(|(key, value)| was_ours(key, value)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Whether the service carries our labels already.
    pub fn is_labelled(&self) -> bool {
        self.owner().is_some_and(|owner| owner.is_of(self.of))
    }

    /// Whether we made it: then it may go with its last revision.
    pub fn is_made_by_us(&self) -> bool {
        self.is_labelled() && !self.service.annotations.contains_key(ADOPTED)
    }

    /// Whether the host has never given it any traffic.
    pub fn is_unreleased(&self) -> bool {
        self.is_made_by_us() && self.is_marked_unreleased()
    }

    /// Whether it says that the host has never given it any traffic, whatever its labels say.
    pub fn is_marked_unreleased(&self) -> bool {
        self.service.annotations.contains_key(UNRELEASED)
    }

    /// Whether Cloud Run is still busy with what was asked for last.
    pub fn is_settling(&self) -> bool {
        self.service.reconciling
    }

    /// Whether the service is as it was asked to be.
    pub fn is_settled(&self) -> bool {
        !self.service.reconciling
            && self.service.observed_generation == self.service.generation
            && self.service.terminal_condition.state == "CONDITION_SUCCEEDED"
    }

    /// Why it is not as it was asked to be.
    pub fn why_not(&self) -> String {
        let failed = |condition: &&Condition| condition.state == "CONDITION_FAILED";
        let terminal = Some(&self.service.terminal_condition).filter(failed);
        let first = self.service.conditions.iter().find(|condition| failed(condition) && !condition.message.is_empty());
        terminal
            .filter(|of| !of.message.is_empty())
            .or(first)
            .or(terminal)
            .map_or_else(|| "Cloud Run does not say why".to_owned(), Condition::said)
    }

    /// Each target with a share or a tag, by the revision that it means: what follows the latest one is resolved.
    pub fn targets(&self) -> Vec<TrafficTarget> {
        let latest = short(&self.service.latest_ready_revision);
        let targets = self.service.traffic.iter().map(|target| TrafficTarget {
            revision: if target.revision.is_empty() { latest.to_owned() } else { short(&target.revision).to_owned() },
            ..target.clone()
        });
        let mut all: Vec<TrafficTarget> = targets.collect();
        if all.is_empty() && !latest.is_empty() {
            all.push(TrafficTarget::to(latest, 100, ""));
        }
        all
    }

    /// Where the traffic goes, by the revision that has it: of what follows the latest one, Cloud Run does not name it.
    pub fn statuses(&self) -> impl Iterator<Item = TrafficStatus> {
        let latest = short(&self.service.latest_ready_revision);
        self.service.traffic_statuses.iter().map(move |status| TrafficStatus {
            revision: if status.revision.is_empty() { latest.to_owned() } else { short(&status.revision).to_owned() },
            ..status.clone()
        })
    }

    /// Whether some traffic follows whatever revision is the latest one.
    pub fn follows_latest(&self) -> bool {
        self.service.traffic.is_empty() || self.service.traffic.iter().any(|target| target.revision.is_empty())
    }

    /// The share of a revision of Cloud Run, as it is asked for.
    pub fn share(&self, name: &str) -> u16 {
        self.targets().iter().filter(|target| target.revision == name).map(|target| target.percent).sum()
    }

    fn has_target(&self, name: &str) -> bool {
        self.service.traffic.iter().any(|target| short(&target.revision) == name) || self.share(name) > 0
    }

    /// The revision of Cloud Run that stands for a revision: the one that can be reached, or the newest.
    pub fn live(&self, id: &str) -> Option<&Seen> {
        let all = || self.revisions.iter().rev().filter(|seen| seen.id() == id);
        all().find(|seen| self.has_target(&seen.name)).or_else(|| all().next())
    }

    /// All revisions of Cloud Run that stand, or stood, for a revision.
    pub fn all(&self, id: &str) -> impl Iterator<Item = &Seen> {
        self.revisions.iter().filter(move |seen| seen.kind != Kind::Foreign && seen.id() == id)
    }

    /// Ours, that nobody is led to and Cloud Run lets go: not those that it made, or found ready, last.
    pub fn leftovers(&self) -> impl Iterator<Item = &Seen> {
        let last = [short(&self.service.latest_created_revision), short(&self.service.latest_ready_revision)];
        self.revisions.iter().filter(move |seen| {
            seen.kind != Kind::Foreign && !last.contains(&seen.name.as_str()) && !self.has_target(&seen.name)
        })
    }

    /// What a target's preview is, as Cloud Run has it.
    pub fn status(&self, tag: &str) -> Option<TrafficStatus> {
        self.statuses().find(|status| !tag.is_empty() && status.tag == tag)
    }

    /// Where a revision alone can be reached.
    pub fn preview_url(&self, id: &str, name: &str) -> Option<String> {
        let tag = names::tag(&self.place.name, id);
        let status = self.status(&tag).filter(|status| status.revision == name)?;
        let written = self.place.written.preview_url.as_ref();
        let filled = written.map(|url| url.replace("{tag}", &tag).replace("{revision}", id));
        filled.or_else(|| Some(status.uri).filter(|uri| !uri.is_empty()))
    }

    /// Where users reach the service.
    pub fn url(&self) -> Option<String> {
        self.place.written.url.clone().or_else(|| Some(self.service.uri.clone()).filter(|uri| !uri.is_empty()))
    }

    /// How many instances the host wants of each revision.
    pub fn replicas(&self) -> BTreeMap<String, u32> {
        let text = self.service.annotations.get(REPLICAS).map(String::as_str).unwrap_or_default();
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.filter_map(|(id, count)| Some((id.to_owned(), count.parse().ok()?))).collect()
    }

    fn wanted(&self, seen: &Seen) -> u32 {
        // Of what others made nobody has said: one stands for as many as there are.
        self.replicas().get(&seen.id()).copied().unwrap_or(1)
    }

    /// As the host wants to see it; `None` where nothing of it can be reached.
    pub fn observed(&self) -> Option<Observed> {
        let shares: Vec<(String, u64)> = self.statuses().map(|of| (of.revision, of.percent.into())).collect();
        let weight = |name: &str| {
            let parts = from_units(&shares);
            let sum = parts.iter().filter(|(of, _)| of == name).map(|(_, weight)| weight.hundredths()).sum();
            Weight::from_hundredths(sum)
        };
        let mut revisions = Vec::new();
        for seen in &self.revisions {
            let (id, weight) = (seen.id(), weight(&seen.name));
            let is_ours = seen.kind != Kind::Foreign;
            let reached = weight > Weight::ZERO || (is_ours && self.has_target(&seen.name));
            // Of several that stand for one revision the one that is reached counts; the others are on their way out.
            let is_the_one = self.live(&id).is_some_and(|live| live.name == seen.name);
            if !reached || (is_ours && !is_the_one && weight == Weight::ZERO) {
                continue;
            }
            let desired = self.wanted(seen);
            revisions.push(ObservedRevision {
                desired,
                available: if seen.standing() == Standing::Ready { desired } else { 0 },
                weight,
                preview_url: self.preview_url(&id, &seen.name),
                workload_digest: None,
                extras: vec![("cloud-run-revision".into(), seen.name.clone())],
                id,
            });
        }
        (!revisions.is_empty()).then(|| Observed {
            url: self.url(),
            revisions,
            version: Some(self.service.etag.clone()).filter(|etag| !etag.is_empty()),
            extras: vec![("cloud-run-service".into(), self.place.name.clone())],
        })
    }

    /// The instances of a revision, as far as Cloud Run tells.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::NotFound`] where it is not there.
    pub fn instances(&self, id: &str) -> Result<InstanceReport, Failure> {
        let seen = self.live(id).ok_or_else(|| self.gone(id))?;
        let desired = self.wanted(seen);
        let (state, message) = match seen.standing() {
            Standing::Ready => ("ready", None),
            Standing::Pending(message) => ("pending", Some(message)),
            Standing::Failed(message) => ("failed", Some(message)),
        };
        let (ready, least) = (state == "ready", seen.least());
        Ok(InstanceReport {
            desired,
            available: if ready { desired } else { 0 },
            hopeless: state == "failed",
            instances: vec![Instance {
                id: seen.name.clone(),
                state: if ready {
                    format!("ready; as many instances as requests need, at least {least}")
                } else {
                    state.into()
                },
                available: ready,
                restarts: 0,
                message,
            }],
            preview_url: self.preview_url(id, &seen.name),
        })
    }

    /// The failure for a revision that is not there.
    pub fn gone(&self, id: &str) -> Failure {
        // What is read may be of a moment ago.
        Failure::not_found(format!("the Cloud Run service {} has no revision {id}", self.place.name))
            .retry_after(A_MOMENT)
    }
}

/// Whose a service is.
fn owner_of(service: &Service) -> Option<Owner> {
    let pairs = service.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    Owner::from_tags(TagStyle::Underscore, pairs)
}
