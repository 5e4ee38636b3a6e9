//! The fault-free run, the same run once more with each fault at each exchange, and what is compared.
//!
//! A run is cut into steps. A fault happens within one step; where the results and the state after that step are what they
//! were without it, the rest of the run is the same and is left out. Where they are not yet, the run goes on to its end.

use crate::KitError;
use crate::counterpart::{Pace, RecordedCall, Saved, State};
use crate::differences::{differs, first_difference, made_twice, short};
use crate::door::Remembered;
use crate::drive::provider::StepName;
use crate::drive::{Driver, End, Kept, notifier, probe, provider, recorded};
use crate::fault::{Expected, Fault, Seen};
use crate::file::{KitFile, ProbeScenario, ProviderScenario, VerdictFile};
use crate::kit::pure;
use crate::report::{Cell, Counts, Failure, Outcome, Report};
use crate::stage::Stage;
use basb_core::Millis;
use basb_runtime::Kind;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A run of more exchanges than this has no end.
const MOST: usize = 5000;

/// When everything that goes on at a counterpart is over.
const SETTLED: Millis = Millis::secs(3600);

/// The time between two measurements.
const BETWEEN: Millis = Millis::secs(30);

/// So often a real counterpart is looked at until it is as it should be.
const LOOKS: u32 = 40;

/// What is asked of a plugin.
#[derive(Debug, Clone)]
pub enum Plan {
    /// Of a provider.
    Provider(Box<ProviderScenario>, Vec<StepName>),
    /// Of a probe.
    Probe(ProbeScenario),
    /// Of a notifier: kinds of events.
    Notifier(Vec<String>),
    /// What was asked of it in a real run.
    Recorded(Vec<RecordedCall>),
}

/// Which part of the matrix.
#[derive(Debug, Clone)]
pub struct Choice {
    /// These faults.
    pub faults: Vec<Fault>,
    /// One exchange of so many.
    pub every: usize,
    /// How long it goes on.
    pub until: Until,
}

/// How long the kit goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// To the end.
    End,
    /// To the first fault that changes something.
    FirstFailure,
}

impl Default for Choice {
    fn default() -> Self {
        Self { faults: Fault::ALL.to_vec(), every: 1, until: Until::End }
    }
}

/// Is told how far it is.
pub type Progress<'p> = &'p (dyn Fn(usize, usize) + Send + Sync);

impl Plan {
    /// What a kit file asks of a plugin of this kind.
    ///
    /// # Errors
    /// [`KitError`] where the file does not say, or the kind has no outside.
    pub fn of(kind: Kind, file: &KitFile) -> Result<Self, KitError> {
        let missing = |key: &str| {
            let message = format!("the kit file does not say what is asked of a {kind}: there is no `{key}`");
            KitError::new("kit/no-scenario", message, "its form: `basb-host plugin test --schema`")
        };
        if let Some(recording) = &file.counterpart.recording {
            return Ok(Self::Recorded(recording.calls.clone()));
        }
        match kind {
            Kind::Provider => {
                let scenario = file.provider.clone().ok_or_else(|| missing("provider"))?;
                let steps = provider::steps(&scenario);
                Ok(Self::Provider(Box::new(scenario), steps))
            }
            Kind::Probe => {
                let scenario = file.probe.clone().ok_or_else(|| missing("probe"))?;
                if !scenario.targets.iter().any(|target| target.verdict == VerdictFile::Fail) {
                    return Err(KitError::new(
                        "kit/no-failing-target",
                        "none of the targets has `verdict: fail`: a probe that passes everything would be certified",
                        "add one that the probe must fail, such as a path that answers 500",
                    ));
                }
                Ok(Self::Probe(scenario))
            }
            Kind::Notifier => {
                let kinds = file.notifier.clone().map(|n| n.events).unwrap_or_default();
                let usual = || notifier::USUAL.map(str::to_owned).to_vec();
                Ok(Self::Notifier(if kinds.is_empty() { usual() } else { kinds }))
            }
            Kind::Strategy | Kind::Judge | Kind::Generator => Err(pure(kind)),
        }
    }

    /// How many steps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Provider(_, steps) => steps.len(),
            Self::Probe(scenario) => scenario.targets.len() + 1,
            Self::Notifier(kinds) => kinds.len() + 1,
            Self::Recorded(calls) => calls.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of a step.
    #[must_use]
    pub fn name(&self, step: usize) -> String {
        let named = match self {
            Self::Provider(_, steps) => steps.get(step).map(|step| step.word().to_owned()),
            Self::Recorded(calls) => calls.get(step).map(|call| format!("{} {}", step + 1, call.function)),
            _ if step == 0 => Some("describe".to_owned()),
            Self::Probe(scenario) => scenario.targets.get(step - 1).map(|target| target.name.clone()),
            Self::Notifier(kinds) => kinds.get(step - 1).map(|kind| format!("{step} {kind}")),
        };
        named.unwrap_or_default()
    }

    async fn step(&self, driver: &mut Driver<'_>, step: usize) -> End {
        match self {
            Self::Provider(scenario, steps) => match steps.get(step) {
                Some(step) => provider::step(driver, scenario, *step).await,
                None => End::Wrong("there is no such step".to_owned()),
            },
            Self::Recorded(calls) => match calls.get(step) {
                Some(call) => recorded::step(driver, step, call).await,
                None => End::Wrong("there is no such call".to_owned()),
            },
            Self::Probe(_) if step == 0 => probe::describe(driver).await,
            Self::Notifier(_) if step == 0 => notifier::describe(driver).await,
            Self::Probe(scenario) => match scenario.targets.get(step - 1) {
                Some(target) => probe::measure(driver, target).await,
                None => End::Wrong("there is no such target".to_owned()),
            },
            Self::Notifier(kinds) => match kinds.get(step - 1) {
                Some(kind) => notifier::deliver(driver, kind, step as u64).await,
                None => End::Wrong("there is no such event".to_owned()),
            },
        }
    }
}

/// A step of the fault-free run.
struct Base {
    kept: Kept,
    saved: Option<Saved>,
    remembered: Remembered,
    seen: Vec<Seen>,
    end: Value,
    after: State,
    /// The same when nothing goes on any more; none where that cannot be looked at without changing it.
    settled: Option<State>,
    memory: Option<String>,
    /// When it ended.
    ended: u64,
}

/// One plugin under test.
struct Bench<'a> {
    stage: &'a Stage,
    plan: &'a Plan,
    base: Vec<Base>,
    last: State,
}

/// Certifies a plugin.
///
/// # Errors
/// [`KitError`] when the kit itself cannot go on; what is wrong with the plugin is in the report.
pub async fn certify(stage: &Stage, plan: &Plan, choice: &Choice, progress: Progress<'_>) -> Result<Report, KitError> {
    let mut report = Report::new(stage, plan, choice);
    let mut bench = Bench { stage, plan, base: Vec::new(), last: State::default() };
    if let Err(why) = bench.fault_free(&mut report).await? {
        report.without_fault = Some(why);
        return Ok(report);
    }
    let mut cells = Vec::new();
    let mut number = 0;
    for (step, base) in bench.base.iter().enumerate() {
        for (exchange, seen) in base.seen.iter().enumerate() {
            number += 1;
            if number % choice.every.max(1) != 0 {
                continue;
            }
            cells.extend(choice.faults.iter().filter(|fault| fault.fits(seen)).map(|fault| (step, exchange, *fault)));
        }
    }
    report.exchanges = number;
    for (done, (step, exchange, fault)) in cells.iter().copied().enumerate() {
        progress(done, cells.len());
        let outcome = bench.cell(step, exchange, fault).await?;
        let base = bench.base.get(step).and_then(|base| base.seen.get(exchange));
        let what = base.map(|seen| seen.what.clone()).unwrap_or_default();
        report.add(Cell { fault, step: plan.name(step), exchange: exchange + 1, what, outcome });
        if choice.until == Until::FirstFailure && !report.failures.is_empty() {
            report.cut_short = done + 1 < cells.len();
            break;
        }
    }
    Ok(report)
}

impl Bench<'_> {
    async fn state(&self) -> Result<State, KitError> {
        self.stage.door.counterpart().state(self.stage.clock.now()).await
    }

    /// The run without a fault, twice: what differs between two runs that did the same cannot be compared.
    async fn fault_free(&mut self, report: &mut Report) -> Result<Result<(), String>, KitError> {
        let first = self.whole(report).await?;
        if first.is_err() {
            return Ok(first);
        }
        let (before, last) = (std::mem::take(&mut self.base), self.last.clone());
        let second = self.whole(report).await?;
        if let Err(why) = second {
            return Ok(Err(format!("it succeeded once, and not once more: {why}")));
        }
        let same = before.len() == self.base.len()
            && before.iter().zip(&self.base).all(|(a, b)| a.end == b.end && a.after.made == b.after.made);
        if !same || last.made != self.last.made || last.there != self.last.there {
            let why = first_difference(&last, &self.last).unwrap_or_else(|| "the results".to_owned());
            return Ok(Err(format!(
                "two runs without a fault differ, so nothing can be compared: {why}; values that differ by themselves do \
                 not belong into the counterpart's state"
            )));
        }
        Ok(Ok(()))
    }

    async fn whole(&mut self, report: &mut Report) -> Result<Result<(), String>, KitError> {
        let (stage, door) = (self.stage, &self.stage.door);
        door.counterpart().reset().await?;
        door.forget();
        let mut driver = Driver::new(stage);
        self.base.clear();
        for step in 0..self.plan.len() {
            let (kept, saved, remembered) = (driver.kept.clone(), door.counterpart().save().await?, door.remembered());
            door.arm(None, MOST);
            let end = self.plan.step(&mut driver, step).await;
            if let Some(unsound) = door.counterpart().unsound() {
                return Err(unsound);
            }
            let name = self.plan.name(step);
            let end = match end {
                End::Done(end) => end,
                End::Failed { code, message } => return Ok(Err(format!("{name}: {message} ({code})"))),
                End::Wrong(why) => return Ok(Err(format!("{name}: {why}"))),
            };
            if let (Plan::Probe(scenario), true) = (self.plan, step > 0) {
                let wanted = scenario.targets.get(step - 1).map(|target| target.verdict.word());
                if end.get("verdict").and_then(Value::as_str) != wanted {
                    let wanted = wanted.unwrap_or_default();
                    return Ok(Err(format!("{name}: the verdict should be {wanted}: {end}")));
                }
            }
            let after = self.state().await?;
            if let Some(wrong) = door.violations().into_iter().chain(after.violations.clone()).next() {
                return Ok(Err(format!("{name}: {wrong}")));
            }
            if let Some(why) = self.left_behind(step, &after) {
                return Ok(Err(format!("{name}: {why}")));
            }
            let (memory, ended) = (driver.kept.memory.clone(), driver.kept.at);
            let settled = self.ahead().await?;
            self.base.push(Base { kept, saved, remembered, seen: door.seen(), end, after, settled, memory, ended });
        }
        report.calls = driver.calls;
        if let Some(unread) = door.counterpart().unread()? {
            return Ok(Err(unread));
        }
        stage.clock.wait(SETTLED);
        self.last = self.settled(None).await?;
        Ok(Ok(()))
    }

    /// What will be there when nothing goes on any more, if nobody does anything.
    async fn ahead(&self) -> Result<Option<State>, KitError> {
        let (clock, counterpart) = (&self.stage.clock, self.stage.door.counterpart());
        let Some(saved) = counterpart.save().await? else { return Ok(None) };
        let now = clock.now();
        clock.wait(SETTLED);
        let state = self.state().await?;
        counterpart.restore(&saved).await?;
        clock.set(now);
        Ok(Some(state))
    }

    /// What is not as it should be although a step says that it is done. A change that goes on is none.
    async fn undone(&self, step: usize, state: &State) -> Result<Option<String>, KitError> {
        // How far a deployment had come when it was given up is not the same in two runs.
        let given_up = matches!(self.plan, Plan::Provider(_, steps) if steps.get(step) == Some(&StepName::Cancel));
        let Some(base) = self.base.get(step).filter(|_| !given_up) else { return Ok(None) };
        let difference = match (&base.settled, self.ahead().await?) {
            (Some(settled), Some(ahead)) => first_difference(settled, &ahead),
            _ if state.there == base.after.there => None,
            _ => first_difference(&base.after, &self.settled(Some(&base.after)).await?),
        };
        Ok(difference.map(|d| format!("{} says that it is done, and what is there differs: {d}", self.plan.name(step))))
    }

    /// What a revision left behind that was given up and retired: nothing, or else it is said.
    fn left_behind(&self, step: usize, after: &State) -> Option<String> {
        let Plan::Provider(_, steps) = self.plan else { return None };
        let begun = steps.iter().position(|name| *name == StepName::Cancel)?;
        if steps.get(step) != Some(&StepName::GoneC) || begun == 0 {
            return None;
        }
        let before = self.base.get(begun.checked_sub(1)?)?;
        let (at, was, is) = differs("", &before.after.there, &after.there)?;
        let (was, is) = (short(&was), short(&is));
        Some(format!(
            "a revision that was given up and retired is not gone without a trace: at {at}: {is}, before it {was}"
        ))
    }

    /// The state when nothing goes on any more. A real counterpart is given time until it is as wanted.
    async fn settled(&self, wanted: Option<&State>) -> Result<State, KitError> {
        let mut state = self.state().await?;
        if self.stage.door.counterpart().pace() == Pace::Real {
            for _ in 0..LOOKS {
                if wanted.is_some_and(|wanted| wanted.there == state.there) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
                let next = self.state().await?;
                let stands = next == state;
                state = next;
                if wanted.is_none() && stands {
                    break;
                }
            }
        }
        Ok(state)
    }

    /// Brings everything to where a step of the fault-free run began.
    async fn before(&self, step: usize) -> Result<Result<Driver<'_>, String>, KitError> {
        let door = &self.stage.door;
        let mut driver = Driver::new(self.stage);
        let Some(base) = self.base.get(step) else { return Ok(Ok(driver)) };
        if let Some(saved) = &base.saved {
            door.counterpart().restore(saved).await?;
            door.recall(base.remembered.clone());
            driver.restore(&base.kept);
            return Ok(Ok(driver));
        }
        door.counterpart().reset().await?;
        door.forget();
        for earlier in 0..step {
            door.arm(None, MOST);
            let end = self.plan.step(&mut driver, earlier).await;
            if !matches!(&end, End::Done(_)) {
                return Ok(Err(format!("{} failed without a fault: {end:?}", self.plan.name(earlier))));
            }
        }
        Ok(Ok(driver))
    }

    async fn cell(&self, step: usize, exchange: usize, fault: Fault) -> Result<Outcome, KitError> {
        let door = &self.stage.door;
        let mut driver = match self.before(step).await? {
            Ok(driver) => driver,
            Err(why) => return Ok(Outcome::Skipped(why)),
        };
        let Some(base) = self.base.get(step) else { return Ok(Outcome::Skipped("there is no such step".to_owned())) };
        door.arm(Some((exchange, fault)), base.seen.len() * 10 + 100);
        let mut end = self.plan.step(&mut driver, step).await;
        if !door.was_hit() {
            let why = "it did not happen: the plugin asked for fewer things, or what was there before is there still";
            return Ok(Outcome::Skipped(why.to_owned()));
        }
        door.heal();
        if let Some(unknown) = door.counterpart().unknown() {
            return Ok(Outcome::Skipped(format!(
                "after it the plugin asks for {unknown}, which is not on the recording"
            )));
        }
        if let Some(wrong) = door.violations().into_iter().next() {
            return Ok(Outcome::Failed(wrong));
        }
        if let Plan::Probe(scenario) = self.plan {
            let target = step.checked_sub(1).and_then(|target| scenario.targets.get(target));
            let may = target.is_some_and(|target| target.passes_despite.contains_key(fault.word()));
            let answered = door.was_made_good() || !fault.shows();
            if let Some(why) = measured_wrongly(&end, &base.end, answered).filter(|_| !may) {
                return Ok(Outcome::Failed(why));
            }
            // And the next measurement, which the host makes when it is due, knows nothing of the fault.
            driver.wait(BETWEEN).await;
            end = self.plan.step(&mut driver, step).await;
        } else if let End::Failed { code, message } = &end {
            if fault.expected() == Expected::TheSame {
                return Ok(Outcome::Failed(format!("gives up, although it would go on: {message} ({code})")));
            }
            // As a new run would, once what was wrong is put right.
            end = self.plan.step(&mut driver, step).await;
        }
        match &end {
            End::Done(_) => {}
            End::Failed { code, message } => {
                let text = format!("does not come to its end once the fault is over: {message} ({code})");
                return Ok(Outcome::Failed(text));
            }
            End::Wrong(why) => return Ok(Outcome::Failed(why.clone())),
        }
        if let Some(wrong) = door.violations().into_iter().next() {
            return Ok(Outcome::Failed(wrong));
        }
        self.compare(driver, step, end).await
    }

    /// How many may be made by the end of a step. How far a deployment had come when it was given up is not the same in two
    /// runs: it may make as much as a whole one.
    fn may_be_made(&self, step: usize) -> BTreeMap<String, u64> {
        let made = |at: Option<usize>| at.and_then(|at| self.base.get(at)).map(|base| base.after.made.clone());
        let mut most = made(Some(step)).unwrap_or_default();
        let Plan::Provider(_, steps) = self.plan else { return most };
        let at = |name: StepName| steps.iter().position(|step| *step == name);
        if let (Some(cancel), Some(deploy)) = (at(StepName::Cancel), at(StepName::DeployB))
            && cancel <= step
        {
            let before = made(cancel.checked_sub(1)).unwrap_or_default();
            let (from, to) = (made(deploy.checked_sub(1)).unwrap_or_default(), made(Some(deploy)).unwrap_or_default());
            for (kind, count) in to {
                let whole = count - from.get(&kind).copied().unwrap_or(0);
                let may = before.get(&kind).copied().unwrap_or(0) + whole;
                let usual = most.entry(kind).or_default();
                *usual = may.max(*usual);
            }
        }
        most
    }

    /// Whether what comes after a step that ended as it did without the fault is the same, too. Not where it ended sooner:
    /// what was ready by then may not be ready yet, and only traffic shows whether it was waited for.
    fn says_it_all(&self, step: usize, from: usize, at: u64) -> bool {
        let by_then = self.base.get(step).is_none_or(|base| at >= base.ended);
        let leads = |name: &StepName| {
            matches!(name, StepName::TrafficA | StepName::Traffic10 | StepName::Traffic50 | StepName::Traffic100)
        };
        let traffic = matches!(self.plan, Plan::Provider(_, steps) if steps.get(step).is_some_and(leads));
        by_then || (step > from && traffic) || self.stage.door.counterpart().pace() == Pace::Real
    }

    /// Goes on until everything is as it was without the fault, or to the end.
    async fn compare(&self, mut driver: Driver<'_>, from: usize, mut end: End) -> Result<Outcome, KitError> {
        let door = &self.stage.door;
        for (step, base) in self.base.iter().enumerate().skip(from) {
            if step > from {
                door.arm(None, base.seen.len() * 10 + 100);
                end = self.plan.step(&mut driver, step).await;
            }
            let name = self.plan.name(step);
            match &end {
                End::Done(value) if *value == base.end => {}
                End::Done(value) => {
                    return Ok(Outcome::Failed(format!(
                        "{name} comes to {value}, and without the fault to {}",
                        base.end
                    )));
                }
                End::Failed { code, message } => {
                    return Ok(Outcome::Failed(format!("{name} fails afterwards: {message} ({code})")));
                }
                End::Wrong(why) => return Ok(Outcome::Failed(format!("{name}, afterwards: {why}"))),
            }
            let state = self.state().await?;
            if let Some(twice) = made_twice(&self.may_be_made(step), &state.made) {
                return Ok(Outcome::Failed(twice));
            }
            let wrong = door.violations().into_iter().chain(state.violations.clone()).next();
            if let Some(wrong) = wrong {
                return Ok(Outcome::Failed(wrong));
            }
            if state.there == base.after.there
                && driver.kept.memory == base.memory
                && self.says_it_all(step, from, driver.kept.at)
            {
                return Ok(Outcome::Passed);
            }
            if step == from
                && let Some(undone) = self.undone(step, &state).await?
            {
                return Ok(Outcome::Failed(undone));
            }
        }
        self.stage.clock.wait(SETTLED);
        let state = self.settled(Some(&self.last)).await?;
        Ok(match first_difference(&self.last, &state) {
            Some(difference) => Outcome::Failed(format!("what is there at the end differs: {difference}")),
            None => Outcome::Passed,
        })
    }
}

/// What is wrong with a measurement that met a fault. A success that was not seen is the worst that a probe can say.
/// What was asked for again, and answered then, was seen.
fn measured_wrongly(end: &End, without: &Value, answered: bool) -> Option<String> {
    match end {
        End::Done(measured) => {
            let passed = measured.get("verdict").and_then(Value::as_str) == Some("pass");
            (passed && (!answered || measured != without))
                .then(|| format!("passes although what it asked for was not answered as it should be: {measured}"))
        }
        End::Failed { code, message } => Some(format!("comes to no measurement: {message} ({code})")),
        End::Wrong(why) => Some(why.clone()),
    }
}

impl Report {
    fn new(stage: &Stage, plan: &Plan, choice: &Choice) -> Self {
        let manifest = stage.plugin.manifest();
        Self {
            name: manifest.name.clone(),
            plugin_version: manifest.version.to_string(),
            kind: stage.kind,
            digest: stage.plugin.digest().to_string(),
            counterpart: stage.door.counterpart().name(),
            steps: (0..plan.len()).map(|step| plan.name(step)).collect(),
            calls: 0,
            exchanges: 0,
            without_fault: None,
            faults: BTreeMap::new(),
            failures: Vec::new(),
            skipped: Vec::new(),
            left_out: Vec::new(),
            chosen: choice.faults.clone(),
            every: choice.every.max(1),
            cut_short: false,
        }
    }

    fn add(&mut self, cell: Cell) {
        let counts: &mut Counts = self.faults.entry(cell.fault).or_default();
        match cell.outcome {
            Outcome::Passed => {
                counts.injected += 1;
                counts.passed += 1;
            }
            Outcome::Failed(why) => {
                counts.injected += 1;
                counts.failed += 1;
                let Cell { fault, step, exchange, what, .. } = cell;
                self.failures.push(Failure { fault, step, exchange, what, why });
            }
            Outcome::Skipped(why) => {
                counts.skipped += 1;
                let Cell { fault, step, exchange, what, .. } = cell;
                self.skipped.push(Failure { fault, step, exchange, what, why });
            }
        }
    }
}
