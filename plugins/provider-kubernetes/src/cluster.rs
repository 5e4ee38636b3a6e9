//! One service of a deployment in a cluster, for the length of a call.

use basb_cloud_kit::Client;
use basb_plugin::provider::ProviderContext;
use basb_plugin::{Failure, ServiceRef};

use crate::api::{Api, Force, Kind, RouteVersion, Writer};
use crate::config::{self, Config, Conflicts, Preview, TrafficBy};
use crate::names;

/// What makes the shares of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The weights of a route.
    Routes(RouteVersion),
    /// The numbers of pods behind one Service.
    Pods(Why),
}

/// Why pods make the shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The configuration says so.
    Configured,
    /// The cluster has no Gateway API.
    NoGatewayApi,
}

impl Way {
    /// In a few words, for people.
    pub fn words(self) -> &'static str {
        match self {
            Way::Routes(_) => "by the weights of an HTTPRoute",
            Way::Pods(Why::Configured) => "by the numbers of pods",
            Way::Pods(Why::NoGatewayApi) => "by the numbers of pods, since the cluster has no Gateway API",
        }
    }
}

/// One service of a deployment.
pub struct Cluster<'a> {
    pub config: &'a Config,
    pub api: Api<'a>,
    pub service: &'a ServiceRef,
    pub written: config::Service,
}

impl<'a> Cluster<'a> {
    /// For a call.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Invalid`] for what the schema cannot refuse.
    pub fn new(
        config: &'a Config,
        cx: &'a ProviderContext,
        key: &str,
        service: &'a ServiceRef,
    ) -> Result<Cluster<'a>, Failure> {
        config.check()?;
        let api = Api::new(Client::new(cx, key), &config.server, &config.namespace);
        Ok(Cluster { config, api, service, written: config.service(&service.service) })
    }

    /// The requests' client.
    pub fn client(&self) -> Client<'a> {
        self.api.client()
    }

    /// What makes the shares: as configured, and as the cluster is.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::NotFound`] where routes are wanted and the cluster has no Gateway API.
    pub fn way(&self) -> Result<Way, Failure> {
        let wanted = self.config.traffic;
        if wanted == TrafficBy::Replicas || self.config.gateway.is_none() {
            return Ok(Way::Pods(Why::Configured));
        }
        match self.api.gateway_version()? {
            Some(version) => Ok(Way::Routes(version)),
            None if wanted == TrafficBy::Auto => Ok(Way::Pods(Why::NoGatewayApi)),
            None => Err(Failure::not_found(
                "the cluster has no Gateway API (gateway.networking.k8s.io, v1 or v1beta1): install it, or write `traffic: \
                 replicas`",
            )
            .at("/traffic")),
        }
    }

    /// Who writes what is not the number of instances or the traffic.
    pub fn writer(&self) -> Writer {
        let force = if self.config.conflicts == Conflicts::Take { Force::Yes } else { Force::No };
        Writer { manager: names::MANAGER, force }
    }

    /// Who writes the traffic: a way back is not held up by whoever has changed a selector or a weight.
    pub fn traffic_writer(&self) -> Writer {
        Writer { manager: names::MANAGER, force: Force::Yes }
    }

    /// Who writes the number of instances.
    pub fn scaler(&self) -> Writer {
        Writer { manager: names::SCALER, force: Force::Yes }
    }

    /// What users' Service is called.
    pub fn front_name(&self) -> String {
        self.written.service.clone().unwrap_or_else(|| names::of_service(self.service))
    }

    /// What users' route is called.
    pub fn route_name(&self) -> String {
        self.written.route.clone().unwrap_or_else(|| names::of_service(self.service))
    }

    /// A pattern with this service's and a revision's words in it.
    pub fn filled(&self, pattern: &str, revision: &str) -> String {
        pattern
            .replace("{revision}", revision)
            .replace("{name}", &names::of_revision(self.service, revision))
            .replace("{namespace}", &self.config.namespace)
            .replace("{service}", &self.service.service)
            .replace("{environment}", &self.service.environment)
            .replace("{deployment}", &self.service.deployment)
    }

    /// Where a revision alone is reached.
    pub fn preview_url(&self, way: Way, revision: &str) -> Option<String> {
        let preview = self.config.preview.as_ref();
        let written = self.written.preview_url.as_ref().or(preview.and_then(|preview| preview.url.as_ref()));
        let by_host = preview.and_then(|Preview { host, .. }| host.as_ref());
        let url = match (by_host, way) {
            (Some(_), Way::Pods(_)) => None,
            (Some(host), Way::Routes(_)) => Some(written.cloned().unwrap_or_else(|| format!("https://{host}"))),
            (None, _) => written.cloned(),
        };
        url.map(|url| self.filled(&url, revision))
    }

    /// The failure for a revision that is not there.
    pub fn gone(&self, revision: &str) -> Failure {
        Failure::not_found(format!(
            "{} has no revision {revision} in the namespace {}",
            self.service.service, self.config.namespace
        ))
    }

    /// Kind and API version of a thing with this name and these labels.
    pub fn head(&self, kind: Kind, name: &str, labels: serde_json::Value) -> serde_json::Value {
        serde_json::json!({
            "apiVersion": kind.api_version(),
            "kind": kind.word(),
            "metadata": {"name": name, "namespace": self.config.namespace, "labels": labels},
        })
    }
}
