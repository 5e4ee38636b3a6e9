//! Listeners and workers: who accepts connections, and which thread serves them.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Runtime};
use tokio::sync::{mpsc, oneshot};

use super::Front;
use super::forward::forward;
use super::headers::Peer;
use super::pool;

/// The largest head of a request, in bytes (431 beyond it).
const LARGEST_HEAD: usize = 64 * 1024;

const SWEEP_EVERY: Duration = Duration::from_secs(5);

struct Accepted {
    stream: StdStream,
    peer: SocketAddr,
    front: Arc<Front>,
}

#[derive(Clone)]
struct Worker {
    inbox: mpsc::UnboundedSender<Accepted>,
    connections: Arc<AtomicUsize>,
}

struct NewListener {
    listener: StdListener,
    front: Arc<Front>,
    closed: oneshot::Receiver<()>,
}

/// The threads of the proxy. They end when this is dropped.
pub(crate) struct Proxy {
    workers: Vec<Worker>,
    acceptor: mpsc::UnboundedSender<NewListener>,
}

/// An open listener. Dropping it closes the address; connections stay until their front closes.
#[derive(Debug)]
pub(crate) struct ListenerHandle {
    _close: oneshot::Sender<()>,
}

impl Proxy {
    /// Starts `workers` threads that serve, and one that accepts.
    pub(crate) fn start(workers: usize) -> io::Result<Self> {
        let workers: Vec<Worker> = (0..workers.max(1)).map(start_worker).collect::<io::Result<_>>()?;
        let (acceptor, inbox) = mpsc::unbounded_channel();
        let runtime = single_threaded()?;
        let for_acceptor = workers.clone();
        thread::Builder::new()
            .name("basb-accept".to_owned())
            .spawn(move || runtime.block_on(accept_all(inbox, for_acceptor)))?;
        Ok(Self { workers, acceptor })
    }

    /// Serves a front on an address that has been bound (see [`bind`]).
    pub(crate) fn listen(&self, listener: StdListener, front: Arc<Front>) -> ListenerHandle {
        let (close, closed) = oneshot::channel();
        // Fails only once the acceptor is gone, and then the whole proxy is.
        let _ = self.acceptor.send(NewListener { listener, front, closed });
        ListenerHandle { _close: close }
    }

    /// Client connections that are open now.
    pub(crate) fn connections(&self) -> usize {
        self.workers.iter().map(|worker| worker.connections.load(Ordering::Relaxed)).sum()
    }

    /// Waits until every connection has ended, but not longer than `limit`. Close the fronts first.
    pub(crate) async fn finished(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while self.connections() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Binds an address for [`Proxy::listen`], so that the caller learns at once when it is taken.
pub(crate) fn bind(address: SocketAddr) -> io::Result<StdListener> {
    // The standard library sets SO_REUSEADDR: an address can be taken again right after the agent before us ended.
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn single_threaded() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

async fn accept_all(mut inbox: mpsc::UnboundedReceiver<NewListener>, workers: Vec<Worker>) {
    while let Some(NewListener { listener, front, closed }) = inbox.recv().await {
        let workers = workers.clone();
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                tokio::spawn(async move {
                    tokio::select! {
                        () = accept(&listener, &front, &workers) => {}
                        _ = closed => {}
                    }
                });
            }
            Err(error) => tracing::error!(front = front.name, %error, "cannot accept connections"),
        }
    }
}

async fn accept(listener: &TcpListener, front: &Arc<Front>, workers: &[Worker]) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most likely out of file descriptors: accepting again at once would spin.
                tracing::warn!(front = front.name, %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let Ok(stream) = stream.into_std() else { continue };
        let Some(worker) = workers.iter().min_by_key(|worker| worker.connections.load(Ordering::Relaxed)) else {
            return;
        };
        worker.connections.fetch_add(1, Ordering::Relaxed);
        if worker.inbox.send(Accepted { stream, peer, front: Arc::clone(front) }).is_err() {
            return;
        }
    }
}

fn start_worker(number: usize) -> io::Result<Worker> {
    let (inbox, mut accepted) = mpsc::unbounded_channel::<Accepted>();
    let connections = Arc::new(AtomicUsize::new(0));
    let runtime = single_threaded()?;
    let counted = Arc::clone(&connections);
    thread::Builder::new().name(format!("basb-proxy-{number}")).spawn(move || {
        runtime.block_on(async move {
            tokio::spawn(async {
                loop {
                    tokio::time::sleep(SWEEP_EVERY).await;
                    pool::sweep();
                }
            });
            while let Some(accepted) = accepted.recv().await {
                let open = Open(Arc::clone(&counted));
                tokio::spawn(async move {
                    serve(accepted).await;
                    drop(open);
                });
            }
        });
    })?;
    Ok(Worker { inbox, connections })
}

/// Counts a connection down when it ends, however it ends.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(Accepted { stream, peer, front }: Accepted) {
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let mut closing = front.closing.subscribe();
    let peer = Peer::new(peer);
    let service = service_fn(|request| {
        let (front, peer) = (Arc::clone(&front), peer.clone());
        async move { Ok::<_, Infallible>(forward(&front, &peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(front.limits.client_head)
        .max_header_size(LARGEST_HEAD)
        .max_buf_size(2 * LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        // Errors are the client's: it went away, or did not speak HTTP (hyper has answered 400 then).
        _ = connection.as_mut() => return,
        _ = closing.wait_for(|closing| *closing) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
