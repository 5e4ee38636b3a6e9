//! What a plugin's imports do: nothing but translating between WIT and [`basb_capabilities::exchange`], the one way to the
//! doors, where every decision is made.

use crate::limits::Limiter;
use crate::wasi::{Moment, Wasi};
use crate::wit;
use basb_capabilities::exchange::{self, Exchanges, Stop};
use basb_capabilities::{LogLevel, exec, files, http, smtp, tcp};
use std::sync::Arc;
use std::time::Duration;

/// What belongs to one call.
pub(crate) struct State {
    pub(crate) limiter: Limiter,
    reach: Option<Reach>,
    moment: Moment,
    handles: usize,
    wasi: Option<Box<Wasi>>,
}

/// What a call that may call the host needs for it.
pub(crate) type Reach = Arc<Exchanges>;

/// The host ended the call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostStop {
    /// It asked for something that ended it.
    #[error(transparent)]
    Stop(#[from] Stop),
    /// A plugin without any import called the host: cannot happen, since nothing is linked for it.
    #[error("the plugin has no imports")]
    NoReach,
}

impl State {
    pub(crate) fn new(limiter: Limiter, reach: Option<Reach>, moment: Moment) -> Self {
        Self { handles: limiter.handles(), limiter, reach, moment, wasi: None }
    }

    /// The WASI of this call; most plugins never ask for it.
    pub(crate) fn wasi(&mut self) -> &mut Wasi {
        let Self { reach, moment, handles, wasi, .. } = self;
        wasi.get_or_insert_with(|| Box::new(Wasi::new(*moment, *handles, reach.as_ref())))
    }

    /// What a guest that uses WASI said when it panicked.
    pub(crate) fn panic(&self) -> Option<String> {
        self.wasi.as_ref().and_then(|wasi| wasi.panic())
    }

    fn reach(&self) -> wasmtime::Result<Reach> {
        self.reach.clone().ok_or_else(|| HostStop::NoReach.into())
    }
}

impl wit::types::Host for State {}

impl wit::log::Host for State {
    async fn write(&mut self, level: wit::log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            wit::log::Level::Debug => LogLevel::Debug,
            wit::log::Level::Info => LogLevel::Info,
            wit::log::Level::Warn => LogLevel::Warn,
            wit::log::Level::Error => LogLevel::Error,
        };
        Ok(self.reach()?.log(level, &message).map_err(HostStop::Stop)?)
    }
}

fn http_request(request: wit::http::Request) -> http::Request {
    let wit::http::Request { method, url, headers, body, timeout } = request;
    http::Request { method, url, headers, body, timeout: timeout.map(Duration::from_millis) }
}

fn http_result(result: Result<http::Response, http::HttpError>) -> Result<wit::http::Response, wit::http::Error> {
    use http::HttpError as E;
    use wit::http::Error as W;
    match result {
        Ok(http::Response { status, headers, body, timing: http::Timing { connected, head, total } }) => {
            Ok(wit::http::Response { status, headers, body, timing: wit::http::Timing { connected, head, total } })
        }
        Err(E::Denied(text)) => Err(W::Denied(text)),
        Err(E::Invalid(text)) => Err(W::Invalid(text)),
        Err(E::Dns(text)) => Err(W::Dns(text)),
        Err(E::Connect(text)) => Err(W::Connect(text)),
        Err(E::Tls(text)) => Err(W::Tls(text)),
        Err(E::TimedOut(text)) => Err(W::TimedOut(text)),
        Err(E::Broken(text)) => Err(W::Broken(text)),
        Err(E::TooLarge(text)) => Err(W::TooLarge(text)),
        Err(E::Exhausted(text)) => Err(W::Exhausted(text)),
        Err(E::Other(text)) => Err(W::Other(text)),
    }
}

impl wit::http::Host for State {
    async fn send(
        &mut self,
        request: wit::http::Request,
    ) -> wasmtime::Result<Result<wit::http::Response, wit::http::Error>> {
        let response = self.reach()?.http(http_request(request)).await.map_err(HostStop::Stop)?;
        Ok(http_result(response))
    }

    async fn send_many(
        &mut self,
        requests: Vec<wit::http::Request>,
    ) -> wasmtime::Result<Vec<Result<wit::http::Response, wit::http::Error>>> {
        let requests = requests.into_iter().map(http_request).collect();
        let results = self.reach()?.http_many(requests).await.map_err(HostStop::Stop)?;
        Ok(results.into_iter().map(http_result).collect())
    }
}

impl wit::tcp::Host for State {
    async fn run(
        &mut self,
        exchange: wit::tcp::Exchange,
    ) -> wasmtime::Result<Result<wit::tcp::Reply, wit::tcp::Error>> {
        use tcp::TcpError as E;
        use wit::tcp::Error as W;
        let reach = self.reach()?;
        let wit::tcp::Exchange { host, port, send, read_limit, timeout } = exchange;
        let exchange = tcp::Exchange { host, port, send, read_limit, timeout: Duration::from_millis(timeout) };
        Ok(match reach.tcp(exchange).await.map_err(HostStop::Stop)? {
            Ok(tcp::Reply { connected, total, received }) => Ok(wit::tcp::Reply { connected, total, received }),
            Err(E::Denied(text)) => Err(W::Denied(text)),
            Err(E::Dns(text)) => Err(W::Dns(text)),
            Err(E::Refused(text)) => Err(W::Refused(text)),
            Err(E::TimedOut(text)) => Err(W::TimedOut(text)),
            Err(E::Other(text)) => Err(W::Other(text)),
        })
    }
}

impl wit::exec::Host for State {
    async fn run(
        &mut self,
        command: wit::exec::Command,
    ) -> wasmtime::Result<Result<wit::exec::Output, wit::exec::Error>> {
        use exec::ExecError as E;
        use wit::exec::Error as W;
        let reach = self.reach()?;
        let wit::exec::Command { program, args, env, stdin, timeout } = command;
        let command = exec::Command { program, args, env, stdin, timeout: Duration::from_millis(timeout) };
        Ok(match reach.exec(command).await.map_err(HostStop::Stop)? {
            Ok(exec::Output { status, stdout, stderr }) => Ok(wit::exec::Output { status, stdout, stderr }),
            Err(E::Denied(text)) => Err(W::Denied(text)),
            Err(E::NotStarted(text)) => Err(W::NotStarted(text)),
            Err(E::TimedOut(text)) => Err(W::TimedOut(text)),
            Err(E::TooLarge(text)) => Err(W::TooLarge(text)),
            Err(E::Other(text)) => Err(W::Other(text)),
        })
    }
}

fn files_error(error: files::FilesError) -> wit::files::Error {
    use files::FilesError as E;
    use wit::files::Error as W;
    match error {
        E::Denied(text) => W::Denied(text),
        E::NotFound(text) => W::NotFound(text),
        E::Conflict(text) => W::Conflict(text),
        E::TooLarge(text) => W::TooLarge(text),
        E::Other(text) => W::Other(text),
    }
}

impl wit::files::Host for State {
    async fn read(
        &mut self,
        folder: String,
        path: String,
    ) -> wasmtime::Result<Result<wit::files::File, wit::files::Error>> {
        let read = self.reach()?.read_file(exchange::Path { folder, path }).await.map_err(HostStop::Stop)?;
        let file = read.map(|file| wit::files::File { contents: file.contents, digest: file.digest.into() });
        Ok(file.map_err(files_error))
    }

    async fn write(
        &mut self,
        folder: String,
        path: String,
        contents: Vec<u8>,
        expect: wit::files::Expectation,
    ) -> wasmtime::Result<Result<String, wit::files::Error>> {
        let expect = match expect {
            wit::files::Expectation::Anything => files::Expectation::Anything,
            wit::files::Expectation::Absent => files::Expectation::Absent,
            wit::files::Expectation::Digest(digest) => files::Expectation::Digest(digest),
        };
        let write = exchange::Write { folder, path, contents, expect };
        let written = self.reach()?.write_file(write).await.map_err(HostStop::Stop)?;
        Ok(written.map(String::from).map_err(files_error))
    }

    async fn list(
        &mut self,
        folder: String,
        path: String,
    ) -> wasmtime::Result<Result<Vec<wit::files::Entry>, wit::files::Error>> {
        let listed = self.reach()?.list_files(exchange::Path { folder, path }).await.map_err(HostStop::Stop)?;
        let entry = |files::Entry { name, kind, size }| {
            let kind = match kind {
                files::EntryKind::File => wit::files::EntryKind::File,
                files::EntryKind::Folder => wit::files::EntryKind::Folder,
                files::EntryKind::Other => wit::files::EntryKind::Other,
            };
            wit::files::Entry { name, kind, size }
        };
        Ok(listed.map(|entries| entries.into_iter().map(entry).collect()).map_err(files_error))
    }

    async fn remove(&mut self, folder: String, path: String) -> wasmtime::Result<Result<(), wit::files::Error>> {
        let removed = self.reach()?.remove_file(exchange::Path { folder, path }).await.map_err(HostStop::Stop)?;
        Ok(removed.map_err(files_error))
    }
}

impl wit::smtp::Host for State {
    async fn send(&mut self, message: wit::smtp::Message) -> wasmtime::Result<Result<String, wit::smtp::Error>> {
        use smtp::SmtpError as E;
        use wit::smtp::Error as W;
        let reach = self.reach()?;
        let wit::smtp::Message { server, from, to, subject, text, headers } = message;
        let message = smtp::Message { server, from, to, subject, text, headers };
        Ok(reach.send_mail(message).await.map_err(HostStop::Stop)?.map_err(|error| match error {
            E::Denied(text) => W::Denied(text),
            E::Unavailable(text) => W::Unavailable(text),
            E::Refused(text) => W::Refused(text),
            E::Other(text) => W::Other(text),
        }))
    }
}
