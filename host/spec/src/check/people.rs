//! Groups that could never be complete, and gates that could never pass.

use crate::diagnostic::Diagnostic;
use crate::read::{At, Count, NonEmpty, Place, Reader, Text};
use crate::shape::DeploymentFile;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn check(file: &DeploymentFile, reader: &mut Reader<'_>) {
    let member_of = members(file, reader);
    circles(file, reader, &member_of);
    let services: BTreeSet<&str> = file.services.iter().flat_map(|s| s.value.keys()).collect();
    for (_, service) in file.services.iter().flat_map(|s| s.value.values()) {
        if let Some(gates) = &service.gates {
            quorum(gates.value.approvals.as_ref(), gates.value.approvers.as_ref(), reader);
        }
    }
    for (item, environment) in file.environments.iter().flat_map(|e| e.value.values()) {
        let Some(approve) = &environment.approve else { continue };
        quorum(approve.value.approvals.as_ref(), approve.value.approvers.as_ref(), reader);
        if let (Some(on_timeout), None) = (&approve.value.on_timeout, &approve.value.timeout) {
            let message = "`onTimeout` needs a `timeout`";
            reader.problem_with_help(&on_timeout.place, "spec/no-timeout", message, "add one, such as `timeout: 4h`");
        }
        if services.contains(item.key.as_str()) {
            let message = format!("`{}` is a service too: `approve {}` could mean either gate", item.key, item.key);
            reader.problem_with_help(&approve.place, "spec/ambiguous-gate", message, "give the service another name");
        }
    }
}

/// The group of each service, by name; a service in two of them is a problem.
fn members<'f>(file: &'f DeploymentFile, reader: &mut Reader<'_>) -> BTreeMap<&'f str, &'f str> {
    let mut member_of: BTreeMap<&str, (&str, &Place)> = BTreeMap::new();
    for (item, group) in file.groups.iter().flat_map(|g| g.value.values()) {
        for At { value, place } in group.services.iter().flat_map(|s| &s.value.0) {
            match member_of.get(value.as_str()) {
                Some((other, first)) => {
                    let message = format!("`{value}` is in the group `{other}` already");
                    let problem = Diagnostic::at(reader.source, place.span, &place.pointer, "spec/two-groups", message)
                        .with_label("in this one too")
                        .with_also(first.span, "here")
                        .with_help("a service becomes stable with one group only: leave it out of one of them");
                    reader.push(problem);
                }
                None => drop(member_of.insert(value.as_str(), (item.key.as_str(), place))),
            }
        }
    }
    member_of.into_iter().map(|(service, (group, _))| (service, group)).collect()
}

/// A group is promoted when all of it is there, and a service outside waits until then: if a member waits for such a
/// service in turn, neither can ever go on. Told at the dependency that leads back into the group.
fn circles(file: &DeploymentFile, reader: &mut Reader<'_>, member_of: &BTreeMap<&str, &str>) {
    let mut edges: BTreeMap<String, Vec<(String, &str, &Place)>> = BTreeMap::new();
    let node = |service: &str| {
        member_of.get(service).map_or_else(|| format!("service {service}"), |group| format!("group {group}"))
    };
    for (item, service) in file.services.iter().flat_map(|s| s.value.values()) {
        for At { value, place } in service.depends_on.iter().flat_map(|d| &d.value.0) {
            let (from, to) = (node(&item.key), node(value.as_str()));
            // Within a group a held service is enough.
            if from != to {
                edges.entry(from).or_default().push((to, item.key.as_str(), place));
            }
        }
    }
    let groups: BTreeSet<&str> = member_of.values().copied().collect();
    for group in groups {
        let start = format!("group {group}");
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut rest: Vec<&str> = vec![&start];
        while let Some(at) = rest.pop() {
            for (to, service, place) in edges.get(at).into_iter().flatten() {
                if *to == start {
                    let message = format!(
                        "`{service}` waits until the group `{group}` is complete, and the group waits for `{service}`"
                    );
                    let help = format!("take `{service}` into the group, or remove one of the dependencies");
                    return reader.problem_with_help(place, "spec/group-circle", message, help);
                }
                if seen.insert(to) {
                    rest.push(to);
                }
            }
        }
    }
}

fn quorum(approvals: Option<&At<Count<1>>>, approvers: Option<&At<NonEmpty<Text>>>, reader: &mut Reader<'_>) {
    let (Some(approvals), Some(approvers)) = (approvals, approvers) else { return };
    let people: BTreeSet<&str> = approvers.value.0.iter().map(|a| a.value.0.as_str()).collect();
    if people.len() < usize::try_from(approvals.value.0).unwrap_or(usize::MAX) {
        let message = format!("{} approvals are needed, and {} may give one", approvals.value.0, people.len());
        reader.problem_with_help(
            &approvals.place,
            "spec/quorum-unreachable",
            message,
            "name more people under `approvers`, or ask for fewer approvals",
        );
    }
}
