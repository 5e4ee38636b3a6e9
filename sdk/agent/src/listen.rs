//! Where users reach a service.

use std::net::SocketAddr;

use basb_plugin::Failure;
use basb_plugin::provider::{ActionKind, Change, Desired, PlannedAction};

use crate::api::ServiceState;

/// Where a service listens that says nothing: the agent chooses a port.
const ANY_PORT: &str = "127.0.0.1:0";

/// The address that the service must be told, if it is not there or listens elsewhere.
///
/// # Errors
/// [`basb_plugin::FailureCode::Invalid`] for what is no address of this machine.
pub fn listen_to_set(there: Option<&ServiceState>, desired: &Desired) -> Result<Option<String>, Failure> {
    let wanted = desired.listen.as_deref().map(address).transpose()?;
    let now = there.map(|there| there.listen.parse::<SocketAddr>());
    Ok(match (now, wanted) {
        (None, wanted) => Some(wanted.map_or_else(|| ANY_PORT.to_owned(), |wanted| wanted.to_string())),
        (Some(_), None) => None,
        // Whatever port was chosen is the one that was asked for.
        (Some(Ok(now)), Some(wanted)) if now == wanted || (wanted.port() == 0 && now.ip() == wanted.ip()) => None,
        (Some(_), Some(wanted)) => Some(wanted.to_string()),
    })
}

fn address(listen: &str) -> Result<SocketAddr, Failure> {
    let numeric =
        listen.strip_prefix("localhost:").map_or_else(|| listen.to_owned(), |port| format!("127.0.0.1:{port}"));
    numeric.parse().map_err(|_| {
        Failure::invalid(format!("`{listen}` is no address to listen on: write one such as `127.0.0.1:7101`"))
    })
}

/// What telling the service its address means, for a plan.
pub fn service_action(there: Option<&ServiceState>, name: &str, listen: &str) -> PlannedAction {
    let shown = if listen == ANY_PORT { "127.0.0.1, on a port that the agent chooses" } else { listen };
    match there {
        None => PlannedAction {
            kind: ActionKind::Create,
            summary: format!("service {name} on {shown}"),
            changes: vec![change(None, shown)],
            irreversible: None,
        },
        Some(there) => PlannedAction {
            kind: ActionKind::Update,
            summary: format!("service {name} moves to {shown}; connections to {} are refused then", there.listen),
            changes: vec![change(Some(&there.listen), shown)],
            irreversible: None,
        },
    }
}

fn change(before: Option<&str>, after: &str) -> Change {
    Change { path: "listen".to_owned(), before: before.map(str::to_owned), after: Some(after.to_owned()) }
}
