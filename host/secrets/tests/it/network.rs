//! A network that answers as a test says, and keeps what it was asked.

use basb_secrets::{Answer, Ask, Transport, TransportError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

type Reply = dyn Fn(usize, &Ask) -> Result<Answer, TransportError> + Send + Sync;

pub struct Network {
    reply: Box<Reply>,
    asked: Mutex<Vec<Ask>>,
    /// One permit for each answer.
    gate: Semaphore,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}

pub fn answer(status: u16, body: &Value) -> Result<Answer, TransportError> {
    Ok(Answer { status, headers: HeaderMap::new(), body: Bytes::from(body.to_string()) })
}

impl Network {
    /// Answers at once; the function gets the number of requests before.
    pub fn new(reply: impl Fn(usize, &Ask) -> Result<Answer, TransportError> + Send + Sync + 'static) -> Arc<Self> {
        Self::gated(Semaphore::MAX_PERMITS, reply)
    }

    /// Answers so many requests, and then no more until [`Self::open`].
    pub fn gated(
        at_first: usize,
        reply: impl Fn(usize, &Ask) -> Result<Answer, TransportError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { reply: Box::new(reply), asked: Mutex::default(), gate: Semaphore::new(at_first) })
    }

    pub fn open(&self) {
        self.gate.add_permits(1000);
    }

    pub fn none() -> Arc<Self> {
        Self::new(|_, ask| panic!("nobody should ask for {}", ask.url))
    }

    pub fn asked(&self) -> Vec<Ask> {
        self.asked.lock().unwrap().clone()
    }
}

impl Transport for Network {
    fn exchange(&self, ask: Ask) -> BoxFuture<'_, Result<Answer, TransportError>> {
        let before = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(ask.clone());
            asked.len() - 1
        };
        Box::pin(async move {
            self.gate.acquire().await.unwrap().forget();
            (self.reply)(before, &ask)
        })
    }
}
