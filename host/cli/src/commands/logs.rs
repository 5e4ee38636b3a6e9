//! `basb-host logs`.

use super::session;
use crate::exit::{CliError, Exit};
use crate::printer::Printer;
use basb_agent::api::{LogQuery, RevisionId, ServiceName};
use basb_agent::client::Client;
use std::path::Path;

/// Which lines.
pub struct What<'a> {
    /// `NAME` or `DEPLOYMENT.ENVIRONMENT.NAME`.
    pub service: &'a str,
    /// Only of this revision.
    pub revision: Option<&'a str>,
    /// So many last lines of each instance.
    pub tail: u32,
    /// Whether to go on as lines are written.
    pub follow: bool,
}

/// Prints a service's logs.
pub async fn run(what: What<'_>, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let client = Client::new(session.state().agent());
    let service = find(&client, what.service).await?;
    let revision = match what.revision {
        Some(id) => Some(RevisionId::new(id).map_err(|e| {
            CliError::plain("cli/bad-name", e.to_string(), "`basb-host agent status` lists the revisions")
        })?),
        None => None,
    };
    let query = LogQuery { revision, instance: None, tail: Some(what.tail) };
    if what.follow {
        let mut stream = client.follow_logs(&service, &query).await?;
        while let Some(chunk) = stream.next_chunk().await? {
            printer.raw(&chunk);
        }
    } else {
        printer.raw(client.logs(&service, &query).await?.as_ref());
    }
    Ok(Exit::Done)
}

/// The one service that is meant.
async fn find(client: &Client, name: &str) -> Result<ServiceName, CliError> {
    let services = client.services().await?;
    let suffix = format!(".{name}");
    let mut found: Vec<&ServiceName> =
        services.iter().map(|s| &s.name).filter(|n| n.as_str() == name || n.as_str().ends_with(&suffix)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only.clone()),
        (None, _) => {
            let all: Vec<&str> = services.iter().map(|s| s.name.as_str()).collect();
            let next = if all.is_empty() {
                "deploy something with `basb-host run` first".to_owned()
            } else {
                format!("there are: {}", all.join(", "))
            };
            Err(CliError::plain("cli/no-such-service", format!("the one-machine cloud has no service `{name}`"), next))
        }
        (Some(last), false) => {
            found.push(last);
            let all: Vec<&str> = found.iter().map(|n| n.as_str()).collect();
            let message = format!("`{name}` is the name of several services");
            Err(CliError::plain("cli/ambiguous-service", message, format!("write one of: {}", all.join(", "))))
        }
    }
}
