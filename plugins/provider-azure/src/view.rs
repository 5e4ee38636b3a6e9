//! What is there of a service: its app, the app's revisions, and who has which share of the requests.

use basb_cloud_kit::from_units;
use basb_plugin::provider::{Observed, ObservedRevision};
use basb_plugin::{Failure, Weight};
use serde_json::Value;

use crate::api::model::{App, Replica, Revision, TrafficWeight};
use crate::apps::Apps;
use crate::names::{self, REVISION_VARIABLE};

/// Whose an app is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// We made it: its tags say so.
    Ours,
    /// Others made it, and the configuration names it.
    Adopted,
    /// We made it, as a revision of ours in it tells, and its tags do not say so any more. Only its traffic is set and read.
    Untagged,
}

/// What is there.
pub struct View {
    /// The app.
    pub app: App,
    /// Whose it is.
    pub standing: Standing,
    /// All revisions of the app.
    revisions: Vec<Seen>,
}

/// A revision of the app.
pub struct Seen {
    /// The revision of the service that it is.
    pub id: String,
    /// Whether we made it.
    pub is_ours: bool,
    /// As Azure has it.
    pub revision: Revision,
}

impl Seen {
    /// Its name at Azure.
    pub fn name(&self) -> &str {
        &self.revision.name
    }
}

impl View {
    /// Of an app and its revisions.
    pub fn new(app: App, standing: Standing, revisions: Vec<Revision>) -> View {
        let seen = |revision: Revision| {
            let ours = revision.template().and_then(|template| names::variable(template, REVISION_VARIABLE));
            let (id, is_ours) = match ours {
                Some(id) => (id.to_owned(), true),
                None => (names::adopted(&revision.name), false),
            };
            Seen { id, is_ours, revision }
        };
        let mut revisions: Vec<Seen> = revisions.into_iter().map(seen).collect();
        revisions
            .sort_by(|one, other| one.revision.properties.created_time.cmp(&other.revision.properties.created_time));
        View { app, standing, revisions }
    }

    /// Whether app and revisions can be of the same moment: who is in the table is there, with the weight that the table
    /// says, and so is the latest revision.
    pub fn fits_together(&self) -> bool {
        let latest = self.app.properties.latest_revision_name.as_ref();
        let has_latest = latest.is_none_or(|name| self.named(name).is_some());
        let lines = self.app.traffic();
        let named = lines.iter().filter_map(|line| line.revision_name.as_ref());
        let has_named = named.clone().all(|name| self.named(name).is_some_and(|seen| seen.revision.is_active()));
        let weighs = |seen: &Seen| {
            let told = seen.revision.properties.traffic_weight;
            told.is_none_or(|told| told == self.weight(seen.name()))
        };
        has_latest && has_named && self.active().all(weighs)
    }

    /// Whether another look saw the same, as far as it is decided by.
    pub fn is_same(&self, other: &View) -> bool {
        let revisions = |view: &View| -> Vec<(String, bool)> {
            view.revisions.iter().map(|seen| (seen.name().to_owned(), seen.revision.is_active())).collect()
        };
        let app = |view: &View| {
            let properties = &view.app.properties;
            (
                properties.provisioning_state.clone(),
                properties.configuration.clone(),
                properties.template.clone(),
                view.app.tags.clone(),
                view.app.identity.clone(),
            )
        };
        app(self) == app(other) && revisions(self) == revisions(other)
    }

    /// The app's revision of this name, active or not.
    pub fn named(&self, name: &str) -> Option<&Seen> {
        self.revisions.iter().find(|seen| seen.name() == name)
    }

    /// The active revisions of the app for a revision of the service, older ones first. There are two while one in
    /// another size takes the place of the first.
    pub fn active_of<'a>(&'a self, id: &str) -> impl Iterator<Item = &'a Seen> {
        self.active().filter(move |seen| seen.id == id)
    }

    /// All active revisions of the app.
    pub fn active(&self) -> impl Iterator<Item = &Seen> {
        self.revisions.iter().filter(|seen| seen.revision.is_active())
    }

    /// The one that stands for a revision of the service: with the most of the requests, else the newest.
    pub fn current(&self, id: &str) -> Option<&Seen> {
        self.active_of(id).max_by_key(|seen| self.weight(seen.name()))
    }

    /// The newest revision of the app for a revision of the service, whether it is active or not.
    pub fn newest(&self, id: &str) -> Option<&Seen> {
        self.revisions.iter().rfind(|seen| seen.id == id)
    }

    /// The table with a name in every line: `latestRevision` is the latest one that was ready. No line where nobody is
    /// led to the app.
    pub fn traffic(&self) -> Vec<TrafficWeight> {
        let properties = &self.app.properties;
        let latest = properties.latest_ready_revision_name.clone().or(properties.latest_revision_name.clone());
        if self.app.ingress().is_none() {
            return Vec::new();
        }
        let mut table = self.app.traffic();
        if table.is_empty() || !self.is_multiple() {
            table = vec![TrafficWeight { weight: Some(100), latest_revision: Some(true), ..TrafficWeight::default() }];
        }
        for line in &mut table {
            if line.latest_revision == Some(true) {
                line.revision_name.clone_from(&latest);
                line.latest_revision = None;
            }
        }
        table
    }

    /// How many revisions can be active: one, unless something else is written.
    pub fn mode(&self) -> &str {
        self.app.configuration("/activeRevisionsMode").and_then(Value::as_str).unwrap_or("Single")
    }

    /// Whether several revisions can be active, as a share of the requests needs.
    pub fn is_multiple(&self) -> bool {
        self.mode() == "Multiple"
    }

    /// Whether requests go to whatever revision is the latest: by a line of the table, without one, or by the mode.
    pub fn follows_latest(&self) -> bool {
        let table = self.app.traffic();
        let follows = table.is_empty() || table.iter().any(|line| line.latest_revision == Some(true));
        self.app.ingress().is_some() && (follows || !self.is_multiple())
    }

    /// Whether a new revision would get requests only when it is given some.
    pub fn is_pinned(&self) -> bool {
        self.is_multiple() && !self.follows_latest()
    }

    /// The weight of a revision of the app, in percent.
    pub fn weight(&self, name: &str) -> u32 {
        let of = |line: &TrafficWeight| (line.revision_name.as_deref() == Some(name)).then_some(line.weight).flatten();
        self.traffic().iter().filter_map(of).sum()
    }

    /// The share of a revision of the service.
    pub fn share(&self, id: &str) -> Weight {
        let table: Vec<(String, u64)> = self
            .traffic()
            .into_iter()
            .map(|line| {
                let name = line.revision_name.unwrap_or_default();
                let id = self.named(&name).map_or_else(|| names::adopted(&name), |seen| seen.id.clone());
                (id, u64::from(line.weight.unwrap_or(0)))
            })
            .collect();
        let of_id = from_units(&table).into_iter().filter(|(of, _)| of == id);
        Weight::from_hundredths(of_id.fold(0_u16, |sum, (_, weight)| sum.saturating_add(weight.hundredths())))
    }

    /// The ids of the revisions that are there. Of an app that others made, theirs count where somebody is led to them.
    pub fn ids(&self) -> Vec<&str> {
        let counts = |seen: &&Seen| seen.is_ours || self.standing != Standing::Adopted || self.weight(seen.name()) > 0;
        let mut ids: Vec<&str> = self.active().filter(counts).map(|seen| seen.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The URL of a label.
    fn label_url(&self, label: &str) -> Option<String> {
        let (app, domain) = self.app.configuration("/ingress/fqdn")?.as_str()?.split_once('.')?;
        Some(format!("https://{app}---{label}.{domain}"))
    }

    /// Where users reach the service.
    pub fn url(&self, apps: &Apps<'_>) -> Option<String> {
        let own =
            || self.app.configuration("/ingress/fqdn").and_then(Value::as_str).map(|fqdn| format!("https://{fqdn}"));
        apps.written.url.clone().or_else(own)
    }

    /// Where a revision alone can be reached: by our label, which leads to what was deployed last, else by its own name.
    pub fn preview_url(&self, apps: &Apps<'_>, seen: &Seen) -> Option<String> {
        self.app.ingress()?;
        let label = &apps.config.label;
        let labelled = self
            .app
            .traffic()
            .into_iter()
            .any(|line| line.label.as_ref() == Some(label) && line.revision_name.as_deref() == Some(seen.name()));
        match (&apps.written.preview_url, labelled) {
            (Some(url), true) => Some(url.clone()),
            (None, true) => self.label_url(label),
            (_, false) => seen.revision.properties.fqdn.as_ref().map(|fqdn| format!("https://{fqdn}")),
        }
    }

    /// As the host wants to see it; `None` where nothing is there.
    ///
    /// # Errors
    /// Where Azure cannot tell.
    pub fn observed(&self, apps: &Apps<'_>) -> Result<Option<Observed>, Failure> {
        let mut revisions = Vec::new();
        for id in self.ids() {
            let Some(current) = self.current(id) else { continue };
            let replicas = apps.api.replicas(current.name())?;
            let size = Size::of(&current.revision, &replicas);
            revisions.push(ObservedRevision {
                id: id.to_owned(),
                desired: size.desired,
                available: size.available,
                weight: self.share(id),
                preview_url: self.preview_url(apps, current),
                // A revision cannot be changed: its name tells.
                workload_digest: None,
                extras: vec![("revision".into(), current.name().to_owned())],
            });
        }
        Ok((!revisions.is_empty()).then(|| Observed {
            url: self.url(apps),
            revisions,
            version: None,
            extras: vec![("container-app".into(), apps.name.clone())],
        }))
    }
}

/// How many replicas there should be of a revision, and how many count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub desired: u32,
    pub available: u32,
}

impl Size {
    /// Of a revision and its replicas.
    pub fn of(revision: &Revision, replicas: &[Replica]) -> Size {
        if !revision.is_active() {
            return Size { desired: 0, available: 0 };
        }
        let ready = replicas.iter().filter(|replica| replica.is_ready()).count();
        let ready = u32::try_from(ready).unwrap_or(u32::MAX);
        let up = revision.is_up();
        // One that may have none starts on the first request; ours always have one.
        let sleeps = up && revision.least() == 0 && replicas.is_empty();
        let available = if up { ready.max(u32::from(sleeps)) } else { 0 };
        Size { desired: revision.least().max(1), available }
    }
}
