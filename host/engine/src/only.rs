//! A deployment cut down to some of its services, for runs that are about those alone.

use crate::Prepared;
use basb_core::ServiceName;
use basb_core::model::Deployment;
use std::collections::BTreeMap;

/// In which order services that depend on each other go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Those that depend on others first: the way back.
    Reversed,
    /// All at once.
    None,
}

/// Leaves only the services that are kept.
pub(crate) fn only(prepared: &mut Prepared, keep: impl Fn(&ServiceName) -> bool, order: Order) {
    prepared.revisions.retain(|name, _| keep(name));
    cut(&mut prepared.deployment, keep, order);
}

fn cut(deployment: &mut Deployment, keep: impl Fn(&ServiceName) -> bool, order: Order) {
    deployment.services.retain(|name, _| keep(name));
    // Those that go together go back together; what is only written down waits for nobody.
    for group in deployment.groups.values_mut() {
        group.services.retain(|name| keep(name));
    }
    deployment.groups.retain(|_, group| order == Order::Reversed && !group.services.is_empty());
    let mut dependents: BTreeMap<ServiceName, Vec<ServiceName>> = BTreeMap::new();
    for (name, service) in &mut deployment.services {
        for needed in std::mem::take(&mut service.depends_on) {
            dependents.entry(needed).or_default().push(name.clone());
        }
    }
    if order == Order::Reversed {
        for (name, service) in &mut deployment.services {
            service.depends_on = dependents.remove(name).unwrap_or_default();
        }
    }
}
