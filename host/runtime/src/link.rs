//! Linkers: what a plugin can reach is what its linker defines, and a linker defines only what is in the plugin's world
//! **and** was granted. Everything else does not exist for it.

use crate::host::State;
use crate::wit;
use basb_capabilities::Capability;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct CapabilitySet(u8);

impl CapabilitySet {
    fn bit(capability: Capability) -> u8 {
        match capability {
            Capability::Log => 1,
            Capability::Http => 2,
            Capability::Tcp => 4,
            Capability::Exec => 8,
            Capability::Files => 16,
            Capability::Smtp => 32,
        }
    }

    /// Whether it holds this one.
    pub(crate) fn holds(self, capability: Capability) -> bool {
        self.0 & Self::bit(capability) != 0
    }

    /// Whether it holds none.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(items: I) -> Self {
        Self(items.into_iter().fold(0, |set, capability| set | Self::bit(capability)))
    }
}

/// The linkers of an engine, one for each set of capabilities in use.
#[derive(Default)]
pub(crate) struct Linkers {
    made: Mutex<HashMap<CapabilitySet, Arc<Linker<State>>>>,
}

impl Linkers {
    /// The linker that defines exactly these capabilities.
    pub(crate) fn get(&self, engine: &Engine, set: CapabilitySet) -> wasmtime::Result<Arc<Linker<State>>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(linker) = made.get(&set) {
            return Ok(Arc::clone(linker));
        }
        let linker = Arc::new(linker(engine, set)?);
        made.insert(set, Arc::clone(&linker));
        Ok(linker)
    }
}

fn linker(engine: &Engine, set: CapabilitySet) -> wasmtime::Result<Linker<State>> {
    type Host = HasSelf<State>;
    let mut linker = Linker::new(engine);
    for capability in Capability::ALL.into_iter().filter(|capability| set.holds(*capability)) {
        match capability {
            Capability::Log => wit::log::add_to_linker::<_, Host>(&mut linker, |state| state)?,
            Capability::Http => wit::http::add_to_linker::<_, Host>(&mut linker, |state| state)?,
            Capability::Tcp => wit::tcp::add_to_linker::<_, Host>(&mut linker, |state| state)?,
            Capability::Exec => wit::exec::add_to_linker::<_, Host>(&mut linker, |state| state)?,
            Capability::Files => wit::files::add_to_linker::<_, Host>(&mut linker, |state| state)?,
            Capability::Smtp => wit::smtp::add_to_linker::<_, Host>(&mut linker, |state| state)?,
        }
    }
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PoolSize;
    use wasmtime::component::Component;

    /// Even if every check before it were wrong, a plugin finds nothing that was not granted.
    #[test]
    fn what_is_not_granted_is_not_there() {
        let engine = crate::engine::engine(PoolSize::instances(1)).unwrap();
        let linkers = Linkers::default();
        let probe = [Capability::Log, Capability::Http, Capability::Tcp, Capability::Exec];
        let notifier = [Capability::Log, Capability::Files, Capability::Smtp];
        for (guest, needs) in [("guest-misbehave", &probe[..]), ("guest-wants-files", &notifier[..])] {
            let component = Component::new(&engine, basb_guest_build::build(guest)).unwrap();
            let try_with = |set: CapabilitySet| linkers.get(&engine, set).unwrap().instantiate_pre(&component);
            assert!(try_with(needs.iter().copied().collect()).is_ok());
            for missing in needs {
                let set = Capability::ALL.into_iter().filter(|capability| capability != missing).collect();
                let error = format!("{:#}", try_with(set).err().unwrap());
                assert!(error.contains(&format!("basb:host/{missing}")), "{error}");
            }
            assert!(try_with(CapabilitySet::default()).is_err());
        }
    }
}
