//! What a command wrote, and following one while it runs.

use crate::PATIENCE;
use basb_core::event::{Body, EVENT_VERSION, Event};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a command wrote, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// The same output, if it ended with this code.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Whether it ended with another code than this one.
    #[must_use]
    pub fn exits_not(&self, code: i32) -> Option<()> {
        (self.code != Some(code)).then_some(())
    }

    /// Standard output as one JSON document.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }

    /// Standard output as events; a line that is none fails the test, but for what the command decided.
    #[track_caller]
    pub fn events(&self) -> Events {
        Events(self.stdout.lines().filter(|line| !is_decision(line)).map(event).collect())
    }

    /// What the command decided, as it stands before the events of its run.
    ///
    /// # Panics
    /// When it does not stand there, or is of another run.
    #[track_caller]
    pub fn decided(&self, kind: &str) -> Value {
        let first = self.stdout.lines().next().unwrap_or_default();
        let line: Value = serde_json::from_str(first).unwrap_or_else(|e| panic!("{e}: {}", self.stdout));
        assert_eq!((&line["version"], &line["kind"]), (&Value::from(1), &Value::from(kind)), "{first}");
        for event in self.events().0 {
            assert_eq!(line["run"], event.run.to_string(), "{first}");
        }
        line
    }

    /// The same output, if standard error holds all of these, and exactly one code, and tells what to do next.
    ///
    /// # Panics
    /// When something is missing.
    #[track_caller]
    pub fn says(self, code: &str, parts: &[&str]) -> Self {
        let err = &self.stderr;
        // An error by itself ends in `code: x/y`; one in the file begins with `Error: x/y`.
        let named =
            |line: &str| line.strip_prefix("code: ").or_else(|| line.strip_prefix("Error: ")).map(str::to_owned);
        let codes: Vec<String> = err.lines().filter_map(named).collect();
        assert_eq!(codes, [code], "exactly one code\n{err}");
        let flat = flatten(err);
        for part in parts {
            assert!(flat.contains(&flatten(part)), "`{part}` is not in:\n{err}");
        }
        assert!(["hint: ", "help: ", "did you mean"].iter().any(|sign| err.contains(sign)), "no next step in:\n{err}");
        assert!(!err.contains("panicked at"), "{err}");
        self
    }
}

/// Text without the frames and line breaks that a report puts around and into it.
fn flatten(text: &str) -> String {
    let words = text.split_whitespace().filter(|w| !matches!(*w, "│" | "×" | "╰─▶" | "├─▶"));
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a line says what a command decided: no event, and told from one by its kind.
fn is_decision(line: &str) -> bool {
    let line: Option<Value> = serde_json::from_str(line).ok();
    line.is_some_and(|line| line["kind"].as_str().is_some_and(|kind| kind.ends_with(".decided")))
}

fn event(line: &str) -> Event {
    let event: Event = serde_json::from_str(line).unwrap_or_else(|e| panic!("not an event: {e}: {line}"));
    assert_eq!(event.version, EVENT_VERSION, "{line}");
    let raw: Value = serde_json::from_str(line).unwrap();
    assert_eq!(raw["kind"], event.body.kind(), "{line}");
    event
}

/// Events in order.
#[derive(Debug)]
pub struct Events(pub Vec<Event>);

impl Events {
    /// How many there are of a kind.
    #[must_use]
    pub fn count(&self, kind: &str) -> usize {
        self.0.iter().filter(|e| e.body.kind() == kind).count()
    }

    /// The candidate's verified shares of traffic in percent, in order, of a service.
    #[must_use]
    pub fn weights(&self, service: &str) -> Vec<u16> {
        let of_service = self.0.iter().filter(|e| e.service.as_ref().is_some_and(|s| s.as_str() == service));
        let weight = |e: &Event| match &e.body {
            Body::TrafficShifted { candidate, .. } => Some(candidate.hundredths() / 100),
            _ => None,
        };
        of_service.filter_map(weight).collect()
    }

    /// The kinds, in order.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        self.0.iter().map(|e| e.body.kind()).collect()
    }

    /// The titles of all events of a kind.
    #[must_use]
    pub fn titles(&self, kind: &str) -> Vec<String> {
        self.0.iter().filter(|e| e.body.kind() == kind).map(|e| e.body.title()).collect()
    }

    /// Where the first of a kind is.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn at(&self, kind: &str) -> usize {
        let found = self.0.iter().position(|e| e.body.kind() == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {:?}", self.kinds()))
    }

    /// The run that they are of.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn run(&self) -> String {
        self.0[0].run.to_string()
    }
}

/// A command that is followed while it runs. Killed when dropped.
#[derive(Debug)]
pub struct Following {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    stderr: Option<JoinHandle<String>>,
}

impl Following {
    /// Starts a command, to be followed.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Self { child, lines, seen: Vec::new(), stderr: Some(stderr) }
    }

    /// The next event that is looked for.
    ///
    /// # Panics
    /// When the command ends before, or nothing comes within [`PATIENCE`].
    #[track_caller]
    pub fn until(&mut self, what: &str, mut wanted: impl FnMut(&Event) -> bool) -> Event {
        let start = Instant::now();
        loop {
            match self.lines.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
                Ok(line) if is_decision(&line) => self.seen.push(line),
                Ok(line) => {
                    let event = event(&line);
                    self.seen.push(line);
                    if wanted(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {what} in time; seen:\n{}", self.seen.join("\n")),
                Err(RecvTimeoutError::Disconnected) => {
                    let seen = self.seen.join("\n");
                    let _ = self.child.wait();
                    let stderr = self.stderr.take().map(|t| t.join().unwrap()).unwrap_or_default();
                    panic!("it ended without {what}; seen:\n{seen}\n--- stderr\n{stderr}");
                }
            }
        }
    }

    /// The next event of a kind.
    #[track_caller]
    pub fn until_kind(&mut self, kind: &str) -> Event {
        self.until(kind, |event| event.body.kind() == kind)
    }

    /// The moment at which the candidate has at least this share of traffic, in percent.
    #[track_caller]
    pub fn until_weight(&mut self, percent: u16) -> Event {
        self.until(&format!("a weight of {percent}%"), |event| {
            matches!(&event.body, Body::TrafficShifted { candidate, .. } if candidate.hundredths() >= percent * 100)
        })
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by SIGKILL, and returns what it wrote until then.
    #[must_use]
    pub fn kill(self) -> Output {
        self.signal(Signal::KILL);
        self.end()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    #[must_use]
    pub fn end(mut self) -> Output {
        let status = wait_for_end(&mut self.child);
        let rest = std::mem::take(&mut self.seen).into_iter().chain(self.lines.iter());
        let stdout: String = rest.map(|line| line + "\n").collect();
        let stderr = self.stderr.take().map(|t| t.join().unwrap()).unwrap_or_default();
        Output { code: status.code(), stdout, stderr }
    }
}

fn wait_for_end(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("the command does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
