//! The cloud's door: HTTP on 127.0.0.1, in threads of its own.

use super::account::{Account, Request, Trap};
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

type Accounts = Arc<Mutex<BTreeMap<String, Account>>>;

/// A running cloud.
pub struct Cloud {
    accounts: Accounts,
    port: u16,
    _runtime: tokio::runtime::Runtime,
}

impl Cloud {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let accounts = Accounts::default();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::clone(&accounts);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Small answers, each of which is waited for.
                let _ = stream.set_nodelay(true);
                let accounts = Arc::clone(&shared);
                tokio::spawn(async move {
                    let answer = service_fn(move |request| answer(request, Arc::clone(&accounts)));
                    // A client that was killed is what this is about.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Ok(Self { accounts, port, _runtime: runtime })
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where an account is reached.
    #[must_use]
    pub fn endpoint(&self, account: &str) -> String {
        format!("http://127.0.0.1:{}/t/{account}", self.port)
    }

    /// Opens an empty account.
    pub fn open(&self, account: &str) {
        self.put(account, Account::default());
    }

    /// Opens an account that is as another one is now, with nothing on record yet.
    pub fn copy(&self, from: &str, to: &str) {
        let mut copy = self.account(from);
        copy.effects.clear();
        copy.violations.clear();
        copy.notified.clear();
        copy.senders.clear();
        copy.arrived.clear();
        copy.repeats = 0;
        self.put(to, copy);
    }

    /// An account as it is now; an empty one where there is none.
    #[must_use]
    pub fn account(&self, account: &str) -> Account {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.get(account).cloned().unwrap_or_default()
    }

    /// Sets a trap in an account.
    pub fn trap(&self, account: &str, trap: Trap) {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get_mut(account) {
            (account.trap, account.caught) = (Some(trap), false);
        }
    }

    /// Closes an account, and returns what it was.
    #[must_use]
    pub fn close(&self, account: &str) -> Account {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).remove(account).unwrap_or_default()
    }

    fn put(&self, name: &str, mut account: Account) {
        account.base = self.endpoint(name);
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), account);
    }
}

async fn answer(request: hyper::Request<Incoming>, accounts: Accounts) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    // A request that was cut off was not received.
    let Ok(body) = body.collect().await else { return Ok(Response::new(Full::default())) };
    let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
    let text = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok());
    let path: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
    let answer = {
        let mut accounts = accounts.lock().unwrap_or_else(PoisonError::into_inner);
        match path[..] {
            ["t", account, ref rest @ ..] => match (accounts.get_mut(account), rest) {
                (Some(account), ["v1", rest @ ..]) => account.arrive(&Request {
                    method: head.method.as_str(),
                    path: rest.to_vec(),
                    key: text("idempotency-key"),
                    runner: text("x-runner").unwrap_or("-"),
                    body,
                }),
                (Some(account), ["hook"]) => {
                    account.notify(text("idempotency-key").unwrap_or_default(), &body);
                    Some((200, Value::Null))
                }
                (Some(account), ["s", service, "healthz"]) => Some((account.visit(service, None), Value::Null)),
                (Some(account), ["s", service, "r", id, "healthz"]) => {
                    Some((account.visit(service, Some(id)), Value::Null))
                }
                _ => Some((404, Value::Null)),
            },
            _ => Some((404, Value::Null)),
        }
    };
    // In a trap: until whoever waits for the answer is gone.
    let Some((status, value)) = answer else { return std::future::pending().await };
    let body = if status == 204 { Vec::new() } else { value.to_string().into_bytes() };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}
