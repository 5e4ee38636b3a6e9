//! What plugins had the host do, from the journal: every outside call, allowed or not.
//!
//! The journal holds what plugins named (URLs, file names), so all of it is made fit for a terminal here.

use crate::page::{Page, bytes, counted, took};
use basb_core::run::{Admission, OutsideCall, PluginCall};
use basb_core::{ServiceName, Timestamp};
use basb_grants::printable;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Which outside calls are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// All of them.
    All,
    /// Those that were refused.
    Denied,
}

/// What the plugins of a run had the host do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// The version of this form: 1.
    pub version: u32,
    /// The run.
    pub run: String,
    /// Each plugin, sorted by name and digest.
    pub plugins: Vec<PluginActivity>,
    /// All of it together.
    pub totals: Totals,
}

/// What one plugin had the host do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginActivity {
    /// Its name in the deployment file.
    pub plugin: String,
    /// The digest of its bytes: a plugin that was replaced while a run was cut off stands here twice.
    pub digest: String,
    /// Its calls, in order.
    pub calls: Vec<CallRow>,
    /// All of them together.
    pub totals: Totals,
}

/// Sums. They count everything, shown or not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Calls of plugins.
    pub calls: usize,
    /// What they had the host do.
    pub outside: usize,
    /// How much of it was refused.
    pub denied: usize,
    /// Bytes that were sent.
    pub sent: u64,
    /// Bytes that came back.
    pub received: u64,
    /// The names of the credentials that were used.
    pub credentials: BTreeSet<String>,
}

/// A call of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRow {
    /// When the journal took it down.
    pub recorded_at: Timestamp,
    /// When it began.
    pub at: Timestamp,
    /// The function.
    pub function: String,
    /// The service that it was about.
    pub service: Option<ServiceName>,
    /// How it ended.
    pub outcome: String,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// What it had the host do.
    pub outside: Vec<OutsideRow>,
}

/// One thing that a call had the host do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutsideRow {
    /// When it began.
    pub at: Timestamp,
    /// By which capability.
    pub capability: String,
    /// What, and where to.
    pub what: String,
    /// Whether it was let through.
    pub verdict: Admission,
    /// What came of it.
    pub outcome: String,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// Bytes that were sent.
    pub sent: u64,
    /// Bytes that came back.
    pub received: u64,
    /// The credentials that the host added, by name.
    pub credentials: Vec<String>,
}

impl Totals {
    fn take(&mut self, call: &PluginCall) {
        self.calls += 1;
        for outside in &call.calls {
            self.outside += 1;
            self.denied += usize::from(outside.verdict == Admission::Denied);
            self.sent = self.sent.saturating_add(outside.sent);
            self.received = self.received.saturating_add(outside.received);
            self.credentials.extend(outside.credentials.iter().map(ToString::to_string));
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{}, {} outside, {} denied, {} sent, {} received",
            counted(self.calls, "call"),
            self.outside,
            self.denied,
            bytes(self.sent),
            bytes(self.received)
        );
        if !self.credentials.is_empty() {
            let names: Vec<&str> = self.credentials.iter().map(String::as_str).collect();
            text.push_str(&format!(", with {}", names.join(", ")));
        }
        text
    }
}

/// Puts together what the plugins of a run had the host do. `calls` are the journal's records in their order: when each
/// was written, which service it is about, what it says.
#[must_use]
pub fn activity(run: &str, calls: &[(Timestamp, Option<ServiceName>, PluginCall)], shown: Shown) -> Activity {
    let mut plugins: BTreeMap<(&str, &str), PluginActivity> = BTreeMap::new();
    let mut totals = Totals::default();
    for (recorded_at, service, call) in calls {
        totals.take(call);
        let plugin = plugins.entry((call.plugin.as_str(), call.digest.as_str())).or_insert_with(|| PluginActivity {
            plugin: call.plugin.to_string(),
            digest: call.digest.to_string(),
            calls: Vec::new(),
            totals: Totals::default(),
        });
        plugin.totals.take(call);
        let wanted = |outside: &&OutsideCall| shown == Shown::All || outside.verdict == Admission::Denied;
        let outside: Vec<OutsideRow> = call.calls.iter().filter(wanted).map(|one| row(call, one)).collect();
        if shown == Shown::Denied && outside.is_empty() {
            continue;
        }
        plugin.calls.push(CallRow {
            recorded_at: *recorded_at,
            at: call.at,
            function: printable(&call.function, 100),
            service: service.clone(),
            outcome: printable(&call.outcome, 200),
            micros: call.micros,
            outside,
        });
    }
    let wanted = |plugin: &PluginActivity| shown == Shown::All || !plugin.calls.is_empty();
    Activity { version: 1, run: run.to_owned(), plugins: plugins.into_values().filter(wanted).collect(), totals }
}

fn row(call: &PluginCall, outside: &OutsideCall) -> OutsideRow {
    OutsideRow {
        at: Timestamp(call.at.0.saturating_add(outside.after_micros / 1000)),
        capability: printable(&outside.capability, 20),
        what: printable(&outside.what, 2000),
        verdict: outside.verdict,
        outcome: printable(&outside.outcome, 200),
        micros: outside.took_micros,
        sent: outside.sent,
        received: outside.received,
        credentials: outside.credentials.iter().map(ToString::to_string).collect(),
    }
}

impl Activity {
    /// The table for people, in 100 columns; times are UTC.
    #[must_use]
    pub fn text(&self) -> String {
        let mut page = Page::default();
        for plugin in &self.plugins {
            page.gap();
            page.line(&format!("{}  {}", plugin.plugin, plugin.digest));
            page.hang("  ", &plugin.totals.text());
            for call in &plugin.calls {
                let service = call.service.as_ref().map(|name| format!(" for {name}")).unwrap_or_default();
                let body = format!("{}{service}: {}, {}", call.function, call.outcome, took(call.micros));
                page.hang(&format!("  {}  ", clock(call.at)), &body);
                call.outside.iter().for_each(|outside| line(&mut page, outside));
            }
        }
        page.gap();
        page.hang(&format!("run {}: ", self.run), &self.totals.text());
        page.end()
    }
}

fn line(page: &mut Page, outside: &OutsideRow) {
    let verdict = match outside.verdict {
        Admission::Allowed => "allowed",
        Admission::Denied => "DENIED",
    };
    let mut result = vec![outside.outcome.clone()];
    if outside.verdict == Admission::Allowed {
        result.push(format!("{} out, {} in", bytes(outside.sent), bytes(outside.received)));
        result.push(took(outside.micros));
    }
    if !outside.credentials.is_empty() {
        result.push(format!("with {}", outside.credentials.join(", ")));
    }
    let head = format!("    {}  {:7}  {:5}  ", clock(outside.at), verdict, outside.capability);
    // Not broken, so that it can be copied.
    page.line(&format!("{head}{}", outside.what));
    page.hang(&format!("{:width$}-> ", "", width = head.chars().count()), &result.join(", "));
}

/// The time of day of a timestamp.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('T') {
        Some((_, time)) => time.trim_end_matches('Z').to_owned(),
        None => text,
    }
}
