//! What an ECS service that is there has to be told: where its tasks run, and how long they may take to start. What it runs,
//! and how many tasks it has, is told apart from this.

use basb_cloud_kit::Differences;
use basb_plugin::Failure;
use basb_plugin::provider::{ActionKind, PlannedAction};
use serde_json::{Map, Value, json};

use super::Fleet;
use crate::api::ecs::{CapacityShare, EcsService};
use crate::config::{Ecs, NetworkMode, PublicIp};

/// What a service has to be told, and what differs.
pub struct Upkeep {
    body: Map<String, Value>,
    differences: Differences,
    tasks: Tasks,
    /// ECS takes other capacity providers together with a new deployment only.
    forces: bool,
}

/// What becomes of the tasks that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tasks {
    /// They run on.
    Stay,
    /// ECS replaces each of them.
    Replaced,
}

impl Upkeep {
    /// By what is configured and what ECS describes.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Conflict`] for another launch type, which no service can be given; `instead` says what to
    /// do then.
    pub fn of(fleet: &Fleet<'_>, service: &EcsService, instead: &str) -> Result<Upkeep, Failure> {
        let ecs = fleet.ecs;
        check_launch_type(ecs, service, instead)?;
        let mut upkeep =
            Upkeep { body: Map::new(), differences: Differences::new(), tasks: Tasks::Stay, forces: false };
        let grace = ecs.start_grace.0.as_secs();
        if service.health_check_grace_period_seconds.unwrap_or(0) != grace {
            let before = service.health_check_grace_period_seconds.map(|seconds| format!("{seconds}s"));
            upkeep.differences.value("ecs.startGrace", before, Some(format!("{grace}s")));
            upkeep.body.insert("healthCheckGracePeriodSeconds".into(), grace.into());
        }
        if let Some(wanted) = network(ecs) {
            let there = &service.network_configuration;
            let mut differs = false;
            for (path, field) in [
                ("ecs.subnets", "subnets"),
                ("ecs.securityGroups", "securityGroups"),
                ("ecs.publicIp", "assignPublicIp"),
            ] {
                let (before, after) = (shown(there, field), shown(&wanted, field));
                differs |= before != after;
                upkeep.differences.value(path, before, after);
            }
            if differs {
                upkeep.tasks = Tasks::Replaced;
                upkeep.body.insert("networkConfiguration".into(), wanted);
            }
        }
        let before = shares(service.capacity_provider_strategy.as_deref().unwrap_or_default());
        let wanted = strategy(ecs);
        let after = shares(&wanted);
        if !wanted.is_empty() && before != after {
            upkeep.tasks = Tasks::Replaced;
            upkeep.forces = true;
            let before = before.or_else(|| service.launch_type.clone());
            upkeep.differences.value("ecs.capacityProviders", before, after);
            upkeep.body.insert("capacityProviderStrategy".into(), json!(wanted));
        }
        Ok(upkeep)
    }

    /// What becomes of the tasks that run.
    pub fn tasks(&self) -> Tasks {
        self.tasks
    }

    /// Puts it into a request that changes the service.
    pub fn tell(&self, change: &mut Value) {
        let Some(fields) = change.as_object_mut() else { return };
        fields.extend(self.body.clone());
        if self.forces {
            fields.insert("forceNewDeployment".into(), true.into());
        }
    }

    /// What a plan says of it, where there is something to say. `whose` is whose tasks would be replaced by it.
    pub fn planned(self, name: &str, whose: &str) -> Option<PlannedAction> {
        if self.differences.is_empty() {
            return None;
        }
        let (kind, summary) = match self.tasks {
            Tasks::Replaced => {
                (ActionKind::Replace, format!("every task of {whose}: where the ECS service {name} runs them differs"))
            }
            Tasks::Stay => (ActionKind::Update, format!("the ECS service {name}, whose tasks run on")),
        };
        Some(PlannedAction { kind, summary, changes: self.differences.into_changes(), irreversible: None })
    }

    /// What differs.
    pub fn into_differences(self) -> Differences {
        self.differences
    }
}

/// Where tasks have a network interface of their own: what ECS is told of it.
pub fn network(ecs: &Ecs) -> Option<Value> {
    let network = ecs.network.as_ref().filter(|_| ecs.network_mode == NetworkMode::AwsVpc)?;
    let vpc = json!({
        "subnets": network.subnets,
        "securityGroups": network.security_groups,
        "assignPublicIp": network.public_ip.word(),
    });
    Some(json!({"awsvpcConfiguration": vpc}))
}

/// The shares of the capacity providers; none where there is a launch type.
pub fn strategy(ecs: &Ecs) -> Vec<CapacityShare> {
    let share = |of: &crate::config::CapacityProvider| CapacityShare {
        capacity_provider: of.name.clone(),
        weight: of.weight,
        base: of.base,
    };
    ecs.capacity_providers.iter().map(share).collect()
}

/// A service is made with a launch type or with capacity providers. It can be given other capacity providers, also in the place
/// of a launch type, and never another launch type.
fn check_launch_type(ecs: &Ecs, service: &EcsService, instead: &str) -> Result<(), Failure> {
    if !ecs.capacity_providers.is_empty() {
        return Ok(());
    }
    let there = shares(service.capacity_provider_strategy.as_deref().unwrap_or_default());
    let there = there.map(|shares| format!("the capacity providers {shares}")).or_else(|| {
        let launch_type = service.launch_type.clone().filter(|there| there != ecs.launch_type.word())?;
        Some(format!("the launch type {launch_type}"))
    });
    let Some(there) = there else { return Ok(()) };
    Err(Failure::conflict(format!(
        "the ECS service {} has {there}, and ECS cannot give it the launch type {}: put the configuration back, or {instead}",
        service.service_name,
        ecs.launch_type.word()
    ))
    .at("/ecs/launchType"))
}

/// A value of a network in one line, whatever the order of a list; none where there is none.
fn shown(network: &Value, field: &str) -> Option<String> {
    match network.pointer("/awsvpcConfiguration")?.get(field) {
        Some(Value::Array(items)) => {
            let mut items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            items.sort_unstable();
            Some(items.join(", "))
        }
        Some(Value::String(word)) => Some(word.clone()),
        // What ECS takes where nothing is said (API reference, `AwsVpcConfiguration`).
        _ => (field == "assignPublicIp").then(|| PublicIp::Disabled.word().to_owned()),
    }
}

/// Shares in one line, in whatever order they were.
fn shares(all: &[CapacityShare]) -> Option<String> {
    let mut each: Vec<String> =
        all.iter().map(|of| format!("{} (weight {}, base {})", of.capacity_provider, of.weight, of.base)).collect();
    each.sort();
    (!each.is_empty()).then(|| each.join(", "))
}
