//! Carrying on where an agent before us stopped, whether it said goodbye or not.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::instance::Goal;
use super::model::{Cluster, Instance, Key, Runs};
use super::process::Process;
use super::{Settings, Supervisor, adopt};
use crate::error::AgentError;
use crate::ids::ServiceName;
use crate::proxy::Proxy;
use crate::state::{Saved, SavedInstance, SavedProcess, SavedRevision, SavedService, Store};

/// How long an instance that was on its way out when the agent stopped may still take to drain.
const LATE_DRAIN: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Takes the state folder over: adopts what runs, restarts what does not, opens the addresses.
    pub(crate) fn restore(state_dir: &Path, settings: Settings) -> Result<Arc<Self>, AgentError> {
        let store = Store::open(state_dir)?;
        let saved = store.load()?;
        let proxy =
            Proxy::start(settings.workers).map_err(|error| AgentError::io("start the proxy of", state_dir, error))?;
        let supervisor = Arc::new(Self {
            token_prefix: token_prefix(store.dir()),
            store,
            proxy,
            start_attempts: settings.start_attempts.max(1),
            scope: settings.scope,
            log_limit: settings.log_limit,
            proxy_limits: settings.proxy_limits,
            finish: settings.finish,
            cluster: Mutex::new(Cluster::default()),
        });
        supervisor.stop_strays(&saved);
        let same_boot = saved.boot_id == supervisor.store.boot_id();
        let taken = ports_of(&saved);
        {
            let mut cluster = supervisor.lock();
            for (name, service) in saved.services {
                supervisor.restore_service(&mut cluster, name, service, same_boot, &taken);
            }
            let names: Vec<ServiceName> = cluster.services.keys().cloned().collect();
            for name in &names {
                supervisor.forget_retired(&mut cluster, name);
            }
        }
        supervisor.save()?;
        Ok(supervisor)
    }

    fn restore_service(
        self: &Arc<Self>,
        cluster: &mut Cluster,
        name: ServiceName,
        saved: SavedService,
        same_boot: bool,
        taken: &BTreeSet<u16>,
    ) {
        let mut service = self.new_service(name.clone(), saved.listen);
        service.version = saved.version;
        service.weights = saved.weights;
        service.deleting = saved.deleting;
        for (id, facts) in saved.revisions {
            let SavedRevision { workload, external, replicas, preview_port, retiring, instances } = facts;
            let runs = match (workload, external) {
                (Some(workload), _) => Runs::Here(Arc::new(workload)),
                (None, external) => Runs::Elsewhere(Arc::new(external.unwrap_or_default())),
            };
            let mut revision = self.new_revision(&name, &id, runs, replicas, preview_port);
            revision.retiring = retiring;
            if retiring.is_none()
                && let Err(error) = self.open_preview(&name, &id, &mut revision, taken)
            {
                tracing::warn!(%error, "a preview could not be opened");
            }
            for (number, saved) in instances {
                let key = Key { service: name.clone(), revision: id.clone(), instance: number };
                let process = if same_boot { living(&saved) } else { None };
                let mut instance = Instance::restored(saved);
                instance.process = process.as_ref().map(Process::saved);
                if instance.leaving {
                    instance.goal.send_replace(Goal::Retire { drain: LATE_DRAIN });
                } else if process.is_some() || matches!(revision.runs, Runs::Elsewhere(_)) {
                    instance.adopt();
                }
                let runs = revision.runs.clone();
                revision.instances.insert(number, self.watched(key, runs, instance, process));
            }
            service.revisions.insert(id, revision);
        }
        // The address opens last, when there is somewhere to send requests to.
        service.reroute();
        if !service.deleting {
            self.open_front(&mut service);
        }
        cluster.services.insert(name, service);
    }

    /// Stops processes that carry a token of this state folder which the state does not know: nobody would ever stop
    /// them otherwise.
    fn stop_strays(&self, saved: &Saved) {
        let instances = saved.services.values().flat_map(|s| s.revisions.values()).flat_map(|r| r.instances.values());
        let known: BTreeSet<&str> = instances.map(|instance| instance.token.as_str()).collect();
        for (pid, start_time, token) in adopt::with_prefix(&format!("{}.", self.token_prefix)) {
            if !known.contains(token.as_str())
                && let Some(stray) = Process::adopt(SavedProcess { pid, start_time }, &token)
            {
                tracing::warn!(pid, token, "a process that no instance accounts for is stopped");
                stray.kill();
                tokio::spawn(async move { stray.exited().await });
            }
        }
    }
}

/// The living process of a saved instance: the one that was written down, or the one that carries its token (when the
/// agent died between starting it and writing that down).
fn living(saved: &SavedInstance) -> Option<Process> {
    match saved.process {
        Some(process) => Process::adopt(process, &saved.token),
        None if saved.token.is_empty() => None,
        None => {
            let (pid, start_time) = adopt::leader_with_token(&saved.token)?;
            Process::adopt(SavedProcess { pid, start_time }, &saved.token)
        }
    }
}

fn ports_of(saved: &Saved) -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    for service in saved.services.values() {
        ports.insert(service.listen.port());
        for revision in service.revisions.values() {
            ports.insert(revision.preview_port);
            ports.extend(revision.instances.values().map(|instance| instance.port));
        }
    }
    ports
}

/// Made from the folder's path alone, so that it is known even when the state file is not readable.
fn token_prefix(state_dir: &Path) -> String {
    let hash = Sha256::digest(state_dir.as_os_str().as_encoded_bytes());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
