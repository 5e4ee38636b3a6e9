//! WASI 0.2 for guests whose language brings it along: everything is there, and nothing of it is real.
//!
//! The environment and the arguments are empty, there is no folder, no socket and no input; what is written to standard
//! output and error goes to the plugin's log, within its bounds. The clocks are virtual ([`clock`]), the randomness is
//! seeded ([`random`]), and `wasi:http` goes through the same door as the host's own interface ([`door`]).
//!
//! Stops a plugin from reaching around its grants by the interfaces that its compiler added, and a host's own facts
//! (time, environment, randomness) from slipping into what is to be played back.

mod clock;
mod door;
mod output;
mod random;

use crate::host::{Reach, State};
use basb_capabilities::LogLevel;
use basb_core::Digest;
use clock::Clock;
use door::Door;
use output::Output;
use random::Seeded;
use sha2::{Digest as _, Sha256};
use std::any::Any;
use std::sync::Arc;
use wasmtime::component::{HasData, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

pub(crate) use clock::ClockView;

/// The largest piece that a guest can write to a stream at once, in bytes; every stream of a call may hold one.
const CHUNK: usize = 32 << 10;

/// The bound of one set of header fields, in bytes of the host's own memory.
const FIELDS: usize = 64 << 10;

/// What a call is to a guest that looks at the clock or throws dice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Milliseconds since the Unix epoch.
    now: u64,
    seed: [u8; 32],
}

/// An argument of a call.
pub(crate) trait Argument: Any + std::fmt::Debug {}
impl<T: Any + std::fmt::Debug> Argument for T {}

impl Moment {
    /// While a plugin is started: before any call, at no time.
    pub(crate) const START: Self = Self { now: 0, seed: [0; 32] };

    /// The time is the call's own `now`. The seed is a digest of the plugin, the function and all arguments: the same
    /// call throws the same dice wherever and whenever it is made again, and another call others.
    pub(crate) fn of(plugin: &Digest, function: &str, arguments: &[&dyn Argument]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"basb-host call 1\0");
        hash.update(plugin.as_str());
        hash.update(function);
        let mut now = 0;
        for argument in arguments {
            let any: &dyn Any = *argument;
            if let Some(context) = any.downcast_ref::<crate::wit::types::CallContext>() {
                now = context.now;
            } else if let Some(view) = any.downcast_ref::<crate::wit::strategy::RolloutView>() {
                now = view.now;
            }
            hash.update(b"\0");
            hash.update(format!("{argument:?}"));
        }
        Self { now, seed: hash.finalize().into() }
    }
}

/// The WASI of one call. Made when the guest first uses it.
pub(crate) struct Wasi {
    ctx: WasiCtx,
    http: WasiHttpCtx,
    door: Door,
    table: ResourceTable,
    clock: Arc<Clock>,
    random: Seeded,
    error: Output,
}

impl Wasi {
    pub(crate) fn new(moment: Moment, handles: usize, reach: Option<&Reach>) -> Self {
        let output = Output::new(LogLevel::Info, reach);
        let error = Output::new(LogLevel::Warn, reach);
        // Environment, arguments and folders are empty, the input is closed and every address refused unless something
        // is added here. Clocks and randomness of this context are real, and for that reason linked nowhere.
        let ctx = WasiCtx::builder()
            .stdout(output)
            .stderr(error.clone())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .socket_addr_check(|_, _| Box::pin(async { false }))
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS);
        Self {
            ctx,
            http,
            door: Door::new(reach),
            table,
            clock: Arc::new(Clock::new(moment.now, reach.map(|reach| reach.scope().deadline))),
            random: Seeded::new(moment.seed),
            error,
        }
    }

    /// What the guest said when it panicked.
    pub(crate) fn panic(&self) -> Option<String> {
        self.error.panic()
    }

    fn clocks(&mut self) -> ClockView<'_> {
        ClockView { clock: &self.clock, table: &mut self.table }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Wasi { ctx, table, .. } = self.wasi();
        WasiCtxView { ctx, table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let Wasi { http, door, table, .. } = self.wasi();
        WasiHttpCtxView { ctx: http, hooks: door, table }
    }
}

/// How the linker finds the table of handles.
pub(crate) struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// How the linker finds the clocks.
pub(crate) struct Clocks;

impl HasData for Clocks {
    type Data<'a> = ClockView<'a>;
}

/// How the linker finds the randomness.
pub(crate) struct Random;

impl HasData for Random {
    type Data<'a> = &'a mut Seeded;
}

impl State {
    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.wasi().table
    }

    pub(crate) fn clocks(&mut self) -> ClockView<'_> {
        self.wasi().clocks()
    }

    pub(crate) fn random(&mut self) -> &mut Seeded {
        &mut self.wasi().random
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wit::types::CallContext;

    #[test]
    fn a_seed_is_of_the_whole_call() {
        let (plugin, other) = (Digest::of(b"a"), Digest::of(b"b"));
        let cx = |now| CallContext { now, deadline: 9, config: String::new(), extras: Vec::new() };
        let of = |plugin, function, cx: CallContext, key: &str| Moment::of(plugin, function, &[&cx, &key.to_owned()]);
        let first = of(&plugin, "apply", cx(7), "k");
        assert_eq!(first, of(&plugin, "apply", cx(7), "k"));
        assert_eq!(first.now, 7);
        for another in [
            of(&other, "apply", cx(7), "k"),
            of(&plugin, "cancel", cx(7), "k"),
            of(&plugin, "apply", cx(8), "k"),
            of(&plugin, "apply", cx(7), "l"),
        ] {
            assert_ne!(first.seed, another.seed);
        }
    }
}
