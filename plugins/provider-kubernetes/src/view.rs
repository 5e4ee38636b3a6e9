//! What is there of a service: its revisions, and what leads users to them.

use std::collections::BTreeMap;

use basb_cloud_kit::{Owner, digest, from_units};
use basb_plugin::provider::{Observed, ObservedRevision};
use basb_plugin::{Failure, Weight};

use crate::api::{Kind, Object};
use crate::cluster::{Cluster, Way};
use crate::shares::achieved;
use crate::{names, route};

/// What is there.
pub struct View {
    /// What makes the shares.
    pub way: Way,
    /// Our revisions.
    pub revisions: Vec<Seen>,
    /// The Service that users reach.
    pub front: Option<Object>,
    /// The route that users' requests go by.
    pub route: Option<Object>,
    /// What others made and users are led to.
    pub adopted: Vec<Adopted>,
}

/// A revision that is there.
pub struct Seen {
    /// Its id.
    pub id: String,
    /// Its Deployment.
    pub deployment: Object,
}

/// A Deployment that others made, that the Service or the route which the configuration names leads to.
pub struct Adopted {
    /// What it is called as a revision.
    pub id: String,
    /// It.
    pub deployment: Object,
    /// The Service that leads to it alone, where a route does by one.
    pub service: Option<String>,
}

/// A revision's share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The revision.
    pub revision: String,
    /// The share that was asked for.
    pub wanted: Weight,
    /// The share that is made.
    pub achieved: Weight,
}

/// What a Deployment that others made is called as a revision.
pub fn adopted_id(deployment: &str) -> String {
    let hex: String = digest(deployment.as_bytes()).chars().skip("sha256:".len()).take(12).collect();
    format!("x{hex}")
}

/// Whether a revision's id is one that we gave to what others made.
pub fn is_adopted(revision: &str) -> bool {
    revision.strip_prefix('x').is_some_and(|hex| hex.len() == 12 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What becomes of users' Service and route whose labels, which say whose they are, are not as we wrote them, although they lead
/// to what is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// They are left alone, which is a failure.
    Required,
    /// Users' Service may lack some: a plan tells that as a change.
    MayLack,
    /// They are taken for ours unless the labels are those of another owner: what comes next puts ours back.
    PutBack,
}

impl Cluster<'_> {
    /// Looks.
    ///
    /// # Errors
    /// What the server says; [`basb_plugin::FailureCode::Conflict`] where a name of ours is another's.
    pub fn view(&self, labels: Labels) -> Result<View, Failure> {
        let way = self.way()?;
        let selector = names::query(&names::selector(self.service, None));
        let mut revisions: Vec<Seen> = self
            .api
            .list(Kind::Deployment, &selector)?
            .into_iter()
            .filter_map(|deployment| {
                let owner = names::owner_of(&deployment).filter(|owner| owner.is_of(self.service))?;
                Some(Seen { id: owner.revision?, deployment })
            })
            .collect();
        revisions.sort_by(|one, other| one.id.cmp(&other.id));
        let front = self.front(labels)?;
        let route = match way {
            Way::Routes(version) => self.users_route_there(Kind::Route(version), labels, &revisions)?,
            Way::Pods(_) => None,
        };
        let adopted = self.adopted(way, front.as_ref(), route.as_ref())?;
        Ok(View { way, revisions, front, route, adopted })
    }

    /// Users' Service: ours, or the one that the configuration names.
    fn front(&self, labels: Labels) -> Result<Option<Object>, Failure> {
        let found = self.api.get(Kind::Service, &self.front_name())?;
        match &self.written.service {
            Some(name) if found.is_none() => Err(self.missing(Kind::Service, name, "service")),
            Some(_) => Ok(found),
            None => self.users_own(Kind::Service, found, labels, |front| Ok(self.leads_to(front) != Leads::Elsewhere)),
        }
    }

    /// Users' route: ours, or the one that the configuration names.
    ///
    /// # Errors
    /// What the server says; [`basb_plugin::FailureCode::Conflict`] where it is another's.
    pub fn users_route_there(&self, kind: Kind, labels: Labels, known: &[Seen]) -> Result<Option<Object>, Failure> {
        let found = self.api.get(kind, &self.route_name())?;
        match &self.written.route {
            Some(name) if found.is_none() => Err(self.missing(kind, name, "route")),
            Some(_) => Ok(found),
            // A deployment refuses a route that lacks a label, so no plan may promise to put it back.
            None if labels == Labels::MayLack => self.users_own(kind, found, Labels::Required, |_| Ok(false)),
            None => self.users_own(kind, found, labels, |route| self.leads_to_ours_alone(route, known)),
        }
    }

    /// Users' own Service or route, by its labels; or by where it leads, where these may be other ones.
    fn users_own(
        &self,
        kind: Kind,
        found: Option<Object>,
        labels: Labels,
        leads_to_ours: impl FnOnce(&Object) -> Result<bool, Failure>,
    ) -> Result<Option<Object>, Failure> {
        let Some(object) = found else { return Ok(None) };
        let (owner, now) = (Owner::of_service(self.service), names::owner_of(&object));
        let may_be_ours = match labels {
            Labels::Required => false,
            Labels::MayLack => names::lacks_only(&object, &owner),
            Labels::PutBack => now.as_ref().is_none_or(|now| now.is_of(self.service)),
        };
        if now.as_ref() == Some(&owner) || !may_be_ours || !leads_to_ours(&object)? {
            return names::ours(kind.word(), Some(object), &owner);
        }
        if labels == Labels::PutBack {
            self.client().cx().log().warn(format!(
                "the labels of the {} {}, which say that it is ours, were taken off or changed: it leads to what is ours, so \
                 the traffic is not held up, and they are put back",
                kind.word(),
                object.metadata.name
            ));
        }
        Ok(Some(object))
    }

    /// Whether a route leads somewhere, and nowhere but to our revisions.
    fn leads_to_ours_alone(&self, route: &Object, known: &[Seen]) -> Result<bool, Failure> {
        let backends = route::all_backends(route);
        for (name, _) in &backends {
            if known.iter().any(|seen| names::of_revision(self.service, &seen.id) == *name) {
                continue;
            }
            // One whose Deployment is gone, or which was never ours.
            let service = self.api.get(Kind::Service, name)?;
            if !service.and_then(|it| names::owner_of(&it)).is_some_and(|owner| owner.is_of(self.service)) {
                return Ok(false);
            }
        }
        Ok(!backends.is_empty())
    }

    fn missing(&self, kind: Kind, name: &str, key: &str) -> Failure {
        Failure::not_found(format!("there is no {} `{name}` in the namespace {}", kind.word(), self.config.namespace))
            .at(format!("/services/{}/{key}", self.service.service))
    }

    /// What others made, where the Service or the route that the configuration names leads to it.
    ///
    /// # Errors
    /// What the server says.
    pub fn adopted(&self, way: Way, front: Option<&Object>, route: Option<&Object>) -> Result<Vec<Adopted>, Failure> {
        match (way, front, route) {
            (Way::Routes(_), _, Some(route)) if self.written.route.is_some() => {
                let mut all = Vec::new();
                for (name, _) in route::backends(route) {
                    let Some(service) = self.api.get(Kind::Service, &name)? else { continue };
                    if names::owner_of(&service).is_none() {
                        all.extend(self.behind(&service.selector())?.map(|deployment| Adopted {
                            id: adopted_id(&deployment.metadata.name),
                            deployment,
                            service: Some(name),
                        }));
                    }
                }
                Ok(all)
            }
            (Way::Pods(_), Some(front), _)
                if self.written.service.is_some() && self.leads_to(front) == Leads::Elsewhere =>
            {
                let found = self.behind(&front.selector())?;
                Ok(found
                    .map(|deployment| Adopted { id: adopted_id(&deployment.metadata.name), deployment, service: None })
                    .into_iter()
                    .collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The Deployment of others whose pods a selector covers: one, or nobody can tell which is meant.
    fn behind(&self, selector: &BTreeMap<String, String>) -> Result<Option<Object>, Failure> {
        if selector.is_empty() {
            return Ok(None);
        }
        let found: Vec<Object> = self
            .api
            .list(Kind::Deployment, "")?
            .into_iter()
            .filter(|deployment| {
                let labels = deployment.pod_labels();
                names::owner_of(deployment).is_none()
                    && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            })
            .collect();
        let [only] = <[Object; 1]>::try_from(found).map_or([None], |[only]| [Some(only)]);
        Ok(only)
    }

    /// The Deployment of a revision: ours by its name, an adopted one by the name that its id stands for.
    ///
    /// # Errors
    /// What the server says.
    pub fn deployment(&self, revision: &str) -> Result<Option<Object>, Failure> {
        if is_adopted(revision) {
            let all = self.api.list(Kind::Deployment, "")?;
            return Ok(all
                .into_iter()
                .find(|one| names::owner_of(one).is_none() && adopted_id(&one.metadata.name) == revision));
        }
        let name = names::of_revision(self.service, revision);
        let found = self.api.get(Kind::Deployment, &name)?;
        names::ours("Deployment", found, &Owner::of_revision(self.service, revision))
    }

    /// Where users' Service leads.
    pub fn leads_to(&self, front: &Object) -> Leads {
        let selector = front.selector();
        let ours = names::selector(self.service, None);
        if !ours.iter().all(|(key, value)| selector.get(key) == Some(value)) {
            return Leads::Elsewhere;
        }
        match selector.get(&names::label("revision")).map(String::as_str) {
            Some(names::NOBODY) => Leads::Nowhere,
            Some(revision) => Leads::To(revision.to_owned()),
            None => Leads::ToAll,
        }
    }
}

/// Where users' Service leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads {
    /// To the pods of one revision.
    To(String),
    /// To the pods of all revisions that have some.
    ToAll,
    /// To none.
    Nowhere,
    /// To what others made.
    Elsewhere,
}

impl View {
    /// The revision of this id.
    pub fn revision(&self, id: &str) -> Option<&Seen> {
        self.revisions.iter().find(|seen| seen.id == id)
    }

    /// Each revision that users' requests go to, with its share.
    pub fn shares(&self, cluster: &Cluster<'_>) -> Vec<Share> {
        let exact = |(revision, weight): (String, Weight)| Share { revision, wanted: weight, achieved: weight };
        if let Way::Routes(_) = self.way {
            let backends = self.route.as_ref().map(route::backends).unwrap_or_default();
            let named: Vec<(String, u64)> =
                backends.into_iter().map(|(name, weight)| (self.revision_behind(cluster, &name), weight)).collect();
            return from_units(&named).into_iter().filter(|(_, weight)| *weight > Weight::ZERO).map(exact).collect();
        }
        let Some(front) = &self.front else { return Vec::new() };
        match cluster.leads_to(front) {
            Leads::Nowhere => Vec::new(),
            Leads::To(revision) => vec![exact((revision, Weight::FULL))],
            Leads::Elsewhere => self.adopted.iter().map(|one| exact((one.id.clone(), Weight::FULL))).collect(),
            Leads::ToAll => self.shares_of_pods(front),
        }
    }

    /// The shares that were asked for count as long as the numbers of instances are those that were made for them.
    fn shares_of_pods(&self, front: &Object) -> Vec<Share> {
        let there: BTreeMap<String, u32> = self
            .revisions
            .iter()
            .map(|seen| (seen.id.clone(), seen.deployment.replicas()))
            .filter(|(_, count)| *count > 0)
            .collect();
        let achieved = achieved(&there);
        let written = |name: &str| front.metadata.annotations.get(name).map(String::as_str).unwrap_or_default();
        let counts: BTreeMap<String, u32> = serde_json::from_str(written(names::COUNTS)).unwrap_or_default();
        let weights: BTreeMap<String, u16> = serde_json::from_str(written(names::WEIGHTS)).unwrap_or_default();
        let as_made = counts == there;
        achieved
            .into_iter()
            .map(|(revision, achieved)| {
                let asked = weights.get(&revision).filter(|_| as_made);
                let wanted = asked.map_or(achieved, |hundredths| Weight::from_hundredths(*hundredths));
                Share { revision, wanted, achieved }
            })
            .collect()
    }

    fn revision_behind(&self, cluster: &Cluster<'_>, service: &str) -> String {
        let ours = self.revisions.iter().find(|seen| names::of_revision(cluster.service, &seen.id) == service);
        let adopted = self.adopted.iter().find(|one| one.service.as_deref() == Some(service));
        ours.map(|seen| seen.id.clone())
            .or_else(|| adopted.map(|one| one.id.clone()))
            .unwrap_or_else(|| adopted_id(service))
    }

    /// The share of a revision.
    pub fn share(&self, cluster: &Cluster<'_>, revision: &str) -> Weight {
        let shares = self.shares(cluster);
        shares.iter().find(|share| share.revision == revision).map_or(Weight::ZERO, |share| share.wanted)
    }

    /// As the host wants to see it; `None` where nothing is there.
    ///
    /// # Errors
    /// None today: what could not be read has failed before.
    pub fn observed(&self, cluster: &Cluster<'_>) -> Result<Option<Observed>, Failure> {
        let shares = self.shares(cluster);
        let ours = self.revisions.iter().map(|seen| (&seen.id, &seen.deployment));
        let adopted = self.adopted.iter().map(|one| (&one.id, &one.deployment));
        let mut revisions: Vec<ObservedRevision> = ours
            .chain(adopted)
            .map(|(id, deployment)| {
                let share = shares.iter().find(|share| share.revision == *id);
                let mut extras = vec![("deployment".to_owned(), deployment.metadata.name.clone())];
                extras.extend(share.map(|share| ("achieved-weight".to_owned(), share.achieved.to_string())));
                ObservedRevision {
                    id: id.clone(),
                    desired: deployment.replicas(),
                    available: deployment.available(),
                    weight: share.map_or(Weight::ZERO, |share| share.wanted),
                    preview_url: if is_adopted(id) { None } else { cluster.preview_url(self.way, id) },
                    workload_digest: None,
                    extras,
                }
            })
            .collect();
        // Users are led to what nothing is known of: said, so that it is not mistaken for nothing.
        for share in
            shares.iter().filter(|share| !revisions.iter().any(|known| known.id == share.revision)).collect::<Vec<_>>()
        {
            revisions.push(ObservedRevision {
                id: share.revision.clone(),
                desired: 0,
                available: 0,
                weight: share.wanted,
                preview_url: None,
                workload_digest: None,
                extras: Vec::new(),
            });
        }
        if revisions.is_empty() {
            return Ok(None);
        }
        let version = match self.way {
            Way::Routes(_) => self.route.as_ref(),
            Way::Pods(_) => self.front.as_ref(),
        };
        Ok(Some(Observed {
            url: cluster.written.url(),
            revisions,
            version: version.map(|object| object.metadata.resource_version.clone()),
            extras: vec![("traffic".into(), self.way.words().into())],
        }))
    }
}
