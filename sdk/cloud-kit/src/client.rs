//! Requests of one call of a provider, and what becomes of their failures.

use basb_plugin::http::{HttpError, Request, Response};
use basb_plugin::provider::ProviderContext;
use basb_plugin::{Failure, Timestamp};
use serde::de::DeserializeOwned;

use crate::error::{ApiError, Class};
use crate::jitter::Jitter;

/// How a counterpart puts its errors.
pub trait Dialect {
    /// Code, message and request id of an answer that is no success.
    fn error(response: &Response, now: Timestamp) -> ApiError;

    /// What its codes mean; `None` leaves it to the status.
    fn class(error: &ApiError) -> Option<Class>;
}

/// Sends the requests of one call.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    cx: &'a ProviderContext,
    jitter: Jitter,
}

/// Why a request came to nothing: for a provider that goes on another way, or as a [`Failure`] by `?`.
#[derive(Debug, Clone)]
pub struct Refused {
    answer: Option<Box<(ApiError, Class)>>,
    failure: Box<Failure>,
}

impl Refused {
    fn without_answer(failure: Failure) -> Refused {
        Refused { answer: None, failure: Box::new(failure) }
    }

    /// The counterpart's code; empty where none came.
    pub fn code(&self) -> &str {
        self.answer.as_ref().map_or("", |answer| &answer.0.code)
    }

    /// The counterpart's message; empty where none came.
    pub fn message(&self) -> &str {
        self.answer.as_ref().map_or("", |answer| &answer.0.message)
    }

    /// What the counterpart's answer means; `None` where none came.
    pub fn class(&self) -> Option<Class> {
        self.answer.as_ref().map(|answer| answer.1)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        *refused.failure
    }
}

/// What is not there is no failure of whoever looks for it.
pub trait IfFound<T> {
    /// `None` where the counterpart says that what was named is not there.
    ///
    /// # Errors
    /// Every other failure.
    fn if_found(self) -> Result<Option<T>, Failure>;
}

impl<T> IfFound<T> for Result<T, Refused> {
    fn if_found(self) -> Result<Option<T>, Failure> {
        match self {
            Ok(found) => Ok(Some(found)),
            Err(refused) if refused.class() == Some(Class::NotFound) => Ok(None),
            Err(refused) => Err(refused.into()),
        }
    }
}

impl<'a> Client<'a> {
    /// For a call; `key` is that of a mutating call, and the service's name for one that reads.
    pub fn new(cx: &'a ProviderContext, key: &str) -> Client<'a> {
        Client { cx, jitter: Jitter::of(key, cx.now().as_millis()) }
    }

    /// The call.
    pub fn cx(&self) -> &'a ProviderContext {
        self.cx
    }

    /// The call's share of chance.
    pub fn jitter(&self) -> Jitter {
        self.jitter
    }

    /// Sends a request; `doing` stands in front of every failure.
    ///
    /// # Errors
    /// [`Refused`]: an answer that is no success, or none.
    pub fn send<D: Dialect>(&self, doing: &str, request: Request) -> Result<Response, Refused> {
        let response = self.cx.http().send(request).map_err(|error| self.no_answer(doing, &error))?;
        self.succeeded::<D>(doing, response)
    }

    /// Sends a request, and reads the JSON of its answer.
    ///
    /// # Errors
    /// As [`Client::send`]. An answer that is no JSON of that shape is one that did not arrive whole: nobody knows what
    /// it would have said, so the call is made again.
    pub fn json<D: Dialect, T: DeserializeOwned>(&self, doing: &str, request: Request) -> Result<T, Refused> {
        let response = self.send::<D>(doing, request)?;
        serde_json::from_slice(&response.body).map_err(|error| self.not_readable(doing, &response, &error.to_string()))
    }

    /// The refusal for a success whose body cannot be read.
    pub fn not_readable(&self, doing: &str, response: &Response, why: &str) -> Refused {
        let message = format!(
            "{doing}: the answer (status {}) cannot be read: {why}: {}",
            response.status,
            response.excerpt(200)
        );
        Refused::without_answer(Class::InDoubt.failure(message, self.jitter, None))
    }

    fn no_answer(&self, doing: &str, error: &HttpError) -> Refused {
        let message = format!("{doing}: {error}");
        let failure = match error {
            HttpError::Denied(_) => Failure::denied(message),
            HttpError::Invalid(_) => Failure::invalid(message),
            HttpError::Dns(_) | HttpError::Connect(_) | HttpError::Tls(_) => {
                Class::Unavailable.failure(message, self.jitter, None)
            }
            HttpError::TimedOut(_) | HttpError::Broken(_) => Class::InDoubt.failure(message, self.jitter, None),
            HttpError::TooLarge(_) | HttpError::Exhausted(_) | HttpError::Other(_) => Failure::other(message),
        };
        Refused::without_answer(failure)
    }

    fn succeeded<D: Dialect>(&self, doing: &str, response: Response) -> Result<Response, Refused> {
        if response.is_success() {
            return Ok(response);
        }
        let error = D::error(&response, self.cx.now());
        let class = D::class(&error).unwrap_or_else(|| Class::of_status(error.status));
        let failure = error.failure(doing, class, self.jitter);
        Err(Refused { answer: Some(Box::new((error, class))), failure: Box::new(failure) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basb_plugin::testing::{FakeHost, Reply};
    use basb_plugin::{FailureCode, Retry};
    use serde_json::{Value, json};

    struct Cloud;

    impl Dialect for Cloud {
        fn error(response: &Response, now: Timestamp) -> ApiError {
            let code = response.json::<Value>().ok().and_then(|body| body["code"].as_str().map(str::to_owned));
            ApiError { code: code.unwrap_or_default(), ..ApiError::of(response, now) }
        }

        fn class(error: &ApiError) -> Option<Class> {
            (error.code == "StillInUse").then_some(Class::Busy)
        }
    }

    fn failure(host: FakeHost) -> Failure {
        let cx = host.provider_context();
        Client::new(&cx, "key").json::<Cloud, Value>("GET a thing", Request::get("http://c/x")).unwrap_err().into()
    }

    #[test]
    fn each_failure_says_what_was_done_and_whether_to_come_back() {
        let respond = |response| FakeHost::new().respond("GET", "http://c/x", response);
        let fail = |error| FakeHost::new().fail("GET", "http://c/x", error);
        let cases = [
            (respond(Reply::json(409, &json!({"code": "StillInUse"}))), FailureCode::Conflict, true),
            (respond(Reply::json(409, &json!({"code": "Other"}))), FailureCode::Conflict, false),
            (respond(Reply::text(503, "busy")), FailureCode::Unavailable, true),
            (respond(Reply::text(200, "{\"cut off\": tr")), FailureCode::TimedOut, true),
            (respond(Reply::text(302, "")), FailureCode::Other, false),
            (fail(HttpError::Broken("reset".into())), FailureCode::TimedOut, true),
            (fail(HttpError::Connect("refused".into())), FailureCode::Unavailable, true),
            (fail(HttpError::Denied("lines".into())), FailureCode::Denied, false),
            (fail(HttpError::TooLarge("9 MiB".into())), FailureCode::Other, false),
        ];
        for (host, code, again) in cases {
            let failure = failure(host);
            assert_eq!(failure.code, code, "{failure:?}");
            assert_eq!(matches!(failure.retry, Retry::After(_)), again, "{failure:?}");
            assert!(failure.message.starts_with("GET a thing: "), "{failure:?}");
        }
    }

    #[test]
    fn what_is_not_there_can_be_looked_for() {
        let host = FakeHost::new().respond("GET", "http://c/x", Reply::status(404)).respond(
            "GET",
            "http://c/y",
            Reply::status(403),
        );
        let cx = host.provider_context();
        let client = Client::new(&cx, "key");
        let look = |url: &str| client.send::<Cloud>("GET", Request::get(url)).if_found();
        assert_eq!(look("http://c/x").unwrap(), None);
        assert_eq!(look("http://c/y").unwrap_err().code, FailureCode::Denied);
    }
}
