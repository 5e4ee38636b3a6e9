//! A provider that has nothing, whose plan says that it cannot be undone, and whose deployments fail: for tests of what a
//! plan and a way back say.
//!
//! **Must never** change anything.

use basb_plugin::provider::{
    Action, ActionKind, Desired, Info, InstanceReport, Observed, PlannedAction, Progress, Provider, ProviderContext,
    ServicePlan,
};
use basb_plugin::{Failure, ServiceRef, Weight};
use serde::Deserialize;

/// The provider.
#[derive(Debug)]
pub struct Cautious;

/// Its configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// What its plan says cannot be undone.
    pub lost: String,
}

impl Provider for Cautious {
    type Config = Config;

    fn describe() -> Info {
        Info {
            abilities: vec!["split-traffic".into()],
            weight_granularity: Weight::from_hundredths(1),
            extras: Vec::new(),
        }
    }

    fn plan(_cx: &ProviderContext, config: &Config, desired: &Desired) -> Result<ServicePlan, Failure> {
        let action =
            |kind, summary: String, irreversible| PlannedAction { kind, summary, changes: Vec::new(), irreversible };
        let actions = vec![
            action(
                ActionKind::Replace,
                format!("the volume of {}", desired.service.service),
                Some(config.lost.clone()),
            ),
            action(ActionKind::Create, format!("revision {}", desired.revision), None),
        ];
        Ok(ServicePlan { observed: None, actions })
    }

    fn apply(
        _cx: &ProviderContext,
        _config: &Config,
        _key: &str,
        _action: &Action,
        _state: Option<&str>,
    ) -> Result<Progress, Failure> {
        Err(Failure::other("this cloud makes nothing"))
    }

    fn read(_cx: &ProviderContext, _config: &Config, _service: &ServiceRef) -> Result<Option<Observed>, Failure> {
        Ok(None)
    }

    fn traffic(
        _cx: &ProviderContext,
        _config: &Config,
        _key: &str,
        _service: &ServiceRef,
        _weights: &[(String, Weight)],
        _state: Option<&str>,
    ) -> Result<Progress, Failure> {
        Ok(Progress::done("there is no traffic"))
    }

    fn instances(
        _cx: &ProviderContext,
        _config: &Config,
        _service: &ServiceRef,
        revision: &str,
    ) -> Result<InstanceReport, Failure> {
        Err(Failure::not_found(format!("there is no revision `{revision}`")))
    }

    fn retire(
        _cx: &ProviderContext,
        _config: &Config,
        _key: &str,
        _service: &ServiceRef,
        _revision: &str,
        _state: Option<&str>,
    ) -> Result<Progress, Failure> {
        Ok(Progress::done("there was nothing"))
    }

    fn cancel(_cx: &ProviderContext, _config: &Config, _key: &str, _state: &str) -> Result<Progress, Failure> {
        Ok(Progress::done("there is nothing to stop"))
    }
}

basb_plugin::export!(Cautious as provider);
