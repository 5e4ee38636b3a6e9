//! What a case is.

use crate::lab::Lab;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// What was seen, in a line: the message that a user would read; or why the attack is not contained.
pub type Outcome = Result<String, String>;

/// A hostile guest or a trick.
pub struct Case {
    /// Its name.
    pub name: String,
    /// What is attacked, and how.
    pub attacks: String,
    /// By how much the process may grow, in MiB.
    pub growth: u64,
    /// Whether it needs the machine for itself, because it measures time.
    pub alone: Alone,
    /// What does it.
    pub run: Box<dyn Fn(Arc<Lab>) -> BoxFuture<'static, Outcome> + Send + Sync>,
}

/// Whether a case needs the machine for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// By how much a process may grow where a case says nothing else, in MiB: a guest's whole memory of 64 MiB is not in it.
const GROWTH: u64 = 48;

impl Case {
    /// A case.
    pub fn new<F, R>(name: impl Into<String>, attacks: impl Into<String>, run: F) -> Self
    where
        F: Fn(Arc<Lab>) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        Self {
            name: name.into(),
            attacks: attacks.into(),
            growth: GROWTH,
            alone: Alone::No,
            run: Box::new(move |lab| Box::pin(run(lab))),
        }
    }

    /// The same, where the process may grow by so many MiB.
    pub fn may_grow(mut self, mib: u64) -> Self {
        self.growth = mib;
        self
    }

    /// The same, alone.
    pub fn alone(mut self) -> Self {
        self.alone = Alone::Yes;
        self
    }
}

/// Fails the case with a text unless something is so.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
