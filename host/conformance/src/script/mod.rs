//! A counterpart that is written down: resources with their states, in a file that needs no program.
//!
//! What a file holds is in [`form`], with its JSON Schema; how it answers in `answer`; what is there in `store`.
//!
//! **Must never** answer by chance or by a clock: the same requests at the same virtual times get the same answers.

mod answer;
pub mod expression;
pub mod form;
mod path;
mod store;

use crate::KitError;
use crate::counterpart::{Answered, Counterpart, Saved, Sent, State};
use basb_capabilities::http::HttpError;
use basb_capabilities::tcp::{Exchange, Reply, TcpError};
use basb_core::Timestamp;
use expression::Expressions;
use form::Script;
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::Store;

/// A scripted counterpart.
#[derive(Debug)]
pub struct Scripted {
    script: Script,
    expressions: Expressions,
    store: Mutex<Store>,
}

impl Scripted {
    /// Reads one, and checks all of its paths and expressions.
    ///
    /// # Errors
    /// [`KitError`] with everything that is wrong.
    pub fn new(script: Script) -> Result<Self, KitError> {
        let expressions = Expressions::default();
        let wrong = script.problems(&expressions);
        if !wrong.is_empty() {
            return Err(KitError::new(
                "kit/bad-counterpart",
                format!("the scripted counterpart `{}`: {}", script.name, wrong.join("; ")),
                "its form: `basb-host plugin test --schema`",
            ));
        }
        let store = Mutex::new(Store::seeded(&script));
        Ok(Self { script, expressions, store })
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counterpart for Scripted {
    fn name(&self) -> String {
        format!("scripted: {}", self.script.name)
    }

    fn reset(&self) -> BoxFuture<'_, Result<(), KitError>> {
        *self.store() = Store::seeded(&self.script);
        Box::pin(async { Ok(()) })
    }

    fn http<'a>(&'a self, sent: &'a Sent, now: Timestamp) -> BoxFuture<'a, Result<Answered, HttpError>> {
        let answer = answer::answer(&self.script, &self.expressions, &mut self.store(), sent, now);
        Box::pin(async { Ok(answer) })
    }

    fn stale(&self, sent: &Sent, now: Timestamp) -> Option<Answered> {
        let mut before = self.store().before()?;
        Some(answer::answer(&self.script, &self.expressions, &mut before, sent, now))
    }

    fn unsound(&self) -> Option<KitError> {
        let store = self.store();
        let why = store.without_answer()?;
        Some(KitError::new(
            "kit/bad-counterpart",
            format!("the scripted counterpart `{}` has no answer to {why}", self.script.name),
            "mend the expression; `has(…)` asks whether a member is there",
        ))
    }

    fn unread(&self) -> Result<Option<String>, KitError> {
        let store = self.store();
        for (kind, resource) in &self.script.resources {
            let Some(page) = resource.list.as_ref().and_then(|list| list.page) else { continue };
            match store.second_page(kind) {
                Some(true) => {}
                Some(false) => {
                    let text =
                        format!("the list of {kind} has {page} on a page, and no second page was ever asked for");
                    return Ok(Some(text));
                }
                None => {
                    return Err(KitError::new(
                        "kit/no-second-page",
                        format!(
                            "the counterpart lists {kind} with `page: {page}`, and never was more than that listed: a \
                             plugin that ignores pages would pass"
                        ),
                        "write `page: 1`, or leave `page` out where the API has no pages",
                    ));
                }
            }
        }
        Ok(None)
    }

    fn tcp<'a>(&'a self, exchange: &'a Exchange, _now: Timestamp) -> BoxFuture<'a, Result<Reply, TcpError>> {
        let listens = self.script.tcp.iter().find(|tcp| tcp.port == exchange.port);
        let reply = match listens {
            None => Err(TcpError::Refused(format!("nobody listens at {}:{}", exchange.host, exchange.port))),
            Some(tcp) => {
                let most = usize::try_from(exchange.read_limit).unwrap_or(usize::MAX);
                let received = tcp.says.bytes().take(most).collect();
                Ok(Reply { connected: 300, total: 1000, received })
            }
        };
        Box::pin(async move { reply })
    }

    fn state(&self, now: Timestamp) -> BoxFuture<'_, Result<State, KitError>> {
        let state = self.store().state(&self.script, now);
        Box::pin(async { Ok(state) })
    }

    fn save(&self) -> BoxFuture<'_, Result<Option<Saved>, KitError>> {
        let saved: Saved = Arc::new(self.store().clone());
        Box::pin(async { Ok(Some(saved)) })
    }

    fn restore<'a>(&'a self, saved: &'a Saved) -> BoxFuture<'a, Result<(), KitError>> {
        if let Some(saved) = saved.downcast_ref::<Store>() {
            *self.store() = saved.clone();
        }
        Box::pin(async { Ok(()) })
    }
}
