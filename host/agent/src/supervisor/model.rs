//! What the supervisor knows: services, revisions and instances, and how they are shown, saved and routed to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::instance::Goal;
use super::ports::Reserved;
use crate::api::{External, InstancePhase, InstanceState, LastExit, RevisionState, ServiceState, Workload};
use crate::ids::{InstanceId, RevisionId, ServiceName, Weight};
use crate::proxy::{Counters, Front, ListenerHandle, Target, Upstream};
use crate::state::{SavedInstance, SavedProcess, SavedRevision, SavedService, Store};

/// All services.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) services: BTreeMap<ServiceName, Service>,
}

/// Names an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) service: ServiceName,
    pub(crate) revision: RevisionId,
    pub(crate) instance: InstanceId,
}

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: ServiceName,
    pub(crate) listen: SocketAddr,
    pub(crate) version: u64,
    pub(crate) weights: BTreeMap<RevisionId, Weight>,
    pub(crate) deleting: bool,
    pub(crate) front: Arc<Front>,
    pub(crate) listener: Option<ListenerHandle>,
    pub(crate) message: Option<String>,
    pub(crate) revisions: BTreeMap<RevisionId, Revision>,
}

/// What an instance of a revision is.
#[derive(Debug, Clone)]
pub(crate) enum Runs {
    /// A process that the agent starts and keeps running.
    Here(Arc<Workload>),
    /// Somebody else's: the agent sends requests to it, and nothing more.
    Elsewhere(Arc<External>),
}

#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) runs: Runs,
    pub(crate) digest: String,
    pub(crate) replicas: u32,
    pub(crate) preview_port: u16,
    pub(crate) preview: Arc<Front>,
    pub(crate) preview_listener: Option<ListenerHandle>,
    pub(crate) counters: Arc<Counters>,
    /// Set once it retires: the bound on draining, in milliseconds.
    pub(crate) retiring: Option<u64>,
    pub(crate) instances: BTreeMap<InstanceId, Instance>,
}

#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) token: String,
    pub(crate) port: u16,
    /// Keeps its port from being given to anything else before it listens there.
    pub(crate) reserved: Option<Reserved>,
    /// Where an instance that somebody else runs was said to be; otherwise it is on the loopback port.
    pub(crate) elsewhere: Option<SocketAddr>,
    pub(crate) process: Option<SavedProcess>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) restarts: u32,
    pub(crate) proven: bool,
    pub(crate) leaving: bool,
    pub(crate) last_exit: Option<LastExit>,
    pub(crate) phase: InstancePhase,
    pub(crate) message: Option<String>,
    pub(crate) upstream: Option<Arc<Upstream>>,
    pub(crate) goal: watch::Sender<Goal>,
    pub(crate) task: Option<JoinHandle<()>>,
}

impl Cluster {
    pub(crate) fn instance_mut(&mut self, key: &Key) -> Option<&mut Instance> {
        self.services.get_mut(&key.service)?.revisions.get_mut(&key.revision)?.instances.get_mut(&key.instance)
    }

    /// Ports that are spoken for, whether or not somebody listens there at the moment.
    pub(crate) fn ports(&self) -> BTreeSet<u16> {
        let mut ports = BTreeSet::new();
        for service in self.services.values() {
            ports.insert(service.listen.port());
            for revision in service.revisions.values() {
                ports.insert(revision.preview_port);
                ports.extend(revision.instances.values().map(|instance| instance.port));
            }
        }
        ports
    }

    pub(crate) fn saved(&self) -> BTreeMap<ServiceName, SavedService> {
        self.services.iter().map(|(name, service)| (name.clone(), service.saved())).collect()
    }

    /// The log files of all instances of a service.
    pub(crate) fn logs(&self, store: &Store, name: &ServiceName) -> Vec<PathBuf> {
        let service = self.services.get(name);
        let revisions = service.iter().flat_map(|service| &service.revisions);
        revisions
            .flat_map(|(revision, facts)| {
                facts.instances.keys().map(|instance| store.log_file(name, revision, *instance))
            })
            .collect()
    }
}

impl Service {
    pub(crate) fn weight(&self, revision: &RevisionId) -> Weight {
        self.weights.get(revision).copied().unwrap_or_default()
    }

    /// Sends requests where weights and availability say now.
    pub(crate) fn reroute(&self) {
        let target = |id: &RevisionId, revision: &Revision, weight: Weight| {
            let upstreams = revision.instances.values().filter(|instance| instance.phase == InstancePhase::Available);
            Arc::new(Target {
                id: id.clone(),
                weight,
                counters: Arc::clone(&revision.counters),
                upstreams: upstreams.filter_map(|instance| instance.upstream.clone()).collect(),
                turn: AtomicUsize::new(0),
            })
        };
        let weighted = self.revisions.iter().filter(|(id, _)| !self.weight(id).is_zero());
        self.front.route(weighted.map(|(id, revision)| target(id, revision, self.weight(id))).collect());
        for (id, revision) in &self.revisions {
            revision.preview.route(vec![target(id, revision, Weight::FULL)]);
        }
    }

    pub(crate) fn state(&self) -> ServiceState {
        ServiceState {
            name: self.name.clone(),
            listen: self.listen,
            url: format!("http://{}", self.listen),
            version: self.version,
            message: if self.deleting { Some("the service is being retired".to_owned()) } else { self.message.clone() },
            revisions: self.revisions.iter().map(|(id, revision)| revision.state(id, self.weight(id))).collect(),
        }
    }

    fn saved(&self) -> SavedService {
        SavedService {
            listen: self.listen,
            version: self.version,
            weights: self.weights.clone(),
            deleting: self.deleting,
            revisions: self.revisions.iter().map(|(id, revision)| (id.clone(), revision.saved())).collect(),
        }
    }
}

impl Revision {
    /// Instances that take requests.
    pub(crate) fn available(&self) -> u32 {
        let available = self.instances.values().filter(|instance| instance.phase == InstancePhase::Available);
        u32::try_from(available.count()).unwrap_or(u32::MAX)
    }

    /// Ids of the instances that are to stay.
    pub(crate) fn staying(&self) -> Vec<InstanceId> {
        self.instances.iter().filter(|(_, instance)| !instance.leaving).map(|(id, _)| *id).collect()
    }

    pub(crate) fn preview_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.preview_port))
    }

    fn state(&self, id: &RevisionId, weight: Weight) -> RevisionState {
        RevisionState {
            id: id.clone(),
            desired: if self.retiring.is_some() { 0 } else { self.replicas },
            available: self.available(),
            weight,
            preview_url: format!("http://{}", self.preview_address()),
            external: matches!(self.runs, Runs::Elsewhere(_)),
            workload_digest: self.digest.clone(),
            requests: self.counters.read(),
            retiring: self.retiring.is_some(),
            instances: self.instances.iter().map(|(id, instance)| instance.state(*id)).collect(),
        }
    }

    fn saved(&self) -> SavedRevision {
        SavedRevision {
            workload: match &self.runs {
                Runs::Here(workload) => Some(Workload::clone(workload)),
                Runs::Elsewhere(_) => None,
            },
            external: match &self.runs {
                Runs::Here(_) => None,
                Runs::Elsewhere(external) => Some(External::clone(external)),
            },
            replicas: self.replicas,
            preview_port: self.preview_port,
            retiring: self.retiring,
            instances: self.instances.iter().map(|(id, instance)| (*id, instance.saved())).collect(),
        }
    }
}

impl Instance {
    /// An instance that has yet to be started.
    pub(crate) fn fresh() -> Self {
        Self {
            token: String::new(),
            port: 0,
            reserved: None,
            elsewhere: None,
            process: None,
            started_at: None,
            restarts: 0,
            proven: false,
            leaving: false,
            last_exit: None,
            phase: InstancePhase::Starting,
            message: None,
            upstream: None,
            goal: watch::Sender::new(Goal::Run { attempt: 0 }),
            task: None,
        }
    }

    /// An instance as an agent before us left it.
    pub(crate) fn restored(saved: SavedInstance) -> Self {
        Self {
            token: saved.token,
            port: saved.port,
            // It may have been started a moment ago, by an agent that was killed.
            reserved: Some(saved.port).filter(|port| *port != 0).and_then(Reserved::take),
            elsewhere: saved.elsewhere,
            process: saved.process,
            started_at: saved.started_at,
            restarts: saved.restarts,
            proven: saved.proven,
            leaving: saved.leaving,
            last_exit: saved.last_exit,
            ..Self::fresh()
        }
    }

    /// An instance that somebody else runs, or is about to run, there.
    pub(crate) fn elsewhere(port: u16, address: Option<SocketAddr>) -> Self {
        Self { port, elsewhere: address, ..Self::fresh() }
    }

    /// Where it takes requests.
    pub(crate) fn address(&self) -> SocketAddr {
        self.elsewhere.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))
    }

    /// Takes a process over that an agent before us started.
    ///
    /// One that has served before is taken to serve still, until a check says otherwise: waiting for the check would
    /// answer 503 to everybody in the meantime.
    pub(crate) fn adopt(&mut self) {
        let address = self.address();
        self.upstream.get_or_insert_with(|| Upstream::new(address));
        self.phase = if self.proven { InstancePhase::Available } else { InstancePhase::Starting };
    }

    fn state(&self, id: InstanceId) -> InstanceState {
        InstanceState {
            id,
            pid: self.process.map(|process| process.pid),
            port: self.port,
            address: self.elsewhere,
            state: self.phase,
            restarts: self.restarts,
            started_at: self.started_at,
            last_exit: self.last_exit.clone(),
            message: self.message.clone(),
        }
    }

    fn saved(&self) -> SavedInstance {
        SavedInstance {
            token: self.token.clone(),
            port: self.port,
            elsewhere: self.elsewhere,
            process: self.process,
            started_at: self.started_at,
            restarts: self.restarts,
            proven: self.proven,
            leaving: self.leaving,
            last_exit: self.last_exit.clone(),
        }
    }
}

/// The digest of what runs: `sha256:` of its JSON, whose fields and map keys have one order. Of what somebody else runs
/// only the check counts: addresses are those of instances, which come and go.
pub(crate) fn digest(runs: &Runs) -> String {
    let text = match runs {
        Runs::Here(workload) => serde_json::to_vec(workload.as_ref()),
        Runs::Elsewhere(external) => {
            serde_json::to_vec(&External { addresses: BTreeMap::new(), ..External::clone(external) })
        }
    };
    let text = text.unwrap_or_default();
    let hash = Sha256::digest(&text);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
