//! Names and where they lead: a resolver that belongs to the attacker.

use basb_capabilities::network::Resolver;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// A resolver that answers what the attacker wants, and remembers what it was asked.
#[derive(Debug, Default, Clone)]
pub struct Names {
    known: Arc<Mutex<HashMap<String, Vec<Vec<IpAddr>>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Names {
    /// None yet: everything leads to this machine, where the victim is.
    pub fn new() -> Self {
        Self::default()
    }

    /// A name with its answers, one after the other; the last one for ever.
    pub fn with(self, name: &str, answers: &[&[&str]]) -> Self {
        let answers = answers.iter().map(|one| one.iter().map(|text| text.parse().unwrap()).collect()).collect();
        self.known.lock().unwrap().insert(name.to_owned(), answers);
        self
    }

    /// What was asked.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.asked.lock().unwrap().push(name.to_owned());
        let mut known = self.known.lock().unwrap();
        let answer = match known.get_mut(name) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers.first().cloned().unwrap_or_default(),
            None => vec!["127.0.0.1".parse().unwrap()],
        };
        Box::pin(async move { Ok(answer) })
    }
}
