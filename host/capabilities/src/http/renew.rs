//! A request whose token was refused is sent once more with another one.
//!
//! A token can be withdrawn before its end, and only the destination's 401 tells. That answer means that the request was
//! not carried out for lack of valid credentials (RFC 9110 section 15.5.2), so it may be sent again; once, because a token
//! that was had this moment is not made better by yet another one.
//!
//! Stops what could go wrong with that: *something is done twice*, where a service answers 401 for reasons of its own
//! after it has begun: then only what may be repeated by its method is, or what the answer says was an authentication
//! that failed; and *a token for each request*, where a destination refuses everything
//! ([`basb_credentials::Credentials::refused`]). Each of the two exchanges is a request of its own in the record and in
//! what a call may use up.

use super::Http;
use super::answer::Raw;
use super::prepare::Ready;
use crate::CallScope;
use ::http::header::WWW_AUTHENTICATE;
use ::http::{Method, StatusCode};
use basb_credentials::Renewal;

/// What is behind the request in the record.
const AGAIN: &str = " (again: the credential was refused and had anew)";

impl Http {
    /// What becomes of the tokens that a request went out with, now that there is an answer; and the request to send
    /// instead, where there should be another one.
    pub(super) async fn renewed(&self, scope: &CallScope, ready: &mut Ready, answer: &Raw) -> Option<Ready> {
        if answer.status != StatusCode::UNAUTHORIZED.as_u16() {
            ready.fetched.accepted();
            return None;
        }
        let prepared = ready.again.take()?;
        if !may_be_sent_again(&ready.method, answer) {
            return None;
        }
        let credentials = self.credentials.get()?;
        if credentials.refused(&ready.fetched).await == Renewal::None {
            return None;
        }
        match self.complete(scope, *prepared).await {
            Ok(mut ready) => {
                ready.again = None;
                Some(ready)
            }
            // The plugin gets the destination's answer, which is true; why there is no other token is for the operator.
            Err(error) => {
                let why = self.redactor.text(&error.to_string()).into_owned();
                tracing::warn!("a credential was refused with 401 and cannot be had anew: {why}");
                None
            }
        }
    }

    /// How the second exchange is recorded.
    pub(super) fn recorded_again(ready: &Ready) -> String {
        format!("{}{AGAIN}", ready.wanted())
    }
}

/// Whether a request that was answered so has had no effect, or has the same when it is made twice (RFC 9110 section
/// 9.2.2). An answer for lack of credentials must say how to authenticate (section 15.5.2); one that does not may come
/// from a program that had begun.
fn may_be_sent_again(method: &Method, answer: &Raw) -> bool {
    let idempotent = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE);
    idempotent || answer.headers.contains_key(WWW_AUTHENTICATE)
}
