//! Target groups: where tasks are registered, and how they are checked.

use basb_cloud_kit::{Differences, Owner};
use basb_plugin::provider::{ActionKind, Desired, PlannedAction, Readiness};
use basb_plugin::{Failure, FailureCode};

use super::Fleet;
use crate::api::elb::{TargetGroup, WantedGroup};
use crate::{names, task};

/// How long an answer to a check may take by default (ELB API reference), in seconds.
const TIMEOUT: u32 = 5;

/// What the target group of a revision should be.
///
/// # Errors
/// As [`task::settings`].
pub fn wanted_group(fleet: &Fleet<'_>, desired: &Desired) -> Result<WantedGroup, Failure> {
    let name = names::of_group(&desired.service, &desired.revision);
    let tags = Owner::of_revision(&desired.service, &desired.revision).tags(names::TAGS);
    group_like(fleet, desired, name, tags)
}

/// A target group for what a workload listens on.
///
/// # Errors
/// As [`task::settings`].
pub fn group_like(
    fleet: &Fleet<'_>,
    desired: &Desired,
    name: String,
    tags: Vec<(String, String)>,
) -> Result<WantedGroup, Failure> {
    let interval = u32::try_from(fleet.ecs.health_interval.0.as_secs()).unwrap_or(300).clamp(5, 300);
    let ready_for = desired.workload.min_ready.as_secs().div_ceil(u64::from(interval));
    // A load balancer knows HTTP checks only: where the workload names no path, any answer but 5xx is life.
    let (health_path, health_codes) = match &desired.workload.ready {
        Readiness::Http(path) => (path.clone(), "200-399"),
        Readiness::None | Readiness::Tcp => ("/".to_owned(), "200-499"),
    };
    Ok(WantedGroup {
        name,
        vpc: fleet.ecs.vpc.clone(),
        port: task::port(fleet.ecs, &desired.workload)?,
        target_type: fleet.ecs.target_type().to_owned(),
        health_path,
        health_codes: health_codes.to_owned(),
        health_interval: interval,
        // ELB takes no timeout as long as the interval, and its default is as long as the shortest one.
        health_timeout: TIMEOUT.min(interval.saturating_sub(1)),
        healthy_threshold: u32::try_from(ready_for).unwrap_or(10).clamp(2, 10),
        unhealthy_threshold: 2,
        tags,
    })
}

/// Whether the port of a target group counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// It does: the group is of one revision, which listens there.
    Fixed,
    /// It does not: the group is of all revisions in turn, and ECS registers each target with the port of its own.
    OfEachTarget,
}

/// What of a target group cannot be changed and is not as it should be.
pub fn immutable_differences(there: &TargetGroup, wanted: &WantedGroup, counts: Port) -> Differences {
    let mut differences = Differences::new();
    let port = if counts == Port::Fixed { wanted.port.to_string() } else { there.port.clone() };
    for (path, before, after) in [
        ("targetGroup.vpc", &there.vpc, &wanted.vpc),
        ("targetGroup.port", &there.port, &port),
        ("targetGroup.targetType", &there.target_type, &wanted.target_type),
    ] {
        differences.value(path, Some(before.clone()), Some(after.clone()));
    }
    differences
}

/// How a target group checks its targets, where that is not as it should be.
pub fn check_differences(there: &TargetGroup, wanted: &WantedGroup) -> Differences {
    let mut differences = Differences::new();
    // What is not told cannot be compared: it would differ for ever.
    let timeout = if there.health_timeout.is_empty() { String::new() } else { wanted.health_timeout.to_string() };
    for (path, before, after) in [
        ("targetGroup.healthCheckPath", &there.health_path, wanted.health_path.clone()),
        ("targetGroup.healthCheckCodes", &there.health_codes, wanted.health_codes.clone()),
        ("targetGroup.healthCheckIntervalSeconds", &there.health_interval, wanted.health_interval.to_string()),
        ("targetGroup.healthCheckTimeoutSeconds", &there.health_timeout, timeout),
        ("targetGroup.healthyThreshold", &there.healthy_threshold, wanted.healthy_threshold.to_string()),
        ("targetGroup.unhealthyThreshold", &there.unhealthy_threshold, wanted.unhealthy_threshold.to_string()),
    ] {
        differences.value(path, Some(before.clone()), Some(after));
    }
    differences
}

/// What a plan says of a target group that is there.
///
/// # Errors
/// Where it cannot be made what it should be.
pub fn planned_check(
    there: &TargetGroup,
    wanted: &WantedGroup,
    counts: Port,
) -> Result<Option<PlannedAction>, Failure> {
    let differences = immutable_differences(there, wanted, counts);
    if !differences.is_empty() {
        return Err(cannot_change(&wanted.name, differences, counts));
    }
    let differences = check_differences(there, wanted);
    Ok((!differences.is_empty()).then(|| PlannedAction {
        kind: ActionKind::Update,
        summary: format!("how the target group {} checks its tasks", wanted.name),
        changes: differences.into_changes(),
        irreversible: None,
    }))
}

impl Fleet<'_> {
    /// Makes the target group of a revision be there; its ARN.
    ///
    /// # Errors
    /// What AWS says; [`FailureCode::Conflict`] where it is there and cannot be made what it should be.
    pub fn group(&self, wanted: &WantedGroup) -> Result<String, Failure> {
        let group = self.group_there(wanted, Port::Fixed)?;
        self.check_as(&group, wanted)?;
        Ok(group.arn)
    }

    /// Makes a target group be there, whatever it checks its targets by.
    ///
    /// # Errors
    /// As [`Fleet::group`].
    pub fn group_there(&self, wanted: &WantedGroup, counts: Port) -> Result<TargetGroup, Failure> {
        let group = match self.elb.group(&wanted.name)? {
            Some(there) => there,
            None => self.elb.create_group(wanted)?,
        };
        let differences = immutable_differences(&group, wanted, counts);
        if !differences.is_empty() {
            return Err(cannot_change(&group.name, differences, counts));
        }
        let drain = self.ecs.drain.0.as_secs();
        if self.elb.drain_seconds(&group.arn)? != Some(drain) {
            self.elb.set_drain_seconds(&group.arn, drain)?;
        }
        Ok(group)
    }

    /// Has a target group check its targets as it should.
    ///
    /// # Errors
    /// What AWS says.
    pub fn check_as(&self, there: &TargetGroup, wanted: &WantedGroup) -> Result<(), Failure> {
        if check_differences(there, wanted).is_empty() { Ok(()) } else { self.elb.modify_group(&there.arn, wanted) }
    }
}

/// The failure for a target group that would have to be another one.
fn cannot_change(name: &str, differences: Differences, counts: Port) -> Failure {
    let shown: Vec<String> = differences
        .into_changes()
        .into_iter()
        .map(|change| {
            format!(
                "{}: {} instead of {}",
                change.path,
                change.before.unwrap_or_default(),
                change.after.unwrap_or_default()
            )
        })
        .collect();
    let next = match counts {
        Port::Fixed => "deploy a new revision (a changed `env` value makes one)",
        Port::OfEachTarget => {
            "retire the service's revisions first: all of them use this one, and nobody is served until the next is deployed"
        }
    };
    Failure::new(
        FailureCode::Conflict,
        format!(
            "the target group {name} cannot be changed ({}): put the configuration back, or {next}",
            shown.join(", ")
        ),
        basb_plugin::Retry::Never,
    )
}
