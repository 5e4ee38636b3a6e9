//! Events on their way to people and programs: a live tree, plain lines, or JSON.

use crate::printer::{Form, Printer};
use crate::view::{View, plain};
use basb_core::event::{Body, Event};
use basb_engine::EventSink;
use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the tree is drawn at the most: drawing costs what there is, and a person sees no more.
const FRAME: Duration = Duration::from_millis(100);
/// Lines that are kept free on the terminal: the heading, the summary, and where the cursor is.
const BESIDE: usize = 4;

/// Shows a run while it goes on.
pub struct Screen {
    printer: Printer,
    tree: Option<Arc<Mutex<Tree>>>,
}

struct Tree {
    all: MultiProgress,
    view: View,
    heading: ProgressBar,
    /// One for each line that is shown, not for each service: there may be thousands of those.
    rows: Vec<ProgressBar>,
    drawn: Instant,
    picture: Picture,
}

/// Whether what is on the screen is what is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Picture {
    Right,
    Behind,
}

impl Screen {
    /// A live tree on a terminal, plain lines elsewhere, JSON when asked for.
    pub fn new(printer: Printer) -> Self {
        let tree = printer.can_draw().then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(15));
            let heading = all.add(ProgressBar::new_spinner());
            heading.set_style(ProgressStyle::with_template("{msg}  {elapsed}").unwrap_or_else(|_| plain_style()));
            heading.enable_steady_tick(Duration::from_secs(1));
            let (view, drawn, picture) = (View::default(), Instant::now(), Picture::Right);
            let tree = Arc::new(Mutex::new(Tree { all, view, heading, rows: Vec::new(), drawn, picture }));
            catch_up(&tree);
            tree
        });
        Self { printer, tree }
    }

    /// Ends the live view, leaving it on the screen.
    pub fn close(&self) {
        if let Some(tree) = &self.tree {
            let mut tree = lock(tree);
            tree.draw();
            tree.heading.abandon();
            tree.rows.iter().for_each(ProgressBar::abandon);
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

/// Draws what was left out because it came too soon after the last frame.
fn catch_up(tree: &Arc<Mutex<Tree>>) {
    let tree = Arc::downgrade(tree);
    // Without the thread the picture is a little behind at times.
    let _ = std::thread::Builder::new().name("screen".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(FRAME);
            let Some(tree) = tree.upgrade() else { return };
            let mut tree = lock(&tree);
            if tree.picture == Picture::Behind {
                tree.draw();
            }
        }
    });
}

/// Single measurements are for the journal and the tree: as lines they would drown the rest.
fn drowns(event: &Event) -> bool {
    matches!(&event.body, Body::MetricMeasured { verdict, .. } if verdict.moves_forward())
}

/// What a person must be able to read afterwards stays above the tree.
fn lasts(event: &Event) -> bool {
    matches!(
        event.body,
        Body::Aborted { .. }
            | Body::RolledBack { .. }
            | Body::RollbackFailed { .. }
            | Body::Failed { .. }
            | Body::GroupFailed { .. }
            | Body::RequestRefused { .. }
            | Body::Warning { .. }
    )
}

impl EventSink for Screen {
    fn event(&self, event: &Event) {
        self.events(std::slice::from_ref(event));
    }

    fn events(&self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        if self.printer.form() == Form::Json {
            self.printer.json_lines(events);
            return;
        }
        let Some(tree) = &self.tree else {
            // In one go: a write for each line would cost more than all the rest of it.
            let lines: Vec<String> = events.iter().filter(|event| !drowns(event)).map(plain).collect();
            if !lines.is_empty() {
                self.printer.note(&lines.join("\n"));
            }
            return;
        };
        let mut tree = lock(tree);
        events.iter().for_each(|event| tree.view.take(event));
        if tree.drawn.elapsed() >= FRAME {
            tree.draw();
        } else {
            tree.picture = Picture::Behind;
        }
        for event in events.iter().filter(|event| lasts(event)) {
            tree.all.suspend(|| self.printer.note(&plain(event)));
        }
    }
}

impl Tree {
    fn draw(&mut self) {
        let (height, width) = console::Term::stderr().size();
        let width = usize::from(width).max(40);
        let room = usize::from(height).saturating_sub(BESIDE).max(4);
        let names = self.view.name_width();
        let (shown, rest) = self.view.most_telling(room);
        let mut lines: Vec<String> =
            shown.into_iter().map(|(name, line)| line.render(name, names, width.saturating_sub(1))).collect();
        lines.extend(rest);
        self.heading.set_message(style(self.view.title()).for_stderr().bold().to_string());
        while self.rows.len() < lines.len() {
            let row = self.all.add(ProgressBar::new_spinner());
            row.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| plain_style()));
            self.rows.push(row);
        }
        let mut lines = lines.into_iter();
        for row in &self.rows {
            row.set_message(lines.next().unwrap_or_default());
        }
        self.drawn = Instant::now();
        self.picture = Picture::Right;
    }
}
