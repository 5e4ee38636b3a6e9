//! Sharing users' requests out: by the weights of a route, or by the numbers of pods behind users' Service.

use std::collections::BTreeMap;

use basb_cloud_kit::{Class, Waiting, decode_state, to_units};
use basb_plugin::provider::Progress;
use basb_plugin::{Failure, Weight};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::{FIELD_CONFLICT, Kind, Object, RouteVersion, Run};
use crate::cluster::{Cluster, Way};
use crate::deploy::asked;
use crate::names;
use crate::route::{Backend, reduced, same_shares};
use crate::shares::{Wanted, achieved, counts};
use crate::template::{set_at, users_service};
use crate::view::{Labels, Seen, View, is_adopted};

/// All of the traffic, in hundredths of a percent: the finest share. What a route gets is the same share in smaller numbers.
const UNITS: u16 = 10_000;

/// What a change of traffic waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Step {
    /// The gateways have taken the route.
    Accepted,
    /// The pods that make the shares are there, and no others.
    Settled,
    /// The nodes lead to where the Endpoints say.
    Led,
}

/// Sets the shares; who is not named gets none.
///
/// # Errors
/// What Kubernetes says; [`basb_plugin::FailureCode::NotFound`] for a revision that is not there.
pub fn traffic(cluster: &Cluster<'_>, weights: &[(String, Weight)], state: Option<&str>) -> Result<Progress, Failure> {
    let units = to_units(weights, UNITS)?;
    let wanted: Vec<(String, Weight)> = units
        .into_iter()
        .filter(|(_, number)| *number > 0)
        .map(|(revision, number)| (revision, Weight::from_hundredths(number)))
        .collect();
    // What somebody did to their labels holds no way back up, as long as they are nobody else's.
    let view = cluster.view(Labels::PutBack)?;
    match view.way {
        Way::Routes(version) => by_route(cluster, version, &view, &wanted, state),
        Way::Pods(_) => by_pods(cluster, &view, &wanted, state),
    }
}

fn shown(wanted: &[(String, Weight)]) -> String {
    let each: Vec<String> = wanted.iter().map(|(revision, weight)| format!("{revision} {weight}")).collect();
    if each.is_empty() { "no traffic".to_owned() } else { format!("traffic: {}", each.join(", ")) }
}

fn by_route(
    cluster: &Cluster<'_>,
    version: RouteVersion,
    view: &View,
    wanted: &[(String, Weight)],
    state: Option<&str>,
) -> Result<Progress, Failure> {
    let mut backends: Vec<Backend> = Vec::new();
    for (revision, weight) in wanted {
        backends.push((cluster.backend(view, revision)?, u64::from(weight.hundredths())));
    }
    let backends = reduced(&backends);
    let kind = Kind::Route(version);
    if cluster.written.route.is_some() {
        let Some(route) = &view.route else { return Err(Failure::not_found("the route is gone")) };
        if !same_shares(&crate::route::backends(route), &backends) {
            cluster.api.merge(kind, route, cluster.foreign_route_change(route, &backends)?)?;
        }
    } else if !(backends.is_empty() && view.route.is_none()) {
        cluster.require_conditions()?;
        cluster.share_out(version, view.route.as_ref(), &backends)?;
    }
    lead_front(cluster, view, wanted)?;

    let Some(route) = cluster.users_route_there(kind, Labels::PutBack, &view.revisions)? else {
        return Ok(Progress::done(shown(wanted)));
    };
    let waiting = decode_state(state)?.unwrap_or_else(|| Waiting::begin(Step::Accepted, cluster.client().cx().now()));
    Ok(cluster.until_taken(&route, waiting)?.unwrap_or_else(|| Progress::done(shown(wanted))))
}

/// Whoever reaches users' Service from inside of the cluster gets the revision that has most.
fn lead_front(cluster: &Cluster<'_>, view: &View, wanted: &[(String, Weight)]) -> Result<(), Failure> {
    if cluster.written.service.is_some() || (wanted.is_empty() && view.front.is_none()) {
        return Ok(());
    }
    let most = wanted.iter().map(|(_, weight)| *weight).max();
    let first = wanted.iter().find(|(_, weight)| Some(*weight) == most).map(|(revision, _)| revision.as_str());
    match first {
        // It stays where it is: it cannot lead to what others made without being theirs.
        Some(revision) if is_adopted(revision) => Ok(()),
        Some(revision) => cluster.lead(view, Some(revision), &Map::new()).map(drop),
        None => cluster.lead(view, Some(names::NOBODY), &Map::new()).map(drop),
    }
}

fn by_pods(
    cluster: &Cluster<'_>,
    view: &View,
    wanted: &[(String, Weight)],
    state: Option<&str>,
) -> Result<Progress, Failure> {
    match wanted {
        [] => {
            if view.front.is_some() {
                cluster.lead(view, Some(names::NOBODY), &Map::new())?;
            }
            Ok(Progress::done("no traffic"))
        }
        [(revision, _)] if is_adopted(revision) => {
            let deployment = cluster.deployment(revision)?.ok_or_else(|| cluster.gone(revision))?;
            cluster.lead_elsewhere(view, &deployment)?;
            Ok(Progress::done(format!("traffic: {revision} 100 %")))
        }
        [(revision, _)] => {
            let seen = view.revision(revision).ok_or_else(|| cluster.gone(revision))?;
            let led = cluster.lead(view, Some(revision), &Map::new())?;
            // What was made smaller for its share of a split gets all of its pods back.
            let all = asked(&seen.deployment);
            if seen.deployment.replicas() != all {
                cluster.size(revision, all, all)?;
            }
            let name = names::of_revision(cluster.service, revision);
            let behind = cluster.behind_front(&[&name])?;
            // Where none can take requests, waiting would hold a way back up for nothing.
            if behind.stray || (behind.counts == [0] && seen.deployment.available() > 0) {
                return wait(cluster, state, "the cluster leads users' Service there");
            }
            led_there(cluster, led, state, format!("traffic: {revision} 100 %"))
        }
        _ => split(cluster, view, wanted, state),
    }
}

fn wait(cluster: &Cluster<'_>, state: Option<&str>, what: &str) -> Result<Progress, Failure> {
    // The nodes' time begins anew once the cluster leads there again.
    let known = decode_state(state)?.filter(|waiting: &Waiting<Step>| waiting.what != Step::Led);
    let waiting = known.unwrap_or_else(|| Waiting::begin(Step::Settled, cluster.client().cx().now()));
    Ok(waiting.again(cluster.client().jitter(), None, what))
}

/// Where users' Service leads, as the cluster has carried it out.
struct Behind {
    /// How many pods of each of the Deployments that were asked about.
    counts: Vec<u32>,
    /// Whether there is a pod of none of them.
    stray: bool,
}

/// Shares by pods: who needs more gets more first, then all stand behind users' Service, then who has too many loses some.
fn split(
    cluster: &Cluster<'_>,
    view: &View,
    wanted: &[(String, Weight)],
    state: Option<&str>,
) -> Result<Progress, Failure> {
    let mut sides: Vec<(&Seen, Wanted)> = Vec::new();
    for (revision, weight) in wanted {
        if is_adopted(revision) {
            return Err(Failure::invalid(format!(
                "{revision} is a Deployment that others made: its pods cannot stand behind one Service with ours, so it \
                 cannot have a share; give all of the traffic to one revision, or use a gateway"
            )));
        }
        let seen = view.revision(revision).ok_or_else(|| cluster.gone(revision))?;
        let most = asked(&seen.deployment);
        if most == 0 {
            return Err(Failure::conflict(format!("{revision} has no instances that could take a share")));
        }
        sides.push((seen, Wanted { revision: revision.clone(), weight: *weight, most }));
    }
    if let Some(other) = view.revisions.iter().find(|seen| {
        seen.deployment.present().max(seen.deployment.replicas()) > 0 && !wanted.iter().any(|(id, _)| *id == seen.id)
    }) {
        return Err(Failure::conflict(format!(
            "revision {} is to have no traffic and has pods: behind one Service with the others they would get some; remove \
             it, or make it have none",
            other.id
        ))
        .retry_after(std::time::Duration::from_secs(3)));
    }
    let plan: Vec<Wanted> = sides.iter().map(|(_, wanted)| wanted.clone()).collect();
    let counts = counts(&plan);
    let count = |side: &Wanted| counts.get(&side.revision).copied().unwrap_or(side.most);

    let mut growing = false;
    for (seen, side) in &sides {
        let count = count(side);
        let now = seen.deployment.replicas();
        if count > now {
            cluster.size(&side.revision, count, side.most)?;
        }
        growing |= count > now || seen.deployment.available() < count.min(now);
    }
    if growing {
        return wait(cluster, state, "the pods that make the shares come up");
    }
    let hundredths: BTreeMap<&str, u16> =
        wanted.iter().map(|(revision, weight)| (revision.as_str(), weight.hundredths())).collect();
    let mut annotations = Map::new();
    annotations.insert(names::WEIGHTS.into(), json!(json!(hundredths).to_string()));
    annotations.insert(names::COUNTS.into(), json!(json!(counts).to_string()));
    let led = cluster.lead(view, None, &annotations)?;
    let mut settled = true;
    for (seen, side) in &sides {
        let count = count(side);
        if count < seen.deployment.replicas() {
            cluster.size(&side.revision, count, side.most)?;
            settled = false;
        }
        settled &= seen.deployment.is_current() && seen.deployment.present() == count;
    }
    if !settled {
        return wait(cluster, state, "the pods that are too many for the shares end");
    }
    let of: Vec<String> = sides.iter().map(|(_, side)| names::of_revision(cluster.service, &side.revision)).collect();
    let behind = cluster.behind_front(&of.iter().map(String::as_str).collect::<Vec<_>>())?;
    let wanted_counts: Vec<u32> = sides.iter().map(|(_, side)| count(side)).collect();
    if behind.stray || behind.counts != wanted_counts {
        return wait(cluster, state, "the cluster leads users' Service there");
    }
    let achieved = achieved(&counts);
    let each: Vec<String> = wanted
        .iter()
        .map(|(revision, weight)| {
            let made = achieved.get(revision).copied().unwrap_or_default();
            let count = counts.get(revision).copied().unwrap_or(0);
            format!("{revision} {weight} (made by {}: {made})", crate::deploy::pods(count))
        })
        .collect();
    let progress = led_there(cluster, led, state, format!("traffic: {}", each.join(", ")))?;
    let nearest = wanted.iter().any(|(revision, weight)| achieved.get(revision) != Some(weight));
    if nearest && matches!(progress, Progress::Done(_)) {
        cluster.client().cx().log().warn(format!("pods make the nearest shares that they can: {}", each.join(", ")));
    }
    Ok(progress)
}

/// Done once the nodes lead there too, where something was changed: they tell nobody when they do.
fn led_there(cluster: &Cluster<'_>, led: Led, state: Option<&str>, said: String) -> Result<Progress, Failure> {
    let (now, propagation) = (cluster.client().cx().now(), cluster.config.propagation.0);
    let known: Option<Waiting<Step>> = decode_state(state)?;
    let waiting = match known {
        None if led == Led::AsBefore => return Ok(Progress::done(said)),
        Some(waiting) if waiting.what == Step::Led => waiting,
        _ => Waiting::begin(Step::Led, now),
    };
    if waiting.waited(now) >= propagation {
        return Ok(Progress::done(said));
    }
    Ok(waiting.again(cluster.client().jitter(), None, "the nodes lead users there"))
}

/// Whether users' Service led there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Led {
    /// It did.
    AsBefore,
    /// It does now.
    Anew,
}

impl Cluster<'_> {
    /// Writes users' route. The shares are always ours; what else of it another manager has set is taken only where the
    /// configuration says so.
    fn share_out(&self, version: RouteVersion, there: Option<&Object>, backends: &[Backend]) -> Result<(), Failure> {
        let (kind, name) = (Kind::Route(version), self.route_name());
        let body = self.users_route(version, backends);
        let refused = match self.api.apply(kind, &name, &body, self.writer(), Run::Real) {
            Ok(_) => return Ok(()),
            Err(refused) => refused,
        };
        let Some(there) = there.filter(|_| refused.code() == FIELD_CONFLICT) else { return Err(refused.into()) };
        let body = self.users_route_kept(version, there, backends);
        self.api.apply(kind, &name, &body, self.traffic_writer(), Run::Real)?;
        Ok(())
    }

    /// Where users' Service leads, of these Deployments. A Service is written at once; a controller carries it out.
    fn behind_front(&self, deployments: &[&str]) -> Result<Behind, Failure> {
        let found = self.api.get(Kind::Endpoints, &self.front_name())?.unwrap_or_default();
        let pods = found.pods_behind();
        let is_of =
            |pod: &str, deployment: &str| pod.strip_prefix(deployment).is_some_and(|rest| rest.starts_with('-'));
        let count = |deployment: &&str| pods.iter().filter(|pod| is_of(pod, deployment)).count();
        let counts = deployments.iter().map(|of| u32::try_from(count(of)).unwrap_or(u32::MAX)).collect();
        let stray = pods.iter().any(|pod| !deployments.iter().any(|deployment| is_of(pod, deployment)));
        Ok(Behind { counts, stray })
    }

    /// The Service that a route leads to for a revision.
    fn backend(&self, view: &View, revision: &str) -> Result<String, Failure> {
        if is_adopted(revision) {
            let there = view.adopted.iter().find(|one| one.id == revision).and_then(|one| one.service.clone());
            return match there {
                Some(service) => Ok(service),
                None => self.service_of_adopted(revision),
            };
        }
        view.revision(revision).map(|_| names::of_revision(self.service, revision)).ok_or_else(|| self.gone(revision))
    }

    /// The Service that leads to an adopted Deployment, where the route does not lead there any more.
    fn service_of_adopted(&self, revision: &str) -> Result<String, Failure> {
        let deployment = self.deployment(revision)?.ok_or_else(|| self.gone(revision))?;
        let labels = deployment.pod_labels();
        let all = self.api.list(Kind::Service, "")?;
        let found = all.into_iter().find(|service| {
            let selector = service.selector();
            names::owner_of(service).is_none()
                && !selector.is_empty()
                && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        });
        found.map(|service| service.metadata.name).ok_or_else(|| {
            Failure::not_found(format!(
                "no Service leads to the Deployment {} that was adopted",
                deployment.metadata.name
            ))
        })
    }

    /// Makes users' Service lead to one revision, or to all where none is named.
    fn lead(&self, view: &View, revision: Option<&str>, annotations: &Map<String, Value>) -> Result<Led, Failure> {
        let selector = names::selector(self.service, revision);
        let same = view.front.as_ref().is_some_and(|front| front.selector() == selector);
        let led = if same { Led::AsBefore } else { Led::Anew };
        if let (Some(_), Some(front)) = (&self.written.service, &view.front) {
            self.turn(front, &json!(selector), annotations)?;
            return Ok(led);
        }
        let body = users_service(self, &selector, annotations);
        let name = self.front_name();
        let apply = || self.api.apply(Kind::Service, &name, &body, self.traffic_writer(), Run::Real);
        let Err(refused) = apply() else { return Ok(led) };
        // A port that others renumbered is another port: it would stand beside ours with the same name, which no server takes.
        let (Some(front), Some(ports)) = (&view.front, body.pointer("/spec/ports")) else { return Err(refused.into()) };
        if refused.class() != Some(Class::Invalid) {
            return Err(refused.into());
        }
        self.api.merge(Kind::Service, front, json!({"spec": {"ports": ports}}))?;
        apply()?;
        Ok(led)
    }

    /// Makes users' Service lead to a Deployment that others made, as it did before.
    fn lead_elsewhere(&self, view: &View, deployment: &Object) -> Result<(), Failure> {
        match (&self.written.service, &view.front) {
            (Some(_), Some(front)) => self.turn(front, &json!(deployment.selector()), &Map::new()),
            _ => Err(Failure::invalid(format!(
                "{} is a Deployment that others made: users' Service can lead there only where the configuration names it \
                 (`services.{}.service`)",
                deployment.metadata.name, self.service.service
            ))),
        }
    }

    /// Changes where a Service that is not ours leads, and nothing else of it.
    fn turn(&self, front: &Object, selector: &Value, annotations: &Map<String, Value>) -> Result<(), Failure> {
        let wanted = selector.as_object().cloned().unwrap_or_default();
        let mut change: Map<String, Value> = wanted.clone();
        for key in front.selector().keys() {
            change.entry(key.clone()).or_insert(Value::Null);
        }
        let mut notes = annotations.clone();
        for key in [names::WEIGHTS, names::COUNTS] {
            if front.metadata.annotations.contains_key(key) {
                notes.entry(key.to_owned()).or_insert(Value::Null);
            }
        }
        let there: Map<String, Value> = front.selector().into_iter().map(|(key, value)| (key, value.into())).collect();
        let noted = notes.iter().all(|(key, value)| {
            front.metadata.annotations.get(key).map(String::as_str) == value.as_str() && !value.is_null()
        });
        if there == wanted && noted {
            return Ok(());
        }
        let mut body = json!({"spec": {"selector": change}});
        if !notes.is_empty() {
            set_at(&mut body, "metadata", "annotations", Value::Object(notes));
        }
        self.api.merge(Kind::Service, front, body)
    }
}
