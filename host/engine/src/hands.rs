//! Carries out one effect through the plugins.

use crate::bounds;
use crate::clock::now;
use crate::convert;
use crate::drive::{Carried, Hands, Looks};
use crate::plugins::PluginSet;
use basb_core::model::Workload;
use basb_core::run::{Effect, Failure, Order, Outcome, Phase, Run, RunStart, StartMode};
use basb_core::{Millis, PluginName, RevisionId, ServiceName, Timestamp, Weight};
use basb_runtime::wit::{probe, provider};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// The shortest and the longest time between two looks at instances or traffic.
const LOOK: (Millis, Millis) = (Millis(50), Millis::secs(1));

/// Carries out effects of one run.
pub struct PluginHands {
    start: Arc<RunStart>,
    plugins: Arc<PluginSet>,
    /// Where services and revisions were last seen to be reachable.
    urls: Mutex<HashMap<(ServiceName, Option<RevisionId>), String>>,
    /// What each probe found at the stable revision.
    facts: Mutex<HashMap<(ServiceName, PluginName), BTreeMap<String, String>>>,
}

impl PluginHands {
    /// Hands for a run, as far as it has come.
    pub fn new(run: &Run, plugins: Arc<PluginSet>) -> Self {
        let facts = run.services().iter().flat_map(|(service, run)| {
            run.stable_facts().iter().map(|(probe, facts)| ((service.clone(), probe.clone()), facts.clone()))
        });
        Self {
            start: run.shared_start(),
            plugins,
            urls: Mutex::new(HashMap::new()),
            facts: Mutex::new(facts.collect()),
        }
    }

    /// The stable revision's facts, as a probe knows them: `stable.NAME`.
    fn stable_facts(&self, service: &ServiceName, probe: &PluginName) -> Vec<(String, String)> {
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let found = facts.get(&(service.clone(), probe.clone()));
        found.into_iter().flatten().map(|(name, value)| (format!("stable.{name}"), value.clone())).collect()
    }

    fn key(&self, service: &ServiceName, id: u32) -> String {
        format!("{}-{service}-{id}", self.start.run)
    }

    /// What a revision runs: the candidate's workload is in the file, the stable one's in the journal.
    fn workload(&self, service: &ServiceName, revision: &RevisionId) -> Option<&Workload> {
        let from = self.start.services.get(service)?;
        if from.candidate == *revision {
            return self.start.deployment.services.get(service).map(|s| &s.workload);
        }
        from.stable.as_ref().filter(|s| s.revision == *revision).map(|s| &*s.workload)
    }

    async fn apply(&self, service: &ServiceName, order: &Order, action: provider::Action) -> Outcome {
        let key = self.key(service, order.id);
        settle(self.plugins.apply((&key, order.id), action, order.state.clone()).await.map(convert::progress))
    }

    async fn observe(&self, service: &ServiceName, order: u32) -> Result<Option<provider::Observed>, Failure> {
        let mut observed = self.plugins.read(order, convert::service_ref(&self.start.deployment, service)).await?;
        if let Some(observed) = &mut observed {
            observed.revisions = bounds::list("revisions", std::mem::take(&mut observed.revisions))?;
            observed.url = bounds::url(observed.url.take())?;
            for revision in &mut observed.revisions {
                revision.preview_url = bounds::url(revision.preview_url.take())?;
            }
        }
        if let Some(observed) = &observed {
            let mut urls = self.urls.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(url) = &observed.url {
                urls.insert((service.clone(), None), url.clone());
            }
            for revision in &observed.revisions {
                if let (Ok(id), Some(url)) = (RevisionId::new(revision.id.clone()), &revision.preview_url) {
                    urls.insert((service.clone(), Some(id)), url.clone());
                }
            }
        }
        Ok(observed)
    }

    async fn url(&self, service: &ServiceName, order: u32, revision: Option<&RevisionId>) -> Result<String, Failure> {
        let key = (service.clone(), revision.cloned());
        let known = || self.urls.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(url) = known() {
            return Ok(url);
        }
        self.observe(service, order).await?;
        known().ok_or_else(|| Failure {
            code: "engine/no-url".to_owned(),
            message: match revision {
                Some(revision) => format!("the provider names no URL at which {revision} alone can be reached"),
                None => format!("the provider names no URL for {service}: give it a `listen` address"),
            },
            retry_after: None,
        })
    }

    async fn measure(
        &self,
        (service, order): (&ServiceName, u32),
        name: &PluginName,
        revision: Option<&RevisionId>,
        phase: Option<Phase>,
    ) -> Outcome {
        let Some(uses) = self.start.deployment.probes.get(name) else {
            return fail("engine/no-such-probe", format!("there is no probe `{name}`"));
        };
        let url = match self.url(service, order, revision).await {
            Ok(url) => url,
            Err(failure) => return Outcome::Failed { failure },
        };
        let target = probe::Target {
            service: service.to_string(),
            revision: revision.map(ToString::to_string),
            url,
            extras: if phase == Some(Phase::Readiness) { Vec::new() } else { self.stable_facts(service, name) },
        };
        match self.plugins.check(order, uses, target).await {
            Ok(measurement) => {
                let sample = convert::sample(measurement);
                if phase == Some(Phase::Readiness) {
                    let key = (service.clone(), name.clone());
                    self.facts.lock().unwrap_or_else(PoisonError::into_inner).insert(key, sample.facts.clone());
                }
                Outcome::Measured { sample }
            }
            Err(failure) => Outcome::Failed { failure },
        }
    }

    async fn await_available(
        &self,
        (service, order): (&ServiceName, u32),
        revision: &RevisionId,
        replicas: u32,
        until: Timestamp,
        looks: Looks,
    ) -> Carried {
        let mut seen = looks.seen.unwrap_or_else(|| (0, "the provider has not answered yet".to_owned()));
        let service_ref = convert::service_ref(&self.start.deployment, service);
        match self.plugins.instances(order, service_ref, revision.to_string()).await {
            Ok(report) => {
                if let Some(url) = report.preview_url.as_ref().filter(|url| bounds::url(Some((*url).clone())).is_ok()) {
                    let key = (service.clone(), Some(revision.clone()));
                    self.urls.lock().unwrap_or_else(PoisonError::into_inner).insert(key, url.clone());
                }
                if report.available >= replicas {
                    let (available, desired) = (report.available, report.desired);
                    return Carried::Came(Outcome::Available { available, desired });
                }
                let why = said(&report.instances);
                let message = format!("{} of {replicas} instances are available: {why}", report.available);
                if report.hopeless {
                    return Carried::Came(Outcome::Unavailable { available: report.available, message });
                }
                seen = (report.available, message);
            }
            // A provider that cannot be asked says nothing about the instances: ask again until the time is up.
            Err(failure) if failure.retry_after.is_some() => seen.1 = failure.message,
            Err(failure) => return Carried::Came(Outcome::Failed { failure }),
        }
        if now() >= until {
            let message = format!("no progress in time: {}", seen.1);
            return Carried::Came(Outcome::Unavailable { available: seen.0, message });
        }
        let pause = if looks.count == 0 { LOOK.0 } else { Millis(looks.pause.0 * 3 / 2).min(LOOK.1) };
        Carried::Again(Looks { count: looks.count.saturating_add(1), pause, seen: Some(seen) })
    }

    /// What the counterpart says that the candidate runs, if it was not stable before: what was is compared with what was
    /// seen then.
    fn candidates_digest(&self, service: &ServiceName, observed: &provider::Observed) -> Option<String> {
        let from = self.start.services.get(service)?;
        if from.stable.as_ref().is_some_and(|stable| stable.revision == from.candidate) {
            return None;
        }
        observed.revisions.iter().find(|r| r.id == from.candidate.as_str())?.workload_digest.clone()
    }

    fn note(&self, service: &ServiceName, digest: Option<&str>) {
        if let (Some(digest), Some(from)) = (digest, self.start.services.get(service)) {
            self.plugins.sights().note(service, &from.candidate, digest);
        }
    }

    async fn verify_traffic(
        &self,
        (service, order): (&ServiceName, u32),
        weights: &BTreeMap<RevisionId, Weight>,
        until: Timestamp,
        looks: Looks,
    ) -> Carried {
        let message = match self.observe(service, order).await {
            Ok(observed) => {
                let digest = observed.as_ref().and_then(|o| self.candidates_digest(service, o));
                let observed = observed.map(convert::observed);
                let seen: BTreeMap<RevisionId, Weight> = observed
                    .iter()
                    .flat_map(|observed| &observed.revisions)
                    .filter(|r| !r.weight.is_zero())
                    .map(|r| (r.revision.clone(), r.weight))
                    .collect();
                if seen == *weights {
                    self.note(service, digest.as_deref());
                    return Carried::Came(match self.start.version {
                        // Whoever began this run, and may take it up again, reads no more than that.
                        ..=1 => Outcome::Done { summary: "verified".to_owned() },
                        _ => Outcome::Observed { observed },
                    });
                }
                let shares: Vec<String> = seen.iter().map(|(r, w)| format!("{r} {w}")).collect();
                format!(
                    "the provider reports {}",
                    if shares.is_empty() { "none".to_owned() } else { shares.join(", ") }
                )
            }
            Err(failure) if failure.retry_after.is_some() => failure.message,
            Err(failure) => return Carried::Came(Outcome::Failed { failure }),
        };
        if now() >= until {
            return Carried::Came(Outcome::Unavailable { available: 0, message });
        }
        let pause = if looks.count == 0 { LOOK.0 } else { Millis(looks.pause.0 * 2).min(LOOK.1) };
        Carried::Again(Looks { count: looks.count.saturating_add(1), pause, seen: None })
    }
}

/// So many instances are listened to.
const MOST_SAID: usize = 100;

/// What the instances that are not available have to say; those that say the same are named together.
fn said(instances: &[provider::Instance]) -> String {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for instance in instances.iter().filter(|i| !i.available).take(MOST_SAID) {
        let message = instance.message.as_deref().unwrap_or_default();
        let text = format!("{} {message}", instance.state).trim_end().to_owned();
        let id = format!("#{}", instance.id);
        match all.iter_mut().find(|(known, _)| *known == text) {
            Some((_, ids)) => ids.push(id),
            None => all.push((text, vec![id])),
        }
    }
    let parts: Vec<String> = all.into_iter().map(|(text, ids)| format!("{} {text}", ids.join(", "))).collect();
    if parts.is_empty() { "no instance says why".to_owned() } else { bounds::text(parts.join("; ")) }
}

fn fail(code: &str, message: String) -> Outcome {
    Outcome::Failed { failure: Failure { code: code.to_owned(), message, retry_after: None } }
}

fn settle(result: Result<Outcome, Failure>) -> Outcome {
    result.unwrap_or_else(|failure| Outcome::Failed { failure })
}

impl Hands for PluginHands {
    async fn carry_out(&self, service: ServiceName, order: Order, looks: Looks) -> Carried {
        match &order.effect {
            Effect::AwaitAvailable { revision, replicas, until } => {
                self.await_available((&service, order.id), revision, *replicas, *until, looks).await
            }
            Effect::VerifyTraffic { weights, until } => {
                self.verify_traffic((&service, order.id), weights, *until, looks).await
            }
            _ => Carried::Came(self.do_it(&service, &order).await),
        }
    }
}

impl PluginHands {
    /// What is done in one go.
    async fn do_it(&self, service: &ServiceName, order: &Order) -> Outcome {
        let deployment = &self.start.deployment;
        let Some(spec) = deployment.services.get(service) else {
            return fail("engine/no-such-service", format!("there is no service `{service}`"));
        };
        let service_ref = || convert::service_ref(deployment, service);
        match &order.effect {
            Effect::Observe => settle(self.observe(service, order.id).await.map(|observed| {
                // What is adopted was rolled out by somebody else: this is the first look at it.
                if self.start.services.get(service).is_some_and(|from| from.mode == StartMode::Adopt) {
                    let digest = observed.as_ref().and_then(|o| self.candidates_digest(service, o));
                    self.note(service, digest.as_deref());
                }
                Outcome::Observed { observed: observed.map(convert::observed) }
            })),
            Effect::Probe { probe, phase } => self.measure((service, order.id), probe, None, Some(*phase)).await,
            Effect::Measure { probe, revision, .. } => {
                self.measure((service, order.id), probe, revision.as_ref(), None).await
            }
            Effect::Deploy { revision, replicas } => {
                let Some(workload) = self.workload(service, revision) else {
                    return fail("engine/no-workload", format!("what {revision} runs is not known"));
                };
                let listen = spec.listen.as_deref();
                let desired = convert::desired(deployment, service, listen, revision, workload, *replicas);
                self.apply(service, order, provider::Action::Deploy(desired)).await
            }
            Effect::Scale { revision, replicas } => {
                let scaling =
                    provider::Scaling { service: service_ref(), revision: revision.to_string(), replicas: *replicas };
                self.apply(service, order, provider::Action::Scale(scaling)).await
            }
            Effect::SetTraffic { weights } => {
                let weights = weights.iter().map(|(r, w)| (r.to_string(), w.hundredths())).collect();
                let key = self.key(service, order.id);
                let set = self.plugins.traffic((&key, order.id), service_ref(), weights, order.state.clone()).await;
                settle(set.map(convert::progress))
            }
            Effect::NextStep { view, state } => {
                let Some(uses) = deployment.strategies.get(&spec.strategy) else {
                    return fail("engine/no-such-strategy", format!("there is no strategy `{}`", spec.strategy));
                };
                let about = self.plugins.service_view(deployment, service, spec, view.stable.is_none());
                let view = convert::rollout_view(about, (**view).clone());
                settle(self.plugins.next(uses, view, state.clone()).await.map(convert::decision))
            }
            // Whoever only waits is no task; see `workers`.
            Effect::Wait { .. }
            | Effect::AwaitGate { .. }
            | Effect::AwaitAvailable { .. }
            | Effect::VerifyTraffic { .. } => Outcome::Elapsed,
            Effect::MarkStable { .. } => Outcome::Done { summary: "written down".to_owned() },
            Effect::Retire { revision } => {
                let key = self.key(service, order.id);
                let to = (service_ref(), revision.to_string());
                let retired = self.plugins.retire((&key, order.id), to, order.state.clone()).await;
                settle(retired.map(convert::progress))
            }
        }
    }
}

/// The failure of a call that could not be made at all.
pub fn call_failure(code: &str, message: String, retry: Option<Millis>) -> Failure {
    Failure { code: code.to_owned(), message, retry_after: retry }
}
