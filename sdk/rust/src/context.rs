//! What accompanies a call that may reach the outside.

use std::marker::PhantomData;
use std::time::Duration;

use crate::bindings::host::basb::host::types::CallContext;
use crate::doors::{Backend, Exec, Files, HasExec, HasFiles, HasHttp, HasLog, HasSmtp, HasTcp, Log, Smtp, Tcp};
use crate::http::Http;
use crate::values::{Extras, Timestamp, extra};

/// The time of a call, and the doors that its world has: `cx.http()` exists where the world imports `http`.
///
/// `W` is a world of [`crate::doors`]; plugins write `ProbeContext` and the like.
#[derive(Debug, Clone)]
pub struct Context<W> {
    now: Timestamp,
    deadline: Timestamp,
    extras: Extras,
    backend: Backend,
    world: PhantomData<W>,
}

impl<W> Context<W> {
    /// The host's own context, for the export glue.
    pub(crate) fn live(wire: CallContext) -> (Context<W>, String) {
        let cx = Context {
            now: Timestamp(wire.now),
            deadline: Timestamp(wire.deadline),
            extras: wire.extras,
            backend: Backend::Live,
            world: PhantomData,
        };
        (cx, wire.config)
    }

    /// A context whose outside is scripted.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn fake(host: crate::testing::FakeHost, now: Timestamp, deadline: Timestamp) -> Context<W> {
        Context { now, deadline, extras: Vec::new(), backend: Backend::Fake(host), world: PhantomData }
    }

    /// The time when the call began. It does not move during the call.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// When the host will cut the call off.
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// How long the whole call may take.
    pub fn budget(&self) -> Duration {
        self.deadline.since(self.now)
    }

    /// A named value for which no field exists yet.
    pub fn extra(&self, name: &str) -> Option<&str> {
        extra(&self.extras, name)
    }
}

impl<W: HasLog> Context<W> {
    /// The host's log.
    pub fn log(&self) -> Log<'_> {
        Log(&self.backend)
    }
}

impl<W: HasHttp> Context<W> {
    /// The door to the network.
    pub fn http(&self) -> Http<'_> {
        Http(&self.backend)
    }
}

impl<W: HasTcp> Context<W> {
    /// One exchange over TCP.
    pub fn tcp(&self) -> Tcp<'_> {
        Tcp(&self.backend)
    }
}

impl<W: HasExec> Context<W> {
    /// Programs that the operator granted.
    pub fn exec(&self) -> Exec<'_> {
        Exec(&self.backend)
    }
}

impl<W: HasFiles> Context<W> {
    /// Files in folders that the operator granted.
    pub fn files(&self) -> Files<'_> {
        Files(&self.backend)
    }
}

impl<W: HasSmtp> Context<W> {
    /// Mail through a server that the operator granted.
    pub fn smtp(&self) -> Smtp<'_> {
        Smtp(&self.backend)
    }
}
