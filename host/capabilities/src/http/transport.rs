//! The host's own requests: to secret stores, token endpoints and metadata services that the operator named in the
//! deployment file.
//!
//! A plugin has no way here: it cannot choose the place, the content or the moment. So a request may go to this machine,
//! to a private network or to a metadata service. It is bounded like any other, no redirect is followed (a store that is
//! asked at one place does not get to send its token to another), and connections are shared with no plugin.

use super::client::{Cause, NetworkClient, body, cause};
use super::url::check_host;
use ::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use ::http::{HeaderValue, Request, Uri};
use basb_redact::Redactor;
use basb_secrets::{Answer, Ask, Transport, TransportError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use std::time::Duration;

/// The longest answer, in bytes.
const ANSWER_BYTES: usize = 1 << 20;

/// The longest wait, whatever is asked for.
const LONGEST: Duration = Duration::from_mins(2);

/// The host's own way to the network.
#[derive(Debug, Clone)]
pub(crate) struct OwnTransport {
    pub(super) client: NetworkClient,
    pub(super) redactor: Redactor,
}

impl Transport for OwnTransport {
    fn exchange(&self, ask: Ask) -> BoxFuture<'_, Result<Answer, TransportError>> {
        Box::pin(async move {
            let longest = ask.timeout.min(LONGEST);
            let shown = shown(&ask);
            let result = match tokio::time::timeout(longest, self.ask(ask, &shown)).await {
                Ok(result) => result,
                Err(_) => Err(format!("{shown} was not answered within {} ms", longest.as_millis())),
            };
            result.map_err(|text| TransportError(self.redactor.text(&text).into_owned()))
        })
    }
}

/// Method and URL without a query, which may hold a token.
fn shown(ask: &Ask) -> String {
    let mut url = ask.url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_password(None);
    let _ = url.set_username("");
    crate::printable(&format!("{} {url}", ask.method), 300)
}

impl OwnTransport {
    async fn ask(&self, ask: Ask, shown: &str) -> Result<Answer, String> {
        let Ask { method, url, mut headers, body: content, .. } = ask;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{shown}: the scheme is neither http nor https"));
        }
        check_host(&url).map_err(|why| format!("{shown}: {why}"))?;
        let uri: Uri = url.as_str().parse().map_err(|error| format!("{shown}: {error}"))?;
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut request = Request::new(Full::new(Bytes::clone(&content)));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let response = self.client.request(request).await.map_err(|error| match cause(&error) {
            Cause::Connect(connect) => format!("{shown}: {connect}"),
            Cause::TooLarge => format!("the head of the answer to {shown} is over the limit"),
            Cause::Other(last) => format!("{shown}: {last}"),
        })?;
        let (parts, incoming) = response.into_parts();
        if parts.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(format!("the answer to {shown} is compressed although no compression was asked for"));
        }
        let body = body(incoming, &parts.headers, ANSWER_BYTES, shown).await.map_err(|error| error.to_string())?;
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.into() })
    }
}
