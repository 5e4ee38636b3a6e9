//! What came of it, for people and programs.

use super::measured::Measured;
use serde::Serialize;
use std::fmt::Write as _;

/// A size.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    /// How many services.
    pub(crate) services: usize,
    /// The canary, from the program's start to its end: the best round.
    wall_s: f64,
    /// The most memory of that round, in MB.
    max_rss_mb: f64,
    /// Processor time of that round, user and system.
    cpu_s: f64,
    /// Every round.
    all_wall_s: Vec<f64>,
    /// A service's share of the processor time, in microseconds.
    cpu_us_per_service: f64,
    /// The first release, which compiles the plugins and takes no steps.
    first_s: f64,
    /// The same deployment once more: finding that nothing changed.
    pub(crate) unchanged_s: f64,
    unchanged_max_rss_mb: f64,
    /// Entries of the canary's journal.
    entries: u64,
    /// The journal's file after all rounds, in MB.
    journal_mb: f64,
    /// Reading back, with all of that in the journal.
    reading: Reading,
}

/// How long commands take that read.
#[derive(Debug, Serialize)]
pub(crate) struct Reading {
    pub(crate) status_s: f64,
    pub(crate) history_s: f64,
    pub(crate) show_s: f64,
}

/// Terraform at a size.
#[derive(Debug, Serialize)]
pub(crate) struct Other {
    pub(crate) services: usize,
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) max_rss_mb: f64,
    pub(crate) unchanged_s: f64,
}

/// Everything.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) runs: Vec<Run>,
    pub(crate) unchanged_5000_s: Option<f64>,
    /// Processor time of a service in the largest deployment, by that in the smallest.
    cpu_growth: Option<f64>,
    /// The same for the time that passed.
    wall_growth: Option<f64>,
    pub(crate) terraform: Vec<Other>,
    pub(crate) terraform_version: Option<String>,
    pub(crate) terraform_skipped: Option<String>,
    pub(crate) cores: usize,
    pub(crate) rounds: u32,
}

impl Run {
    #[expect(clippy::too_many_arguments, reason = "each is a figure of its own")]
    pub(crate) fn new(
        services: usize,
        first: &Measured,
        canary: &Measured,
        all_wall_s: Vec<f64>,
        unchanged: &Measured,
        entries: u64,
        journal: u64,
        reading: Reading,
    ) -> Self {
        Self {
            services,
            wall_s: canary.wall_s,
            max_rss_mb: canary.max_rss_mb,
            cpu_s: canary.cpu_s,
            all_wall_s,
            cpu_us_per_service: canary.cpu_s * 1e6 / services.max(1) as f64,
            first_s: first.wall_s,
            unchanged_s: unchanged.wall_s,
            unchanged_max_rss_mb: unchanged.max_rss_mb,
            entries,
            journal_mb: journal as f64 / 1e6,
            reading,
        }
    }
}

impl Report {
    /// What follows from the single figures.
    pub(crate) fn conclude(&mut self) {
        let by_size = |run: &&Run| run.services;
        let (least, most) = (self.runs.iter().min_by_key(by_size), self.runs.iter().max_by_key(by_size));
        if let (Some(least), Some(most)) = (least, most)
            && least.services < most.services
        {
            let wall = |run: &Run| run.wall_s / run.services.max(1) as f64;
            self.wall_growth = Some(wall(most) / wall(least));
            self.cpu_growth = Some(most.cpu_us_per_service / least.cpu_us_per_service);
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::from(
            "services    canary       CPU    memory   a service   unchanged   entries   journal    status      show\n",
        );
        for run in &self.runs {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{:>8}  {:>6.2} s  {:>6.2} s  {:>5.0} MB  {:>7.0} us  {:>8.2} s  {:>8}  {:>5.0} MB  {:>6.2} s  {:>6.2} s",
                run.services,
                run.wall_s,
                run.cpu_s,
                run.max_rss_mb,
                run.cpu_us_per_service,
                run.unchanged_s,
                run.entries,
                run.journal_mb,
                run.reading.status_s,
                run.reading.show_s,
            );
        }
        if let (Some(wall), Some(cpu)) = (self.wall_growth, self.cpu_growth) {
            let _ = writeln!(
                text,
                "a service of the largest by one of the smallest: {wall:.2} of the time, {cpu:.2} of the CPU"
            );
        }
        for other in &self.terraform {
            let _ = writeln!(
                text,
                "terraform {}, {} resources: {:.2} s, {:.2} s of CPU, {:.0} MB; unchanged {:.2} s",
                self.terraform_version.as_deref().unwrap_or("?"),
                other.services,
                other.wall_s,
                other.cpu_s,
                other.max_rss_mb,
                other.unchanged_s,
            );
        }
        if let Some(why) = &self.terraform_skipped {
            let _ = writeln!(text, "NOT COMPARED with terraform: {why}");
        }
        let _ = write!(text, "best of {} rounds, {} cores", self.rounds, self.cores);
        text
    }
}
