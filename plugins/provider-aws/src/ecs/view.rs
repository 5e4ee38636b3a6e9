//! What is there of a service: its revisions, their target groups, and the rules that lead to them.

use basb_cloud_kit::{digest, from_units};
use basb_plugin::provider::{Observed, ObservedRevision};
use basb_plugin::{Failure, Weight};

use super::Fleet;
use super::rules::LeadsThere;
use crate::api::ecs::EcsService;
use crate::api::elb::{Rule, Target};
use crate::names;

/// What is there.
pub struct View {
    /// Our revisions.
    pub revisions: Vec<Seen>,
    /// The rule that users' requests go by.
    pub production: Option<Rule>,
    /// The rules of the listener that users reach.
    pub listener_rules: Vec<Rule>,
    /// The rules of the listener that revisions alone are reached by.
    pub rules: Vec<Rule>,
}

/// A revision that is there.
pub struct Seen {
    /// Its id.
    pub id: String,
    /// Its ECS service.
    pub service: EcsService,
}

impl Seen {
    /// Its target group.
    pub fn group(&self) -> Option<&str> {
        group_of(&self.service)
    }
}

/// The target group that a service registers its tasks in.
pub fn group_of(service: &EcsService) -> Option<&str> {
    service.load_balancers.iter().find_map(|of| of.target_group_arn.as_deref())
}

/// What a target group that others made is called as a revision.
pub fn adopted_id(group: &str) -> String {
    let hex: String = digest(group.as_bytes()).chars().skip("sha256:".len()).take(12).collect();
    format!("x{hex}")
}

impl View {
    /// The revision of this id.
    pub fn revision(&self, id: &str) -> Option<&Seen> {
        self.revisions.iter().find(|seen| seen.id == id)
    }

    /// Each target group that users' requests go to, with its share.
    pub fn shares(&self) -> Vec<(String, Weight)> {
        let targets = self.production.as_ref().map(|rule| rule.targets.as_slice()).unwrap_or_default();
        from_units(targets).into_iter().filter(|(_, weight)| *weight > Weight::ZERO).collect()
    }

    /// The share of a target group.
    pub fn share(&self, group: Option<&str>) -> Weight {
        let shares = self.shares();
        let found = group.and_then(|group| shares.iter().find(|(arn, _)| arn == group));
        found.map_or(Weight::ZERO, |(_, weight)| *weight)
    }

    /// As the host wants to see it; `None` where nothing is there.
    pub fn observed(&self, fleet: &Fleet<'_>) -> Result<Option<Observed>, Failure> {
        let mut revisions = Vec::new();
        let candidate = fleet.candidate_group()?;
        for seen in &self.revisions {
            let leads_there = LeadsThere::of(candidate.as_deref(), seen.group());
            revisions.push(ObservedRevision {
                id: seen.id.clone(),
                desired: seen.service.desired_count,
                available: fleet.available(&seen.service)?,
                weight: self.share(seen.group()),
                preview_url: fleet.preview_url(&seen.id, leads_there),
                workload_digest: None,
                extras: vec![("ecs-service".into(), seen.service.service_name.clone())],
            });
        }
        for (group, weight) in self.shares() {
            if self.revisions.iter().any(|seen| seen.group() == Some(&group)) {
                continue;
            }
            // Somebody else's: said, so that it can be adopted and is not mistaken for nothing.
            let service = fleet.foreign_service(|candidate| candidate == group)?;
            let (desired, available) = match &service {
                Some(service) => (service.desired_count, fleet.available(service)?),
                None => {
                    let healthy = fleet.healthy(&group)?;
                    (healthy, healthy)
                }
            };
            let name = service.map(|service| service.service_name).unwrap_or_default();
            revisions.push(ObservedRevision {
                id: adopted_id(&group),
                desired,
                available,
                weight,
                preview_url: None,
                workload_digest: None,
                extras: vec![("target-group".into(), group), ("ecs-service".into(), name)],
            });
        }
        if revisions.is_empty() {
            return Ok(None);
        }
        Ok(Some(Observed { url: fleet.written.url(), revisions, version: None, extras: Vec::new() }))
    }
}

impl Fleet<'_> {
    /// Looks.
    pub fn view(&self) -> Result<View, Failure> {
        let listener_rules = self.elb.rules(&self.ecs.listener)?;
        let preview = self.preview_listener();
        let rules = if preview == self.ecs.listener { None } else { Some(self.elb.rules(preview)?) };
        let names = self.api.service_names(&names::prefix(self.service))?;
        let mut revisions: Vec<Seen> = self
            .api
            .services(&names)?
            .into_iter()
            .filter_map(|service| {
                let owner = names::owner_of(&service.tags).filter(|owner| owner.is_of(self.service))?;
                Some(Seen { id: owner.revision?, service })
            })
            .collect();
        revisions.sort_by(|one, other| one.id.cmp(&other.id));
        let production = self.production_rule(&listener_rules)?;
        let rules = rules.unwrap_or_else(|| listener_rules.clone());
        Ok(View { revisions, production, listener_rules, rules })
    }

    /// How many targets of a group can take requests.
    pub fn healthy(&self, group: &str) -> Result<u32, Failure> {
        Ok(healthy(&self.elb.health(group)?))
    }

    /// The targets of a service's group; none where it has no group, or nothing of it runs.
    pub fn targets(&self, service: &EcsService) -> Result<Option<Vec<Target>>, Failure> {
        group_of(service).filter(|_| service.running_count > 0).map(|group| self.elb.health(group)).transpose()
    }

    /// How many tasks of a service run and can take requests.
    pub fn available(&self, service: &EcsService) -> Result<u32, Failure> {
        Ok(available(service, self.targets(service)?.as_deref()))
    }

    /// A service of the cluster that is not ours, whose target group is wanted.
    pub fn foreign_service(&self, wanted: impl Fn(&str) -> bool) -> Result<Option<EcsService>, Failure> {
        let names = self.api.service_names("")?;
        let all = self.api.services(&names)?;
        Ok(all
            .into_iter()
            .find(|service| names::owner_of(&service.tags).is_none() && group_of(service).is_some_and(&wanted)))
    }

    /// The service of a revision: ours by its name, an adopted one by its target group.
    pub fn service_of(&self, revision: &str) -> Result<Option<EcsService>, Failure> {
        if let Some(service) = self.api.service(&names::of_revision(self.service, revision))? {
            return Ok(Some(service));
        }
        if !is_adopted(revision) {
            return Ok(None);
        }
        self.foreign_service(|group| adopted_id(group) == revision)
    }
}

/// Whether a revision's id is one that we gave to what others made.
pub fn is_adopted(revision: &str) -> bool {
    revision.strip_prefix('x').is_some_and(|hex| hex.len() == 12 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// How many of these can take requests.
fn healthy(targets: &[Target]) -> u32 {
    u32::try_from(targets.iter().filter(|target| target.state == "healthy").count()).unwrap_or(u32::MAX)
}

/// How many tasks of a service run and can take requests, by what its [`Fleet::targets`] are.
pub fn available(service: &EcsService, targets: Option<&[Target]>) -> u32 {
    targets.map_or(service.running_count, |targets| healthy(targets).min(service.running_count))
}
