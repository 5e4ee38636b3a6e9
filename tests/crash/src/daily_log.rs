//! The log of the day in the vault, which the notifier for Obsidian writes: each run is in it once.

use crate::host::Result;
use crate::report::Outcome;
use std::path::{Path, PathBuf};

/// After so many runs a new day begins: the log is read and written as a whole for each notification, and is in the tape
/// of each. Nobody has hundreds of deployments on one day.
const RUNS_A_DAY: usize = 20;

/// The log, and the runs that must be in it.
#[derive(Debug)]
pub struct DailyLog {
    folder: PathBuf,
    runs: Vec<String>,
}

impl DailyLog {
    /// That of a vault.
    #[must_use]
    pub fn new(vault: &Path) -> Self {
        Self { folder: vault.join("agent-workspaces"), runs: Vec::new() }
    }

    /// A run has ended.
    pub fn ended(&mut self, run: &str) {
        self.runs.push(run.to_owned());
    }

    /// Whether there are as many runs in it as one day has.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.runs.len() >= RUNS_A_DAY
    }

    /// Looks for every run, and begins a new log; while the newest is not in it yet, only later. To be called while nothing
    /// runs.
    ///
    /// # Errors
    /// What the file system says.
    pub fn close(&mut self, outcome: &mut Outcome) -> Result<()> {
        let mut text = String::new();
        let mut hidden = Vec::new();
        if !self.folder.exists() {
            return Ok(());
        }
        read(&self.folder, &mut text, &mut hidden).map_err(|e| format!("{}: {e}", self.folder.display()))?;
        // What the newest run has to tell may still be in the outbox: the next run sends it.
        if self.runs.last().is_some_and(|newest| lines(&text, newest) == 0) {
            return Ok(());
        }
        outcome.differs.extend(hidden.iter().map(|path| format!("{} is left over", path.display())));
        for run in self.runs.drain(..) {
            match lines(&text, &run) {
                1 => {}
                0 => outcome.lost.push(format!("the daily log does not say how run {run} ended")),
                more => outcome.doubled.push(format!("the daily log says {more} times how run {run} ended")),
            }
        }
        std::fs::remove_dir_all(&self.folder).map_err(|e| format!("{}: {e}", self.folder.display()))
    }
}

/// In how many lines a run is a goal that was reached.
fn lines(text: &str, run: &str) -> usize {
    let mark = format!("%% basb:goal-{run}.");
    text.lines().filter(|line| line.starts_with("- [x] ") && line.contains(&mark)).count()
}

fn read(folder: &Path, text: &mut String, hidden: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            hidden.push(path);
        } else if path.is_dir() {
            read(&path, text, hidden)?;
        } else {
            text.push_str(&std::fs::read_to_string(path)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_missing_or_there_twice_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = DailyLog::new(folder.path());
        let day = folder.path().join("agent-workspaces/notes");
        std::fs::create_dir_all(&day).unwrap();
        let line = |run: usize| format!("- [x] deploy **a**: done %% basb:goal-r{run}.1.c0de %%\n");
        let open = "- [ ] deploy **a** %% basb:goal-r1.1.c0de %%\n".to_owned();
        let all: String = (2..RUNS_A_DAY).map(line).chain([line(3), open]).collect();
        std::fs::write(day.join("today.md"), &all).unwrap();
        for run in 1..=RUNS_A_DAY {
            log.ended(&format!("r{run}"));
        }
        assert!(log.is_full());
        // The newest is not told yet.
        let mut outcome = Outcome::default();
        log.close(&mut outcome).unwrap();
        assert!(day.exists() && outcome.lost.is_empty() && outcome.doubled.is_empty());
        std::fs::write(day.join("today.md"), all + &line(RUNS_A_DAY)).unwrap();
        std::fs::write(day.join(".half"), line(4)).unwrap();
        log.close(&mut outcome).unwrap();
        assert_eq!(outcome.lost, ["the daily log does not say how run r1 ended"]);
        assert_eq!(outcome.doubled, ["the daily log says 2 times how run r3 ended"]);
        assert_eq!(outcome.differs, [format!("{} is left over", day.join(".half").display())]);
        assert!(!day.exists());
    }
}
