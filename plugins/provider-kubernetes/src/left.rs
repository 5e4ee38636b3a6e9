//! A route of users' that is there although pods make the shares: `gateway` was taken out of the configuration, or the cluster
//! says for the moment that it has no Gateway API. Nothing changes that route then, and users may still come by it. So what it
//! leads to must not be taken away.

use basb_plugin::Failure;

use crate::api::{Object, RouteVersion};
use crate::cluster::{Cluster, Way, Why};
use crate::names;
use crate::route;
use crate::view::{Adopted, View, is_adopted};

/// Users' route, where nothing changes it any more.
pub struct LeftRoute {
    route: Object,
    why: Why,
    /// What others made and it leads to, where it is the one that the configuration names.
    adopted: Vec<Adopted>,
}

impl Cluster<'_> {
    /// Users' route, where pods make the shares and it leads somewhere.
    ///
    /// # Errors
    /// What the server says.
    pub fn left_route(&self, way: Way) -> Result<Option<LeftRoute>, Failure> {
        let Way::Pods(why) = way else { return Ok(None) };
        // By its name, whatever is told of the Gateway API: that may be what is wrong.
        let Some(route) = self.api.route_if_told(&self.route_name())? else { return Ok(None) };
        let is_users = self.written.route.is_some()
            || names::owner_of(&route).is_none_or(|owner| owner.is_of(self.service) && owner.revision.is_none());
        if !is_users {
            return Ok(None);
        }
        // Both versions of the API are the same route.
        let adopted = self.adopted(Way::Routes(RouteVersion::V1), None, Some(&route))?;
        Ok(Some(LeftRoute { route, why, adopted }))
    }

    /// That a release would take nothing away that such a route leads to.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Conflict`] where it leads to another revision than the one that is to be there.
    pub fn require_no_orphan(&self, view: &View, desired: &str) -> Result<(), Failure> {
        let Some(left) = self.left_route(view.way)? else { return Ok(()) };
        let ours = view.revisions.iter().map(|seen| seen.id.as_str());
        let led: Vec<&str> = ours
            .chain(left.adopted.iter().map(|one| one.id.as_str()))
            .filter(|revision| left.leads_to(self, revision))
            .collect();
        if let Some(other) = led.iter().find(|revision| **revision != desired) {
            return Err(left.refusal(self, other));
        }
        if !led.is_empty() {
            self.client().cx().log().warn(left.said(self, desired));
        }
        Ok(())
    }
}

impl LeftRoute {
    /// Whether it sends requests to a revision.
    pub fn leads_to(&self, cluster: &Cluster<'_>, revision: &str) -> bool {
        if is_adopted(revision) {
            return self.adopted.iter().any(|one| one.id == revision);
        }
        let name = names::of_revision(cluster.service, revision);
        route::all_backends(&self.route).iter().any(|(service, weight)| *service == name && *weight > 0)
    }

    /// The failure for whoever would take away what it leads to.
    pub fn refusal(&self, cluster: &Cluster<'_>, revision: &str) -> Failure {
        let failure = Failure::conflict(self.said(cluster, revision)).at("/gateway");
        match self.why {
            Why::Configured => failure,
            // It may be on its way up.
            Why::NoGatewayApi => failure.retry_after(std::time::Duration::from_secs(5)),
        }
    }

    fn said(&self, cluster: &Cluster<'_>, revision: &str) -> String {
        let (name, namespace, service) =
            (&self.route.metadata.name, &cluster.config.namespace, &cluster.service.service);
        let (why, back) = match self.why {
            Why::Configured => ("the configuration names no `gateway` for it", "put `gateway` back"),
            Why::NoGatewayApi => {
                ("the cluster says that it has no Gateway API", "have the Gateway API (gateway.networking.k8s.io) back")
            }
        };
        let end = match &cluster.written.route {
            Some(_) => "have that route lead elsewhere".to_owned(),
            None => format!("delete it (`kubectl delete httproute {name} --namespace {namespace}`)"),
        };
        format!(
            "the HTTPRoute {name} in the namespace {namespace} still leads users of {service} to revision {revision}, and \
             nothing changes it here, since {why}: without that revision they would get errors. Either {end} once users come \
             by the Service {}, or {back}",
            cluster.front_name()
        )
    }
}
