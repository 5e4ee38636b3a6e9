//! `basb-host agent`.

use super::agent_program;
use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use basb_agent::api::{ServiceState, StopServices};
use basb_agent::client::Client;
use basb_engine::StateDir;
use console::style;
use std::path::Path;

/// Starts it, if it is not running.
pub async fn start(state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let state = StateDir::open(state)?;
    let client = basb_engine::ensure_agent(&state, &agent_program()?).await?;
    let info = client.agent().await?;
    match printer.form() {
        Form::Json => printer.json(&info),
        Form::Text => printer.line(&format!("the agent is running: pid {}, state in {}", info.pid, info.state_dir)),
    }
    Ok(Exit::Done)
}

/// Stops it.
pub async fn stop(services: bool, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let state = StateDir::open(state)?;
    let what = if services { StopServices::Stop } else { StopServices::Keep };
    match Client::new(state.agent()).stop(what).await {
        Ok(()) => {}
        Err(basb_agent::AgentError::NotRunning { .. }) => {
            printer.note("the agent is not running");
            return Ok(Exit::Done);
        }
        Err(e) => return Err(e.into()),
    }
    printer.note(match what {
        StopServices::Stop => "the agent and its services are stopped",
        StopServices::Keep => {
            "the agent is stopped; its services go on, without their proxy, until it is started again"
        }
    });
    Ok(Exit::Done)
}

/// Shows it and its services.
pub async fn status(state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let state = StateDir::open(state)?;
    let client = Client::new(state.agent());
    let info = client.agent().await?;
    let services = client.services().await?;
    match printer.form() {
        Form::Json => printer.json(&serde_json::json!({ "version": 1, "agent": info, "services": services })),
        Form::Text => {
            printer.line(&format!(
                "agent {}: pid {}, since {}, state in {}",
                info.version, info.pid, info.started_at, info.state_dir
            ));
            services.iter().for_each(|s| show(s, printer));
        }
    }
    Ok(Exit::Done)
}

/// A service with its revisions and instances.
pub fn show(service: &ServiceState, printer: Printer) {
    printer.line(&format!("{}  {}", style(service.name.as_str()).bold(), service.url));
    for revision in &service.revisions {
        printer.line(&format!(
            "  {}  weight {}  {}/{} available  {} requests, {} failed{}",
            revision.id,
            percent(revision.weight.hundredths()),
            revision.available,
            revision.desired,
            revision.requests.total,
            revision.requests.failed,
            if revision.retiring { "  retiring" } else { "" }
        ));
        for instance in &revision.instances {
            let state = serde_json::to_value(instance.state).ok().and_then(|v| v.as_str().map(str::to_owned));
            let pid = instance.pid.map_or_else(|| "-".to_owned(), |p| p.to_string());
            printer.line(&format!(
                "    #{}  pid {pid}  port {}  {}  {} restarts{}",
                instance.id,
                instance.port,
                state.unwrap_or_default(),
                instance.restarts,
                instance.message.as_deref().map_or(String::new(), |m| format!("  {m}"))
            ));
        }
    }
}

fn percent(hundredths: u16) -> String {
    basb_core::Weight::new(hundredths).map_or_else(|_| hundredths.to_string(), |w| w.to_string())
}

/// Is the agent, in the foreground.
pub async fn serve(state: Option<&Path>) -> Result<Exit, CliError> {
    let state = StateDir::open(state)?;
    basb_agent::server::serve(basb_agent::server::ServeOptions::new(state.agent())).await?;
    Ok(Exit::Done)
}
