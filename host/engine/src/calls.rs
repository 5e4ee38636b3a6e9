//! What plugins did outside, on its way into the journal: for the audit, whatever became of the calls.

use crate::clock::now;
use basb_capabilities::{HostCall, Verdict};
use basb_core::run::{Admission, OutsideCall, PluginCall, Record};
use basb_core::{PluginName, ServiceName, Timestamp};
use basb_runtime::{CallObserver, FinishedCall};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A record that is to be written, with its time.
pub type Called = (Timestamp, Record);

/// Where the calls of a run's plugins go, once there is a run.
#[derive(Debug, Clone, Default)]
pub struct CallLog {
    to: Arc<OnceLock<UnboundedSender<Called>>>,
}

impl CallLog {
    /// From now on every call is told to the receiver. A second receiver gets none.
    pub fn open(&self) -> UnboundedReceiver<Called> {
        let (sender, receiver) = unbounded_channel();
        let _ = self.to.set(sender);
        receiver
    }

    /// Who is told of the calls about this service.
    pub fn observer(&self, service: Option<&str>) -> Option<Arc<dyn CallObserver>> {
        let to = self.to.get()?.clone();
        let service = service.and_then(|name| ServiceName::new(name).ok());
        Some(Arc::new(Observer { service, to }))
    }
}

#[derive(Debug)]
struct Observer {
    service: Option<ServiceName>,
    to: UnboundedSender<Called>,
}

impl CallObserver for Observer {
    fn called(&self, call: &FinishedCall<'_>) {
        if call.report.calls.is_empty() {
            return;
        }
        let Ok(plugin) = PluginName::new(call.plugin) else { return };
        let ended = now();
        let started = Timestamp(ended.0.saturating_sub(u64::try_from(call.report.duration.as_millis()).unwrap_or(0)));
        let call = PluginCall {
            plugin,
            digest: call.digest.clone(),
            function: call.function.to_owned(),
            at: started,
            micros: micros(call.report.duration),
            outcome: call.outcome.to_owned(),
            calls: call.report.calls.iter().map(outside).collect(),
        };
        // Nobody listens any more when the run is over: nothing of it is to be written then.
        let _ = self.to.send((ended, Record::Called { service: self.service.clone(), call: Box::new(call) }));
    }
}

fn outside(call: &HostCall) -> OutsideCall {
    OutsideCall {
        capability: call.capability.to_string(),
        what: call.what.clone(),
        verdict: match call.verdict {
            Verdict::Allowed => Admission::Allowed,
            Verdict::Denied => Admission::Denied,
        },
        outcome: call.outcome.clone(),
        after_micros: micros(call.after),
        took_micros: micros(call.took),
        sent: call.sent,
        received: call.received,
        credentials: call.credentials.clone(),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
