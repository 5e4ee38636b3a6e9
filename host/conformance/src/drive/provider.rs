//! What is asked of a provider: what a release, its way back and a look from outside ask for.

use super::{Driver, End, Failed, POLL, PROGRESS, json};
use crate::counterpart::Sent;
use crate::file::{ProviderScenario, RequestFile};
use basb_core::{Digest, Millis, RevisionId};
use basb_runtime::wit::provider::{
    Action, Desired, Info, InstanceReport, Observed, Outcome, Progress, Readiness, Scaling, ServicePlan, Workload,
};
use basb_runtime::wit::types::{self, ServiceRef};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json as object};
use std::collections::BTreeMap;
use url::Url;

/// So often is looked until what should be there is there.
const LOOKS: u32 = 60;

/// The name of the note that says what was there before the drift.
const BEFORE: &str = "before the drift";

/// The time between two looks.
const LOOK: Millis = Millis::secs(1);

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepName {
    /// What can it do?
    Describe,
    /// What would deploying the first revision do?
    Plan,
    /// The first revision.
    DeployA,
    /// Its instances come up.
    AwaitA,
    /// All of the traffic to it, verified.
    TrafficA,
    /// What would deploying it once more do? Nothing.
    PlanAgain,
    /// The second revision.
    DeployB,
    /// Its instances come up.
    AwaitB,
    /// A tenth of the traffic to it, verified.
    #[serde(rename = "traffic-10")]
    Traffic10,
    /// Half of the traffic to it, verified.
    #[serde(rename = "traffic-50")]
    Traffic50,
    /// All of the traffic to it, verified.
    #[serde(rename = "traffic-100")]
    Traffic100,
    /// One instance more of it.
    Scale,
    /// They come up.
    AwaitScaled,
    /// The first revision goes.
    RetireA,
    /// The first revision is gone.
    GoneA,
    /// A third revision, given up while it is under way.
    Cancel,
    /// And cleared away.
    RetireC,
    /// The third revision is gone.
    GoneC,
    /// Somebody changes it behind the host's back: that is seen.
    Drift,
    /// And put right.
    Repair,
    /// What a host sees that knows nothing of it.
    Import,
}

impl StepName {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Describe,
        Self::Plan,
        Self::DeployA,
        Self::AwaitA,
        Self::TrafficA,
        Self::PlanAgain,
        Self::DeployB,
        Self::AwaitB,
        Self::Traffic10,
        Self::Traffic50,
        Self::Traffic100,
        Self::Scale,
        Self::AwaitScaled,
        Self::RetireA,
        Self::GoneA,
        Self::Cancel,
        Self::RetireC,
        Self::GoneC,
        Self::Drift,
        Self::Repair,
        Self::Import,
    ];

    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Plan => "plan",
            Self::DeployA => "deploy-a",
            Self::AwaitA => "await-a",
            Self::TrafficA => "traffic-a",
            Self::PlanAgain => "plan-again",
            Self::DeployB => "deploy-b",
            Self::AwaitB => "await-b",
            Self::Traffic10 => "traffic-10",
            Self::Traffic50 => "traffic-50",
            Self::Traffic100 => "traffic-100",
            Self::Scale => "scale",
            Self::AwaitScaled => "await-scaled",
            Self::RetireA => "retire-a",
            Self::GoneA => "gone-a",
            Self::Cancel => "cancel",
            Self::RetireC => "retire-c",
            Self::GoneC => "gone-c",
            Self::Drift => "drift",
            Self::Repair => "repair",
            Self::Import => "import",
        }
    }
}

/// The steps of a scenario.
#[must_use]
pub fn steps(scenario: &ProviderScenario) -> Vec<StepName> {
    if !scenario.steps.is_empty() {
        return scenario.steps.clone();
    }
    let all = StepName::ALL.into_iter();
    let drifts = scenario.drift.is_some();
    all.filter(|step| drifts || !matches!(step, StepName::Drift | StepName::Repair)).collect()
}

/// The id of a revision: as a host would name it.
fn revision(release: &str) -> String {
    RevisionId::of(&Digest::of(format!("conformance {release}").as_bytes())).to_string()
}

pub(super) fn service() -> ServiceRef {
    ServiceRef { deployment: "kit".to_owned(), environment: "test".to_owned(), service: "capture".to_owned() }
}

/// Weights by revision.
type Weights = Vec<(String, u16)>;

/// One step.
pub async fn step(driver: &mut Driver<'_>, scenario: &ProviderScenario, step: StepName) -> End {
    let (a, b, c) = (revision("a"), revision("b"), revision("c"));
    let n = scenario.replicas;
    // Who cannot be scaled keeps the number that it was deployed with.
    let is_scaled = scenario.steps.is_empty() || scenario.steps.contains(&StepName::Scale);
    let at_last = if is_scaled { n + 1 } else { n };
    let end = match step {
        StepName::Describe => driver.describe().await,
        StepName::Plan => driver.plan(scenario, "a", Expect::Something).await,
        StepName::PlanAgain => driver.plan(scenario, "a", Expect::Nothing).await,
        StepName::DeployA => driver.deploy(scenario, "a").await,
        StepName::DeployB => driver.deploy(scenario, "b").await,
        StepName::AwaitA => driver.await_available(&a, n).await,
        StepName::AwaitB => driver.await_available(&b, n).await,
        StepName::AwaitScaled => driver.await_available(&b, at_last).await,
        StepName::TrafficA => driver.traffic(vec![(a, 10_000)]).await,
        StepName::Traffic10 => driver.traffic(vec![(a, 9_000), (b, 1_000)]).await,
        StepName::Traffic50 => driver.traffic(vec![(a, 5_000), (b, 5_000)]).await,
        StepName::Traffic100 => driver.traffic(vec![(b, 10_000)]).await,
        StepName::Scale => driver.scale(&b, n + 1).await,
        StepName::RetireA => driver.retire(&a).await,
        StepName::GoneA => driver.gone(&a).await,
        StepName::Cancel => driver.cancel(scenario).await,
        StepName::RetireC => driver.retire(&c).await,
        StepName::GoneC => driver.gone(&c).await,
        StepName::Drift => driver.drift(scenario, (&a, &b, &c)).await,
        StepName::Repair => driver.repair(scenario, &b, at_last).await,
        StepName::Import => driver.import(&b).await,
    };
    driver.keep_time();
    end.unwrap_or_else(|end| end)
}

/// What a plan must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Something,
    Nothing,
}

type Step = Result<End, End>;

fn done(what: impl Into<Value>) -> Step {
    Ok(End::Done(what.into()))
}

/// What two runs must agree about of what is there. How many instances are available is a matter of the moment.
fn seen(observed: Option<&Observed>) -> Value {
    let Some(observed) = observed else { return Value::Null };
    let mut revisions: Vec<Value> =
        observed.revisions.iter().map(|r| object!({ "id": r.id, "desired": r.desired, "weight": r.weight })).collect();
    revisions.sort_by_key(Value::to_string);
    object!({ "revisions": revisions, "url": observed.url.is_some() })
}

impl Driver<'_> {
    pub(super) fn config(&self) -> String {
        self.stage().config.clone()
    }

    async fn describe(&mut self) -> Step {
        let config = self.config();
        let info: Info = self.call("describe", None, &config, |_| "null".to_owned()).await.map_err(Failed::end)?;
        done(object!({ "abilities": info.abilities, "granularity": info.weight_granularity }))
    }

    /// A read, tried again as the engine does.
    async fn asked<T: serde::de::DeserializeOwned>(
        &mut self,
        function: &str,
        args: impl Fn(types::CallContext) -> String,
    ) -> Result<T, End> {
        let config = self.config();
        let mut attempt = 1;
        loop {
            let faults = self.stage().door.faults();
            let called: Result<Result<Value, types::Failure>, Failed> = self.call(function, None, &config, &args).await;
            let failed = match called {
                Ok(Ok(value)) => {
                    if self.stage().door.faults() > faults {
                        self.must_be_true(function, &args, &value).await?;
                    }
                    return serde_json::from_value(value).map_err(|e| End::Failed {
                        code: "kit/result".to_owned(),
                        message: format!("{function}: {e}"),
                    });
                }
                Ok(Err(failure)) => Failed::of(failure),
                Err(failed) => failed,
            };
            match Self::backoff(&failed, attempt) {
                Some(wait) => self.wait(wait).await,
                None => return Err(failed.end()),
            }
            attempt += 1;
        }
    }

    /// A change, to its end: as the engine carries it out under one key.
    async fn settled(
        &mut self,
        function: &str,
        key: &str,
        args: &(impl Fn(types::CallContext, Option<&str>) -> String + Sync),
    ) -> Result<Outcome, End> {
        let mut waited = Millis::ZERO;
        let (mut state, mut attempt): (Option<String>, u32) = (None, 1);
        loop {
            let progress = self.once(function, key, state.as_deref(), args).await;
            let wait = match progress {
                Ok(Progress::Done(outcome)) => {
                    if let Some((_, text)) = outcome.outputs.iter().find(|(name, _)| name == "memory") {
                        self.kept.memory = Some(text.clone());
                    }
                    return Ok(outcome);
                }
                Ok(Progress::Running(pending)) => {
                    state = Some(pending.state);
                    let wait = Millis(pending.poll_after).max(POLL).min(PROGRESS);
                    waited = Millis(waited.0.saturating_add(wait.0));
                    if waited > PROGRESS {
                        let message = format!("no end after {PROGRESS}: {}", pending.note);
                        return Err(End::Failed { code: "engine/no-progress".to_owned(), message });
                    }
                    wait
                }
                Ok(Progress::Failed(failure)) => self.again(Failed::of(failure), &mut attempt)?,
                Err(failed) => self.again(failed, &mut attempt)?,
            };
            self.wait(wait).await;
        }
    }

    fn again(&self, failed: Failed, attempt: &mut u32) -> Result<Millis, End> {
        let wait = Self::backoff(&failed, *attempt).ok_or_else(|| failed.end())?;
        *attempt += 1;
        Ok(wait)
    }

    async fn once(
        &mut self,
        function: &str,
        key: &str,
        state: Option<&str>,
        args: &(impl Fn(types::CallContext, Option<&str>) -> String + Sync),
    ) -> Result<Progress, Failed> {
        let config = self.config();
        self.call(function, Some(key), &config, |cx| args(cx, state)).await
    }

    async fn read(&mut self) -> Result<Option<Observed>, End> {
        self.asked("read", |cx| json(&(cx, service()))).await
    }

    async fn plan(&mut self, scenario: &ProviderScenario, release: &str, expect: Expect) -> Step {
        let desired = desired(scenario, release);
        for look in 1.. {
            let plan: ServicePlan = self.asked("plan", |cx| json(&(cx, desired.clone()))).await?;
            let right = plan.actions.is_empty() == (expect == Expect::Nothing);
            if right || look >= LOOKS {
                let kinds: Vec<Value> = plan
                    .actions
                    .iter()
                    .map(|a| object!({ "kind": format!("{:?}", a.kind), "irreversible": a.irreversible.is_some() }))
                    .collect();
                if !right {
                    let what: Vec<String> = plan.actions.into_iter().map(|a| a.summary).collect();
                    let text = match expect {
                        Expect::Nothing => {
                            format!("the plan of what is there says that something is to be done: {}", what.join("; "))
                        }
                        Expect::Something => "the plan of what is not there says that nothing is to be done".to_owned(),
                    };
                    return Err(End::Wrong(text));
                }
                return done(kinds);
            }
            self.wait(LOOK).await;
        }
        done(Value::Null)
    }

    async fn deploy(&mut self, scenario: &ProviderScenario, release: &str) -> Step {
        let key = self.key(&format!("deploy-{release}"));
        let action = Action::Deploy(desired(scenario, release));
        let args = |cx, state: Option<&str>| json(&(cx, &key, &action, state));
        self.settled("apply", &key, &args).await?;
        done("deployed")
    }

    async fn scale(&mut self, revision: &str, replicas: u32) -> Step {
        let key = self.key("scale");
        let action = Action::Scale(Scaling { service: service(), revision: revision.to_owned(), replicas });
        let args = |cx, state: Option<&str>| json(&(cx, &key, &action, state));
        self.settled("apply", &key, &args).await?;
        done("scaled")
    }

    async fn retire(&mut self, revision: &str) -> Step {
        let key = self.key("retire");
        let args = |cx, state: Option<&str>| json(&(cx, &key, service(), revision, state));
        self.settled("retire", &key, &args).await?;
        done("retired")
    }

    async fn await_available(&mut self, revision: &str, replicas: u32) -> Step {
        let mut last = String::new();
        for _ in 0..LOOKS {
            let report: InstanceReport = self.asked("instances", |cx| json(&(cx, service(), revision))).await?;
            if report.available >= replicas {
                self.must_be_available(revision, replicas).await?;
                return done(object!({ "available": report.available, "desired": report.desired }));
            }
            last = format!("{} of {replicas} instances are available", report.available);
            if report.hopeless {
                return Err(End::Failed { code: "engine/hopeless".to_owned(), message: last });
            }
            self.wait(LOOK).await;
        }
        Err(End::Failed { code: "engine/no-progress".to_owned(), message: format!("no progress in time: {last}") })
    }

    /// Sets the weights, and looks until they are so.
    async fn traffic(&mut self, weights: Weights) -> Step {
        let key = self.key("traffic");
        let args = |cx, state: Option<&str>| json(&(cx, &key, service(), &weights, state));
        self.settled("traffic", &key, &args).await?;
        let wanted: BTreeMap<&str, u16> = weights.iter().map(|(id, weight)| (id.as_str(), *weight)).collect();
        let mut last = Value::Null;
        for _ in 0..LOOKS {
            let observed = self.read().await?;
            last = seen(observed.as_ref());
            let shares: BTreeMap<&str, u16> = observed
                .iter()
                .flat_map(|o| &o.revisions)
                .filter(|r| r.weight > 0)
                .map(|r| (r.id.as_str(), r.weight))
                .collect();
            if shares == wanted {
                return done(object!({ "weights": shares }));
            }
            self.wait(LOOK).await;
        }
        let message = format!("the traffic is not as it was set: {last}");
        Err(End::Failed { code: "engine/not-verified".to_owned(), message })
    }

    async fn gone(&mut self, revision: &str) -> Step {
        for _ in 0..LOOKS {
            let observed = self.read().await?;
            if !observed.iter().flat_map(|o| &o.revisions).any(|r| r.id == revision) {
                return done("gone");
            }
            self.wait(LOOK).await;
        }
        Err(End::Wrong(format!("{revision} was retired and is still there")))
    }

    /// A deployment that is given up at its first answer that it goes on.
    async fn cancel(&mut self, scenario: &ProviderScenario) -> Step {
        let key = self.key("deploy-c");
        let action = Action::Deploy(desired(scenario, "c"));
        let args = |cx, state: Option<&str>| json(&(cx, &key, &action, state));
        let mut attempt = 1;
        let state = loop {
            match self.once("apply", &key, None, &args).await {
                Ok(Progress::Running(pending)) => break pending.state,
                // There is nothing left to cancel: it is cleared away by what comes next.
                Ok(Progress::Done(_)) => return done("given up"),
                Ok(Progress::Failed(failure)) => {
                    let wait = self.again(Failed::of(failure), &mut attempt)?;
                    self.wait(wait).await;
                }
                Err(failed) => {
                    let wait = self.again(failed, &mut attempt)?;
                    self.wait(wait).await;
                }
            }
        };
        let key = self.key("cancel");
        // `cancel` has its own state in the place of another one.
        let args = |cx, again: Option<&str>| json(&(cx, &key, again.unwrap_or(&state)));
        self.settled("cancel", &key, &args).await?;
        done("given up")
    }

    async fn drift(&mut self, scenario: &ProviderScenario, ids: (&str, &str, &str)) -> Step {
        let Some(change) = &scenario.drift else { return done("no change is described") };
        // A step that is begun once more goes on from what was there before somebody changed it, who does so once.
        if !self.kept.notes.contains_key(BEFORE) {
            let before = seen(self.read().await?.as_ref()).to_string();
            self.kept.notes.insert(BEFORE, before);
            let sent = request(change, ids).map_err(End::Wrong)?;
            let door = &self.stage().door;
            let answer = door.counterpart().http(&sent, self.stage().clock.now()).await;
            match answer {
                Ok(answer) if answer.status < 300 => {}
                Ok(answer) => {
                    let text = String::from_utf8_lossy(&answer.body).into_owned();
                    return Err(End::Wrong(format!("the change of `drift` was answered {}: {text}", answer.status)));
                }
                Err(e) => return Err(End::Wrong(format!("the change of `drift`: {e}"))),
            }
        }
        let mut last = None;
        for _ in 0..LOOKS {
            let after = seen(self.read().await?.as_ref());
            // One look may be of a moment ago: two that agree are what is there.
            if self.kept.notes.get(BEFORE) != Some(&after.to_string()) && last.as_ref() == Some(&after) {
                return done(after);
            }
            last = Some(after);
            self.wait(LOOK).await;
        }
        Err(End::Wrong("a change behind the host's back is not seen by `read`".to_owned()))
    }

    async fn repair(&mut self, scenario: &ProviderScenario, revision: &str, replicas: u32) -> Step {
        let mut wanted = desired(scenario, "b");
        wanted.replicas = replicas;
        let key = self.key("repair");
        let action = Action::Deploy(wanted);
        let args = |cx, state: Option<&str>| json(&(cx, &key, &action, state));
        self.settled("apply", &key, &args).await?;
        self.await_available(revision, replicas).await?;
        self.traffic(vec![(revision.to_owned(), 10_000)]).await?;
        done("repaired")
    }

    async fn import(&mut self, revision: &str) -> Step {
        let memory = self.kept.memory.take();
        let mut last = Value::Null;
        for _ in 0..LOOKS {
            let observed = self.read().await?;
            let now = seen(observed.as_ref());
            // Two looks that agree, as above.
            let agree = std::mem::replace(&mut last, now.clone()) == now;
            if agree && observed.iter().flat_map(|o| &o.revisions).any(|r| r.id == revision && r.weight == 10_000) {
                self.kept.memory = memory;
                return done(last);
            }
            self.wait(LOOK).await;
        }
        Err(End::Wrong(format!(
            "a host that knows nothing of it does not see {revision} with all of the traffic: {last}"
        )))
    }
}

fn desired(scenario: &ProviderScenario, release: &str) -> Desired {
    let from = &scenario.workload;
    let mut env: Vec<(String, String)> = from.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    env.push(("RELEASE".to_owned(), release.to_owned()));
    Desired {
        service: service(),
        listen: scenario.listen.clone(),
        revision: revision(release),
        workload: Workload {
            command: from.command.clone(),
            image: from.image.as_ref().map(|image| image.replace("{release}", release)),
            working_folder: None,
            env,
            ready: from.ready_path.as_ref().map_or(Readiness::None, |path| Readiness::Http(path.clone())),
            min_ready: 0,
            stop_grace: 10_000,
            memory_limit: from.memory_limit,
            settings: if from.settings.is_null() { "{}".to_owned() } else { from.settings.to_string() },
        },
        replicas: scenario.replicas,
    }
}

/// A request of the kit's own.
fn request(file: &RequestFile, (a, b, c): (&str, &str, &str)) -> Result<Sent, String> {
    let fill = |text: &str| text.replace("{a}", a).replace("{b}", b).replace("{c}", c);
    let url = Url::parse(&fill(&file.url)).map_err(|e| format!("`{}` is no URL: {e}", file.url))?;
    let mut headers: Vec<(String, String)> =
        file.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), fill(value))).collect();
    let body = if file.body.is_null() { Vec::new() } else { fill(&file.body.to_string()).into_bytes() };
    if !body.is_empty() && !headers.iter().any(|(name, _)| name == "content-type") {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    Ok(Sent { method: file.method.clone(), url, headers, body })
}
