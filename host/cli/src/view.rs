//! What a person sees of a run: a line per service, made from events only. Pure: the live tree, `status` and the tests
//! use the same.

use basb_core::event::{Body, Event};
use basb_core::run::{Phase, RunOutcome, ServiceOutcome};
use basb_core::{RevisionId, ServiceName, Verdict, Weight};
use console::{Style, measure_text_width};
use std::collections::BTreeMap;

/// A service's line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Line {
    phase: Option<Phase>,
    candidate: Option<RevisionId>,
    weights: BTreeMap<RevisionId, Weight>,
    available: BTreeMap<RevisionId, (u32, u32)>,
    step: Option<String>,
    last: Option<(Verdict, String)>,
    note: Option<String>,
    at_gate: bool,
    outcome: Option<ServiceOutcome>,
}

/// What lines are counted as where there are too many, by their rank.
const RANKS: [&str; 5] = ["in trouble", "waiting for a person", "under way", "waiting", "done"];

/// A run's lines.
#[derive(Debug, Default, PartialEq)]
pub struct View {
    title: String,
    lines: BTreeMap<ServiceName, Line>,
    outcome: Option<RunOutcome>,
}

impl View {
    /// Takes an event in.
    pub fn take(&mut self, event: &Event) {
        if let Some(service) = &event.service {
            self.lines.entry(service.clone()).or_default().take(&event.body);
            return;
        }
        match &event.body {
            Body::RunStarted { deployment, environment, services, .. } => {
                self.title = format!("{deployment} on {environment}, run {}", event.run);
                for (service, candidate) in services {
                    let line = self.lines.entry(service.clone()).or_default();
                    line.candidate.get_or_insert_with(|| candidate.clone());
                }
            }
            Body::RunFinished { outcome, services, .. } => {
                self.outcome = Some(*outcome);
                for (service, outcome) in services {
                    self.lines.entry(service.clone()).or_default().outcome = Some(*outcome);
                }
            }
            _ => {}
        }
    }

    /// The heading.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// How wide the names are.
    pub fn name_width(&self) -> usize {
        self.lines.keys().map(|n| n.as_str().len()).max().unwrap_or(0)
    }

    /// The lines that fit, the most telling ones where there are more than that, by name; and a line for the rest.
    pub fn most_telling(&self, room: usize) -> (Vec<(&ServiceName, &Line)>, Option<String>) {
        if self.lines.len() <= room {
            return (self.lines.iter().collect(), None);
        }
        // Trouble first, then what moves, then what waits; what went well is only counted.
        let mut all: Vec<(u8, &ServiceName, &Line)> =
            self.lines.iter().map(|(name, line)| (line.rank(), name, line)).collect();
        let counts: Vec<String> = RANKS
            .iter()
            .zip(0_u8..)
            .map(|(word, rank)| (word, all.iter().filter(|(r, ..)| *r == rank).count()))
            .filter(|(_, count)| *count > 0)
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        all.sort_by_key(|(rank, ..)| *rank);
        all.truncate(room);
        all.sort_by_key(|(_, name, _)| *name);
        let rest = format!("{} services: {}", self.lines.len(), counts.join(", "));
        (all.into_iter().map(|(_, name, line)| (name, line)).collect(), Some(rest))
    }

    /// The services with their lines.
    #[cfg(test)]
    pub fn lines(&self) -> impl Iterator<Item = (&ServiceName, &Line)> {
        self.lines.iter()
    }
}

impl Line {
    fn take(&mut self, body: &Body) {
        match body {
            Body::PhaseStarted { phase, revision } => {
                self.phase = Some(*phase);
                self.candidate = Some(revision.clone());
                self.step = None;
                self.note = None;
            }
            Body::ProbeMeasured { probe, verdict, summary, .. } => {
                self.last = Some((*verdict, format!("{probe}: {summary}")));
            }
            Body::MetricMeasured { metric, verdict, summary, .. } => {
                self.last = Some((*verdict, format!("{metric}: {summary}")));
            }
            Body::AnalysisFinished { verdict, reason, .. } => self.last = Some((*verdict, reason.clone())),
            Body::StepStarted { step, steps, label } => self.step = Some(format!("{step}/{steps} {label}")),
            Body::RevisionAvailable { revision, available, desired } => {
                self.available.insert(revision.clone(), (*available, *desired));
            }
            Body::TrafficShifted { weights, .. } => self.weights.clone_from(weights),
            Body::GateOpened { .. } | Body::GateApproved { .. } | Body::Paused { .. } => {
                self.note = Some(body.title());
                self.at_gate = true;
            }
            Body::GatePassed { .. } | Body::Resumed { .. } => {
                self.note = None;
                self.at_gate = false;
            }
            Body::EffectRetried { message, attempt, .. } => {
                self.note = Some(format!("attempt {attempt} follows: {message}"));
            }
            Body::Aborted { reason, .. } | Body::Failed { reason } | Body::RollbackFailed { reason } => {
                self.note = Some(reason.clone());
                self.settle(body);
            }
            Body::Retired { revision } => {
                self.available.remove(revision);
            }
            Body::Skipped { .. } => {
                self.note = Some(body.title());
                self.settle(body);
            }
            other => self.settle(other),
        }
    }

    fn settle(&mut self, body: &Body) {
        self.outcome = match body {
            Body::Promoted { .. } => Some(ServiceOutcome::Promoted),
            Body::Unchanged { .. } => Some(ServiceOutcome::Unchanged),
            Body::RolledBack { .. } => Some(ServiceOutcome::RolledBack),
            Body::RollbackFailed { .. } => Some(ServiceOutcome::RollbackFailed),
            Body::Failed { .. } => Some(ServiceOutcome::Failed),
            Body::Skipped { .. } => Some(ServiceOutcome::Skipped),
            _ => self.outcome,
        };
    }

    /// How much it matters that it is seen; a place in [`RANKS`].
    fn rank(&self) -> u8 {
        match (self.outcome, self.phase) {
            (Some(ServiceOutcome::Promoted | ServiceOutcome::Unchanged), _) => 4,
            (Some(_), _) | (None, Some(Phase::Rollback)) => 0,
            (None, _) if self.at_gate => 1,
            (None, None | Some(Phase::Waiting)) => 3,
            (None, Some(_)) => 2,
        }
    }

    /// The mark before the name: its shape, not only its colour, says how the service is.
    pub fn mark(&self) -> String {
        let (mark, style) = match (self.outcome, self.phase) {
            (Some(ServiceOutcome::Promoted), _) => ("✓", Style::new().green()),
            (Some(ServiceOutcome::Unchanged), _) => ("=", Style::new().green()),
            (Some(ServiceOutcome::Skipped), _) => ("-", Style::new().dim()),
            (Some(ServiceOutcome::RolledBack), _) => ("↩", Style::new().yellow()),
            (Some(ServiceOutcome::Failed | ServiceOutcome::RollbackFailed), _) => ("✗", Style::new().red()),
            (None, None | Some(Phase::Waiting)) => ("·", Style::new().dim()),
            (None, Some(Phase::Rollback)) => ("↩", Style::new().yellow()),
            (None, Some(_)) => ("▸", Style::new().cyan()),
        };
        style.for_stderr().apply_to(mark).to_string()
    }

    /// The line, no wider than this.
    pub fn render(&self, name: &ServiceName, name_width: usize, width: usize) -> String {
        let phase = match self.outcome {
            Some(ServiceOutcome::Promoted) => "promoted".to_owned(),
            Some(ServiceOutcome::Unchanged) => "unchanged".to_owned(),
            Some(ServiceOutcome::Skipped) => "skipped".to_owned(),
            Some(ServiceOutcome::RolledBack) => "rolled back".to_owned(),
            Some(ServiceOutcome::Failed) => "failed".to_owned(),
            Some(ServiceOutcome::RollbackFailed) => "rollback failed".to_owned(),
            None => self.phase.map_or_else(|| "waiting".to_owned(), |p| p.to_string()),
        };
        let mut parts = vec![format!("{} {:name_width$}  {phase:11}", self.mark(), name.as_str())];
        if let Some(bar) = self.bar() {
            parts.push(bar);
        }
        if self.outcome.is_none()
            && let Some(step) = &self.step
        {
            parts.push(step.clone());
        }
        match (&self.note, &self.last) {
            (Some(note), _) => parts.push(note.clone()),
            (None, Some((verdict, text))) if self.outcome.is_none() => parts.push(format!("{verdict} {text}")),
            _ => {}
        }
        shorten(&parts.join("  "), width)
    }

    /// The candidate's share as a bar and in numbers: `rabc… ██░░░ 40%`.
    fn bar(&self) -> Option<String> {
        const CELLS: u16 = 10;
        let candidate = self.candidate.as_ref()?;
        let weight = self.weights.get(candidate).copied().unwrap_or(Weight::ZERO);
        let filled = usize::from(weight.hundredths() / (10_000 / CELLS));
        let bar = format!("{}{}", "█".repeat(filled), "░".repeat(usize::from(CELLS).saturating_sub(filled)));
        let count = self.available.get(candidate).map_or(String::new(), |(a, d)| format!(" {a}/{d}"));
        let weight = weight.to_string();
        Some(format!("{candidate} {bar} {weight:>5}{count}"))
    }
}

/// Cuts a text to its first line and to a width, never inside a character.
pub fn shorten(text: &str, width: usize) -> String {
    let text = text.lines().next().unwrap_or_default();
    if measure_text_width(text) <= width {
        text.to_owned()
    } else {
        console::truncate_str(text, width, "…").into_owned()
    }
}

/// An event as a plain line: time, service, what happened. Further lines of a plugin's text are set apart, so that none of
/// them can pass for an event.
pub fn plain(event: &Event) -> String {
    let at = event.at.to_string();
    let time = at.get(11..19).unwrap_or(&at);
    let title = event.body.title().replace('\n', "\n       | ");
    match &event.service {
        Some(service) => format!("{time} {service}: {title}"),
        None => format!("{time} {title}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basb_core::{RunId, Timestamp};

    fn event(service: Option<&str>, body: Body) -> Event {
        Event {
            version: 1,
            seq: 1,
            part: 1,
            at: Timestamp(1_700_000_000_000),
            run: RunId::new("run-1").unwrap(),
            service: service.map(|s| ServiceName::new(s).unwrap()),
            body,
        }
    }

    #[test]
    fn a_rollout_reads_as_one_line() {
        let revision = RevisionId::new("r2").unwrap();
        let weight = Weight::new(2500).unwrap();
        let mut view = View::default();
        for body in [
            Body::PhaseStarted { phase: Phase::Rollout, revision: revision.clone() },
            Body::RevisionAvailable { revision: revision.clone(), available: 1, desired: 2 },
            Body::StepStarted { step: 2, steps: 6, label: "weight 25%".into() },
            Body::TrafficShifted { weights: [(revision.clone(), weight)].into(), candidate: weight },
        ] {
            view.take(&event(Some("capture"), body));
        }
        let (name, line) = view.lines().next().unwrap();
        let shown = console::strip_ansi_codes(&line.render(name, 8, 100)).into_owned();
        assert_eq!(shown, "▸ capture   rollout      r2 ██░░░░░░░░   25% 1/2  2/6 weight 25%");
        assert!(measure_text_width(&line.render(name, 8, 30)) <= 30);
    }

    #[test]
    fn of_thousands_the_telling_ones_are_shown() {
        let revision = RevisionId::new("r2").unwrap();
        let mut view = View::default();
        for number in 0..3000 {
            let body = match number {
                7 => Body::Failed { reason: "no".into() },
                1500 => Body::GateOpened { reason: "look".into(), until: None, needs: None, plan: None },
                _ if number % 2 == 0 => Body::Promoted { revision: revision.clone(), previous: None },
                _ => Body::PhaseStarted { phase: Phase::Rollout, revision: revision.clone() },
            };
            view.take(&event(Some(&format!("s{number:04}")), body));
        }
        let (shown, rest) = view.most_telling(4);
        let names: Vec<&str> = shown.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["s0001", "s0003", "s0007", "s1500"]);
        let rest = rest.unwrap();
        assert_eq!(rest, "3000 services: 1 in trouble, 1 waiting for a person, 1499 under way, 1499 done");
        assert_eq!(view.most_telling(3000).0.len(), 3000);
        assert_eq!(view.most_telling(3000).1, None);
    }

    #[test]
    fn a_plain_line_has_time_and_service() {
        let text = plain(&event(Some("capture"), Body::Failed { reason: "no".into() }));
        assert_eq!(text, "22:13:20 capture: failed before anything was changed: no");
    }
}
