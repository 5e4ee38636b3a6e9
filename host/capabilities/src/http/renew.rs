//! A request whose token was refused is sent once more with another one.
//!
//! A token can be withdrawn before its end, and only the destination's 401 tells. That answer means that the request was
//! not carried out for lack of valid credentials (RFC 9110 section 15.5.2), so it may be sent again; once, because a token
//! that was had this moment is not made better by yet another one. AWS's services say of temporary keys that they are out
//! of date by the code `ExpiredToken` in an answer of 400 or 403, and look at the keys before they do anything
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>: authentication comes first).
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
        let refusal = refusal(answer, with(ready));
        if refusal == Refusal::None {
            ready.fetched.accepted();
            return None;
        }
        let prepared = ready.again.take()?;
        if refusal == Refusal::Credentials && !may_be_sent_again(&ready.method, answer) {
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
                tracing::warn!("a credential was refused and cannot be had anew: {why}");
                None
            }
        }
    }

    /// How the second exchange is recorded.
    pub(super) fn recorded_again(ready: &Ready) -> String {
        format!("{}{AGAIN}", ready.wanted())
    }
}

/// What a request went out with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum With {
    /// A token, or nothing.
    Token,
    /// A signature by temporary keys.
    Keys,
}

/// Whether an answer refuses what the request went out with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// It does not.
    None,
    /// It is a 401.
    Credentials,
    /// AWS says that the keys are out of date.
    Keys,
}

/// How far into an answer AWS's word for keys that are out of date is looked for: such an answer is short.
const LOOKED_AT: usize = 4 << 10;

fn with(ready: &Ready) -> With {
    if ready.fetched.has_keys() { With::Keys } else { With::Token }
}

/// Whether the answer refuses what the request went out with.
pub(super) fn is_refusal(ready: &Ready, answer: &Raw) -> bool {
    refusal(answer, with(ready)) != Refusal::None
}

fn refusal(answer: &Raw, with: With) -> Refusal {
    if answer.status == StatusCode::UNAUTHORIZED.as_u16() {
        return Refusal::Credentials;
    }
    if with == With::Token || !matches!(answer.status, 400 | 403) {
        return Refusal::None;
    }
    let body = answer.body.get(..LOOKED_AT).unwrap_or(&answer.body);
    let header = answer.headers.get("x-amzn-errortype").map_or(&[][..], |value| value.as_bytes());
    let told = |text: &[u8], mark: &[u8]| text.windows(mark.len()).any(|window| window == mark);
    // JSON (`"__type":"com.amazon.coral.service#ExpiredTokenException"`), XML (`<Code>ExpiredToken</Code>`), REST's header.
    let marks: [&[u8]; 3] =
        [b"ExpiredTokenException\"", b"<Code>ExpiredToken</Code>", b"<Code>ExpiredTokenException</Code>"];
    let is_told = header.starts_with(b"ExpiredToken") || marks.iter().any(|mark| told(body, mark));
    if is_told { Refusal::Keys } else { Refusal::None }
}

/// Whether a request that was answered so has had no effect, or has the same when it is made twice (RFC 9110 section
/// 9.2.2). An answer for lack of credentials must say how to authenticate (section 15.5.2); one that does not may come
/// from a program that had begun.
fn may_be_sent_again(method: &Method, answer: &Raw) -> bool {
    let idempotent = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE);
    idempotent || answer.headers.contains_key(WWW_AUTHENTICATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::{HeaderMap, HeaderValue};

    #[test]
    fn aws_says_that_keys_are_out_of_date_in_its_own_words() {
        let answer = |status, header: Option<&'static str>, body: &str| {
            let header = header.map(|h| ("x-amzn-errortype".parse().unwrap(), HeaderValue::from_static(h)));
            Raw { status, headers: header.into_iter().collect::<HeaderMap>(), body: body.as_bytes().to_vec() }
        };
        let json = r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"..."}"#;
        let xml = "<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code></Error></ErrorResponse>";
        for expired in
            [answer(400, None, json), answer(403, None, xml), answer(403, Some("ExpiredTokenException:x"), "")]
        {
            assert_eq!(refusal(&expired, With::Keys), Refusal::Keys, "{expired:?}");
            assert_eq!(refusal(&expired, With::Token), Refusal::None, "only keys are out of date in that way");
        }
        for other in [
            answer(200, None, json),
            answer(403, None, "<Code>AccessDenied</Code> not an ExpiredToken"),
            answer(400, None, r#"{"__type":"ThrottlingException"}"#),
            answer(403, None, &format!("{}{xml}", " ".repeat(LOOKED_AT))),
        ] {
            assert_eq!(refusal(&other, With::Keys), Refusal::None, "{other:?}");
        }
        assert_eq!(refusal(&answer(401, None, ""), With::Token), Refusal::Credentials);
    }
}
