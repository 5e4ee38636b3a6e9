//! What a provider wants to be given back: state out with one call, state in with the next.
//!
//! A finished call of a provider may name an output [`NAME`]; its text comes back to the provider in the context of every
//! later call for that service, as an extra of the same name, also in later runs. It is written down together with the
//! outcome of the call. A counterpart that has no memory of its own, or whose names for things cannot be found again, is
//! served by that; whoever can read everything back needs none of it.

use basb_core::ServiceName;
use basb_redact::Redactor;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The name of the output and of the extra.
pub const NAME: &str = "memory";

/// The memory of a provider, by service.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<String, Kept>>);

#[derive(Debug)]
struct Kept {
    text: String,
    written: Written,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Yes,
    No,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the journal holds.
    pub fn recall(&self, all: Vec<(ServiceName, String)>) {
        let known = all.into_iter().map(|(service, text)| (service.into(), Kept { text, written: Written::Yes }));
        *self.lock() = known.collect();
    }

    /// What a call for a service is given.
    pub fn of(&self, service: &str) -> Vec<(String, String)> {
        let all = self.lock();
        let kept = all.get(service).filter(|kept| !kept.text.is_empty());
        kept.map(|kept| (NAME.to_owned(), kept.text.clone())).into_iter().collect()
    }

    /// Keeps what a finished call gave; an empty text is forgotten.
    pub fn keep(&self, service: &str, text: String) {
        self.lock().insert(service.to_owned(), Kept { text, written: Written::No });
    }

    /// What is to be written down for a service, if something is; without secrets.
    pub fn news(&self, service: &ServiceName, redactor: &Redactor) -> Option<String> {
        let mut all = self.lock();
        let kept = all.get_mut(service.as_str()).filter(|kept| kept.written == Written::No)?;
        kept.written = Written::Yes;
        Some(redactor.text(&kept.text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_gave_comes_back_and_is_written_once() {
        let memory = Memory::default();
        let (service, redactor) = (ServiceName::new("web").unwrap(), Redactor::default());
        assert!(memory.of("web").is_empty());
        memory.keep("web", "1".to_owned());
        assert_eq!(memory.of("web"), [(NAME.to_owned(), "1".to_owned())]);
        assert_eq!(memory.news(&service, &redactor).as_deref(), Some("1"));
        assert_eq!(memory.news(&service, &redactor), None);
        memory.recall(vec![(service.clone(), "2".to_owned())]);
        assert_eq!(memory.of("web"), [(NAME.to_owned(), "2".to_owned())]);
        assert_eq!(memory.news(&service, &redactor), None);
        memory.keep("web", String::new());
        assert!(memory.of("web").is_empty());
        assert_eq!(memory.news(&service, &redactor).as_deref(), Some(""));
    }
}
