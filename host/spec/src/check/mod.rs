//! What no single value shows: references, cycles, addresses, contradictions.

mod analyses;
mod people;
mod references;
mod services;
pub(crate) mod unused;

pub(crate) use references::References;

use crate::read::Reader;
use crate::shape::DeploymentFile;

/// Checks a file that has been read, as far as it could be; what is used goes to `references`.
pub(crate) fn check(file: &DeploymentFile, reader: &mut Reader<'_>, references: &mut References) {
    references::check(file, reader, references);
    services::check(file, reader);
    analyses::check(file, reader);
    people::check(file, reader);
    for (at, empty, what) in [
        (
            file.services.as_ref().map(|at| &at.place),
            file.services.as_ref().is_some_and(|at| at.value.0.is_empty()),
            "service",
        ),
        (
            file.environments.as_ref().map(|at| &at.place),
            file.environments.as_ref().is_some_and(|at| at.value.0.is_empty()),
            "environment",
        ),
    ] {
        if let Some(place) = at.filter(|_| empty) {
            reader.problem_with_help(
                place,
                "spec/empty-map",
                format!("there is no {what}"),
                format!("add at least one {what}"),
            );
        }
    }
}
