//! Contradictions within and between services.

use crate::diagnostic::Diagnostic;
use crate::read::{Address, At, Reader};
use crate::shape::{DeploymentFile, ServiceFile, WorkloadFile};
use std::collections::BTreeMap;

pub(crate) fn check(file: &DeploymentFile, reader: &mut Reader<'_>) {
    let Some(services) = &file.services else { return };
    let mut taken: BTreeMap<u16, Vec<(&str, &At<Address>)>> = BTreeMap::new();
    for (item, service) in services.value.values() {
        if let Some(workload) = &service.workload {
            check_workload(workload, reader);
        }
        check_deadline(service, reader);
        let Some(listen) = &service.listen else { continue };
        let taken = taken.entry(listen.value.port).or_default();
        if let Some((other, first)) = taken.iter().find(|(_, first)| first.value.collides(&listen.value)) {
            let message = format!("`{}` and `{other}` cannot both listen on port {}", item.key, listen.value.port);
            let problem =
                Diagnostic::at(reader.source, listen.place.span, &listen.place.pointer, "spec/address-in-use", message)
                    .with_label("cannot be had twice")
                    .with_help("give one of them another port");
            reader.push(if first.place.span == listen.place.span {
                problem
            } else {
                problem.with_also(first.place.span, format!("`{other}` listens here"))
            });
        } else {
            taken.push((&item.key, listen));
        }
    }
}

fn check_workload(workload: &At<WorkloadFile>, reader: &mut Reader<'_>) {
    let At { value, place } = workload;
    match (&value.command, &value.image) {
        (Some(command), Some(image)) => {
            let message = "a workload has either `command` or `image`, not both";
            let problem =
                Diagnostic::at(reader.source, image.place.span, &image.place.pointer, "spec/command-or-image", message)
                    .with_label("either this")
                    .with_also(command.place.span, "or this")
                    .with_help("remove one of them; in an override under `environments`, `command: null` removes it");
            reader.push(problem);
        }
        // One that is there but wrong has been told already.
        (None, None) if !value.has("command") && !value.has("image") => {
            reader.problem_with_help(
                place,
                "spec/command-or-image",
                "a workload needs a `command` or an `image`",
                "write `command: [./program, argument]`, or `image: registry.example/name:tag`",
            );
        }
        _ => {}
    }
    if let Some(At { value: image, place }) = &value.image
        && (image.0.is_empty() || image.0.contains(char::is_whitespace))
    {
        reader.problem(place, "spec/bad-image", "the name of an image has no blanks and is not empty");
    }
    if let Some(first) = value.command.as_ref().and_then(|command| command.value.0.first())
        && first.value.0.trim().is_empty()
    {
        reader.problem(&first.place, "spec/bad-command", "the name of the program is empty");
    }
}

/// Nomad's rule: what must be ready for longer than the deadline can never be done in time.
fn check_deadline(service: &ServiceFile, reader: &mut Reader<'_>) {
    let min_ready = service.workload.as_ref().and_then(|workload| workload.value.min_ready.as_ref());
    if let (Some(min_ready), Some(deadline)) = (min_ready, &service.progress_deadline)
        && min_ready.value >= deadline.value
    {
        let message =
            format!("`progressDeadline` ({}) must be longer than `minReady` ({})", deadline.value, min_ready.value);
        reader.problem_with_help(
            &deadline.place,
            "spec/deadline-too-short",
            message,
            "no instance could become available in time; make the deadline several times as long",
        );
    }
}
