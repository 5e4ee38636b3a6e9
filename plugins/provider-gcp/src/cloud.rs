//! One service of a deployment on Cloud Run, for one call: reading it, changing it only while it is as it was read, and
//! waiting for what goes on there.

use std::time::Duration;

use basb_cloud_kit::{Class, Client, Refused, Waiting, decode_state};
use basb_plugin::provider::{Progress, ProviderContext};
use basb_plugin::{Failure, ServiceRef};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::{Operation, Revision, Run, RunApi, Service, class_of_number, short};
use crate::config::{Config, Place};
use crate::view::View;

/// So often a change is made anew from what is there, where somebody else was faster.
const MOST_CONFLICTS: u32 = 3;

/// So often a list of revisions is read that lacks what the service names.
const MOST_LISTS: u32 = 3;

/// Whether every revision that a service names is on the list.
fn names_only(service: &Service, revisions: &[Revision]) -> bool {
    let led = service.traffic.iter().map(|target| target.revision.as_str());
    let named = led.chain([service.latest_created_revision.as_str()]).filter(|name| !name.is_empty()).map(short);
    named.into_iter().all(|name| revisions.iter().any(|revision| short(&revision.name) == name))
}

/// One service, for one call.
pub struct Cloud<'a> {
    pub config: &'a Config,
    pub place: &'a Place,
    pub service: &'a ServiceRef,
    pub api: RunApi<'a>,
}

/// What a later call needs to know: the operation that it looks at, and of which revision it is, where it is of one.
/// Everything else is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    operation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removes: Option<String>,
}

/// What became of the operation that a call goes on from.
pub enum Settled {
    /// There is none, it has ended, or nobody knows it any more: what is there tells the rest.
    Over,
    /// It is said to have come to nothing: also of a change that was made, where something else of the service is not well.
    /// What is there tells.
    Failed(Failure),
    /// It goes on.
    Still,
}

/// A change of a service.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The fields that change.
    pub mask: Vec<&'static str>,
    /// Their values.
    pub body: Map<String, Value>,
}

impl Change {
    /// One more field.
    pub fn set(&mut self, field: &'static str, value: Value) {
        self.mask.push(field);
        self.body.insert(field.to_owned(), value);
    }
}

impl<'a> Cloud<'a> {
    /// For a call.
    pub fn new(
        config: &'a Config,
        place: &'a Place,
        cx: &'a ProviderContext,
        key: &str,
        service: &'a ServiceRef,
    ) -> Cloud<'a> {
        let api = RunApi::new(Client::new(cx, key), &place.root, &place.parent, &place.name);
        Cloud { config, place, service, api }
    }

    /// What is there, if it is.
    pub fn view(&self) -> Result<Option<View<'a>>, Failure> {
        let Some(service) = self.api.service()? else { return Ok(None) };
        let mut revisions = self.api.revisions()?;
        // A list may be of a moment ago: what the service names has to be on it.
        for _ in 1..MOST_LISTS {
            if names_only(&service, &revisions) {
                break;
            }
            revisions = self.api.revisions()?;
        }
        Ok(Some(View::new(self.place, self.service, service, revisions)))
    }

    /// What is there, if it is ours to change.
    ///
    /// # Errors
    /// As [`View::check_owner`].
    pub fn our_view(&self) -> Result<Option<View<'a>>, Failure> {
        let view = self.view()?;
        if let Some(view) = &view {
            view.check_owner()?;
        }
        Ok(view)
    }

    /// What is there, if users may be led to other revisions of it: the way back is not held up by who changed labels.
    /// Where they are missing and nobody else's, a revision of ours in it tells that it is ours.
    ///
    /// # Errors
    /// As [`View::check_owner`].
    pub fn led_view(&self) -> Result<Option<View<'a>>, Failure> {
        let view = self.view()?;
        if let Some(view) = &view
            && let Err(refused) = view.check_owner()
        {
            if !view.has_lost_labels() {
                return Err(refused);
            }
            let log = self.api.client().cx().log();
            log.warn(format!("{}. Its traffic is read and set all the same", refused.message));
        }
        Ok(view)
    }

    /// What a call goes on from.
    ///
    /// # Errors
    /// As [`decode_state`].
    pub fn waiting(&self, state: Option<&str>) -> Result<Waiting<Step>, Failure> {
        Ok(decode_state(state)?.unwrap_or_else(|| Waiting::begin(Step::default(), self.api.client().cx().now())))
    }

    /// Looks at the operation.
    pub fn settle(&self, waiting: &mut Waiting<Step>) -> Result<Settled, Failure> {
        let Some(name) = waiting.what.operation.clone() else { return Ok(Settled::Over) };
        let Some(operation) = self.api.operation(&name)? else {
            waiting.what.operation = None;
            return Ok(Settled::Over);
        };
        if !operation.done {
            return Ok(Settled::Still);
        }
        waiting.what.operation = None;
        Ok(operation.error.map_or(Settled::Over, |error| {
            let class = class_of_number(error.code);
            let message = format!("Cloud Run: {} (code {}, operation {name})", error.message, error.code);
            Settled::Failed(class.failure(message, self.api.client().jitter(), None))
        }))
    }

    /// Goes on waiting.
    pub fn again(&self, waiting: Waiting<Step>, note: impl Into<String>) -> Progress {
        waiting.again(self.api.client().jitter(), None::<Duration>, note)
    }

    /// Waits for an operation that has begun.
    pub fn follow(&self, mut waiting: Waiting<Step>, operation: Operation, note: impl Into<String>) -> Progress {
        // The first look comes soon, however long the call has waited before.
        waiting.looks = 0;
        waiting.what.operation = Some(operation.name).filter(|name| !name.is_empty());
        self.again(waiting, note)
    }

    /// Changes the service as `change` wants it, from what is there; nothing where that is nothing. Where somebody else
    /// was faster, what is there is read again.
    ///
    /// # Errors
    /// What Cloud Run says; what `change` says.
    pub fn change(
        &self,
        first: View<'a>,
        change: impl FnMut(&View<'a>) -> Result<Option<Change>, Failure>,
    ) -> Result<Option<Operation>, Failure> {
        self.change_what(Self::our_view, first, change)
    }

    /// Changes who is led where, of what [`Cloud::led_view`] has seen.
    ///
    /// # Errors
    /// As [`Cloud::change`].
    pub fn lead(
        &self,
        first: View<'a>,
        change: impl FnMut(&View<'a>) -> Result<Option<Change>, Failure>,
    ) -> Result<Option<Operation>, Failure> {
        self.change_what(Self::led_view, first, change)
    }

    fn change_what(
        &self,
        read: impl Fn(&Self) -> Result<Option<View<'a>>, Failure>,
        first: View<'a>,
        mut change: impl FnMut(&View<'a>) -> Result<Option<Change>, Failure>,
    ) -> Result<Option<Operation>, Failure> {
        let mut view = first;
        let mut conflicts = 0;
        loop {
            let Some(wanted) = change(&view)? else { return Ok(None) };
            match self.send(&view, &wanted, Run::ForReal) {
                Ok(operation) => return Ok(Some(operation)),
                Err(refused) if refused.code() == "ABORTED" && conflicts < MOST_CONFLICTS => {
                    conflicts += 1;
                    view = read(self)?.ok_or_else(|| Failure::from(refused))?;
                }
                Err(refused) => return Err(refused.into()),
            }
        }
    }

    /// Sends a change of what was read.
    pub fn send(&self, view: &View<'_>, change: &Change, run: Run) -> Result<Operation, Refused> {
        let mut body = change.body.clone();
        body.insert("etag".into(), view.service.etag.clone().into());
        self.api.patch(&change.mask, &Value::Object(body), run)
    }

    /// Removes a revision; `None` where it is gone, or Cloud Run does not let it go.
    ///
    /// # Errors
    /// What else Cloud Run says.
    pub fn remove(&self, name: &str) -> Result<Option<Operation>, Failure> {
        match self.api.delete_revision(name) {
            Ok(operation) => Ok(Some(operation)),
            Err(refused) if matches!(refused.class(), Some(Class::NotFound | Class::Conflict)) => Ok(None),
            Err(refused) => Err(refused.into()),
        }
    }
}
