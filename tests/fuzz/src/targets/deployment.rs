//! The text of a deployment file.

use crate::Target;
use basb_core::model::Deployment;
use basb_spec::{Choice, Diagnostic, parse};
use std::path::Path;

pub(crate) const TARGET: Target = Target {
    name: "deployment",
    run,
    more: &[("host/spec/tests/good", "yaml"), ("host/spec/tests/bad", "yaml"), ("examples/second-brain", "yaml")],
    words: &[
        "version: 1\n",
        "name: a\n",
        "services:\n",
        "environments:\n",
        "provider:\n",
        "plugin: ",
        "plugins:\n",
        "builtin:",
        "strategies:\n",
        "probes:\n",
        "analyses:\n",
        "notifiers:\n",
        "secrets:\n",
        "credentials:\n",
        "grants:\n",
        "vars:\n",
        "${",
        "$${",
        "${secret.a}",
        "}",
        "&a ",
        "*a",
        "<<: ",
        "- ",
        "  ",
        "? ",
        "|\n",
        ">-\n",
        "!!str ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "5s",
        "10%",
        "null",
        "~",
        "0o7",
        "1e3",
        ".inf",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "\t",
        "{",
        "[",
    ],
};

fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match parse(text, "deployment.yaml", Path::new("/base"), Choice::default()) {
        Ok(loaded) => {
            // The journal keeps it as JSON, and a run is rebuilt from that.
            let json = serde_json::to_string(&loaded.deployment).expect("a deployment can be written");
            let again: Deployment = serde_json::from_str(&json).expect("what was written can be read");
            assert_eq!(again, loaded.deployment);
            loaded.warnings.iter().for_each(|warning| problem(warning, text));
        }
        Err(problems) => {
            assert!(problems.iter().count() > 0);
            for (index, found) in problems.iter().enumerate() {
                problem(found, text);
                if index < 3 {
                    shown(found);
                }
            }
        }
    }
}

/// What is told of a problem leads to it.
fn problem(problem: &Diagnostic, text: &str) {
    assert!(!problem.message.is_empty() && problem.code.contains('/'), "{problem:?}");
    let Some(at) = problem.location else { return };
    assert!(at.span.start <= at.span.end && at.span.end <= text.len(), "{problem:?}");
    assert!(text.is_char_boundary(at.span.start) && text.is_char_boundary(at.span.end), "{problem:?}");
    assert!(at.line >= 1 && at.column >= 1 && at.line <= text.matches('\n').count() + 1, "{problem:?}");
    let line = text[..at.span.start].matches('\n').count() + 1;
    assert_eq!(at.line, line, "{problem:?}");
}

/// It can be drawn: places at the very end, in the middle of wide characters, over several lines.
fn shown(problem: &Diagnostic) {
    let mut out = String::new();
    let drawn = miette::NarratableReportHandler::new().render_report(&mut out, problem);
    assert!(drawn.is_ok() && !out.is_empty(), "{problem:?}");
    let mut out = String::new();
    let theme = miette::GraphicalTheme::unicode_nocolor();
    let drawn = miette::GraphicalReportHandler::new_themed(theme).render_report(&mut out, problem);
    assert!(drawn.is_ok() && !out.is_empty(), "{problem:?}");
}
