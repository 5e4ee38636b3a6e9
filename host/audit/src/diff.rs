//! What a new version can do that the old one could not.

use crate::page::{Page, counted};
use basb_core::PluginName;
use basb_grants::printable;
use basb_inspect::Manifest;
use basb_registry::{Difference, Direction, LockEntry, Scope, What, compare};
use serde::Serialize;
use std::collections::BTreeMap;

/// A version of a plugin.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// What people call it: the file, or the lock entry.
    pub label: &'a str,
    /// What it is and may do. For a file alone, nothing is granted.
    pub entry: &'a LockEntry,
    /// Its manifest, where the file is at hand.
    pub manifest: Option<&'a Manifest>,
}

/// What differs between two versions of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiffReport {
    /// The version of this form: 1.
    pub version: u32,
    /// The old one.
    pub old: String,
    /// The new one.
    pub new: String,
    /// What the new one can do that the old one could not, or who else answers for it.
    pub more: Vec<Difference>,
    /// What is different.
    pub other: Vec<Difference>,
    /// What the new one cannot do any more.
    pub less: Vec<Difference>,
    /// What the manifest says differently, in words.
    pub manifest: Vec<String>,
}

/// Compares two versions of a plugin.
#[must_use]
pub fn diff(old: Side<'_>, new: Side<'_>) -> DiffReport {
    // Two files have two paths: that says nothing about them.
    let all = compare(old.entry, new.entry).into_iter().filter(|d| !matches!(d.what, What::Source { .. }));
    let (mut more, mut other, mut less) = (Vec::new(), Vec::new(), Vec::new());
    for difference in all {
        match difference.direction {
            Direction::Widens => more.push(difference),
            Direction::Changes => other.push(difference),
            Direction::Narrows => less.push(difference),
        }
    }
    let manifest = match (old.manifest, new.manifest) {
        (Some(old), Some(new)) => manifests(old, new),
        _ => Vec::new(),
    };
    DiffReport { version: 1, old: old.label.to_owned(), new: new.label.to_owned(), more, other, less, manifest }
}

/// What the entry of a lock file does not hold: reasons and the schema of the configuration.
fn manifests(old: &Manifest, new: &Manifest) -> Vec<String> {
    let mut found = Vec::new();
    for wish in &new.capabilities {
        let before = old.capabilities.iter().find(|before| before.name == wish.name);
        let reason = printable(&wish.reason, 500);
        match before {
            None => found.push(format!("asks for {}: \"{reason}\"", wish.name)),
            Some(before) if before.reason != wish.reason => found.push(format!(
                "gives another reason for {}: \"{}\" before, \"{reason}\" now",
                wish.name,
                printable(&before.reason, 500)
            )),
            Some(_) => {}
        }
    }
    if old.wit != new.wit {
        found.push(format!(
            "is built for basb:host {} before, {} now",
            printable(&old.wit, 40),
            printable(&new.wit, 40)
        ));
    }
    if old.config_schema != new.config_schema {
        found.push("its configuration has another schema: check what you configure".to_owned());
    }
    found
}

impl DiffReport {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.more.is_empty() && self.other.is_empty() && self.less.is_empty() && self.manifest.is_empty()
    }

    /// The differences for people, in 100 columns; what the new one can do more stands first.
    #[must_use]
    pub fn text(&self) -> String {
        let mut page = Page::default();
        page.hang("old  ", &self.old);
        page.hang("new  ", &self.new);
        page.gap();
        if self.is_empty() {
            page.line("nothing differs");
            return page.end();
        }
        page.line("can do now, and could not before");
        if self.more.is_empty() {
            page.line("  nothing");
        }
        list(&mut page, &self.more);
        for (title, differences) in [("cannot do any more", &self.less), ("is different", &self.other)] {
            if !differences.is_empty() {
                page.gap();
                page.line(title);
                list(&mut page, differences);
            }
        }
        if !self.manifest.is_empty() {
            page.gap();
            page.line("the manifest");
            for line in &self.manifest {
                page.hang("  ", line);
            }
        }
        page.end()
    }
}

/// What differs from the lock file, by plugin, for people: what `plugin update` shows.
#[must_use]
pub fn lock_text(scope: &Scope, plugins: &BTreeMap<PluginName, Vec<Difference>>, unused: &[PluginName]) -> String {
    let mut page = Page::default();
    for (name, differences) in plugins {
        page.gap();
        page.line(&format!("{name}"));
        for (title, direction) in [
            ("more than was agreed to", Direction::Widens),
            ("different", Direction::Changes),
            ("less than was agreed to", Direction::Narrows),
        ] {
            let some: Vec<Difference> = differences.iter().filter(|d| d.direction == direction).cloned().collect();
            if !some.is_empty() {
                page.line(&format!("  {title}"));
                for difference in &some {
                    page.hang("    ", &printable(&difference.to_string(), 2000));
                }
            }
        }
    }
    if !unused.is_empty() {
        let names: Vec<String> = unused.iter().map(ToString::to_string).collect();
        page.gap();
        page.hang("not used any more: ", &names.join(", "));
    }
    page.gap();
    page.line(&match plugins.len() {
        0 => format!("every plugin of {scope} is as basb.lock says"),
        count => format!("{} of {scope} not as basb.lock says", counted(count, "plugin")),
    });
    page.end()
}

fn list(page: &mut Page, differences: &[Difference]) {
    for difference in differences {
        page.hang("  ", &printable(&difference.to_string(), 2000));
    }
}
