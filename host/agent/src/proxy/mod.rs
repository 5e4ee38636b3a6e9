//! The weighted reverse proxy.
//!
//! One thread accepts; one worker thread per core serves, each with its own single-threaded runtime and its own pools of
//! connections to the instances. A new connection goes to the worker with the fewest, so that a handful of busy
//! connections cannot pile up on one core (as hashing them by `SO_REUSEPORT` would let them). On the path of a
//! request there is no lock: the routing table is read through an atomic pointer, the counters are atomic.

mod balance;
mod body;
mod forward;
mod headers;
mod listener;
mod pool;
mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::api::Requests;
use crate::ids::{RevisionId, Weight};
use balance::Schedule;

pub(crate) use listener::{ListenerHandle, Proxy, bind};

/// Bounds of the proxy.
#[derive(Debug, Clone)]
pub(crate) struct ProxyLimits {
    /// How long a client may take to send a request's head (also how long an idle connection is kept).
    pub(crate) client_head: Duration,
    /// How long an instance may take to start its answer.
    pub(crate) upstream_head: Duration,
    /// How long connecting to an instance may take.
    pub(crate) connect: Duration,
}

/// One process that takes requests. A restarted instance is a new upstream, so that no connection outlives a process.
#[derive(Debug)]
pub(crate) struct Upstream {
    key: u64,
    address: SocketAddr,
    in_flight: AtomicU32,
    draining: AtomicBool,
}

impl Upstream {
    /// An upstream without requests.
    pub(crate) fn new(address: SocketAddr) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            key: NEXT.fetch_add(1, Ordering::Relaxed),
            address,
            in_flight: AtomicU32::new(0),
            draining: AtomicBool::new(false),
        })
    }

    /// From now on nobody starts a request here. Those under way go on.
    ///
    /// Sequentially consistent, like the entry of a request: either the request sees the mark and goes elsewhere, or
    /// whoever drains sees the request.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Requests under way.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::SeqCst)
    }

    fn enter(&self) -> bool {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        if self.draining.load(Ordering::SeqCst) {
            self.leave();
            return false;
        }
        true
    }

    fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Counters of a revision, kept across changes of the routing table.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    total: AtomicU64,
    failed: AtomicU64,
    proxy_failed: AtomicU64,
    retried: AtomicU64,
    in_flight: AtomicU64,
}

impl Counters {
    /// The counters as the API shows them.
    pub(crate) fn read(&self) -> Requests {
        Requests {
            total: self.total.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            proxy_failed: self.proxy_failed.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }

    fn count_proxy_failure(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.proxy_failed.fetch_add(1, Ordering::Relaxed);
    }
}

/// A revision as the proxy sees it: its available instances.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) id: RevisionId,
    pub(crate) weight: Weight,
    pub(crate) counters: Arc<Counters>,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    pub(crate) turn: AtomicUsize,
}

/// Where requests of one listener go. Replaced as a whole.
#[derive(Debug)]
pub(crate) struct Table {
    schedule: Arc<Schedule>,
    targets: Vec<Arc<Target>>,
}

impl Table {
    fn empty() -> Self {
        Self { schedule: Arc::new(Schedule::new(&[])), targets: Vec::new() }
    }

    fn shares(&self) -> impl Iterator<Item = (&RevisionId, Weight)> {
        self.targets.iter().map(|target| (&target.id, target.weight))
    }

    /// Another target that may take a request which its own revision cannot: the heaviest with an upstream left.
    fn fallback(&self, usable: impl Fn(&Arc<Target>) -> bool) -> Option<&Arc<Target>> {
        self.targets
            .iter()
            .filter(|target| !target.weight.is_zero() && usable(target))
            .max_by_key(|target| target.weight)
    }
}

/// What one listener serves: a service's address, or a revision's preview.
#[derive(Debug)]
pub(crate) struct Front {
    table: ArcSwap<Table>,
    name: String,
    limits: ProxyLimits,
    closing: watch::Sender<bool>,
}

impl Front {
    /// A front without targets. `name` is for messages, e.g. `service mail`.
    pub(crate) fn new(name: String, limits: ProxyLimits) -> Arc<Self> {
        Arc::new(Self {
            table: ArcSwap::from_pointee(Table::empty()),
            name,
            limits,
            closing: watch::Sender::new(false),
        })
    }

    /// Sends requests to these targets from now on. The round goes on where it is when the shares are unchanged.
    pub(crate) fn route(&self, targets: Vec<Arc<Target>>) {
        let before = self.table.load();
        let same = before.shares().eq(targets.iter().map(|target| (&target.id, target.weight)));
        let schedule = if same {
            Arc::clone(&before.schedule)
        } else {
            let weights: Vec<Weight> = targets.iter().map(|target| target.weight).collect();
            Arc::new(Schedule::new(&weights))
        };
        self.table.store(Arc::new(Table { schedule, targets }));
    }

    /// Asks the connections of this front to finish the request under way and close.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }
}
