//! What somebody should look at in a plugin.

use crate::grant_rules;
use crate::rule::{Finding, Rule};
use crate::subject::{LockState, Operator, SignatureState, Subject};
use basb_grants::{Capability, grant_lines, printable, printable_list};
use basb_inspect::{Inspection, Replay};

/// Collects findings about one plugin.
pub struct Findings<'a> {
    plugin: &'a str,
    in_deployment: bool,
    found: Vec<Finding>,
}

impl Findings<'_> {
    /// Adds one, at a place below the plugin's entry in the deployment file.
    pub fn add(&mut self, rule: Rule, below: &str, message: String, help: impl Into<String>) {
        let pointer = self.in_deployment.then(|| format!("/plugins/{}{below}", self.plugin));
        self.found.push(Finding { rule, severity: rule.severity(), message, help: help.into(), pointer });
    }
}

/// Everything that was found, what matters most first.
pub fn findings(subject: &Subject<'_>) -> Vec<Finding> {
    let operator = subject.operator.as_ref();
    let mut all = Findings { plugin: subject.name, in_deployment: operator.is_some(), found: Vec::new() };
    match &subject.bytes {
        Err(wrong) => {
            all.add(Rule::UnusableFile, "/source", format!("{} ({})", wrong.message, wrong.code), wrong.help.clone());
        }
        Ok(bytes) => {
            bytes_alone(&mut all, bytes.inspection);
            capabilities(&mut all, subject.name, bytes.inspection, operator);
        }
    }
    if let Some(operator) = operator {
        grant_rules::check(&mut all, operator.grants);
        signature(&mut all, &operator.signature);
        lock(&mut all, subject.name, &operator.lock);
    }
    all.found.sort_by_key(|finding| (finding.severity, finding.rule));
    all.found
}

fn bytes_alone(all: &mut Findings<'_>, inspection: &Inspection) {
    let exports = inspection.exports_shown();
    match (&inspection.manifest, inspection.kind) {
        (None, _) => all.add(
            Rule::NoManifest,
            "/source",
            "it carries no manifest, so it does not load".to_owned(),
            "build it with the SDK, which puts one in",
        ),
        (Some(manifest), Some(kind)) if kind != manifest.kind => all.add(
            Rule::KindMismatch,
            "/source",
            format!("its manifest says {}, its exports make it a {kind}", manifest.kind),
            "ask its publisher which it is",
        ),
        (Some(manifest), None) => all.add(
            Rule::KindMismatch,
            "/source",
            format!("its manifest says {}, but it exports {exports}", manifest.kind),
            "ask its publisher for one that is built for basb:host 0.1",
        ),
        (Some(_), Some(_)) => {}
    }
    for import in inspection.foreign() {
        let functions = printable_list(&import.functions);
        all.add(
            Rule::ForeignImport,
            "/source",
            format!("it imports {} ({functions}), which this host does not offer, so it does not load", import.name),
            "ask its publisher for one that is built for basb:host 0.1",
        );
    }
    let inert: Vec<&str> = inspection.inert().map(|import| import.name.as_str()).collect();
    if !inert.is_empty() {
        all.add(
            Rule::InertBaseline,
            "/source",
            format!("imports of WASI that reach nothing: {}", inert.join(", ")),
            "none: the environment is empty, there is no folder and no socket, the clock is virtual",
        );
    }
    if inspection.replay() == Replay::BestEffort {
        all.add(
            Rule::BestEffortReplay,
            "/source",
            "it sends requests through wasi:http: same grants and limits, but two at once may be replayed out of order"
                .to_owned(),
            "none, unless you rely on exact replay",
        );
    }
}

fn capabilities(all: &mut Findings<'_>, name: &str, inspection: &Inspection, operator: Option<&Operator<'_>>) {
    let imported = inspection.capabilities();
    let manifest = inspection.manifest.as_ref();
    let kind = inspection.kind.or_else(|| manifest.map(|manifest| manifest.kind));
    for capability in Capability::ALL {
        let imports = imported.contains(&capability);
        let requests = manifest.is_some_and(|manifest| manifest.requests(capability));
        let grants = operator.map(|operator| operator.grants.covers(capability));
        let ceiling = kind.is_none_or(|kind| kind.may_import().contains(&capability));
        if imports && !ceiling {
            let kind = kind.map_or_else(String::new, |kind| kind.to_string());
            let message = format!("it imports `{capability}`, which no {kind} may have, so it does not load");
            all.add(Rule::BeyondWorld, "/source", message, "ask its publisher why");
        }
        if !capability.needs_grant() {
            continue;
        }
        if imports && manifest.is_some() && !requests {
            all.add(
                Rule::UndeclaredImport,
                "/source",
                format!("it imports `{capability}`, which its manifest does not ask for, so it does not load"),
                "ask its publisher why; the manifest must give a reason",
            );
        }
        if !imports && requests {
            all.add(
                Rule::UnusedDeclaration,
                "/source",
                format!("its manifest asks for `{capability}`, which it does not import"),
                "do not grant it",
            );
        }
        match grants {
            // What cannot load for another reason needs no grant.
            Some(false) if imports && requests && ceiling => all.add(
                Rule::NotGranted,
                "/grants",
                format!("it imports `{capability}`, of which nothing is granted, so it does not load"),
                format!("when you agree, add what it needs:\n{}", grant_lines(name, capability.example())),
            ),
            Some(true) if !imports => all.add(
                Rule::UnusedGrant,
                &format!("/grants/{capability}"),
                format!("`{capability}` is granted, but it does not import it"),
                "remove the grant: a later version might use it",
            ),
            _ => {}
        }
    }
    let Some(operator) = operator else { return };
    let requests = imported.iter().any(|capability| matches!(capability, Capability::Http | Capability::Smtp));
    if !operator.credentials.is_empty() && !requests {
        let names: Vec<String> = operator.credentials.iter().map(|(name, _)| name.clone()).collect();
        let message = format!("it may use the credentials {}, but can make no request", printable_list(&names));
        all.add(Rule::UnusedCredential, "/credentials", message, "remove them: a later version might use them");
    }
}

fn signature(all: &mut Findings<'_>, signature: &SignatureState) {
    match signature {
        SignatureState::Builtin | SignatureState::Signed(_) => {}
        SignatureState::NotDemanded => all.add(
            Rule::Unsigned,
            "/source",
            "it is a file that nobody signed: no publisher's key is pinned".to_owned(),
            "pin its publisher's key under `publishers`, and name the publisher here",
        ),
        SignatureState::Refused { code, message, help } => {
            all.add(Rule::SignatureRefused, "", format!("{message} ({code})"), help.clone());
        }
    }
}

fn lock(all: &mut Findings<'_>, name: &str, lock: &LockState) {
    let accept = format!("see `basb-host plugin update {name}`, and with `--accept` agree to it");
    match lock {
        LockState::Same | LockState::NotCompared => {}
        LockState::NoFile => all.add(
            Rule::NotLocked,
            "",
            "there is no basb.lock: nobody would notice another file in its place".to_owned(),
            accept,
        ),
        LockState::Unreadable(why) => {
            all.add(Rule::LockUnreadable, "", printable(why, 300), "take basb.lock as it was committed last")
        }
        LockState::Differs(differences) => {
            let shown: Vec<String> = differences.iter().map(ToString::to_string).collect();
            let message = format!("it differs from basb.lock, so it does not run: {}", shown.join("; "));
            all.add(Rule::LockDiffers, "", message, accept);
        }
    }
}
