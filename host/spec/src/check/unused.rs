//! What is written but never used: a warning, since it is mostly a misspelt reference's other half.

use super::references::{References, Target};
use crate::diagnostic::Diagnostic;
use crate::source::Source;
use crate::tree::{Node, join};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Warnings about entries that no environment uses.
pub(crate) fn check(
    source: &Arc<Source>,
    root: &Node,
    references: &References,
    variables: &BTreeSet<String>,
) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    for target in [
        Target::Plugin,
        Target::Strategy,
        Target::Probe,
        Target::Analysis,
        Target::Secret,
        Target::Credential,
        Target::Publisher,
    ] {
        let section = target.section();
        for entry in root.get(section).map(|section| section.value.entries()).unwrap_or_default() {
            // `${secret.NAME}` is found where variables are.
            let filled = target == Target::Secret && variables.contains(&format!("secret.{}", entry.key));
            if !references.has(target, &entry.key) && !filled {
                let message = format!("the {} `{}` is not used", target.word(), entry.key);
                let pointer = join(&join("", section), &entry.key);
                warnings.push(
                    Diagnostic::at(source, entry.key_span, &pointer, "spec/unused", message)
                        .with_help("remove it, or refer to it")
                        .as_warning(),
                );
            }
        }
    }
    for entry in root.get("vars").map(|section| section.value.entries()).unwrap_or_default() {
        if !variables.contains(&entry.key) {
            let message = format!("the variable `{}` is not used", entry.key);
            let help = format!("remove it, or refer to it as `${{{}}}`", entry.key);
            let pointer = join("/vars", &entry.key);
            warnings.push(
                Diagnostic::at(source, entry.key_span, &pointer, "spec/unused", message).with_help(help).as_warning(),
            );
        }
    }
    warnings
}
