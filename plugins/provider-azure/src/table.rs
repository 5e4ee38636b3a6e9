//! The table by which an app shares requests out. It is replaced whole, so whatever is to stay is sent along: labels that
//! others gave to revisions too.

use serde_json::{Value, json};

use crate::api::model::TrafficWeight;
use crate::apps::Apps;
use crate::settings;
use crate::view::View;

/// A table to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table(Vec<TrafficWeight>);

impl Table {
    /// What is there, each line by the name of its revision.
    pub fn of(view: &View) -> Table {
        Table::ordered(view.traffic())
    }

    /// These weights, with the labels that are there.
    #[must_use]
    pub fn with_weights(&self, weights: &[(String, u16)]) -> Table {
        let mut lines: Vec<TrafficWeight> = self.0.iter().filter(|line| line.label.is_some()).cloned().collect();
        for line in &mut lines {
            line.weight = Some(0);
        }
        for (name, weight) in weights.iter().filter(|(_, weight)| *weight > 0) {
            match lines.iter_mut().find(|line| line.revision_name.as_ref() == Some(name)) {
                Some(line) => line.weight = Some(u32::from(*weight)),
                None => lines.push(TrafficWeight {
                    revision_name: Some(name.clone()),
                    weight: Some(u32::from(*weight)),
                    ..TrafficWeight::default()
                }),
            }
        }
        Table::ordered(lines)
    }

    /// The same with a label at a revision, and nowhere else.
    #[must_use]
    pub fn with_label(&self, label: &str, name: &str) -> Table {
        let mut lines = self.0.clone();
        for line in &mut lines {
            if line.label.as_deref() == Some(label) {
                line.label = None;
            }
        }
        let free = |line: &&mut TrafficWeight| line.revision_name.as_deref() == Some(name) && line.label.is_none();
        match lines.iter_mut().find(free) {
            Some(line) => line.label = Some(label.to_owned()),
            None => lines.push(TrafficWeight {
                revision_name: Some(name.to_owned()),
                weight: Some(0),
                label: Some(label.to_owned()),
                latest_revision: None,
            }),
        }
        Table::ordered(lines)
    }

    /// The same with one revision in the place of others: their weights and their labels are its.
    #[must_use]
    pub fn moved(&self, from: &[String], to: &str) -> Table {
        let is_from = |line: &TrafficWeight| line.revision_name.as_ref().is_some_and(|name| from.contains(name));
        let taken: u32 = self.0.iter().filter(|line| is_from(line)).filter_map(|line| line.weight).sum();
        let mut lines = self.0.clone();
        for line in lines.iter_mut().filter(|line| is_from(line)) {
            line.revision_name = Some(to.to_owned());
            line.weight = Some(0);
        }
        match lines.iter_mut().find(|line| line.revision_name.as_deref() == Some(to)) {
            Some(line) => line.weight = Some(line.weight.unwrap_or(0) + taken),
            None => lines.push(TrafficWeight {
                revision_name: Some(to.to_owned()),
                weight: Some(taken),
                ..TrafficWeight::default()
            }),
        }
        Table::ordered(lines)
    }

    /// The same without revisions.
    #[must_use]
    pub fn without(&self, names: &[String]) -> Table {
        let stays = |line: &&TrafficWeight| !line.revision_name.as_ref().is_some_and(|name| names.contains(name));
        Table(self.0.iter().filter(stays).cloned().collect())
    }

    /// The change that sets it. With the way in, where there is none yet.
    pub fn change(&self, apps: &Apps<'_>, view: &View) -> Value {
        let mut ingress = if view.app.ingress().is_some() { json!({}) } else { settings::ingress(apps) };
        if let Some(fields) = ingress.as_object_mut() {
            fields.insert("traffic".into(), json!(self.0));
        }
        settings::with_location(apps, view, json!({"properties": {"configuration": {"ingress": ingress}}}))
    }

    /// As a person reads it.
    pub fn shown(&self) -> String {
        let line = |line: &TrafficWeight| {
            let label = line.label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
            format!("{} {}%{label}", line.revision_name.as_deref().unwrap_or("nobody"), line.weight.unwrap_or(0))
        };
        if self.0.is_empty() { "nobody".to_owned() } else { self.0.iter().map(line).collect::<Vec<_>>().join(", ") }
    }

    /// In one order, without lines that say nothing.
    fn ordered(lines: Vec<TrafficWeight>) -> Table {
        let mut lines: Vec<TrafficWeight> = lines
            .into_iter()
            .map(|line| TrafficWeight { weight: Some(line.weight.unwrap_or(0)), latest_revision: None, ..line })
            .filter(|line| line.weight != Some(0) || line.label.is_some())
            .collect();
        lines.sort();
        Table(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &[(&str, u32, Option<&str>)]) -> Table {
        Table::ordered(
            lines
                .iter()
                .map(|(name, weight, label)| TrafficWeight {
                    revision_name: Some((*name).to_owned()),
                    weight: Some(*weight),
                    label: label.map(str::to_owned),
                    latest_revision: None,
                })
                .collect(),
        )
    }

    #[test]
    fn labels_of_others_stay_where_they_are() {
        let there = table(&[("a--1", 100, Some("production")), ("a--2", 0, Some("mine"))]);
        let set = there.with_weights(&[("a--1".into(), 90), ("a--3".into(), 10)]);
        assert_eq!(set, table(&[("a--1", 90, Some("production")), ("a--2", 0, Some("mine")), ("a--3", 10, None)]));
        let labelled = set.with_label("mine", "a--3");
        assert_eq!(labelled, table(&[("a--1", 90, Some("production")), ("a--3", 10, Some("mine"))]));
        let second = labelled.with_label("more", "a--3");
        assert_eq!(second.with_label("more", "a--3"), second);
        assert_eq!(second.shown(), "a--1 90% (production), a--3 0% (more), a--3 10% (mine)");
        assert_eq!(second.with_weights(&[("a--1".into(), 100)]).without(&["a--3".into()]).0.len(), 1);
    }

    #[test]
    fn what_takes_a_place_takes_all_of_it() {
        let there = table(&[("a--1", 60, None), ("a--2", 40, Some("mine"))]);
        assert_eq!(there.moved(&["a--2".into()], "a--3"), table(&[("a--1", 60, None), ("a--3", 40, Some("mine"))]));
        assert_eq!(there.moved(&["a--2".into()], "a--1"), {
            let mut lines = table(&[("a--1", 100, None), ("a--1", 0, Some("mine"))]).0;
            lines.sort();
            Table(lines)
        });
    }
}
