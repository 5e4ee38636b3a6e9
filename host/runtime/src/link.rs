//! Linkers: what a plugin can reach is what its linker defines, and a linker defines only what is in the plugin's world
//! **and** was granted. Everything else does not exist for it.
//!
//! [`LINKS`] is the one list of what can be linked at all. A test calls every function of every interface in it, and
//! finds each denied or inert under an empty grant ([`deny_all`]).

use crate::host::State;
use crate::wasi::{Clocks, Random, Table};
use crate::wit;
use basb_capabilities::Capability;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings as wasi;
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView as _};
use wasmtime_wasi_http::p2::bindings::http as wasi_http;
use wasmtime_wasi_http::{WasiHttp, WasiHttpView as _};

#[cfg(test)]
mod deny_all;

/// What a plugin gets linked: the capabilities that it imports and was granted, and the inert baseline if it imports that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct LinkSet(u8);

/// What has to be in a [`LinkSet`] for an interface to be linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// This capability.
    Grant(Capability),
    /// The inert baseline.
    Inert,
}

impl LinkSet {
    fn bit(needs: Needs) -> u8 {
        match needs {
            Needs::Grant(Capability::Log) => 1,
            Needs::Grant(Capability::Http) => 2,
            Needs::Grant(Capability::Tcp) => 4,
            Needs::Grant(Capability::Exec) => 8,
            Needs::Grant(Capability::Files) => 16,
            Needs::Grant(Capability::Smtp) => 32,
            Needs::Inert => 64,
        }
    }

    /// Whether it holds this one.
    pub(crate) fn holds(self, needs: Needs) -> bool {
        self.0 & Self::bit(needs) != 0
    }

    /// Whether it holds none.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Needs> for LinkSet {
    fn from_iter<I: IntoIterator<Item = Needs>>(items: I) -> Self {
        Self(items.into_iter().fold(0, |set, needs| set | Self::bit(needs)))
    }
}

/// The linkers of an engine, one for each set in use.
#[derive(Default)]
pub(crate) struct Linkers {
    made: Mutex<HashMap<LinkSet, Arc<Linker<State>>>>,
}

impl Linkers {
    /// The linker that defines exactly this set.
    pub(crate) fn get(&self, engine: &Engine, set: LinkSet) -> wasmtime::Result<Arc<Linker<State>>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(linker) = made.get(&set) {
            return Ok(Arc::clone(linker));
        }
        let mut linker = Linker::new(engine);
        for link in LINKS.iter().filter(|link| set.holds(link.needs)) {
            (link.add)(&mut linker)?;
        }
        let linker = Arc::new(linker);
        made.insert(set, Arc::clone(&linker));
        Ok(linker)
    }
}

/// One interface that the host can link.
pub(crate) struct Link {
    /// Its name without a version.
    #[cfg_attr(not(test), expect(dead_code, reason = "the test of all links goes by names"))]
    pub(crate) interface: &'static str,
    needs: Needs,
    add: fn(&mut Linker<State>) -> wasmtime::Result<()>,
}

const fn link(interface: &'static str, needs: Needs, add: fn(&mut Linker<State>) -> wasmtime::Result<()>) -> Link {
    Link { interface, needs, add }
}

const LOG: Needs = Needs::Grant(Capability::Log);
const HTTP: Needs = Needs::Grant(Capability::Http);

/// Everything that can be linked, and nothing is linked anywhere else.
pub(crate) const LINKS: &[Link] = &[
    link("basb:host/log", LOG, |l| wit::log::add_to_linker::<_, HasSelf<State>>(l, |s| s)),
    link("basb:host/http", HTTP, |l| wit::http::add_to_linker::<_, HasSelf<State>>(l, |s| s)),
    link("basb:host/tcp", Needs::Grant(Capability::Tcp), |l| wit::tcp::add_to_linker::<_, HasSelf<State>>(l, |s| s)),
    link("basb:host/exec", Needs::Grant(Capability::Exec), |l| wit::exec::add_to_linker::<_, HasSelf<State>>(l, |s| s)),
    link("basb:host/files", Needs::Grant(Capability::Files), |l| {
        wit::files::add_to_linker::<_, HasSelf<State>>(l, |s| s)
    }),
    link("basb:host/smtp", Needs::Grant(Capability::Smtp), |l| wit::smtp::add_to_linker::<_, HasSelf<State>>(l, |s| s)),
    // The same door as `basb:host/http` (see `wasi::door`).
    link("wasi:http/outgoing-handler", HTTP, |l| {
        wasi_http::outgoing_handler::add_to_linker::<_, WasiHttp>(l, State::http)
    }),
    link("wasi:http/types", HTTP, |l| {
        wasi_http::types::add_to_linker::<_, WasiHttp>(l, &wasi_http::types::LinkOptions::default(), State::http)
    }),
    link("wasi:io/error", Needs::Inert, |l| wasi::io::error::add_to_linker::<_, Table>(l, State::table)),
    link("wasi:io/poll", Needs::Inert, |l| wasi::io::poll::add_to_linker::<_, Table>(l, State::table)),
    link("wasi:io/streams", Needs::Inert, |l| wasi::io::streams::add_to_linker::<_, Table>(l, State::table)),
    // Our own clocks and randomness, never wasmtime's, which are real.
    link("wasi:clocks/monotonic-clock", Needs::Inert, |l| {
        wasi::clocks::monotonic_clock::add_to_linker::<_, Clocks>(l, State::clocks)
    }),
    link("wasi:clocks/wall-clock", Needs::Inert, |l| {
        wasi::clocks::wall_clock::add_to_linker::<_, Clocks>(l, State::clocks)
    }),
    link("wasi:random/random", Needs::Inert, |l| wasi::random::random::add_to_linker::<_, Random>(l, State::random)),
    link("wasi:random/insecure", Needs::Inert, |l| {
        wasi::random::insecure::add_to_linker::<_, Random>(l, State::random)
    }),
    link("wasi:random/insecure-seed", Needs::Inert, |l| {
        wasi::random::insecure_seed::add_to_linker::<_, Random>(l, State::random)
    }),
    link("wasi:cli/environment", Needs::Inert, |l| wasi::cli::environment::add_to_linker::<_, WasiCli>(l, State::cli)),
    link("wasi:cli/exit", Needs::Inert, |l| wasi::cli::exit::add_to_linker::<_, WasiCli>(l, State::cli)),
    link("wasi:cli/stdin", Needs::Inert, |l| wasi::cli::stdin::add_to_linker::<_, WasiCli>(l, State::cli)),
    link("wasi:cli/stdout", Needs::Inert, |l| wasi::cli::stdout::add_to_linker::<_, WasiCli>(l, State::cli)),
    link("wasi:cli/stderr", Needs::Inert, |l| wasi::cli::stderr::add_to_linker::<_, WasiCli>(l, State::cli)),
    link("wasi:cli/terminal-input", Needs::Inert, |l| {
        wasi::cli::terminal_input::add_to_linker::<_, WasiCli>(l, State::cli)
    }),
    link("wasi:cli/terminal-output", Needs::Inert, |l| {
        wasi::cli::terminal_output::add_to_linker::<_, WasiCli>(l, State::cli)
    }),
    link("wasi:cli/terminal-stdin", Needs::Inert, |l| {
        wasi::cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, State::cli)
    }),
    link("wasi:cli/terminal-stdout", Needs::Inert, |l| {
        wasi::cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, State::cli)
    }),
    link("wasi:cli/terminal-stderr", Needs::Inert, |l| {
        wasi::cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, State::cli)
    }),
    // Without a folder and without a socket that could be had; standard libraries import them all the same.
    link("wasi:filesystem/preopens", Needs::Inert, |l| {
        wasi::filesystem::preopens::add_to_linker::<_, WasiFilesystem>(l, State::filesystem)
    }),
    link("wasi:filesystem/types", Needs::Inert, |l| {
        wasi::filesystem::types::add_to_linker::<_, WasiFilesystem>(l, State::filesystem)
    }),
    link("wasi:sockets/network", Needs::Inert, |l| {
        let options = wasi::sockets::network::LinkOptions::default();
        wasi::sockets::network::add_to_linker::<_, WasiSockets>(l, &options, State::sockets)
    }),
    link("wasi:sockets/instance-network", Needs::Inert, |l| {
        wasi::sockets::instance_network::add_to_linker::<_, WasiSockets>(l, State::sockets)
    }),
    link("wasi:sockets/ip-name-lookup", Needs::Inert, |l| {
        wasi::sockets::ip_name_lookup::add_to_linker::<_, WasiSockets>(l, State::sockets)
    }),
    link("wasi:sockets/tcp", Needs::Inert, |l| wasi::sockets::tcp::add_to_linker::<_, WasiSockets>(l, State::sockets)),
    link("wasi:sockets/tcp-create-socket", Needs::Inert, |l| {
        wasi::sockets::tcp_create_socket::add_to_linker::<_, WasiSockets>(l, State::sockets)
    }),
    link("wasi:sockets/udp", Needs::Inert, |l| wasi::sockets::udp::add_to_linker::<_, WasiSockets>(l, State::sockets)),
    link("wasi:sockets/udp-create-socket", Needs::Inert, |l| {
        wasi::sockets::udp_create_socket::add_to_linker::<_, WasiSockets>(l, State::sockets)
    }),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PoolSize;
    use wasmtime::component::Component;

    /// Even if every check before it were wrong, a plugin finds nothing that was not granted.
    #[test]
    fn what_is_not_granted_is_not_there() {
        let engine = crate::engine::engine(PoolSize::instances(1)).unwrap();
        let linkers = Linkers::default();
        let probe = [Capability::Log, Capability::Http, Capability::Tcp, Capability::Exec];
        let notifier = [Capability::Log, Capability::Files, Capability::Smtp];
        for (guest, needs) in [("guest-misbehave", &probe[..]), ("guest-wants-files", &notifier[..])] {
            let component = Component::new(&engine, basb_guest_build::build(guest)).unwrap();
            let try_with = |set: LinkSet| linkers.get(&engine, set).unwrap().instantiate_pre(&component);
            assert!(try_with(needs.iter().copied().map(Needs::Grant).collect()).is_ok());
            for missing in needs {
                let others = Capability::ALL.into_iter().filter(|capability| capability != missing);
                let set = others.map(Needs::Grant).chain([Needs::Inert]).collect();
                let error = format!("{:#}", try_with(set).err().unwrap());
                assert!(error.contains(&format!("basb:host/{missing}")), "{error}");
            }
            assert!(try_with(LinkSet::default()).is_err());
        }
    }
}
