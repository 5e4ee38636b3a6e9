//! What callers may change: services, revisions, traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Supervisor;
use super::external;
use super::instance::{self, Goal};
use super::model::{Cluster, Instance, Key, Revision, Runs, Service, digest};
use super::ports;
use super::process::Process;
use crate::api::{External, InstancePhase, PutRevision, PutService, PutTraffic, Ready, ServiceState, Workload};
use crate::error::AgentError;
use crate::ids::{InstanceId, RevisionId, ServiceName, Weight};
use crate::proxy::{Counters, Front, bind};
use crate::server::ListenScope;

/// Instances per revision: one machine, one user's patience.
const MOST_REPLICAS: u32 = 64;

/// How long an instance that is scaled away may take to finish its requests.
const SCALE_DRAIN: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Creates a service, or moves it to another address.
    pub(crate) fn put_service(
        self: &Arc<Self>,
        name: &ServiceName,
        put: &PutService,
    ) -> Result<ServiceState, AgentError> {
        let address = put.listen;
        if self.scope == ListenScope::Loopback && !address.ip().is_loopback() {
            return Err(AgentError::NotLoopback { service: name.clone(), address });
        }
        let mut cluster = self.lock();
        let existing = cluster.services.get(name);
        if existing.is_some_and(|service| service.deleting) {
            return Err(AgentError::Retiring { what: format!("service `{name}`") });
        }
        let unchanged = existing.is_some_and(|service| {
            service.listener.is_some()
                && (service.listen == address || (address.port() == 0 && service.listen.ip() == address.ip()))
        });
        if !unchanged {
            let holder = cluster.services.values().find(|service| service.listen == address && service.name != *name);
            let what = || format!("service `{name}`");
            if let Some(holder) = holder {
                let why = format!("service `{}` has this address", holder.name);
                return Err(AgentError::PortInUse { address, what: what(), why });
            }
            let listener = bind(address).map_err(|error| match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    AgentError::PortInUse { address, what: what(), why: error.to_string() }
                }
                _ => {
                    AgentError::InvalidRequest { why: format!("service `{name}` cannot listen on {address}: {error}") }
                }
            })?;
            let address = listener.local_addr().unwrap_or(address);
            let service =
                cluster.services.entry(name.clone()).or_insert_with(|| self.new_service(name.clone(), address));
            service.listen = address;
            service.message = None;
            service.listener = Some(self.proxy.listen(listener, Arc::clone(&service.front)));
            self.store.save(cluster.saved())?;
        }
        state(&cluster, name)
    }

    pub(super) fn new_service(&self, name: ServiceName, listen: SocketAddr) -> Service {
        Service {
            front: Front::new(format!("service {name}"), self.proxy_limits.clone()),
            name,
            listen,
            version: 0,
            weights: BTreeMap::new(),
            deleting: false,
            listener: None,
            message: None,
            revisions: BTreeMap::new(),
        }
    }

    /// Creates a revision, or scales it.
    pub(crate) fn put_revision(
        self: &Arc<Self>,
        name: &ServiceName,
        id: &RevisionId,
        put: PutRevision,
    ) -> Result<ServiceState, AgentError> {
        let given = self.given(&put)?;
        if put.replicas > MOST_REPLICAS {
            let why = format!("replicas is {}, at most {MOST_REPLICAS} are supervised", put.replicas);
            return Err(AgentError::InvalidRequest { why });
        }
        let mut cluster = self.lock();
        let mut taken = cluster.ports();
        let service = live(&mut cluster, name)?;
        let weight = service.weight(id);
        let before = service.revisions.get(id).map(|revision| (revision.runs.clone(), revision.replicas));
        if let Some(revision) = service.revisions.get_mut(id) {
            if revision.retiring.is_some() {
                return Err(AgentError::Retiring { what: format!("revision `{id}` of service `{name}`") });
            }
            if let Some(given) = given.as_ref().map(digest).filter(|given| *given != revision.digest) {
                let (service, revision, existing) = (name.clone(), id.clone(), revision.digest.clone());
                return Err(AgentError::RevisionImmutable { service, revision, existing, given });
            }
            if put.replicas == 0 && !weight.is_zero() {
                return Err(has_traffic(name, id, weight));
            }
            if let Some(Runs::Elsewhere(external)) = &given {
                keeps_addresses(revision, external)?;
                // Instances that are still to come are where this says.
                revision.runs = Runs::Elsewhere(Arc::clone(external));
            }
            revision.replicas = put.replicas;
        } else {
            let runs =
                given.ok_or_else(|| AgentError::NoSuchRevision { service: name.clone(), revision: id.clone() })?;
            let reserved = ports::free(&taken).ok_or_else(|| AgentError::InvalidRequest {
                why: "no loopback port is free for the preview".to_owned(),
            })?;
            taken.insert(reserved.port());
            let mut revision = self.new_revision(name, id, runs, put.replicas, reserved.port());
            self.open_preview(name, id, &mut revision, &taken)?;
            service.revisions.insert(id.clone(), revision);
        }
        if let Err(error) = self.scale(service, id, &mut taken) {
            match (service.revisions.get_mut(id), before) {
                (Some(revision), Some(before)) => (revision.runs, revision.replicas) = before,
                _ => drop(service.revisions.remove(id)),
            }
            return Err(error);
        }
        self.store.save(cluster.saved())?;
        state(&cluster, name)
    }

    pub(super) fn new_revision(
        &self,
        name: &ServiceName,
        id: &RevisionId,
        runs: Runs,
        replicas: u32,
        preview_port: u16,
    ) -> Revision {
        Revision {
            digest: digest(&runs),
            runs,
            replicas,
            preview_port,
            preview: Front::new(format!("preview of revision {id} of service {name}"), self.proxy_limits.clone()),
            preview_listener: None,
            counters: Arc::new(Counters::default()),
            retiring: None,
            instances: BTreeMap::new(),
        }
    }

    /// Opens a revision's preview on its port, or on another one when that is taken.
    pub(super) fn open_preview(
        &self,
        name: &ServiceName,
        id: &RevisionId,
        revision: &mut Revision,
        taken: &BTreeSet<u16>,
    ) -> Result<(), AgentError> {
        let listener = bind(revision.preview_address()).or_else(|error| {
            let reserved = ports::free(taken).ok_or(error)?;
            revision.preview_port = reserved.port();
            bind(revision.preview_address())
        });
        let listener = listener.map_err(|error| AgentError::PortInUse {
            address: revision.preview_address(),
            what: format!("the preview of revision `{id}` of service `{name}`"),
            why: error.to_string(),
        })?;
        revision.preview_listener = Some(self.proxy.listen(listener, Arc::clone(&revision.preview)));
        Ok(())
    }

    /// Brings the number of instances to what is wanted, and gives failed ones another chance.
    fn scale(
        self: &Arc<Self>,
        service: &mut Service,
        id: &RevisionId,
        taken: &mut BTreeSet<u16>,
    ) -> Result<(), AgentError> {
        let name = service.name.clone();
        let Some(revision) = service.revisions.get_mut(id) else { return Ok(()) };
        let wanted = usize::try_from(revision.replicas).unwrap_or(usize::MAX);
        let staying = revision.staying();
        // First everything that can be refused, so that nothing is half done.
        let mut fresh = Vec::new();
        let unused = (0..).map(InstanceId).filter(|number| !revision.instances.contains_key(number));
        for number in unused.take(wanted.saturating_sub(staying.len())) {
            let instance = match &revision.runs {
                Runs::Here(_) => Instance::fresh(),
                Runs::Elsewhere(external) => expected((&name, id), external, number, taken)?,
            };
            fresh.push((number, instance));
        }
        for instance in revision.instances.values_mut().filter(|i| i.phase == InstancePhase::Failed) {
            instance.goal.send_modify(|goal| {
                if let Goal::Run { attempt } = goal {
                    *attempt += 1;
                }
            });
            instance.phase = InstancePhase::Starting;
        }
        for leaving in staying.iter().skip(wanted) {
            if let Some(instance) = revision.instances.get_mut(leaving) {
                instance.leaving = true;
                instance.goal.send_replace(Goal::Retire { drain: SCALE_DRAIN });
            }
        }
        for (instance, fresh) in fresh {
            let key = Key { service: name.clone(), revision: id.clone(), instance };
            let started = self.watched(key, revision.runs.clone(), fresh, None);
            revision.instances.insert(instance, started);
        }
        Ok(())
    }

    /// Gives an instance its task. The task waits for the model's lock, so it starts once the caller is done.
    pub(super) fn watched(
        self: &Arc<Self>,
        key: Key,
        runs: Runs,
        mut instance: Instance,
        process: Option<Process>,
    ) -> Instance {
        let goal = instance.goal.subscribe();
        instance.task = Some(match runs {
            Runs::Here(workload) => tokio::spawn(instance::run(Arc::clone(self), key, workload, goal, process)),
            Runs::Elsewhere(external) => tokio::spawn(external::run(Arc::clone(self), key, external, goal)),
        });
        instance
    }

    /// What a request wants to run, if it says so.
    fn given(&self, put: &PutRevision) -> Result<Option<Runs>, AgentError> {
        match (&put.workload, &put.external) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => {
                let why = "a revision has either a `workload` or `external` instances, not both".to_owned();
                Err(AgentError::InvalidRequest { why })
            }
            (Some(workload), None) => {
                check_workload(workload)?;
                Ok(Some(Runs::Here(Arc::new(workload.clone()))))
            }
            (None, Some(external)) => {
                check_ready(external.ready.as_ref(), "external")?;
                for (instance, address) in &external.addresses {
                    let here = address.ip().is_loopback() || self.scope == ListenScope::Any;
                    if !here || address.port() == 0 {
                        let why = format!(
                            "external.addresses has {address} for instance {instance}; it must be a port of a loopback address"
                        );
                        return Err(AgentError::InvalidRequest { why });
                    }
                }
                Ok(Some(Runs::Elsewhere(Arc::new(external.clone()))))
            }
        }
    }

    /// Sets the weights of a service's revisions, all at once.
    pub(crate) fn put_traffic(&self, name: &ServiceName, put: PutTraffic) -> Result<ServiceState, AgentError> {
        let mut cluster = self.lock();
        let service = live(&mut cluster, name)?;
        if let Some(expected) = put.expect_version
            && expected != service.version
        {
            return Err(AgentError::VersionConflict { service: name.clone(), expected, actual: service.version });
        }
        let sum: u32 = put.weights.values().map(|weight| u32::from(weight.hundredths())).sum();
        if sum != 0 && sum != u32::from(Weight::FULL.hundredths()) {
            let why = format!("the weights sum to {sum}; they must sum to 10000 (or be zero, for no traffic)");
            return Err(AgentError::InvalidRequest { why });
        }
        for (id, weight) in &put.weights {
            let revision = service.revisions.get(id).ok_or_else(|| no_revision(name, id))?;
            if weight.is_zero() {
                continue;
            }
            if revision.retiring.is_some() {
                return Err(AgentError::Retiring { what: format!("revision `{id}` of service `{name}`") });
            }
            if revision.available() == 0 {
                let said = revision.instances.values().find_map(|instance| instance.message.as_deref());
                let detail = said.map(|message| format!(": {message}")).unwrap_or_default();
                return Err(AgentError::NoAvailableInstance { service: name.clone(), revision: id.clone(), detail });
            }
        }
        let weights: BTreeMap<_, _> = put.weights.into_iter().filter(|(_, weight)| !weight.is_zero()).collect();
        if weights != service.weights {
            let before = (std::mem::replace(&mut service.weights, weights), service.version);
            service.version += 1;
            // Saved first: traffic must not move further than what a restart would restore.
            if let Err(error) = self.store.save(cluster.saved()) {
                if let Some(service) = cluster.services.get_mut(name) {
                    (service.weights, service.version) = before;
                }
                return Err(error);
            }
            if let Some(service) = cluster.services.get(name) {
                service.reroute();
            }
        }
        state(&cluster, name)
    }

    /// Retires a revision without traffic. Returns the service, or nothing when the revision is gone already.
    pub(crate) fn retire_revision(
        &self,
        name: &ServiceName,
        id: &RevisionId,
        drain: Duration,
    ) -> Result<Retired, AgentError> {
        let mut cluster = self.lock();
        let Some(service) = cluster.services.get_mut(name) else {
            return Err(AgentError::NoSuchService { service: name.clone() });
        };
        let weight = service.weight(id);
        if !weight.is_zero() {
            return Err(has_traffic(name, id, weight));
        }
        let Some(revision) = service.revisions.get_mut(id) else {
            return Ok(Retired::Already(service.state()));
        };
        retire(revision, drain);
        let leaving = service.state();
        self.forget_retired(&mut cluster, name);
        self.store.save(cluster.saved())?;
        Ok(Retired::Leaving(leaving))
    }

    /// Retires a service with everything in it. Returns its state, or nothing when there is no such service.
    pub(crate) fn delete_service(
        &self,
        name: &ServiceName,
        drain: Duration,
    ) -> Result<Option<ServiceState>, AgentError> {
        let mut cluster = self.lock();
        let Some(service) = cluster.services.get_mut(name) else { return Ok(None) };
        service.deleting = true;
        service.listener = None;
        service.front.close();
        service.weights.clear();
        for revision in service.revisions.values_mut() {
            retire(revision, drain);
        }
        let leaving = service.state();
        self.forget_retired(&mut cluster, name);
        self.store.save(cluster.saved())?;
        Ok(Some(leaving))
    }
}

/// What became of a revision that is to be retired.
#[derive(Debug)]
pub(crate) enum Retired {
    /// There is no such revision (any more).
    Already(ServiceState),
    /// It drains and stops.
    Leaving(ServiceState),
}

fn retire(revision: &mut Revision, drain: Duration) {
    revision.retiring = Some(u64::try_from(drain.as_millis()).unwrap_or(u64::MAX));
    // The preview takes no new connections; requests under way are finished.
    revision.preview_listener = None;
    for instance in revision.instances.values_mut().filter(|instance| !instance.leaving) {
        instance.leaving = true;
        instance.goal.send_replace(Goal::Retire { drain });
    }
}

fn state(cluster: &Cluster, name: &ServiceName) -> Result<ServiceState, AgentError> {
    cluster.services.get(name).map(Service::state).ok_or_else(|| AgentError::NoSuchService { service: name.clone() })
}

fn live<'a>(cluster: &'a mut Cluster, name: &ServiceName) -> Result<&'a mut Service, AgentError> {
    match cluster.services.get_mut(name) {
        None => Err(AgentError::NoSuchService { service: name.clone() }),
        Some(service) if service.deleting => Err(AgentError::Retiring { what: format!("service `{name}`") }),
        Some(service) => Ok(service),
    }
}

fn no_revision(service: &ServiceName, revision: &RevisionId) -> AgentError {
    AgentError::NoSuchRevision { service: service.clone(), revision: revision.clone() }
}

fn has_traffic(service: &ServiceName, revision: &RevisionId, weight: Weight) -> AgentError {
    AgentError::RevisionHasTraffic { service: service.clone(), revision: revision.clone(), weight: weight.to_string() }
}

fn check_workload(workload: &Workload) -> Result<(), AgentError> {
    let invalid = |why: String| Err(AgentError::InvalidRequest { why });
    if workload.command.first().is_none_or(String::is_empty) {
        return invalid("workload.command is empty".to_owned());
    }
    for name in workload.env.keys() {
        let head = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !head || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return invalid(format!("workload.env has `{name}`; names are [A-Za-z_][A-Za-z0-9_]*"));
        }
    }
    let texts = workload.command.iter().chain(workload.env.values()).chain(&workload.working_folder);
    if texts.into_iter().any(|text| text.contains('\0')) {
        return invalid("workload has a zero byte in a text".to_owned());
    }
    check_ready(workload.ready.as_ref(), "workload")
}

fn check_ready(ready: Option<&Ready>, of: &str) -> Result<(), AgentError> {
    if let Some(path) = ready.and_then(|ready| ready.path.as_deref())
        && (!path.starts_with('/') || path.parse::<http::Uri>().is_err())
    {
        let why = format!("{of}.ready.path is `{path}`; it must be a path such as /healthz");
        return Err(AgentError::InvalidRequest { why });
    }
    Ok(())
}

/// An instance that somebody else runs: where it was said to be, or on a port that nobody has.
fn expected(
    (service, revision): (&ServiceName, &RevisionId),
    external: &External,
    number: InstanceId,
    taken: &mut BTreeSet<u16>,
) -> Result<Instance, AgentError> {
    let Some(address) = external.addresses.get(&number) else {
        let reserved = ports::free(taken).ok_or_else(|| AgentError::InvalidRequest {
            why: "no loopback port is free for an external instance".to_owned(),
        })?;
        let port = reserved.port();
        taken.insert(port);
        return Ok(Instance { reserved: Some(reserved), ..Instance::elsewhere(port, None) });
    };
    if address.ip().is_loopback() && !taken.insert(address.port()) {
        return Err(AgentError::PortInUse {
            address: *address,
            what: format!("instance {number} of revision `{revision}` of service `{service}`"),
            why: "another instance, preview or service of this agent has this port".to_owned(),
        });
    }
    Ok(Instance::elsewhere(address.port(), Some(*address)))
}

/// An instance that is there stays where it is: requests may be under way to it.
fn keeps_addresses(revision: &Revision, external: &External) -> Result<(), AgentError> {
    let moved = external.addresses.iter().find_map(|(number, address)| {
        let there = revision.instances.get(number).filter(|instance| !instance.leaving)?.address();
        (there != *address).then_some((number, there, address))
    });
    match moved {
        None => Ok(()),
        Some((number, there, address)) => Err(AgentError::InvalidRequest {
            why: format!("instance {number} is at {there} and cannot move to {address}: scale it away first"),
        }),
    }
}
