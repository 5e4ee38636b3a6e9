//! Functions on Lambda: a revision is a published version, and an alias shares the invocations out.
//!
//! Lambda scales by itself, so a version has neither more nor fewer instances: it is one, available when it is active.
//! The alias is changed only while it is as it was read (`RevisionId`): what somebody else did meanwhile is looked at before
//! anything is decided anew.

mod deploy;
mod traffic;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use basb_cloud_kit::{Client, Differences};
use basb_plugin::provider::{
    Action, ActionKind, Desired, Instance, InstanceReport, Observed, ObservedRevision, PlannedAction, Progress,
    ProviderContext, ServicePlan,
};
use basb_plugin::{Failure, ServiceRef, Weight};

use crate::api::lambda::{Alias, FunctionConfiguration, LambdaApi};
use crate::config::{self, Config, Lambda};
use crate::names;

/// What a version's description begins with; the revision follows.
const MARK: &str = "basb-host revision ";
/// What the digest of a version's configuration and code begins with, behind the revision. The number is that of its form.
const DIGEST: &str = "config-1-";
/// The variable that tells a function its revision. It makes each revision a version of its own, too: Lambda publishes
/// nothing new where nothing changed.
const REVISION_VARIABLE: &str = "BASB_REVISION";

/// Where a function is, and what it is called.
pub struct Place {
    endpoint: String,
    function: String,
}

impl Place {
    /// For a service.
    pub fn of(config: &Config, service: &ServiceRef) -> Place {
        let function = config.service(&service.service).function.unwrap_or_else(|| names::of_service(service, 64));
        Place { endpoint: config.lambda_endpoint(), function }
    }
}

/// One function.
pub struct Functions<'a> {
    lambda: &'a Lambda,
    api: LambdaApi<'a>,
    place: &'a Place,
    service: &'a ServiceRef,
    written: config::Service,
}

impl<'a> Functions<'a> {
    /// For a call.
    pub fn new(
        (config, lambda): (&'a Config, &'a Lambda),
        place: &'a Place,
        cx: &'a ProviderContext,
        key: &str,
        service: &'a ServiceRef,
    ) -> Functions<'a> {
        let api = LambdaApi::new(Client::new(cx, key), &place.endpoint, &place.function);
        Functions { lambda, api, place, service, written: config.service(&service.service) }
    }

    /// What `apply` would do.
    pub fn plan(&self, desired: &Desired) -> Result<ServicePlan, Failure> {
        let wanted = deploy::Wanted::of(self, desired)?;
        let function = self.api.function()?;
        let versions = self.versions()?;
        let alias = self.api.alias(&self.lambda.alias)?;
        let mut actions = Vec::new();
        if let Some(published) = versions.get(&desired.revision) {
            actions.extend(self.planned_again(&wanted, &desired.revision, published, alias.as_ref()));
        } else {
            let differences = wanted.differences(function.as_ref());
            let (kind, what) = match &function {
                None => (ActionKind::Create, format!("function {}", self.place.function)),
                // Nobody is led to what is being worked on, so changing it takes nothing from anybody.
                Some(_) => (ActionKind::Update, format!("the unpublished function {}", self.place.function)),
            };
            if !differences.is_empty() {
                let changes = differences.into_changes();
                actions.push(PlannedAction { kind, summary: what, changes, irreversible: None });
            }
            actions.push(PlannedAction {
                kind: ActionKind::Create,
                summary: format!("a version of {} for revision {}", self.place.function, desired.revision),
                changes: Vec::new(),
                irreversible: None,
            });
        }
        let observed = self.observed(&versions, alias.as_ref())?;
        Ok(ServicePlan { observed, actions })
    }

    /// What a plan says of a revision that is published. Another memory, time, role or architecture is no other revision; it
    /// takes another version of this one, which the traffic after it goes to.
    fn planned_again(
        &self,
        wanted: &deploy::Wanted,
        revision: &str,
        published: &Published,
        alias: Option<&Alias>,
    ) -> Option<PlannedAction> {
        let (number, function) = (&published.newest.version, &self.place.function);
        if !wanted.is_of(&published.newest) {
            return Some(PlannedAction {
                kind: ActionKind::Replace,
                summary: format!(
                    "version {number} of {function}, which revision {revision} is: a new one is published"
                ),
                changes: wanted.differences_of_version(&published.newest).into_changes(),
                irreversible: None,
            });
        }
        // Where that was cut off, or went wrong, before the traffic followed.
        let shares = traffic::shares(alias);
        let older = published.older.iter().find(|of| shares.iter().any(|(led_to, _)| *led_to == of.version))?;
        let mut differences = Differences::new();
        differences.value("alias.version", Some(older.version.clone()), Some(number.clone()));
        Some(PlannedAction {
            kind: ActionKind::Update,
            summary: format!("the alias {} leads to an older version of revision {revision}", self.lambda.alias),
            changes: differences.into_changes(),
            irreversible: None,
        })
    }

    /// Does it.
    pub fn apply(&self, action: &Action, state: Option<&str>) -> Result<Progress, Failure> {
        match action {
            Action::Deploy(desired) => deploy::deploy(self, desired, state),
            Action::Scale(scaling) => {
                self.version_of(&scaling.revision)?;
                Ok(Progress::done(format!("Lambda scales revision {} by itself", scaling.revision)))
            }
        }
    }

    /// What is there.
    pub fn read(&self) -> Result<Option<Observed>, Failure> {
        self.observed(&self.versions()?, self.api.alias(&self.lambda.alias)?.as_ref())
    }

    /// Shares the invocations out.
    pub fn traffic(&self, weights: &[(String, Weight)]) -> Result<Progress, Failure> {
        traffic::traffic(self, weights)
    }

    /// The version of a revision, as its one instance.
    pub fn instances(&self, revision: &str) -> Result<InstanceReport, Failure> {
        let version = self.version_of(revision)?;
        let now = self.api.version(&version.version)?.unwrap_or(version);
        let state = now.state.clone().unwrap_or_else(|| "Active".into());
        let available = is_available(&now);
        Ok(InstanceReport {
            desired: 1,
            available: u32::from(available),
            hopeless: state == "Failed",
            instances: vec![Instance {
                id: now.version,
                state: state.to_ascii_lowercase(),
                available,
                restarts: 0,
                message: now.state_reason,
            }],
            preview_url: None,
        })
    }

    /// Removes the version of a revision.
    pub fn retire(&self, revision: &str) -> Result<Progress, Failure> {
        let versions = self.versions()?;
        let alias = self.api.alias(&self.lambda.alias)?;
        let published = versions.get(revision);
        if let Some(published) = published {
            if published.share(&traffic::shares(alias.as_ref())) > Weight::ZERO {
                let message = format!("revision {revision} has traffic: give it to another one first");
                return Err(Failure::conflict(message).retry_after(crate::A_MOMENT));
            }
            let version = &published.newest;
            if !version.description.starts_with(MARK) {
                return Ok(Progress::done(format!("version {} was published by others, so it stays", version.version)));
            }
            for version in published.older.iter().chain([version]) {
                self.api.delete_version(&version.version)?;
            }
        }
        // Also where the version was gone before: this may be the call that goes on where another one was cut off, or the
        // end of a revision that was given up before it was published.
        if versions.keys().all(|other| other == revision) && alias.is_none() && self.is_ours()? {
            self.api.delete_function()?;
            return Ok(Progress::done(format!("revision {revision} is gone, and the function with it")));
        }
        let which = published.map(|of| format!(", version {},", of.newest.version)).unwrap_or_default();
        Ok(Progress::done(format!("revision {revision}{which} is gone")))
    }

    /// Whether the function was made by us: then its last revision takes it along.
    fn is_ours(&self) -> Result<bool, Failure> {
        let Some(function) = self.api.function()? else { return Ok(false) };
        let tags: Vec<(String, String)> = function.tags.into_iter().collect();
        Ok(names::owner_of_pairs(&tags).is_some_and(|owner| owner.is_of(self.service)))
    }

    /// The versions by their revisions. A version that others published is one too, by its number.
    fn versions(&self) -> Result<BTreeMap<String, Published>, Failure> {
        let mut all: BTreeMap<String, Published> = BTreeMap::new();
        for version in self.api.versions()? {
            let revision = match version.description.strip_prefix(MARK) {
                Some(rest) => rest.split_whitespace().next().unwrap_or_default().to_owned(),
                None => adopted_id(&version.version),
            };
            match all.entry(revision) {
                Entry::Vacant(none) => drop(none.insert(Published { newest: version, older: Vec::new() })),
                Entry::Occupied(there) => there.into_mut().add(version),
            }
        }
        Ok(all)
    }

    fn version_of(&self, revision: &str) -> Result<FunctionConfiguration, Failure> {
        self.versions()?.remove(revision).map(|of| of.newest).ok_or_else(|| {
            Failure::not_found(format!("the function {} has no version for revision {revision}", self.place.function))
                // A list of Lambda's may be of a moment ago.
                .retry_after(crate::A_MOMENT)
        })
    }

    fn observed(
        &self,
        versions: &BTreeMap<String, Published>,
        alias: Option<&Alias>,
    ) -> Result<Option<Observed>, Failure> {
        let shares = traffic::shares(alias);
        let is_listed = |number: &str| versions.values().flat_map(Published::all).any(|of| of.version == number);
        if let Some((number, _)) = shares.iter().find(|(number, _)| !is_listed(number)) {
            let message = format!("the alias {} leads to version {number}, which is in no list yet", self.lambda.alias);
            return Err(Failure::conflict(message).retry_after(crate::A_MOMENT));
        }
        let revisions: Vec<ObservedRevision> = versions
            .iter()
            // What others published and nobody is led to is no revision of ours: functions gather old versions.
            .filter(|(_, of)| of.newest.description.starts_with(MARK) || of.share(&shares) > Weight::ZERO)
            .map(|(revision, of)| ObservedRevision {
                id: revision.clone(),
                desired: 1,
                available: u32::from(is_available(&of.newest)),
                weight: of.share(&shares),
                preview_url: None,
                workload_digest: Some(of.newest.code_sha256.clone()).filter(|digest| !digest.is_empty()),
                extras: vec![("version".into(), of.newest.version.clone())],
            })
            .collect();
        Ok((!revisions.is_empty()).then(|| Observed {
            url: self.written.url(),
            revisions,
            version: alias.and_then(|alias| alias.revision_id.clone()),
            extras: Vec::new(),
        }))
    }
}

/// The versions of one revision. It has more than one where the configuration was another one by the time it was deployed
/// once more.
struct Published {
    /// The one that counts.
    newest: FunctionConfiguration,
    older: Vec<FunctionConfiguration>,
}

impl Published {
    fn add(&mut self, version: FunctionConfiguration) {
        let number = |of: &FunctionConfiguration| of.version.parse::<u64>().unwrap_or(0);
        let older = if number(&version) > number(&self.newest) {
            std::mem::replace(&mut self.newest, version)
        } else {
            version
        };
        self.older.push(older);
    }

    fn all(&self) -> impl Iterator<Item = &FunctionConfiguration> {
        std::iter::once(&self.newest).chain(&self.older)
    }

    /// Its share of the invocations, whichever of its versions they go to.
    fn share(&self, shares: &[(String, Weight)]) -> Weight {
        let its = shares.iter().filter(|(number, _)| self.all().any(|of| of.version == *number));
        let sum = its.fold(0_u16, |sum, (_, weight)| sum.saturating_add(weight.hundredths()));
        Weight::from_hundredths(sum.min(Weight::FULL.hundredths()))
    }
}

/// The digest of a version's configuration and code, where it was published with one of this form.
fn digest_of(version: &FunctionConfiguration) -> Option<&str> {
    let digest = version.description.strip_prefix(MARK)?.split_whitespace().nth(1)?;
    digest.starts_with(DIGEST).then_some(digest)
}

fn is_available(version: &FunctionConfiguration) -> bool {
    // A version that tells no state is an old one, which is always active; `Inactive` wakes up when it is called.
    matches!(version.state.as_deref(), None | Some("Active" | "Inactive"))
}

/// What a version that others published is called as a revision.
fn adopted_id(version: &str) -> String {
    format!("v{version}")
}
