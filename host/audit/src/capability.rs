//! Effective capability: what is imported, asked for and granted. Each is needed, none is enough.

use basb_grants::Capability;
use basb_inspect::Inspection;
use serde::Serialize;

/// What becomes of a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It can.
    Can,
    /// It could, once an operator grants it: no deployment file was looked at.
    IfGranted,
    /// It cannot: the operator does not grant it.
    NotGranted,
    /// It cannot: its manifest does not ask for it.
    NotDeclared,
    /// It cannot: no plugin of its kind may import it.
    BeyondWorld,
    /// It cannot: it does not import it, though it is asked for or granted.
    NotImported,
}

/// A capability of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    /// Which.
    pub capability: Capability,
    /// What becomes of it.
    pub state: State,
    /// What it can do with it, one line for each grant; only with [`State::Can`].
    pub what: Vec<String>,
}

/// Every capability that a plugin imports, asks for or is granted.
pub fn effective(inspection: &Inspection, granted: Option<&[(Capability, String)]>) -> Vec<Effective> {
    let manifest = inspection.manifest.as_ref();
    let kind = inspection.kind.or_else(|| manifest.map(|manifest| manifest.kind));
    let imported = inspection.capabilities();
    let one = |capability: Capability| {
        let lines: Vec<String> =
            granted.into_iter().flatten().filter(|(of, _)| *of == capability).map(|(_, line)| line.clone()).collect();
        let declared = manifest.is_some_and(|manifest| manifest.requests(capability));
        let wished = capability.needs_grant() && declared;
        let state = if !imported.contains(&capability) {
            if !wished && lines.is_empty() {
                return None;
            }
            State::NotImported
        } else if !kind.is_some_and(|kind| kind.may_import().contains(&capability)) {
            State::BeyondWorld
        } else if !declared {
            State::NotDeclared
        } else if !capability.needs_grant() {
            State::Can
        } else {
            match granted {
                None => State::IfGranted,
                Some(_) if lines.is_empty() => State::NotGranted,
                Some(_) => State::Can,
            }
        };
        let what = match (state, capability.needs_grant()) {
            (State::Can, true) => lines,
            (State::Can, false) => vec!["lines in the host's log, bounded".to_owned()],
            _ => Vec::new(),
        };
        Some(Effective { capability, state, what })
    };
    Capability::ALL.into_iter().filter_map(one).collect()
}
