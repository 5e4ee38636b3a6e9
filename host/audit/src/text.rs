//! A report for people. Nothing in it is told by colour alone: there is none.

use crate::capability::{Effective, State};
use crate::page::{Page, bytes, counted};
use crate::report::{Lock, PluginReport, Report, Signature};
use crate::rule::Severity;
use basb_grants::Capability;
use basb_inspect::Replay;

impl Report {
    /// The report for people, in 100 columns.
    #[must_use]
    pub fn text(&self) -> String {
        let mut page = Page::default();
        for plugin in &self.plugins {
            page.gap();
            one(&mut page, plugin);
        }
        page.gap();
        let summary = self.summary;
        page.line(&format!(
            "{}: {}, {}, {}",
            counted(self.plugins.len(), "plugin"),
            counted(summary.errors, "error"),
            counted(summary.warnings, "warning"),
            counted(summary.notes, "note")
        ));
        page.end()
    }
}

const FIELD: usize = 14;

fn field(page: &mut Page, label: &str, body: &str) {
    page.hang(&format!("  {label:width$}", width = FIELD - 2), body);
}

/// Lines under one label.
fn fields<'a>(page: &mut Page, label: &str, lines: impl IntoIterator<Item = (&'a str, String)>) {
    let mut label = label;
    for (head, body) in lines {
        page.hang(&format!("  {label:width$}{head}", width = FIELD - 2), &body);
        label = "";
    }
}

fn one(page: &mut Page, plugin: &PluginReport) {
    let what = match (&plugin.plugin, &plugin.version, plugin.kind) {
        (Some(name), Some(version), Some(kind)) => {
            format!("{name} {version}, a {kind} by {}", plugin.publisher.as_deref().unwrap_or("nobody"))
        }
        _ => "nothing that can be used".to_owned(),
    };
    page.hang(&format!("{}  ", plugin.name), &what);
    field(page, "source", &plugin.source);
    if let Some(digest) = &plugin.digest {
        field(page, "digest", digest);
    }
    if let Some(size) = plugin.size {
        field(page, "size", &bytes(size));
    }
    if let Some(signature) = &plugin.signature {
        field(page, "signature", &signed(signature));
    }
    if let Some(lock) = &plugin.lock {
        field(page, "lock file", locked(lock));
    }
    if let Some(replay) = plugin.replay {
        let words = match replay {
            Replay::Exact => "exact",
            Replay::BestEffort => "best effort: it sends requests through wasi:http",
        };
        field(page, "replay", words);
    }
    if let Some(kind) = plugin.kind {
        let ceiling = match names(&plugin.ceiling) {
            names if names.is_empty() => format!("a {kind} may import nothing"),
            names => format!("a {kind} may import {names}"),
        };
        field(page, "ceiling", &ceiling);
    }
    page.gap();
    if plugin.digest.is_some() {
        imports(page, plugin);
        requested(page, plugin);
        granted(page, plugin);
        mismatches(page, plugin);
        page.gap();
        can_do(page, plugin);
        page.gap();
    }
    let findings = plugin.findings.iter().map(|finding| {
        let body = format!("{}: {}\n-> {}", finding.rule.id(), finding.message, finding.help);
        (finding.severity.name(), body)
    });
    let mut label = "findings";
    for (severity, body) in findings {
        page.hang(&format!("  {label:12}{severity:9}"), &body);
        label = "";
    }
    if plugin.findings.is_empty() {
        field(page, "findings", "none");
    }
}

fn names(capabilities: &[Capability]) -> String {
    capabilities.iter().map(|capability| capability.name()).collect::<Vec<_>>().join(", ")
}

fn signed(signature: &Signature) -> String {
    match signature {
        Signature::Builtin => "part of basb-host".to_owned(),
        Signature::NotDemanded => "not checked: no publisher's key is pinned".to_owned(),
        Signature::Signed { publisher, key_id, comment } => format!("good, by {publisher}, key {key_id}: {comment}"),
        Signature::Refused { code, .. } => format!("REFUSED ({code})"),
    }
}

fn locked(lock: &Lock) -> &'static str {
    match lock {
        Lock::NoFile => "there is none",
        Lock::Unreadable => "UNREADABLE",
        Lock::Same => "as agreed to",
        Lock::Differs { .. } => "DIFFERS",
        Lock::NotCompared => "not compared",
    }
}

fn imports(page: &mut Page, plugin: &PluginReport) {
    if plugin.imports.is_empty() {
        field(page, "imports", "nothing: it is a pure function");
        return;
    }
    let longest = plugin.imports.iter().map(|import| import.interface.chars().count()).max().unwrap_or(0).min(44);
    let mut label = "imports";
    for import in &plugin.imports {
        let functions = if import.functions.is_empty() { "(types)".to_owned() } else { import.functions.join(", ") };
        let class = match (import.class, import.capability) {
            (_, Some(capability)) => format!("{capability}: "),
            ("inert", _) => "inert: ".to_owned(),
            ("foreign", _) => "UNKNOWN TO THE HOST: ".to_owned(),
            _ => String::new(),
        };
        page.hang(&format!("  {label:12}{:longest$}  ", import.interface), &format!("{class}{functions}"));
        label = "";
    }
}

fn requested(page: &mut Page, plugin: &PluginReport) {
    if plugin.requested.is_empty() {
        field(page, "asks for", "nothing");
    }
    let mut label = "asks for";
    for wish in &plugin.requested {
        page.hang(&format!("  {label:12}{:7}", wish.capability.name()), &format!("\"{}\"", wish.reason));
        label = "";
    }
}

fn granted(page: &mut Page, plugin: &PluginReport) {
    let Some(granted) = &plugin.granted else { return };
    if granted.is_empty() {
        field(page, "granted", "nothing");
    }
    let mut label = "granted";
    for grant in granted {
        page.hang(&format!("  {label:12}{:7}", grant.capability.name()), &grant.what);
        label = "";
    }
    let credential = |name: &str, to: &[String]| {
        if to.is_empty() { format!("{name}, bound to nothing") } else { format!("{name}, for {}", to.join(", ")) }
    };
    let credentials = plugin.credentials.iter().map(|used| ("", credential(&used.name, &used.to)));
    fields(page, "credentials", credentials);
}

fn mismatches(page: &mut Page, plugin: &PluginReport) {
    for (label, capabilities) in [
        ("used, but not asked for", &plugin.used_but_undeclared),
        ("asked for, but not used", &plugin.declared_but_unused),
        ("granted, but not imported", &plugin.granted_but_not_imported),
    ] {
        if !capabilities.is_empty() {
            page.line(&format!("  {label}: {}", names(capabilities)));
        }
    }
}

fn can_do(page: &mut Page, plugin: &PluginReport) {
    let mut label = "can do";
    let mut some = false;
    for Effective { capability, state, what } in &plugin.effective {
        let because = match state {
            State::Can => None,
            State::IfGranted => Some("whatever an operator grants"),
            State::NotGranted => Some("nothing: it is not granted"),
            State::NotDeclared => Some("nothing: its manifest does not ask for it"),
            State::BeyondWorld => Some("nothing: beyond what its kind may have"),
            State::NotImported => Some("nothing: it does not import it"),
        };
        for line in because.map(str::to_owned).into_iter().chain(what.iter().cloned()) {
            page.hang(&format!("  {label:12}{:7}", capability.name()), &line);
            label = "";
            some = true;
        }
    }
    field(page, label, if some { "nothing else" } else { "nothing but compute its answer" });
    if plugin.findings.iter().any(|finding| finding.severity == Severity::Error) {
        field(page, "", "as it stands it does not run at all: see the errors");
    }
}
