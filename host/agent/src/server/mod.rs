//! Running an agent: the API on its unix socket, the supervisor and the proxy behind it.

mod logs;
mod routes;

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::api::StopServices;
use crate::client::Client;
use crate::ensure::LOOK_EVERY;
use crate::error::AgentError;
use crate::proxy::ProxyLimits;
use crate::socket::SocketPath;
use crate::supervisor::{Settings, Supervisor};

/// How long an agent that answers nobody any more may have the folder still. It is gone within milliseconds, on a loaded
/// machine later.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// How an agent is run.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The folder for socket, state and logs. Created for this user only when absent.
    pub state_dir: PathBuf,
    /// Where services may listen.
    pub listen_scope: ListenScope,
    /// Whether SIGTERM and SIGINT stop the agent (keeping its services).
    pub signals: Signals,
    /// Threads that serve requests; one per core when absent.
    pub workers: Option<usize>,
    /// After so many starts in a row without ever being ready, an instance is given up. At least 1.
    pub start_attempts: u32,
    /// Bytes after which an instance's log is rotated (one older part of the same size is kept).
    pub log_limit: u64,
    /// How long an instance may take to start its answer before the client gets 504.
    pub upstream_timeout: Duration,
    /// How long a client may take to send a request's head.
    pub client_timeout: Duration,
    /// How long requests under way may take to finish when the agent stops.
    pub finish_timeout: Duration,
}

impl ServeOptions {
    /// The defaults for a state folder: loopback only, signals handled, 60 s for answers.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            listen_scope: ListenScope::Loopback,
            signals: Signals::Handle,
            workers: None,
            start_attempts: 4,
            log_limit: 10 * 1024 * 1024,
            upstream_timeout: Duration::from_secs(60),
            client_timeout: Duration::from_secs(60),
            finish_timeout: Duration::from_secs(10),
        }
    }
}

/// Where services may listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenScope {
    /// On loopback addresses only.
    Loopback,
    /// Anywhere. The proxy has no TLS and no authentication: put something in front that has.
    Any,
}

/// What the agent does about SIGTERM and SIGINT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signals {
    /// It stops in good order, and service processes keep running.
    Handle,
    /// Nothing: they are the caller's.
    Leave,
}

/// What every API request needs.
pub(crate) struct Agent {
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) started_at: Timestamp,
    stop: watch::Sender<Option<StopServices>>,
}

impl Agent {
    /// Asks the agent to stop, after the answer to this request.
    pub(crate) fn stop(&self, services: StopServices) {
        self.stop.send_replace(Some(services));
    }
}

/// Runs an agent until it is stopped through its API or by a signal.
///
/// Processes that an earlier agent started on the same folder are adopted. Dropping the future ends the agent like a
/// crash would: service processes keep running.
///
/// # Errors
/// [`AgentError::AlreadyRunning`] when another agent has the folder: at once if it answers, otherwise when it has not let
/// go of the folder within 5 s; [`AgentError::StateCorrupt`] when its saved state cannot be understood;
/// [`AgentError::Io`] when the folder, its socket or the proxy's threads cannot be set up.
pub async fn serve(options: ServeOptions) -> Result<(), AgentError> {
    let workers = options.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let settings = Settings {
        scope: options.listen_scope,
        workers,
        start_attempts: options.start_attempts,
        log_limit: options.log_limit,
        proxy_limits: ProxyLimits {
            client_head: options.client_timeout,
            upstream_head: options.upstream_timeout,
            connect: Duration::from_secs(2),
        },
        finish: options.finish_timeout,
    };
    let abandoned = Abandon(restore(&options.state_dir, &settings).await?);
    let supervisor = &abandoned.0;
    let mut signals = StopSignals::new(options.signals, supervisor.state_dir())?;
    let listener = open_socket(supervisor.state_dir())?;
    let stop = watch::Sender::new(None);
    let agent =
        Arc::new(Agent { supervisor: Arc::clone(supervisor), started_at: Timestamp::now(), stop: stop.clone() });
    tracing::info!(state_dir = %supervisor.state_dir().display(), pid = std::process::id(), "agent serves");

    let mut stopping = stop.subscribe();
    let services = tokio::select! {
        services = stopped(&mut stopping) => services,
        () = signals.received() => StopServices::Keep,
        () = accept(&listener, &agent) => StopServices::Keep,
        () = supervisor.keep_house() => StopServices::Keep,
    };
    // Nobody connects to an agent that is about to go: whoever waits for its end sees the socket vanish first.
    let _ = fs::remove_file(supervisor.state_dir().join(crate::socket::SOCKET));
    drop(listener);
    stop.send_replace(Some(services));
    supervisor.shut_down(services).await;
    Ok(())
}

/// Takes the folder, once an agent that was killed has let go of it.
///
/// The kernel need not do so in the moment in which nobody answers any more: a process has many files to close, and a service
/// that was just being started shares them until it runs its own program. Whoever starts the next agent at once would
/// otherwise be told of an agent that is not there, as a crash test was.
async fn restore(state_dir: &Path, settings: &Settings) -> Result<Arc<Supervisor>, AgentError> {
    let (began, client) = (Instant::now(), Client::new(state_dir));
    loop {
        let refused = match Supervisor::restore(state_dir, settings.clone()) {
            Err(refused @ AgentError::AlreadyRunning { .. }) => refused,
            other => return other,
        };
        // One that takes connections is there, even if it answers late.
        let answer = tokio::time::timeout(GONE_WITHIN, client.agent()).await;
        if began.elapsed() >= GONE_WITHIN || !matches!(answer, Ok(Err(_))) {
            return Err(refused);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Lets go of everything when the agent ends, however it ends.
struct Abandon(Arc<Supervisor>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

async fn stopped(stop: &mut watch::Receiver<Option<StopServices>>) -> StopServices {
    match stop.wait_for(Option::is_some).await {
        Ok(services) => services.unwrap_or_default(),
        Err(_) => StopServices::Keep,
    }
}

fn open_socket(state_dir: &Path) -> Result<UnixListener, AgentError> {
    let path = state_dir.join(crate::socket::SOCKET);
    // The lock is ours, so a socket that is there belongs to an agent that is gone.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(AgentError::io("replace", &path, error));
        }
        _ => {}
    }
    let short = SocketPath::of(state_dir)?;
    let listener = UnixListener::bind(short.path()).map_err(|error| AgentError::io("listen on", &path, error))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .map_err(|error| AgentError::io("protect", &path, error))?;
    Ok(listener)
}

async fn accept(listener: &UnixListener, agent: &Arc<Agent>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(answer(stream, Arc::clone(agent)));
            }
            Err(error) => {
                tracing::warn!(%error, "a caller could not be accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, agent: Arc<Agent>) {
    let mut stopping = agent.stop.subscribe();
    let service = service_fn(|request| {
        let agent = Arc::clone(&agent);
        async move { Ok::<_, Infallible>(routes::answer(&agent, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(60))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        _ = stopped(&mut stopping) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

struct StopSignals(Option<(Signal, Signal)>);

impl StopSignals {
    fn new(signals: Signals, state_dir: &Path) -> Result<Self, AgentError> {
        if signals == Signals::Leave {
            return Ok(Self(None));
        }
        let failed = |error| AgentError::io("handle signals for", state_dir, error);
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(Self(Some((terminate, interrupt))))
    }

    async fn received(&mut self) {
        match &mut self.0 {
            None => std::future::pending().await,
            Some((terminate, interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
        }
    }
}
