//! What is run: everything, or the share that CI has time for.

use crate::Share;
use crate::asked::{self, Asked, Asker};
use crate::fencing::{self, Wakes};
use crate::host::{At, Random, Result};
use crate::in_call;
use crate::local::{Back, Checks, Disturb, Local, Stage};
use crate::recorded::{self, Kill, Recorded, Reference, Release};
use crate::report::{Outcome, Part, Report, Tally};
use crate::say;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only parts whose name contains this.
    pub only: String,
    /// How much.
    pub share: Share,
    /// The seed.
    pub seed: u64,
    /// So many runs at once.
    pub jobs: usize,
    /// Where everything is put.
    pub folder: PathBuf,
}

/// The parts, in the order in which they say most soonest.
const PARTS: [&str; 12] = [
    "recorded-entries",
    "recorded-commits",
    "recorded-rollback-entries",
    "recorded-random",
    "recorded-twice",
    "in-call",
    "asked",
    "two-runners",
    "second-brain-entries",
    "second-brain-random",
    "agent-entries",
    "agent-random",
];

/// One disturbed run: its name, and what does it.
type Job<'a> = (String, Box<dyn FnOnce() -> Result<Outcome> + Send + 'a>);

impl Options {
    fn wants(&self, part: &str) -> bool {
        part.contains(&self.only)
    }

    /// The number for CI, or the one for the whole.
    fn amount(&self, ci: usize, whole: usize) -> usize {
        match self.share {
            Share::Ci => ci,
            Share::Whole => whole,
        }
    }

    /// So many at once of those that wait most of the time: for pauses and polls of a second or less, or for a lease to run
    /// out. As many as `jobs` would leave two thirds of the processors idle.
    fn waiting(&self) -> usize {
        self.jobs * 3
    }

    fn random(&self, part: &str) -> Random {
        let place = PARTS.iter().position(|name| *name == part).unwrap_or(0) as u64;
        Random(self.seed.wrapping_mul(31).wrapping_add(place))
    }
}

/// Runs the parts that are wanted.
///
/// # Errors
/// When something cannot even begin.
pub fn run(options: &Options) -> Result<Report> {
    if !PARTS.iter().any(|part| options.wants(part)) {
        return Err(format!("no part has `{}` in its name: there are {}", options.only, PARTS.join(", ")));
    }
    let folder = options.folder.join(std::process::id().to_string());
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut report = Report { version: 1, seed: options.seed, ..Report::default() };
    if PARTS.iter().any(|part| options.wants(part) && (part.starts_with("recorded") || *part == "two-runners")) {
        on_the_recording_cloud(options, &folder.join("recorded"), &mut report)?;
    }
    if options.wants("in-call") {
        report.add(within_a_call(options, &folder.join("in-call"))?);
    }
    if options.wants("asked") {
        report.add(what_was_asked(options, &folder.join("asked"))?);
    }
    if PARTS.iter().any(|part| options.wants(part) && (part.starts_with("second") || part.starts_with("agent"))) {
        on_this_machine(options, &folder, &mut report)?;
    }
    if report.good() {
        std::fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    } else {
        say(&format!("what went wrong is left in {}", folder.display()));
    }
    Ok(report)
}

/// Does the jobs, so many at once.
fn work(name: &str, jobs: Vec<Job<'_>>, at_once: usize) -> Part {
    say(&format!("== {name}: {} runs", jobs.len()));
    let tally = Tally::begin(name);
    let queue = Mutex::new(jobs.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                    let Some((what, job)) = next else { return };
                    let began = Instant::now();
                    let outcome = job();
                    tally.take(&what, began.elapsed(), outcome);
                }
            });
        }
    });
    tally.end()
}

fn on_the_recording_cloud(options: &Options, folder: &std::path::Path, report: &mut Report) -> Result<()> {
    let place = Recorded::prepare(folder, recorded::second_brain)?;
    let good = place.reference(Release::Good)?;
    say(&format!(
        "an undisturbed canary: {} entries, {} effects, {} notifications, {} ms",
        good.entries().count(),
        good.effects(),
        good.notifications(),
        good.took.as_millis()
    ));
    // What is compared must be the same every time, or nothing is shown by it.
    for _ in 0..2 {
        let again = place.disturbed("again", Release::Good, &good, &[])?;
        let wrong = [again.lost, again.doubled, again.differs].concat();
        if !wrong.is_empty() {
            return Err(format!("two undisturbed runs differ: {}", wrong.join("; ")));
        }
    }
    let disturbed = |name: String, release: Release, reference: &'static Reference, kills: Vec<Kill>| {
        let place = &place;
        let job = name.clone();
        (name, Box::new(move || place.disturbed(&job, release, reference, &kills)) as Box<_>)
    };
    let good: &'static Reference = Box::leak(Box::new(good));

    if options.wants("recorded-entries") {
        let jobs = every_commit(options, "recorded-entries", &place, Release::Good, good, 8);
        report.add(work("recorded-entries", jobs, options.waiting()));
    }
    if options.wants("recorded-commits") {
        // The lease, the start of the run and the first entries: what is committed before there is anything to resume.
        let jobs = (1..=options.amount(3, 12)).flat_map(|number| ["before", "after"].map(|stage| (number, stage))).map(
            |(number, stage)| {
                let at = At(format!("kill-{stage}:commit{number}"));
                disturbed(format!("commit-{number}-{stage}"), Release::Good, good, vec![Kill::At(at)])
            },
        );
        report.add(work("recorded-commits", jobs.collect(), options.waiting()));
    }
    if options.wants("recorded-rollback-entries") {
        let broken: &'static Reference = Box::leak(Box::new(place.reference(Release::Broken)?));
        let jobs = every_commit(options, "recorded-rollback-entries", &place, Release::Broken, broken, 4);
        report.add(work("recorded-rollback-entries", jobs, options.waiting()));
    }
    if options.wants("recorded-random") {
        let mut random = options.random("recorded-random");
        let span = good.took.as_millis() as u64;
        let jobs = (0..options.amount(8, 600)).map(|number| {
            let time = Duration::from_millis(random.below(span));
            disturbed(format!("random-{number}"), Release::Good, good, vec![Kill::After(time)])
        });
        report.add(work("recorded-random", jobs.collect(), options.waiting()));
    }
    if options.wants("recorded-twice") {
        let mut random = options.random("recorded-twice");
        // Every fourth entry at length: with its two other kills each, that is as many as `recorded-entries` has.
        let entries = chosen(options, "recorded-twice", good, options.amount(4, good.entries().count().div_ceil(4)));
        let jobs = entries.iter().map(|entry| {
            // Again while it resumes: at one of the first entries that the resumed process writes; and once more, at
            // some time.
            let again = entry + random.below(6);
            let stage = |at: u64, n: u64| if n == 0 { At::before(at) } else { At::after(at) };
            let kills = vec![
                Kill::At(stage(*entry, random.below(2))),
                Kill::At(stage(again, random.below(2))),
                Kill::After(Duration::from_millis(random.below(good.took.as_millis() as u64))),
            ];
            disturbed(format!("twice-{entry}"), Release::Good, good, kills)
        });
        report.add(work("recorded-twice", jobs.collect(), options.waiting()));
    }
    if options.wants("two-runners") {
        report.add(two_runners(options, &place, good));
    }
    Ok(())
}

/// Runs that are killed before and after commits: in CI at some entries; otherwise at each, entry by entry. Entries that
/// were committed together are one place: after a kill that followed a commit, the next entry that is not there yet is
/// the next place.
fn every_commit<'a>(
    options: &Options,
    part: &str,
    place: &'a Recorded,
    release: Release,
    reference: &'static Reference,
    ci: usize,
) -> Vec<Job<'a>> {
    let stages = |entry: u64| [("before", At::before(entry)), ("after", At::after(entry))];
    if options.share == Share::Ci {
        let entries = chosen(options, part, reference, ci);
        let jobs = entries.into_iter().flat_map(|entry| stages(entry).map(|at| (entry, at)));
        return jobs
            .map(|(entry, (stage, at))| {
                let name = format!("{release:?}-{entry}-{stage}").to_lowercase();
                let job = name.clone();
                let run = move || place.disturbed(&job, release, reference, &[Kill::At(at)]);
                (name, Box::new(run) as Box<dyn FnOnce() -> Result<Outcome> + Send>)
            })
            .collect();
    }
    // Stretches of entries, so that several can be at work at once.
    let all: Vec<u64> = reference.entries().collect();
    let stretch = |entries: &[u64]| {
        let (from, to) = (entries.first().copied().unwrap_or(0), entries.last().copied().unwrap_or(0));
        let run = move || {
            let (mut all, mut entry) = (Outcome::default(), from);
            while entry <= to {
                for (stage, at) in stages(entry) {
                    let name = format!("{release:?}-{entry}-{stage}").to_lowercase();
                    let (outcome, reached) = place.disturbed_to(&name, release, reference, &[Kill::At(at)])?;
                    all.add(&name, outcome);
                    if stage == "after" {
                        entry = reached.max(entry) + 1;
                    }
                }
            }
            Ok(all)
        };
        (format!("entries {from} to {to}"), Box::new(run) as Box<dyn FnOnce() -> Result<Outcome> + Send>)
    };
    all.chunks(20).map(stretch).collect()
}

/// So many entries at which something happens, spread over all with a random beginning.
fn chosen(options: &Options, part: &str, reference: &Reference, so_many: usize) -> Vec<u64> {
    let all: Vec<u64> = reference.entries().collect();
    let step = all.len().div_ceil(so_many.max(1)).max(1);
    let from = options.random(part).below(step as u64) as usize;
    all.into_iter().skip(from).step_by(step).collect()
}

/// One call with many requests that change something, killed between any two of them.
fn within_a_call(options: &Options, folder: &std::path::Path) -> Result<Part> {
    let place = Recorded::prepare(folder, in_call::file)?;
    let reference = place.reference(Release::Good)?;
    let bench = in_call::Bench::new(&place, &reference);
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for stage in [Stage::Before, Stage::After] {
        let bench = &bench;
        let again = options.share == Share::Whole;
        let job =
            move || bench.at_every_page(stage, if again { in_call::Again::Everywhere } else { in_call::Again::No });
        jobs.push((format!("pages {stage:?}").to_lowercase(), Box::new(job)));
    }
    for request in 1..=in_call::REQUESTS {
        let bench = &bench;
        jobs.push((format!("request {request}"), Box::new(move || bench.at_request(request))));
    }
    jobs.push(("requests, one after the other".to_owned(), Box::new(|| bench.at_each_request_in_turn())));
    let mut part = work("in-call", jobs, options.jobs);
    bench.conclude(&mut part);
    Ok(part)
}

/// Operators ask, and the process at work is killed over it.
fn what_was_asked(options: &Options, folder: &std::path::Path) -> Result<Part> {
    let place = Recorded::prepare(folder, asked::file)?;
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for number in 0..options.amount(1, 10) {
        for what in [Asked::Abort, Asked::Promote] {
            for stage in [Stage::Before, Stage::After] {
                for asker in [Asker::Waits, Asker::IsKilled] {
                    let name = format!("{what:?}-{stage:?}-{asker:?}-{number}").to_lowercase();
                    let (job, place) = (name.clone(), &place);
                    jobs.push((name, Box::new(move || asked::killed(place, &job, what, stage, asker))));
                }
            }
        }
    }
    Ok(work("asked", jobs, options.jobs))
}

fn two_runners(options: &Options, place: &Recorded, good: &'static Reference) -> Part {
    let mut random = options.random("two-runners");
    let all: Vec<u64> = good.entries().collect();
    // The last ones are places of their own: the first runner may be over when it is to stop, and what the second one
    // takes over may be nothing.
    let (middle, last) = all.split_at(all.len().saturating_sub(16));
    let mut somewhere = |of: &[u64]| of.get(random.below(of.len() as u64) as usize).copied().unwrap_or(1);
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for (what, of, amount) in
        [("taken-over", middle, options.amount(5, 40)), ("at-the-end", last, options.amount(1, 16))]
    {
        for number in 0..amount {
            let (entry, name) = (somewhere(of), format!("{what}-{number}"));
            let wakes = if number % 3 == 2 { Wakes::Afterwards } else { Wakes::Meanwhile };
            let job = name.clone();
            let at = At(format!("stop-after:{entry}"));
            let run = move || fencing::taken_over(place, &job, good, &at, wakes);
            jobs.push((format!("{name} at {entry}"), Box::new(run)));
        }
    }
    for number in 0..options.amount(1, 5) {
        let (entry, name) = (somewhere(&all), format!("locked-out-{number}"));
        let job = name.clone();
        let at = At(format!("stop-before:{entry}"));
        jobs.push((format!("{name} at {entry}"), Box::new(move || fencing::locked_out(place, &job, good, &at))));
    }
    work("two-runners", jobs, options.waiting())
}

fn on_this_machine(options: &Options, folder: &std::path::Path, report: &mut Report) -> Result<()> {
    if options.wants("second-brain-entries") {
        // The host is killed before and after commits.
        let how = |stage, entry| Disturb::At(vec![(stage, entry)]);
        report.add(services_at_every_commit(options, folder, "second-brain-entries", Checks::All, how)?);
    }
    if options.wants("second-brain-random") {
        let how = |times| Disturb::After(times);
        report.add(services_at_random(options, folder, "second-brain-random", Checks::All, how)?);
    }
    if options.wants("agent-entries") {
        let how = |stage, entry| match stage {
            Stage::Before => Disturb::AgentAt(stage, entry, Back::First),
            Stage::After => Disturb::AgentAt(stage, entry, Back::Meanwhile),
        };
        report.add(services_at_every_commit(options, folder, "agent-entries", Checks::None, how)?);
    }
    if options.wants("agent-random") {
        let how = |times| Disturb::Agent(times);
        report.add(services_at_random(options, folder, "agent-random", Checks::None, how)?);
    }
    Ok(())
}

/// A canary of the services is disturbed before and after commits: in CI at some, otherwise at each, as in
/// [`every_commit`], in several places at once.
fn services_at_every_commit(
    options: &Options,
    folder: &std::path::Path,
    name: &str,
    checks: Checks,
    how: impl Fn(Stage, u64) -> Disturb + Sync,
) -> Result<Part> {
    let tally = Tally::begin(name);
    let ready = places(options, folder, name, checks)?;
    let places = ready.len();
    let entries = ready.first().map_or(0, |place| place.entries);
    let took = ready.first().map_or(0, |place| place.took.as_millis());
    say(&format!("an undisturbed canary of the services: {entries} entries, {took} ms"));
    say(&format!("== {name}: at {entries} entries, before and after, in {places} places"));
    let step = options.amount(usize::try_from(entries.div_ceil(3)).unwrap_or(1), 1) as u64;
    let from = options.random(name).below(step);
    std::thread::scope(|scope| {
        let share = entries.div_ceil(places as u64);
        for (number, mut place) in (0_u64..).zip(ready) {
            let (tally, how) = (&tally, &how);
            scope.spawn(move || {
                let (mut entry, last) = (number * share + 1 + from, ((number + 1) * share).min(entries));
                while entry <= last {
                    let mut next = entry + step;
                    for stage in [Stage::Before, Stage::After] {
                        let began = Instant::now();
                        let outcome = place.disturbed_to(&how(stage, entry)).map(|(outcome, reached)| {
                            if stage == Stage::After {
                                next = next.max(reached + 1);
                            }
                            outcome
                        });
                        let over = outcome.is_err();
                        tally.take(&format!("entry {entry} {stage:?}").to_lowercase(), began.elapsed(), outcome);
                        if over {
                            // What came after it would be compared with something that is not whole.
                            return;
                        }
                    }
                    entry = next;
                }
                verify(&mut place, tally);
            });
        }
    });
    Ok(tally.end())
}

/// Canaries of the services are disturbed at random instants, once or twice each, in several places at once.
fn services_at_random(
    options: &Options,
    folder: &std::path::Path,
    name: &str,
    checks: Checks,
    how: impl Fn(Vec<Duration>) -> Disturb + Sync,
) -> Result<Part> {
    let runs = options.amount(4, 480);
    let ready = places(options, folder, name, checks)?;
    let places = ready.len();
    say(&format!("== {name}: {runs} canaries, in {places} places"));
    let tally = Tally::begin(name);
    let queue = Mutex::new(0..runs as u64);
    let seed = options.random(name).0;
    std::thread::scope(|scope| {
        for mut place in ready {
            let (tally, how, queue) = (&tally, &how, &queue);
            scope.spawn(move || {
                // How long a canary takes while there is one in every place.
                let mut disturb = how(Vec::new());
                let mut what = "none".to_owned();
                loop {
                    let began = Instant::now();
                    let outcome = place.disturbed(&disturb);
                    let over = outcome.is_err();
                    tally.take(&format!("{what} {disturb:?}"), began.elapsed(), outcome);
                    if over {
                        // What comes after it would be compared with something that is not whole.
                        return;
                    }
                    let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                    let Some(number) = next else { break };
                    // The numbers of each canary are its own, whichever place takes it.
                    let mut random = Random(seed.wrapping_add(number));
                    let span = place.took.as_millis() as u64;
                    disturb = how((0..=random.below(2)).map(|_| Duration::from_millis(random.below(span))).collect());
                    what = number.to_string();
                }
                verify(&mut place, tally);
            });
        }
    });
    Ok(tally.end())
}

/// Places with the four services in them.
fn places(options: &Options, folder: &std::path::Path, name: &str, checks: Checks) -> Result<Vec<Local>> {
    let place = |number| Local::prepare(&folder.join(format!("{name}-{number}")), checks);
    (0..options.amount(1, options.jobs)).map(place).collect()
}

fn verify(place: &mut Local, tally: &Tally) {
    let began = Instant::now();
    let mut outcome = Outcome::default();
    let whole = place.verify(&mut outcome).map(|()| outcome);
    tally.take("everything at the end", began.elapsed(), whole);
}
