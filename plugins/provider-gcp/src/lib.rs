//! Services on Google Cloud Run, by its Admin API v2.
//!
//! Each service of a deployment is a Cloud Run service, each revision a Cloud Run revision whose name this provider
//! chooses. Traffic is shared out in whole percents at named revisions, never at "the latest"; a tag gives each revision a
//! URL of its own. Every change carries the etag of what was read, and what goes on at Cloud Run is looked at again by a
//! later call. Requests leave without a token; the host adds it.
//!
//! What it must **never** do: change anything in `plan`, `read` or `instances` (a plan sends changes as `validateOnly`);
//! lead users to a revision that nobody released because it is the latest; overwrite what somebody else changed meanwhile;
//! touch a service that is not ours and that the configuration does not name; remove a revision that has traffic; take half
//! a list for a whole one.

mod api;
mod cloud;
mod config;
mod deploy;
mod names;
mod plan;
mod retire;
mod template;
#[cfg(test)]
mod tests;
mod traffic;
mod view;

use basb_plugin::provider::{
    Action, Desired, Info, InstanceReport, Observed, Progress, Provider, ProviderContext, ServicePlan,
};
use basb_plugin::{Failure, ServiceRef, Weight};

use cloud::Cloud;
pub use config::Config;
use config::Place;

/// The provider of Google Cloud.
#[derive(Debug)]
pub struct Gcp;

impl Provider for Gcp {
    type Config = Config;

    fn describe() -> Info {
        Info {
            abilities: ["split-traffic", "preview-url", "server-dry-run", "optimistic-lock"].map(Into::into).to_vec(),
            // Cloud Run has whole percents.
            weight_granularity: Weight::from_hundredths(100),
            extras: Vec::new(),
        }
    }

    fn plan(cx: &ProviderContext, config: &Config, desired: &Desired) -> Result<ServicePlan, Failure> {
        let service = &desired.service;
        let place = Place::of(config, service)?;
        plan::plan(&Cloud::new(config, &place, cx, &service.service, service), desired)
    }

    fn apply(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        action: &Action,
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        match action {
            Action::Deploy(desired) => {
                let place = Place::of(config, &desired.service)?;
                deploy::deploy(&Cloud::new(config, &place, cx, key, &desired.service), desired, key, state)
            }
            Action::Scale(scaling) => {
                let place = Place::of(config, &scaling.service)?;
                deploy::scale(&Cloud::new(config, &place, cx, key, &scaling.service), scaling, state)
            }
        }
    }

    fn read(cx: &ProviderContext, config: &Config, service: &ServiceRef) -> Result<Option<Observed>, Failure> {
        let place = Place::of(config, service)?;
        // As traffic sees it: what was set is read back.
        let view = Cloud::new(config, &place, cx, &service.service, service).led_view()?;
        Ok(view.and_then(|view| view.observed()))
    }

    fn traffic(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        service: &ServiceRef,
        weights: &[(String, Weight)],
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let place = Place::of(config, service)?;
        traffic::traffic(&Cloud::new(config, &place, cx, key, service), weights, state)
    }

    fn instances(
        cx: &ProviderContext,
        config: &Config,
        service: &ServiceRef,
        revision: &str,
    ) -> Result<InstanceReport, Failure> {
        let place = Place::of(config, service)?;
        let view = Cloud::new(config, &place, cx, revision, service).our_view()?;
        let missing =
            || Failure::not_found(format!("there is no Cloud Run service {}", place.name)).retry_after(view::A_MOMENT);
        view.ok_or_else(missing)?.instances(revision)
    }

    fn retire(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        service: &ServiceRef,
        revision: &str,
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let place = Place::of(config, service)?;
        retire::retire(&Cloud::new(config, &place, cx, key, service), revision, state)
    }

    fn cancel(_: &ProviderContext, _: &Config, _: &str, _: &str) -> Result<Progress, Failure> {
        // Operations of Cloud Run can be waited for, and not be cancelled.
        Ok(Progress::done("nothing to stop: Cloud Run finishes by itself what was begun"))
    }
}

basb_plugin::export!(Gcp as provider);
