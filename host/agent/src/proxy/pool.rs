//! Connections to instances, kept per worker thread.
//!
//! Each worker has its own pools, in a thread-local: nothing is shared, nothing is locked. A connection that has just
//! served is taken first, so that unused ones age and are swept.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Upstream;
use super::body::RequestBody;

/// Idle connections kept per worker and upstream.
const MOST_IDLE: usize = 256;

/// Idle connections are closed after this long.
const LONGEST_IDLE: Duration = Duration::from_secs(30);

/// A request that must not be repeated takes only a connection used this recently: the longer one idles, the likelier
/// is it that the instance closes it at the very moment of writing.
const FRESH_ENOUGH: Duration = Duration::from_secs(1);

/// The largest head of an answer, in bytes.
const LARGEST_HEAD: usize = 256 * 1024;

/// A connection in use.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) sender: http1::SendRequest<RequestBody>,
    /// Whether it has served before: then a failure to write says nothing about the instance.
    pub(crate) reused: bool,
}

struct Idle {
    sender: http1::SendRequest<RequestBody>,
    since: Instant,
}

thread_local! {
    static IDLE: RefCell<HashMap<u64, Vec<Idle>>> = RefCell::new(HashMap::new());
}

/// Which idle connections will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Any that is open.
    Any,
    /// One that was in use a moment ago.
    Recent,
    /// None: open a new one.
    Never,
}

/// An idle connection to an upstream, if there is one.
pub(crate) fn take(upstream: &Upstream, reuse: Reuse) -> Option<Lease> {
    if reuse == Reuse::Never {
        return None;
    }
    IDLE.with_borrow_mut(|pools| {
        let pool = pools.get_mut(&upstream.key)?;
        let mut index = pool.len();
        while index > 0 {
            index -= 1;
            let idle = pool.get(index)?;
            if idle.sender.is_closed() {
                pool.swap_remove(index);
            } else if idle.sender.is_ready() {
                if reuse == Reuse::Recent && idle.since.elapsed() > FRESH_ENOUGH {
                    return None;
                }
                let idle = pool.remove(index);
                return Some(Lease { sender: idle.sender, reused: true });
            }
        }
        None
    })
}

/// Keeps a connection whose answer is complete, unless its upstream is on its way out.
pub(crate) fn give_back(upstream: &Upstream, lease: Lease) {
    if lease.sender.is_closed() || upstream.draining.load(std::sync::atomic::Ordering::Relaxed) {
        return;
    }
    IDLE.with_borrow_mut(|pools| {
        let pool = pools.entry(upstream.key).or_default();
        if pool.len() < MOST_IDLE {
            pool.push(Idle { sender: lease.sender, since: Instant::now() });
        }
    });
}

/// Closes connections that nobody used for long, and forgets upstreams without any.
pub(crate) fn sweep() {
    IDLE.with_borrow_mut(|pools| {
        pools.retain(|_, pool| {
            pool.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < LONGEST_IDLE);
            !pool.is_empty()
        });
    });
}

/// Opens a connection to an upstream; it is driven by a task of this worker.
pub(crate) async fn connect(upstream: &Upstream, limit: Duration) -> io::Result<Lease> {
    let stream = tokio::time::timeout(limit, TcpStream::connect(upstream.address))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connecting took too long"))??;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(LARGEST_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        // An error here reaches whoever waits for the answer as well.
        let _ = connection.with_upgrades().await;
    });
    Ok(Lease { sender, reused: false })
}
