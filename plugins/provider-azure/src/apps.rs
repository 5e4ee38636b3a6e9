//! One service of a deployment: its container app, and the calls about it.

use basb_cloud_kit::{ApiError, Class, Client, Owner, Waiting, decode_state};
use basb_plugin::http::Response;
use basb_plugin::provider::{Action, Progress, ProviderContext};
use basb_plugin::{Failure, ServiceRef};
use serde::{Deserialize, Serialize};

use crate::api::apps::AppsApi;
use crate::api::model::{App, Revision};
use crate::api::operation::{Look, Operation};
use crate::config::{self, Config};
use crate::view::{Standing, View};
use crate::{deploy, names};

/// So often something is read until it fits together.
const MOST_READS: u32 = 4;

/// The resource id of an app.
pub fn id(config: &Config, service: &ServiceRef) -> String {
    format!("{}/providers/Microsoft.App/containerApps/{}", config.group_id(), names::app(config, service))
}

/// One service.
pub struct Apps<'a> {
    pub config: &'a Config,
    pub api: AppsApi<'a>,
    pub service: &'a ServiceRef,
    pub written: config::Service,
    /// The app's name.
    pub name: String,
    /// Whether the call only leads users, or looks who is led where.
    leads: bool,
}

/// What a call leaves for the call after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The operation that is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The revision, or the table, that was sent: what came of it is compared with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
}

impl<'a> Apps<'a> {
    /// For a call. `id` is [`id`] of the same service.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Invalid`] for a configuration that cannot be.
    pub fn new(
        config: &'a Config,
        id: &'a str,
        cx: &'a ProviderContext,
        key: &'a str,
        service: &'a ServiceRef,
    ) -> Result<Apps<'a>, Failure> {
        config.check()?;
        let api = AppsApi::new(Client::new(cx, key), config.endpoint(), id, key);
        let written = config.service(&service.service);
        Ok(Apps { config, api, service, written, name: names::app(config, service), leads: false })
    }

    /// For a call that only leads users, or looks who is led where: the way back is not held up by who replaced the tags of
    /// the app. Where they are missing and nobody else's, a revision of ours in it tells that it is ours.
    #[must_use]
    pub fn leading(self) -> Apps<'a> {
        Apps { leads: true, ..self }
    }

    /// Does something.
    ///
    /// # Errors
    /// What Azure says, or what cannot be made.
    pub fn apply(&self, action: &Action, state: Option<&str>) -> Result<Progress, Failure> {
        match action {
            Action::Deploy(desired) => deploy::deploy(self, desired, state),
            Action::Scale(scaling) => deploy::scale(self, &scaling.revision, scaling.replicas, state),
        }
    }

    /// What is there; `None` where the app is not.
    ///
    /// App and revisions are two answers, and either may be of a moment ago: what does not fit together is read again.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Conflict`] for an app that is not ours and that the configuration does not name.
    pub fn view(&self) -> Result<Option<View>, Failure> {
        let mut seen = self.look()?;
        for _ in 1..MOST_READS {
            if seen.as_ref().is_some_and(View::fits_together) {
                break;
            }
            let again = self.look()?;
            let is_same = seen.is_none() && again.is_none();
            seen = again;
            if is_same {
                break;
            }
        }
        Ok(seen)
    }

    /// What is there, for whoever changes it: read until two looks agree, so that nothing is decided by an answer of a
    /// moment ago. A table is replaced whole, and an old one would take back what was set since.
    ///
    /// # Errors
    /// As [`Apps::view`]; a failure that passes where no two looks agree.
    pub fn settled_view(&self) -> Result<Option<View>, Failure> {
        let mut seen = self.view()?;
        for _ in 1..MOST_READS {
            let again = self.view()?;
            let agree = match (&seen, &again) {
                (None, None) => true,
                (Some(one), Some(other)) => one.is_same(other),
                _ => false,
            };
            if agree {
                return Ok(again);
            }
            seen = again;
        }
        let message = format!("the container app {} changes while it is looked at", self.name);
        Err(Class::Busy.failure(message, self.api.client().jitter(), None))
    }

    fn look(&self) -> Result<Option<View>, Failure> {
        let Some(app) = self.api.app()? else { return Ok(None) };
        let tags = app.tags.clone().unwrap_or_default();
        let owner = names::owner(&tags);
        let standing = match (owner, &self.written.app) {
            (Some(owner), _) if owner.is_of(self.service) => Standing::Ours,
            (Some(owner), _) => {
                let of = owner.service;
                return Err(Failure::conflict(format!(
                    "the container app {} belongs to service {} of {}/{}, by its tags: it is left alone",
                    self.name, of.service, of.deployment, of.environment
                )));
            }
            (None, Some(_)) => Standing::Adopted,
            (None, None) => {
                let revisions = self.api.revisions()?;
                let is_of_service = |revision: &_| names::is_of_service(&self.name, self.service, revision);
                if !names::is_of_others(&tags, self.service) && revisions.iter().any(is_of_service) {
                    return self.untagged(app, revisions).map(Some);
                }
                return Err(Failure::conflict(format!(
                    "the container app {} is there and was not made by basb-host: it is left alone. To adopt it, write \
                     `services: {{ {}: {{ app: {} }} }}` into the provider's configuration, then `basb-host import`",
                    self.name, self.service.service, self.name
                )));
            }
        };
        Ok(Some(View::new(app, standing, self.api.revisions()?)))
    }

    fn untagged(&self, app: App, revisions: Vec<Revision>) -> Result<View, Failure> {
        if self.leads {
            return Ok(View::new(app, Standing::Untagged, revisions));
        }
        let ours = Owner::of_service(self.service).tags(names::TAGS);
        let ours: Vec<String> = ours.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Err(Failure::conflict(format!(
            "the container app {} has revisions of {} and not its tags, so it is left as it is: somebody else changed them. \
             Put them back: {}",
            self.name,
            self.service.service,
            ours.join(", ")
        )))
    }

    /// What the call before this one left.
    ///
    /// # Errors
    /// As [`decode_state`].
    pub fn waiting(&self, state: Option<&str>) -> Result<Waiting<Work>, Failure> {
        let now = self.api.client().cx().now();
        Ok(decode_state(state)?.unwrap_or_else(|| Waiting::begin(Work::default(), now)))
    }

    /// Looks at the operation that is waited for: how far it has come, or nothing where it is over or cannot be told.
    ///
    /// # Errors
    /// How it failed.
    pub fn unfinished(&self, waiting: &Waiting<Work>) -> Result<Option<Progress>, Failure> {
        let Some(operation) = &waiting.what.operation else { return Ok(None) };
        match operation.look(&self.api)? {
            Look::Running(asked) => {
                let note = format!("container app {}: {} goes on", self.name, operation.doing());
                Ok(Some(waiting.clone().again(self.api.client().jitter(), asked, note)))
            }
            Look::Done | Look::Lost => Ok(None),
        }
    }

    /// Waits without an operation: for a change of somebody else, or for what is not seen yet.
    pub fn look_again(&self, waiting: &Waiting<Work>, note: &str) -> Progress {
        let what = Work { operation: None, ..waiting.what.clone() };
        let waiting = Waiting { what, ..waiting.clone() };
        waiting.again(self.api.client().jitter(), None, format!("container app {}: {note}", self.name))
    }

    /// Waits for what an answer has begun.
    pub fn begun(&self, waiting: &Waiting<Work>, answer: &Response, doing: &str, sent: Option<String>) -> Progress {
        let client = self.api.client();
        let asked = ApiError::of(answer, client.cx().now()).retry_after;
        let what = Work { operation: Operation::of(answer, doing), sent };
        let waiting = Waiting { what, since: waiting.since, looks: 0 };
        waiting.again(client.jitter(), asked, format!("container app {}: {doing}", self.name))
    }

    /// The failure for a revision that is not there.
    pub fn gone(&self, revision: &str) -> Failure {
        Failure::not_found(format!("the container app {} has no active revision for {revision}", self.name))
    }
}
