//! How what an operator asks gets to the run: through the mailbox to the process at work, or written down here where nobody
//! is at work.
//!
//! What was put into the mailbox is never lost: either the process at work writes it down, or that process is gone, and
//! then this one, which has the lease by then, writes it down itself. Once, whatever happens in between: a letter is
//! taken out by the write that holds its record.

use crate::EngineError;
use crate::ask::{Answer, Answered, Ask, Draft, GoesOn, Says};
use crate::clock::now;
use crate::courier::Routes;
use crate::drive::entry;
use crate::history::{RunView, rebuild};
use crate::lease::{self, HeldLease};
use crate::mailbox::{self, Letter};
use crate::owner::Owner;
use crate::session::{RUN_FINISHED, Session};
use basb_core::event::{Body, Event};
use basb_core::run::{Record, Verb};
use basb_core::{RunId, ServiceName};
use basb_journal::{Append, RunRecord, RunState};
use std::time::{Duration, Instant};

/// How long the process at work may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a stop may take: changes that are under way end first.
const STOP_PATIENCE: Duration = Duration::from_secs(120);
/// Time between two looks at the answer.
const LOOK: Duration = Duration::from_millis(100);

/// Who asks what of which run.
struct Asking<'a> {
    record: RunRecord,
    service: Option<&'a ServiceName>,
    ask: &'a Ask,
    by: String,
}

/// What was put into the mailbox.
struct Sent {
    says: Vec<Says>,
    goes_on: GoesOn,
    letters: Vec<u64>,
    /// The last entry of the run by then.
    after: u64,
    /// Whom it was for.
    to: String,
}

/// What a process at work made of it.
enum Live {
    /// It is done.
    Answered(Answer),
    /// That process is gone: whoever has the lease sees to it.
    Gone,
}

impl Asking<'_> {
    fn id(&self) -> &RunId {
        &self.record.start.run
    }

    fn answer(&self, says: Vec<Says>, taken_by: Option<String>, events: Vec<Event>) -> Answer {
        Answer {
            version: 1,
            run: self.id().clone(),
            verb: self.ask.word(),
            by: self.by.clone(),
            says,
            taken_by,
            events,
        }
    }

    /// The events that say what came of it; an error where that was nothing.
    fn heard(&self, view: &RunView, sent: &Sent, found: &[u64]) -> Result<Vec<Event>, EngineError> {
        let of_these = |event: &&Event| event.seq > sent.after && found.contains(&event.seq);
        let events: Vec<Event> = view.events.iter().filter(of_these).cloned().collect();
        let refused = events.iter().find_map(|event| match &event.body {
            Body::RequestRefused { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        refused.map_or(Ok(events), |why| Err(self.ask.nothing_to_act_on(self.id(), why)))
    }
}

impl Session {
    /// Asks something of an unfinished run. Where a process is at work on it, that one answers; otherwise this one writes it
    /// down, and takes the run up where it has to go on.
    ///
    /// # Errors
    /// [`EngineError`] when there is no such run, when there is nothing to act on, or when it cannot be taken up.
    pub async fn ask(
        &self,
        run: Option<&str>,
        service: Option<&ServiceName>,
        ask: &Ask,
    ) -> Result<Answered, EngineError> {
        let record = self.unfinished(run).await?;
        let asking = Asking { record, service, ask, by: Owner::this().to_string() };
        let (deployment, environment) = (&asking.record.start.deployment, &asking.record.start.environment);
        let mut sent = None;
        loop {
            match HeldLease::acquire(&self.journal, deployment, environment).await {
                Ok(lease) => return self.ask_here(&asking, lease, sent).await,
                Err(EngineError::Busy { held, .. }) => {
                    let to = Owner::parse(&held.owner).map_or_else(|| held.owner.clone(), |owner| owner.to_string());
                    match self.ask_live(&asking, &mut sent, to).await? {
                        Live::Answered(answer) => return Ok(Answered::Done(answer)),
                        Live::Gone => {}
                    }
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Nobody else is at work on it.
    async fn ask_here(
        &self,
        asking: &Asking<'_>,
        lease: HeldLease,
        sent: Option<Sent>,
    ) -> Result<Answered, EngineError> {
        match self.written_here(asking, &lease, sent).await {
            Ok((answer, None)) => {
                lease.release().await;
                Ok(Answered::Done(answer))
            }
            Ok((answer, Some((view, records)))) => {
                let mut started = self.wake(&asking.record, *view, lease).await?;
                let at = now();
                started.first.extend(records.into_iter().map(|record| (at, record)));
                Ok(Answered::TakenUp(Box::new(started), answer))
            }
            Err(e) => {
                lease.release().await;
                Err(e)
            }
        }
    }

    /// What came of it, and where the run has to go on, the run with what is to be written down first.
    async fn written_here(
        &self,
        asking: &Asking<'_>,
        lease: &HeldLease,
        sent: Option<Sent>,
    ) -> Result<(Answer, Option<(Box<RunView>, Vec<Record>)>), EngineError> {
        let Asking { service, ask, by, .. } = asking;
        let id = asking.id();
        if self.is_over(id).await? {
            // It may have been the last thing that was written of it.
            let Some(sent) = sent else { return Err(ended(id)) };
            return match self.found(asking, &sent).await? {
                Some(found) => {
                    let view = self.view(id).await?;
                    let events = asking.heard(&view, &sent, &found)?;
                    Ok((asking.answer(sent.says, Some(sent.to), events), None))
                }
                None => Err(self.too_late(id, &sent).await),
            };
        }
        // What was asked of a process that is gone comes first.
        let left = mailbox::left(&self.journal, id).await?;
        if !left.records.is_empty() {
            let (takes, records): (Vec<u64>, Vec<Record>) = left.records.into_iter().unzip();
            self.write_down(self.view(id).await?, records, takes, lease).await?;
        }
        let view = self.view(id).await?;
        if let Some(sent) = sent {
            let found = self.found(asking, &sent).await?.unwrap_or_default();
            let events = asking.heard(&view, &sent, &found)?;
            let goes_on = (sent.goes_on == GoesOn::Yes).then(|| (Box::new(view), Vec::new()));
            return Ok((asking.answer(sent.says, None, events), goes_on));
        }
        if matches!(ask, Ask::Stop | Ask::StopNow) {
            let message = format!("no process is at work on run {id}: there is nothing to stop");
            let next = format!("`basb-host resume {id}` goes on with it, `basb-host abort {id}` goes back");
            return Err(EngineError::refused("run/not-live", message, next));
        }
        let draft = ask.draft(&view, *service, by)?;
        if draft.goes_on == GoesOn::No {
            let events = self.write_down(view, draft.records, Vec::new(), lease).await?;
            return Ok((asking.answer(draft.says, None, events), None));
        }
        Ok((asking.answer(draft.says, None, Vec::new()), Some((Box::new(view), draft.records))))
    }

    async fn view(&self, run: &RunId) -> Result<RunView, EngineError> {
        rebuild(run, &self.journal.entries(run, 1).await?)
    }

    async fn is_over(&self, run: &RunId) -> Result<bool, EngineError> {
        Ok(matches!(self.journal.run(run.as_str()).await?.state, RunState::Finished { .. }))
    }

    /// Writes records down for which nobody needs to be at work, and takes their letters out of the mailbox.
    async fn write_down(
        &self,
        mut view: RunView,
        records: Vec<Record>,
        takes: Vec<u64>,
        lease: &HeldLease,
    ) -> Result<Vec<Event>, EngineError> {
        let (at, mut events, mut entries) = (now(), Vec::new(), Vec::new());
        for record in &records {
            view.seq = view.seq.saturating_add(1);
            events.extend(view.run.apply(at, view.seq, record));
            entries.push(entry(at, record));
        }
        // No plugin is loaded here, so none can say what it wants to be told: only what the file says is told.
        let silent = view.run.start().deployment.notifiers.iter().filter(|(_, notifier)| notifier.events.is_empty());
        let silent = silent.map(|(name, _)| (name.clone(), vec!["nothing".to_owned()])).collect();
        let routes = Routes::new(view.run.start(), &silent);
        let mut append = Append { takes, ..Append::from(entries) }.fenced(lease.fence());
        append.notifications = events.iter().flat_map(|event| routes.notifications(event)).collect();
        self.journal.append(view.run.id(), append).await?;
        Ok(events)
    }

    /// Asks the process that is at work, unless it was asked already, and waits for what it makes of it.
    async fn ask_live(&self, asking: &Asking<'_>, sent: &mut Option<Sent>, to: String) -> Result<Live, EngineError> {
        let Asking { service, ask, by, .. } = asking;
        let id = asking.id();
        let sent = match sent {
            Some(sent) => sent,
            None => {
                let view = self.view(id).await?;
                if matches!(ask, Ask::Verb(Verb::Resume))
                    && view.run.would(*service, Verb::Resume, None, now()).is_err()
                {
                    let message = format!("run {id} is not paused: {to} is at work on it");
                    return Err(EngineError::refused("run/nothing-to-act-on", message, ask.next_step(id)));
                }
                let Draft { records, says, goes_on } = ask.draft(&view, *service, by)?;
                let stop = match ask {
                    Ask::Stop => Some(Letter::Stop),
                    Ask::StopNow => Some(Letter::StopNow),
                    Ask::Verb(_) | Ask::Approve { .. } => None,
                };
                if let Some(stop) = stop {
                    return self.stop_live(asking, &stop, to).await.map(Live::Answered);
                }
                let mut letters = Vec::new();
                for record in records {
                    letters.push(self.put(id, &Letter::Record(Box::new(record))).await?);
                }
                sent.insert(Sent { says, goes_on, letters, after: view.seq, to })
            }
        };
        self.await_record(asking, sent).await
    }

    async fn put(&self, run: &RunId, letter: &Letter) -> Result<u64, EngineError> {
        let (word, body) = letter.written();
        Ok(self.journal.request(run, now(), word, &body).await?)
    }

    async fn stop_live(&self, asking: &Asking<'_>, stop: &Letter, to: String) -> Result<Answer, EngineError> {
        let id = asking.id();
        let letter = self.put(id, stop).await?;
        self.await_stop(&asking.record, &to).await?;
        // It may have ended by itself: the letter is not for the next one.
        self.journal.drop_requests(vec![letter]).await?;
        let what = format!("stopped; `basb-host resume {id}` goes on where it is");
        Ok(asking.answer(vec![Says { service: None, what }], Some(to), Vec::new()))
    }

    /// The entries that are the records of what was sent, once all of them are there.
    async fn found(&self, asking: &Asking<'_>, sent: &Sent) -> Result<Option<Vec<u64>>, EngineError> {
        let mine = |record: &Record| match record {
            Record::Request { by: who, .. } | Record::Approval { asked: who, .. } => *who == asking.by,
            _ => false,
        };
        let entries = self.journal.entries(asking.id(), sent.after.saturating_add(1)).await?;
        let found: Vec<u64> = entries
            .iter()
            .filter(|e| serde_json::from_str::<Record>(&e.body).is_ok_and(|record| mine(&record)))
            .map(|e| e.seq)
            .collect();
        Ok((found.len() >= sent.letters.len()).then_some(found))
    }

    /// Waits until the process at work has written down what this process asked for, or is gone.
    async fn await_record(&self, asking: &Asking<'_>, sent: &Sent) -> Result<Live, EngineError> {
        let (id, began) = (asking.id(), Instant::now());
        loop {
            // In this order: a run may end, and its process go, with the very write that is looked for.
            let gone = self.holder_is_gone(&asking.record).await?;
            let over = self.is_over(id).await?;
            let found = self.found(asking, sent).await?;
            if gone && !over && (found.is_none() || sent.goes_on == GoesOn::Yes) {
                return Ok(Live::Gone);
            }
            if let Some(found) = found {
                let events = asking.heard(&self.view(id).await?, sent, &found)?;
                return Ok(Live::Answered(asking.answer(sent.says.clone(), Some(sent.to.clone()), events)));
            }
            if over {
                return Err(self.too_late(id, sent).await);
            }
            if began.elapsed() > PATIENCE {
                let message = format!("{} has not taken this up yet: it does not answer", sent.to);
                let next = format!(
                    "it is carried out as soon as that process looks, or by whoever takes the run up next: `basb-host show {id}` tells"
                );
                return Err(EngineError::refused("run/no-answer", message, next));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The run is over, and nobody will write down what was sent.
    async fn too_late(&self, run: &RunId, sent: &Sent) -> EngineError {
        if let Err(e) = self.journal.drop_requests(sent.letters.clone()).await {
            tracing::warn!(error = %e, "requests of a run that is over are left in the mailbox");
        }
        let message = format!("run {run} came to its end before {} took this up", sent.to);
        EngineError::refused(RUN_FINISHED, message, format!("`basb-host show {run}` tells what happened"))
    }

    /// Waits until the process that was at work has let go.
    async fn await_stop(&self, record: &RunRecord, taken_by: &str) -> Result<(), EngineError> {
        let began = Instant::now();
        let name = lease::lease_name(&record.start.deployment, &record.start.environment);
        let held = |held: Option<basb_journal::Held>| held.map(|h| h.fencing_token);
        let first = held(self.journal.holder(&name).await?);
        loop {
            let holder = self.journal.holder(&name).await?;
            if holder.is_none() || holder.as_ref().is_some_and(lease::is_dead) || held(holder) != first {
                return Ok(());
            }
            if began.elapsed() > STOP_PATIENCE {
                let message = format!("{taken_by} has not stopped yet: what is under way takes its time");
                let next = "it stops when that ends; `basb-host stop --now` does not wait for it".to_owned();
                return Err(EngineError::refused("run/no-answer", message, next));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn holder_is_gone(&self, record: &RunRecord) -> Result<bool, EngineError> {
        let name = lease::lease_name(&record.start.deployment, &record.start.environment);
        Ok(self.journal.holder(&name).await?.is_none_or(|held| lease::is_dead(&held)))
    }
}

fn ended(run: &RunId) -> EngineError {
    let message = format!("run {run} has come to its end");
    EngineError::refused(RUN_FINISHED, message, format!("`basb-host show {run}` tells what happened"))
}
