//! A run at work: driven, with the courier and the mailbox beside it.

use crate::begin::{RunNotes, Started};
use crate::calls::{Desk, WrittenDown, write_down};
use crate::clock::now;
use crate::courier::{Courier, Routes};
use crate::drive::{Around, Control, Ended, EventSink, First, drive, written_as};
use crate::hands::PluginHands;
use crate::history::RunView;
use crate::lease::HeldLease;
use crate::prepare::Reloaded;
use crate::session::{Session, effects_of};
use crate::{EngineError, mailbox, prepare};
use basb_core::RunId;
use basb_journal::{Append, DELIVERIES, RunRecord};
use basb_redact::Redactor;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long notifications may take after a run's end.
const FLUSH: Duration = Duration::from_secs(10);

impl Session {
    /// Drives a run to its end. Returns how it ended, and what could not be delivered to notifiers.
    ///
    /// # Errors
    /// [`EngineError`] when something cannot be written; the run can be taken up again.
    pub async fn drive(
        &self,
        started: Started,
        sink: &dyn EventSink,
        mut control: mpsc::Receiver<Control>,
    ) -> Result<(Ended, Option<String>), EngineError> {
        let Started { run, seq, events, first, lease, plugins, .. } = started;
        let id = run.id().clone();
        events.iter().for_each(|event| sink.event(event));
        let routes = Routes::new(run.start(), plugins.asks());
        let courier =
            Arc::new(Courier::new(Arc::clone(&self.journal), Arc::clone(&plugins), run.start(), lease.fence()));
        let redactor = plugins.access().redactor().clone();
        let mut called = plugins.log().open(self.desk(&id, &lease, &redactor).await?);
        let hands = Arc::new(PluginHands::new(&run, Arc::clone(&plugins)));
        let left = mailbox::left(&self.journal, &id).await?;
        let mut first = First { records: first, takes: Vec::new() };
        for (request, record) in left.records {
            first.records.push((now(), record));
            first.takes.push(request);
        }
        let (tell, asked) = mpsc::channel(16);
        let forward = {
            let tell = tell.clone();
            tokio::spawn(async move {
                while let Some(control) = control.recv().await {
                    if tell.send(control).await.is_err() {
                        return;
                    }
                }
            })
        };
        let mailbox = tokio::spawn(mailbox::watch(Arc::clone(&self.journal), id.clone(), left.last, tell));
        let delivery = {
            let courier = Arc::clone(&courier);
            tokio::spawn(async move { courier.run().await })
        };
        let around = Around {
            journal: &self.journal,
            fence: Some(lease.fence()),
            lost: lease.lost(),
            notifiers: &routes,
            sink,
            control: asked,
            called: &mut called,
            memory: plugins.memory(),
            sights: plugins.sights(),
            redactor: redactor.clone(),
        };
        let ended = drive(run, seq, first, hands, around).await;
        for task in [forward, mailbox, delivery] {
            task.abort();
            // What was being delivered is finished, or not begun: the flush must not do it at the same time.
            let _ = task.await;
        }
        let left = match &ended {
            Ok(Ended::Finished(_) | Ended::AtGate) => courier.flush(FLUSH).await,
            _ => None,
        };
        if ended.is_ok() {
            // What the last notifications did is behind the run's finish.
            let mut late = Vec::new();
            while let Ok(call) = called.try_recv() {
                late.push(call);
            }
            if !late.is_empty() {
                let WrittenDown { records, tapes, closes } = write_down(late, self.journal.last_tape(&id).await?);
                // They may have ended before the finish was written, and are not to be read as older than it.
                let entries: Vec<_> =
                    records.into_iter().map(|(_, record)| written_as(&redactor, now(), record).1).collect();
                let append = Append { tapes, closes, ..Append::from(entries) };
                self.journal.append(&id, append.fenced(lease.fence()).addendum()).await?;
            }
        }
        let ended = match ended {
            Ok(ended) => Ok(ended),
            Err(error) => Err(lease.explain(error).await),
        };
        lease.release().await;
        Ok((ended?, left))
    }

    /// Takes a run up that nobody is at work on, with the very plugins that it began with.
    pub(crate) async fn wake(
        &self,
        record: &RunRecord,
        view: RunView,
        lease: HeldLease,
    ) -> Result<Started, EngineError> {
        self.must_be_whole(&record.start.run).await?;
        let notes = RunNotes::of(record)?;
        self.ensure_agent_for(&view.run.start().deployment).await?;
        let runtime = self.runtime(notes.base())?;
        let Reloaded { plugins, replaced } =
            prepare::reload(view.run.start(), &runtime, notes.base(), &self.kept()).await?;
        plugins.access().check().await?;
        self.recall(&view.run.start().deployment, &plugins).await?;
        let mut started = Self::take_up(view, lease, Arc::new(plugins));
        if !replaced.is_empty() {
            let names: Vec<&str> = replaced.iter().map(|name| name.as_str()).collect();
            let message =
                format!("plugins that were replaced since it began are used as they were: {}", names.join(", "));
            started.messages.push(message);
        }
        Ok(started)
    }

    /// What the calls of a run need, with those that were cut off when it was last driven.
    async fn desk(&self, run: &RunId, lease: &HeldLease, redactor: &Redactor) -> Result<Desk, EngineError> {
        let mut open = self.journal.open_calls(&effects_of(run)).await?;
        open.extend(self.journal.open_calls(DELIVERIES).await?);
        Ok(Desk {
            journal: Arc::clone(&self.journal),
            run: run.clone(),
            fence: lease.fence(),
            holding: lease.holding(),
            redactor: redactor.clone(),
            open: std::sync::Mutex::new(open.into_iter().map(|call| (call.key.clone(), call)).collect()),
        })
    }
}
