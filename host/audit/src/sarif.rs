//! A report as SARIF 2.1.0, which code scanners read: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/>.

use crate::report::Report;
use crate::rule::Rule;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

/// What a path may not hold as it is in a URI reference (RFC 3986 section 3.3), and `:`, which would make a scheme of its
/// first part.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b':');

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, relative to the working folder or absolute.
    pub file: String,
    /// The line, from 1; none for the file as a whole.
    pub line: Option<u32>,
}

/// The report as a SARIF log. `place` tells where a finding is: it gets the plugin's source and, for a finding in a
/// deployment file, its JSON pointer.
#[must_use]
pub fn sarif(report: &Report, version: &str, place: impl Fn(&str, Option<&str>) -> Place) -> Value {
    let rules: Vec<Value> = Rule::ALL.iter().map(|rule| one_rule(*rule)).collect();
    let mut results = Vec::new();
    for plugin in &report.plugins {
        for finding in &plugin.findings {
            let index = Rule::ALL.iter().position(|rule| *rule == finding.rule);
            let at = place(&plugin.source, finding.pointer.as_deref());
            let mut physical = json!({ "artifactLocation": { "uri": uri(&at.file) } });
            if let (Some(line), Some(physical)) = (at.line, physical.as_object_mut()) {
                physical.insert("region".to_owned(), json!({ "startLine": line.max(1) }));
            }
            let logical = json!([{ "name": plugin.name, "kind": "module" }]);
            results.push(json!({
                "ruleId": finding.rule.id(),
                "ruleIndex": index,
                "level": finding.severity.name(),
                "message": { "text": format!("{}: {}. What to do: {}", plugin.name, finding.message, finding.help) },
                "locations": [{ "physicalLocation": physical, "logicalLocations": logical }],
                // Stays the same when lines move, and when the plugin gets other bytes.
                "partialFingerprints": {
                    "basbFinding/v1": format!(
                        "{}:{}:{}", finding.rule.id(), plugin.name, finding.pointer.as_deref().unwrap_or_default()
                    ),
                },
                "properties": { "plugin": plugin.plugin, "digest": plugin.digest },
            }));
        }
    }
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "basb-host audit",
                "informationUri": "https://github.com/basb-host/basb-host/blob/main/docs/audit.md",
                "version": version,
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn one_rule(rule: Rule) -> Value {
    json!({
        "id": rule.id(),
        "shortDescription": { "text": rule.title() },
        "helpUri": format!("https://github.com/basb-host/basb-host/blob/main/docs/audit.md#{}", rule.id()),
        "defaultConfiguration": { "level": rule.severity().name() },
    })
}

/// A file's path as a URI reference, and `builtin:NAME` as the URI that it is.
fn uri(file: &str) -> String {
    if let Some(name) = file.strip_prefix("builtin:") {
        return format!("builtin:{}", utf8_percent_encode(name, PATH));
    }
    let path = utf8_percent_encode(file.strip_prefix("./").unwrap_or(file), PATH).to_string();
    if path.starts_with('/') { format!("file://{path}") } else { path }
}
