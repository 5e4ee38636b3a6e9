//! Operations that go on after their request was answered.
//!
//! An answer names where to look (`Azure-AsyncOperation`, which says how it ended; else `Location`). A later call looks
//! there once and comes back, so a run that was cut off goes on where it was. Where the place is gone, nobody can tell
//! how the operation ended: then the resource itself is read.

use std::time::Duration;

use basb_cloud_kit::{ApiError, Class, Dialect};
use basb_plugin::Failure;
use basb_plugin::http::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::apps::AppsApi;
use super::{Arm, said};

/// An operation under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Where to look.
    url: String,
    /// What it does, in words.
    doing: String,
}

/// How far an operation has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It goes on; the time after which Azure wants to be asked again.
    Running(Option<Duration>),
    /// It is over.
    Done,
    /// Nobody knows any more.
    Lost,
}

impl Operation {
    /// The operation that an answer names, if it does.
    pub fn of(response: &Response, doing: &str) -> Option<Operation> {
        let place = ["azure-asyncoperation", "location"].into_iter().find_map(|name| response.header(name))?;
        Some(Operation { url: place.to_owned(), doing: doing.to_owned() })
    }

    /// What it does, in words.
    pub fn doing(&self) -> &str {
        &self.doing
    }

    /// Looks.
    ///
    /// # Errors
    /// How the operation failed, in Azure's words; and where Azure cannot be asked.
    pub fn look(&self, api: &AppsApi<'_>) -> Result<Look, Failure> {
        // A place elsewhere would be asked without a grant and without credentials: the app itself tells as well.
        if !api.is_at_endpoint(&self.url) {
            return Ok(Look::Lost);
        }
        let response = match api.get_raw(&format!("{} (its operation)", self.doing), &self.url) {
            Ok(response) => response,
            Err(refused) if refused.class() == Some(Class::NotFound) => return Ok(Look::Lost),
            Err(refused) => return Err(refused.into()),
        };
        let now = api.client().cx().now();
        let asked = ApiError::of(&response, now).retry_after;
        let body: Value = if response.body.is_empty() {
            Value::Null
        } else {
            let unreadable = |why: String| Failure::from(api.unreadable(&self.doing, &response, &why));
            serde_json::from_slice(&response.body).map_err(|error| unreadable(error.to_string()))?
        };
        match body.get("status").and_then(Value::as_str) {
            Some("Succeeded") => Ok(Look::Done),
            Some("Failed" | "Canceled" | "Cancelled") => Err(self.failed(api, &response, &body)),
            Some(_) => Ok(Look::Running(asked)),
            None if response.status == 202 => Ok(Look::Running(asked)),
            None => Ok(Look::Done),
        }
    }

    fn failed(&self, api: &AppsApi<'_>, response: &Response, body: &Value) -> Failure {
        let client = api.client();
        let mut error = Arm::error(response, client.cx().now());
        let (code, message) = said(body.get("error").unwrap_or(&Value::Null));
        let status = body.get("status").and_then(Value::as_str).unwrap_or_default();
        error.code = code;
        error.message = if message.is_empty() { format!("the operation ended as {status}") } else { message };
        error.retry_after = None;
        // It is over, and looking again says the same: never repeated, whatever its code.
        let class = match Arm::class(&error) {
            Some(class @ (Class::Denied | Class::Invalid | Class::Conflict | Class::NotFound)) => class,
            _ => Class::Unhealthy,
        };
        error.failure(&self.doing, class, client.jitter()).never_retry()
    }
}
