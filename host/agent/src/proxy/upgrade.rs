//! Upgraded connections (WebSocket and the like): after `101` both sides talk freely through a tunnel.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::body::InFlight;

/// The protocol that a client asks to upgrade to, when it does so properly.
pub(crate) fn wanted<B>(request: &Request<B>) -> Option<HeaderValue> {
    names_upgrade(request.headers()).then(|| request.headers().get(header::UPGRADE).cloned()).flatten()
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
}

/// Puts the fields that ask for (or grant) an upgrade back after hop-by-hop fields were removed.
pub(crate) fn put_back(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// Joins both sides once each has switched. The request counts as in flight until the tunnel ends.
pub(crate) fn join(client: OnUpgrade, answer: &mut Response<Incoming>, in_flight: InFlight) {
    let instance = hyper::upgrade::on(answer);
    tokio::spawn(async move {
        let (Ok(client), Ok(instance)) = (client.await, instance.await) else { return };
        let (mut client, mut instance) = (TokioIo::new(client), TokioIo::new(instance));
        // Either side going away ends the tunnel; there is nobody left to tell.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut instance).await;
        drop(in_flight);
    });
}
