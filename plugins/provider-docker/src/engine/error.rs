//! What the engine's errors mean to basb-host.

use basb_cloud_kit::{ApiError, Class, Jitter};
use basb_plugin::Failure;
use basb_plugin::http::{HttpError, Response};
use basb_plugin::provider::ProviderContext;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The body of an answer that reports an error.
#[derive(Debug, Deserialize)]
struct ErrorBody {
    message: String,
}

/// Makes failures of one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failures<'a> {
    cx: &'a ProviderContext,
    jitter: Jitter,
}

impl<'a> Failures<'a> {
    /// Of a call; calls about different things come back at different times.
    pub(super) fn of(cx: &'a ProviderContext, about: &str) -> Failures<'a> {
        Failures { cx, jitter: Jitter::of(about, cx.now().as_millis()) }
    }

    /// What a request came to that was not answered.
    pub(super) fn unreachable(&self, doing: &str, error: &HttpError) -> Failure {
        match error {
            HttpError::Connect(said) => Class::Unavailable.failure(
                format!(
                    "{doing}: the container engine does not answer: is it running, and is `at` of its grant the path of its \
                     socket? ({said})"
                ),
                self.jitter,
                None,
            ),
            HttpError::TimedOut(_) | HttpError::Broken(_) => {
                Class::InDoubt.failure(format!("{doing}: {error}"), self.jitter, None)
            }
            _ => Failure::from(error.clone()).context(doing),
        }
    }

    /// The answer's JSON. One that cannot be read did not arrive whole: nobody knows what it would have said.
    ///
    /// # Errors
    /// [`Class::InDoubt`] where it is not that JSON.
    pub(super) fn whole<T: DeserializeOwned>(&self, response: &Response, doing: &str) -> Result<T, Failure> {
        serde_json::from_slice(&response.body).map_err(|error| {
            let message = format!("{doing}: the answer cannot be read: {error}: {}", response.excerpt(200));
            Class::InDoubt.failure(message, self.jitter, None)
        })
    }

    /// The answer, if it is a good one.
    ///
    /// # Errors
    /// What it stands for otherwise, with the engine's own words.
    pub(super) fn succeeded(&self, response: Response, doing: &str) -> Result<Response, Failure> {
        if response.is_success() { Ok(response) } else { Err(self.failure(&response, doing, None)) }
    }

    /// Whether a start was one.
    ///
    /// # Errors
    /// [`Class::Unhealthy`] for a container that can never start, [`Class::Conflict`] for a port that is taken.
    pub(super) fn started(&self, response: &Response, doing: &str) -> Result<(), Failure> {
        if response.is_success() || response.status == 304 {
            return Ok(());
        }
        let said = message(response);
        // The engine answers 400, 404 or 500 to all of these; only its words tell them apart.
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let class = if has(&["port is already allocated", "address already in use"]) {
            Some(Class::Conflict)
        } else if has(&["OCI runtime", "OCI permission", "executable file not found", "exec format error"]) {
            Some(Class::Unhealthy)
        } else {
            None
        };
        Err(self.failure(response, doing, class))
    }

    fn failure(&self, response: &Response, doing: &str, class: Option<Class>) -> Failure {
        let class = class.unwrap_or(match response.status {
            // Somebody between the two, or a crash: that says nothing of what is there.
            _ if said(response).is_none() && response.status != 403 => match Class::of_status(response.status) {
                class @ (Class::Throttled | Class::Unavailable) => class,
                _ => Class::InDoubt,
            },
            // A name that is taken or a container that is in between: whoever looks again sees it.
            409 => Class::Busy,
            status => Class::of_status(status),
        });
        let error = ApiError { message: message(response), ..ApiError::of(response, self.cx.now()) };
        error.failure(&format!("{doing}: the container engine refused"), class, self.jitter)
    }
}

/// Whether the engine itself says that what was named is not there.
pub(super) fn is_absent(response: &Response) -> bool {
    response.status == 404 && said(response).is_some()
}

/// The engine's own words, if these are its words.
fn said(response: &Response) -> Option<String> {
    let body = serde_json::from_slice::<ErrorBody>(&response.body).ok()?;
    Some(body.message.trim().to_owned())
}

fn message(response: &Response) -> String {
    said(response).unwrap_or_else(|| response.excerpt(300))
}
