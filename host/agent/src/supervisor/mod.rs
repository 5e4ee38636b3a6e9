//! The supervisor: keeps the processes of all revisions running, and the proxy informed.

mod adopt;
mod change;
mod external;
mod instance;
mod limits;
pub(crate) mod logfile;
mod model;
mod ports;
mod process;
mod readiness;
mod restore;
mod spawn;
mod watch;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::{ServiceState, StopServices};
use crate::error::AgentError;
use crate::ids::ServiceName;
use crate::proxy::{Proxy, ProxyLimits, bind};
use crate::server::ListenScope;
use crate::state::Store;
pub(crate) use change::Retired;
use instance::Goal;
use model::{Cluster, Instance, Key};

const HOUSEKEEPING_EVERY: Duration = Duration::from_millis(500);

/// What the supervisor is started with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) scope: ListenScope,
    pub(crate) workers: usize,
    pub(crate) start_attempts: u32,
    pub(crate) log_limit: u64,
    pub(crate) proxy_limits: ProxyLimits,
    /// How long connections may take to finish when the agent stops.
    pub(crate) finish: Duration,
}

/// All services, with their processes, logs and listeners.
pub(crate) struct Supervisor {
    store: Store,
    proxy: Proxy,
    /// Marks the processes of this state folder among all processes.
    token_prefix: String,
    start_attempts: u32,
    scope: ListenScope,
    log_limit: u64,
    proxy_limits: ProxyLimits,
    finish: Duration,
    cluster: Mutex<Cluster>,
}

impl Supervisor {
    /// The state folder, as an absolute path.
    pub(crate) fn state_dir(&self) -> &std::path::Path {
        self.store.dir()
    }

    /// All services as they are now.
    pub(crate) fn services(&self) -> Vec<ServiceState> {
        self.lock().services.values().map(model::Service::state).collect()
    }

    /// One service as it is now.
    pub(crate) fn service(&self, name: &ServiceName) -> Result<ServiceState, AgentError> {
        let cluster = self.lock();
        let service = cluster.services.get(name);
        service.map(model::Service::state).ok_or_else(|| AgentError::NoSuchService { service: name.clone() })
    }

    /// The folder with a service's logs.
    pub(crate) fn log_folder(&self, service: &ServiceName) -> PathBuf {
        self.store.log_folder(service)
    }

    fn lock(&self) -> MutexGuard<'_, Cluster> {
        // A panic elsewhere leaves the model as consistent as any early return does.
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ports(&self) -> BTreeSet<u16> {
        self.lock().ports()
    }

    /// Changes an instance and routes accordingly. Nothing happens when it is gone.
    fn update_instance<R>(&self, key: &Key, change: impl FnOnce(&mut Instance) -> R) -> Option<R> {
        let mut cluster = self.lock();
        let instance = cluster.instance_mut(key)?;
        let before = (instance.phase, instance.upstream.as_ref().map(Arc::as_ptr));
        let result = change(instance);
        if before != (instance.phase, instance.upstream.as_ref().map(Arc::as_ptr))
            && let Some(service) = cluster.services.get(&key.service)
        {
            service.reroute();
        }
        Some(result)
    }

    /// Forgets an instance whose process has ended, and what it was the last of.
    fn instance_gone(&self, key: &Key) {
        let mut cluster = self.lock();
        if let Some(service) = cluster.services.get_mut(&key.service)
            && let Some(revision) = service.revisions.get_mut(&key.revision)
        {
            revision.instances.remove(&key.instance);
            service.reroute();
        }
        self.forget_retired(&mut cluster, &key.service);
        if let Err(error) = self.store.save(cluster.saved()) {
            tracing::error!(%error, "the state could not be saved");
        }
    }

    /// Removes retiring revisions without instances, and a deleted service without revisions.
    fn forget_retired(&self, cluster: &mut Cluster, name: &ServiceName) {
        let Some(service) = cluster.services.get_mut(name) else { return };
        service.revisions.retain(|_, revision| {
            let stays = revision.retiring.is_none() || !revision.instances.is_empty();
            if !stays {
                revision.preview.close();
            }
            stays
        });
        service.weights.retain(|revision, _| service.revisions.contains_key(revision));
        if service.deleting && service.revisions.is_empty() {
            cluster.services.remove(name);
        }
        logfile::prune(&self.store.log_folder(name), &cluster.logs(&self.store, name));
    }

    fn save(&self) -> Result<(), AgentError> {
        // Under the lock, so that an older state can never replace a newer one.
        let cluster = self.lock();
        self.store.save(cluster.saved())
    }

    fn save_or_log(&self) {
        if let Err(error) = self.save() {
            tracing::error!(%error, "the state could not be saved");
        }
    }

    /// Bounds logs, and opens addresses that were taken when the agent started. Never ends.
    pub(crate) async fn keep_house(&self) {
        loop {
            tokio::time::sleep(HOUSEKEEPING_EVERY).await;
            let mut cluster = self.lock();
            for service in cluster.services.values_mut().filter(|s| s.listener.is_none() && !s.deleting) {
                self.open_front(service);
            }
            let logs: Vec<PathBuf> = cluster.services.keys().flat_map(|name| cluster.logs(&self.store, name)).collect();
            drop(cluster);
            for log in logs {
                if let Err(error) = logfile::rotate(&log, self.log_limit) {
                    tracing::warn!(log = %log.display(), %error, "a log could not be bounded");
                }
            }
        }
    }

    fn open_front(&self, service: &mut model::Service) {
        match bind(service.listen) {
            Ok(listener) => {
                service.listener = Some(self.proxy.listen(listener, Arc::clone(&service.front)));
                service.message = None;
            }
            Err(error) => service.message = Some(format!("cannot listen on {}: {error}", service.listen)),
        }
    }

    /// Ends the watching: processes either keep running without us, or are stopped first. Connections are finished.
    pub(crate) async fn shut_down(&self, services: StopServices) {
        let tasks: Vec<_> = {
            let mut cluster = self.lock();
            let mut tasks = Vec::new();
            for service in cluster.services.values_mut() {
                // No new connections; those that are open finish their request.
                service.listener = None;
                service.front.close();
                for revision in service.revisions.values_mut() {
                    revision.preview_listener = None;
                    revision.preview.close();
                    for instance in revision.instances.values_mut() {
                        if services == StopServices::Stop {
                            let halt = Goal::Halt { drain: self.finish };
                            instance.goal.send_if_modified(|goal| {
                                let runs = matches!(goal, Goal::Run { .. });
                                if runs {
                                    *goal = halt;
                                }
                                runs
                            });
                        }
                        tasks.extend(instance.task.take());
                    }
                }
            }
            tasks
        };
        match services {
            StopServices::Keep => {
                self.proxy.finished(self.finish).await;
                for task in tasks {
                    task.abort();
                    let _ = task.await;
                }
            }
            StopServices::Stop => {
                for task in tasks {
                    let _ = task.await;
                }
                self.proxy.finished(self.finish).await;
            }
        }
        self.save_or_log();
        self.store.release();
    }

    /// Stops watching at once, for when the agent is dropped instead of stopped.
    pub(crate) fn abandon(&self) {
        let mut cluster = self.lock();
        for service in cluster.services.values_mut() {
            service.front.close();
            for revision in service.revisions.values_mut() {
                revision.preview.close();
                revision
                    .instances
                    .values_mut()
                    .filter_map(|instance| instance.task.take())
                    .for_each(|task| task.abort());
            }
        }
        self.store.release();
        // The model holds the listeners; the aborted tasks hold us until they are gone.
        cluster.services.clear();
    }
}
