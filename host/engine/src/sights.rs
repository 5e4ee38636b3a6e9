//! What counterparts say that revisions run: the digest that was seen when a revision was rolled out is written down, and
//! what is seen later is compared with it.

use crate::bounds;
use basb_core::{RevisionId, ServiceName};
use basb_redact::Redactor;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What was seen in this process.
#[derive(Debug, Default)]
pub struct Sights {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// What is to be written down.
    news: HashMap<ServiceName, (RevisionId, String)>,
    /// What was seen before: later looks compare with the first one, and do not take its place.
    known: HashSet<(ServiceName, RevisionId)>,
}

impl Sights {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what a revision is said to run, the first time that it is said.
    pub fn note(&self, service: &ServiceName, revision: &RevisionId, digest: &str) {
        let mut seen = self.lock();
        if seen.known.insert((service.clone(), revision.clone())) {
            seen.news.insert(service.clone(), (revision.clone(), bounds::line(digest)));
        }
    }

    /// What is to be written down for a service, if something is; without secrets.
    pub fn news(&self, service: &ServiceName, redactor: &Redactor) -> Option<(RevisionId, String)> {
        let (revision, digest) = self.lock().news.remove(service)?;
        Some((revision, redactor.text(&digest).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_look_counts_and_is_written_once() {
        let (sights, redactor) = (Sights::default(), Redactor::default());
        let (service, revision) = (ServiceName::new("web").unwrap(), RevisionId::new("r1").unwrap());
        assert_eq!(sights.news(&service, &redactor), None);
        sights.note(&service, &revision, "sha256:a");
        sights.note(&service, &revision, "sha256:b");
        assert_eq!(sights.news(&service, &redactor), Some((revision.clone(), "sha256:a".to_owned())));
        sights.note(&service, &revision, "sha256:b");
        assert_eq!(sights.news(&service, &redactor), None);
    }
}
