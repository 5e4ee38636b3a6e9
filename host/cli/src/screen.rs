//! Events on their way to people and programs: a live tree, plain lines, or JSON.

use crate::printer::{Form, Printer};
use crate::view::{View, plain};
use basb_core::ServiceName;
use basb_core::event::{Body, Event};
use basb_engine::EventSink;
use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shows a run while it goes on.
pub struct Screen {
    printer: Printer,
    tree: Option<Mutex<Tree>>,
}

struct Tree {
    all: MultiProgress,
    view: View,
    heading: ProgressBar,
    bars: BTreeMap<ServiceName, ProgressBar>,
}

impl Screen {
    /// A live tree on a terminal, plain lines elsewhere, JSON when asked for.
    pub fn new(printer: Printer) -> Self {
        let tree = printer.can_draw().then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(15));
            let heading = all.add(ProgressBar::new_spinner());
            heading.set_style(ProgressStyle::with_template("{msg}  {elapsed}").unwrap_or_else(|_| plain_style()));
            heading.enable_steady_tick(std::time::Duration::from_secs(1));
            Mutex::new(Tree { all, view: View::default(), heading, bars: BTreeMap::new() })
        });
        Self { printer, tree }
    }

    /// Ends the live view, leaving it on the screen.
    pub fn close(&self) {
        if let Some(tree) = &self.tree {
            let tree = lock(tree);
            tree.heading.abandon();
            tree.bars.values().for_each(ProgressBar::abandon);
        }
    }

    /// Says something beside the view without tearing it.
    pub fn note(&self, text: &str) {
        match &self.tree {
            Some(tree) => lock(tree).all.suspend(|| self.printer.note(text)),
            None => self.printer.note(text),
        }
    }
}

fn plain_style() -> ProgressStyle {
    ProgressStyle::default_spinner()
}

fn lock(tree: &Mutex<Tree>) -> MutexGuard<'_, Tree> {
    tree.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventSink for Screen {
    fn event(&self, event: &Event) {
        if self.printer.form() == Form::Json {
            self.printer.json(event);
            return;
        }
        let Some(tree) = &self.tree else {
            // Single measurements are for the journal and the tree: as lines they would drown the rest.
            let drowning = matches!(&event.body, Body::MetricMeasured { verdict, .. } if verdict.moves_forward());
            if !drowning {
                self.printer.note(&plain(event));
            }
            return;
        };
        let mut tree = lock(tree);
        tree.view.take(event);
        tree.draw();
        // What a person must be able to read afterwards stays above the tree.
        let lasting = matches!(
            event.body,
            Body::Aborted { .. }
                | Body::RolledBack { .. }
                | Body::RollbackFailed { .. }
                | Body::Failed { .. }
                | Body::GroupFailed { .. }
                | Body::RequestRefused { .. }
                | Body::Warning { .. }
        );
        if lasting {
            tree.all.suspend(|| self.printer.note(&plain(event)));
        }
    }
}

impl Tree {
    fn draw(&mut self) {
        let width = usize::from(console::Term::stderr().size().1).max(40);
        self.heading.set_message(style(self.view.title()).for_stderr().bold().to_string());
        let names = self.view.name_width();
        for (name, line) in self.view.lines() {
            let bar = self.bars.entry(name.clone()).or_insert_with(|| {
                let bar = self.all.add(ProgressBar::new_spinner());
                bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| plain_style()));
                bar
            });
            bar.set_message(line.render(name, names, width.saturating_sub(1)));
        }
    }
}
