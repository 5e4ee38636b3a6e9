//! Services on Azure Container Apps: one app for each service, and revisions of it for the service's revisions.
//!
//! Requests go to Azure Resource Manager and leave without credentials; the host adds the token, so this plugin holds no
//! secret. Changes are operations that go on at Azure: a call begins one, leaves where to look, and a later call looks.
//! Before each change the app is read, and what is there already is not made again.
//!
//! A revision of the app cannot be changed, its size included. So its name has a digest of its content, and another size
//! is another revision of the app that takes the first one's place.
//!
//! What it must **never** do: change anything in `plan`, `read` or `instances`; let a new revision have requests by being
//! new (`latestRevision`); touch an app that is neither ours nor named by the configuration; deactivate a revision that
//! has traffic; take half a list for a whole one.

mod api;
mod apps;
mod config;
mod deploy;
mod instances;
mod names;
mod plan;
mod retire;
mod settings;
mod surplus;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod traffic;
mod view;

use basb_plugin::provider::{
    Action, Desired, Info, InstanceReport, Observed, Progress, Provider, ProviderContext, ServicePlan,
};
use basb_plugin::{Failure, ServiceRef, Weight};

use apps::Apps;
pub use config::Config;

/// The provider of Azure.
#[derive(Debug)]
pub struct Azure;

impl Provider for Azure {
    type Config = Config;

    fn describe() -> Info {
        Info {
            abilities: vec!["split-traffic".into(), "preview-url".into()],
            // Container Apps' weights are whole percents.
            weight_granularity: Weight::from_hundredths(100),
            extras: Vec::new(),
        }
    }

    fn plan(cx: &ProviderContext, config: &Config, desired: &Desired) -> Result<ServicePlan, Failure> {
        let service = &desired.service;
        let id = apps::id(config, service);
        plan::plan(&Apps::new(config, &id, cx, &service.service, service)?, desired)
    }

    fn apply(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        action: &Action,
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let service = match action {
            Action::Deploy(desired) => &desired.service,
            Action::Scale(scaling) => &scaling.service,
        };
        let id = apps::id(config, service);
        Apps::new(config, &id, cx, key, service)?.apply(action, state)
    }

    fn read(cx: &ProviderContext, config: &Config, service: &ServiceRef) -> Result<Option<Observed>, Failure> {
        let id = apps::id(config, service);
        // As traffic sees it: what was set is read back.
        let apps = Apps::new(config, &id, cx, &service.service, service)?.leading();
        match apps.view()? {
            Some(view) => view.observed(&apps),
            None => Ok(None),
        }
    }

    fn traffic(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        service: &ServiceRef,
        weights: &[(String, Weight)],
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let id = apps::id(config, service);
        traffic::traffic(&Apps::new(config, &id, cx, key, service)?.leading(), weights, state)
    }

    fn instances(
        cx: &ProviderContext,
        config: &Config,
        service: &ServiceRef,
        revision: &str,
    ) -> Result<InstanceReport, Failure> {
        let id = apps::id(config, service);
        instances::instances(&Apps::new(config, &id, cx, revision, service)?, revision)
    }

    fn retire(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        service: &ServiceRef,
        revision: &str,
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let id = apps::id(config, service);
        retire::retire(&Apps::new(config, &id, cx, key, service)?, revision, state)
    }

    fn cancel(_: &ProviderContext, _: &Config, _: &str, _: &str) -> Result<Progress, Failure> {
        // An operation of Resource Manager cannot be stopped once it was accepted.
        Ok(Progress::done("nothing to stop: Azure finishes by itself what was begun"))
    }
}

basb_plugin::export!(Azure as provider);
