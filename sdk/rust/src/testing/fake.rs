//! A host that answers from a script and remembers what it was asked.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::context::Context;
use crate::doors::{
    Command, Entry, EntryKind, Exchange, ExecError, Expectation, File, FilesError, Level, Message, NotifierWorld,
    Output, ProbeWorld, ProviderWorld, SmtpError, TcpError, TcpReply,
};
use crate::http::{HttpError, Request, Response, Timing};
use crate::values::Timestamp;

/// Builds responses.
#[derive(Debug, Clone, Copy)]
pub struct Reply;

impl Reply {
    /// Without a body.
    pub fn status(status: u16) -> Response {
        Response {
            status,
            timing: Timing {
                connected: Duration::from_millis(1),
                head: Duration::from_millis(4),
                total: Duration::from_millis(5),
            },
            ..Response::default()
        }
    }

    /// With a text.
    pub fn text(status: u16, text: &str) -> Response {
        Response {
            headers: vec![("content-type".into(), "text/plain".into())],
            body: text.as_bytes().to_vec(),
            ..Reply::status(status)
        }
    }

    /// With a JSON document.
    pub fn json(status: u16, value: &impl Serialize) -> Response {
        Response {
            headers: vec![("content-type".into(), "application/json".into())],
            body: serde_json::to_vec(value).unwrap_or_default(),
            ..Reply::status(status)
        }
    }
}

/// The digest that the host would give a file.
pub fn file_digest(contents: &[u8]) -> String {
    let hex: String = Sha256::digest(contents).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

type HttpResult = Result<Response, HttpError>;
type Responder = Box<dyn FnMut(&Request) -> Option<HttpResult>>;

#[derive(Default)]
struct Inner {
    now: u64,
    scripted: BTreeMap<(String, String), VecDeque<HttpResult>>,
    responders: Vec<Responder>,
    requests: Vec<Request>,
    tcp: BTreeMap<(String, u16), VecDeque<Result<TcpReply, TcpError>>>,
    exchanges: Vec<Exchange>,
    programs: BTreeMap<String, VecDeque<Result<Output, ExecError>>>,
    commands: Vec<Command>,
    folders: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    interference: Option<(String, String, Vec<u8>)>,
    writes: usize,
    mails: Vec<Message>,
    log: Vec<(Level, String)>,
}

/// A host that answers from a script and remembers what it was asked. Clones share everything.
#[derive(Clone)]
pub struct FakeHost(Rc<RefCell<Inner>>);

impl Default for FakeHost {
    fn default() -> FakeHost {
        FakeHost::new()
    }
}

impl fmt::Debug for FakeHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeHost")
    }
}

impl FakeHost {
    /// Nothing is granted and nobody listens; the time is 2026-01-02T03:04:05Z.
    pub fn new() -> FakeHost {
        FakeHost(Rc::new(RefCell::new(Inner { now: 1_767_323_045_000, ..Inner::default() })))
    }

    /// Sets the time.
    #[must_use]
    pub fn at(self, now: Timestamp) -> FakeHost {
        self.0.borrow_mut().now = now.0;
        self
    }

    /// Answers this method and URL so. Several for the same are given in turn, and the last one for ever.
    #[must_use]
    pub fn respond(self, method: &str, url: &str, response: Response) -> FakeHost {
        self.script(method, url, Ok(response))
    }

    /// Fails this method and URL so.
    #[must_use]
    pub fn fail(self, method: &str, url: &str, error: HttpError) -> FakeHost {
        self.script(method, url, Err(error))
    }

    fn script(self, method: &str, url: &str, result: HttpResult) -> FakeHost {
        let key = (method.to_owned(), url.to_owned());
        self.0.borrow_mut().scripted.entry(key).or_default().push_back(result);
        self
    }

    /// Answers what the function answers; `None` leaves it to what is scripted.
    #[must_use]
    pub fn serve(self, responder: impl FnMut(&Request) -> Option<HttpResult> + 'static) -> FakeHost {
        self.0.borrow_mut().responders.push(Box::new(responder));
        self
    }

    /// Answers an exchange with this host and port so. Several are given in turn, and the last one for ever.
    #[must_use]
    pub fn tcp(self, host: &str, port: u16, result: Result<TcpReply, TcpError>) -> FakeHost {
        self.0.borrow_mut().tcp.entry((host.to_owned(), port)).or_default().push_back(result);
        self
    }

    /// Answers this program so. Several are given in turn, and the last one for ever.
    #[must_use]
    pub fn program(self, program: &str, result: Result<Output, ExecError>) -> FakeHost {
        self.0.borrow_mut().programs.entry(program.to_owned()).or_default().push_back(result);
        self
    }

    /// Grants a folder, empty.
    #[must_use]
    pub fn folder(self, folder: &str) -> FakeHost {
        self.0.borrow_mut().folders.entry(folder.to_owned()).or_default();
        self
    }

    /// Grants a folder and puts a file into it. Also for what somebody else writes in the middle of a test.
    #[must_use]
    pub fn file(self, folder: &str, path: &str, contents: &str) -> FakeHost {
        self.put_file(folder, path, contents);
        self
    }

    /// Puts a file there, as somebody else would.
    pub fn put_file(&self, folder: &str, path: &str, contents: &str) {
        let mut inner = self.0.borrow_mut();
        inner.folders.entry(folder.to_owned()).or_default().insert(path.to_owned(), contents.as_bytes().to_vec());
    }

    /// Just before the next write, somebody else writes this: a race.
    pub fn interfere_once(&self, folder: &str, path: &str, contents: &str) {
        self.0.borrow_mut().interference = Some((folder.to_owned(), path.to_owned(), contents.as_bytes().to_vec()));
    }

    /// A file as text, if it is there.
    pub fn file_text(&self, folder: &str, path: &str) -> Option<String> {
        let inner = self.0.borrow();
        let contents = inner.folders.get(folder)?.get(path)?;
        Some(String::from_utf8_lossy(contents).into_owned())
    }

    /// How many writes succeeded.
    pub fn writes(&self) -> usize {
        self.0.borrow().writes
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.0.borrow().requests.clone()
    }

    /// Every request so far as `METHOD URL`.
    pub fn request_lines(&self) -> Vec<String> {
        self.0.borrow().requests.iter().map(|request| format!("{} {}", request.method, request.url)).collect()
    }

    /// Every TCP exchange so far.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.0.borrow().exchanges.clone()
    }

    /// Every program run so far.
    pub fn commands(&self) -> Vec<Command> {
        self.0.borrow().commands.clone()
    }

    /// Every mail so far.
    pub fn mails(&self) -> Vec<Message> {
        self.0.borrow().mails.clone()
    }

    /// Every line of the log so far.
    pub fn log_lines(&self) -> Vec<(Level, String)> {
        self.0.borrow().log.clone()
    }

    /// A probe's context on this host.
    pub fn probe_context(&self) -> Context<ProbeWorld> {
        self.context()
    }

    /// A notifier's context on this host.
    pub fn notifier_context(&self) -> Context<NotifierWorld> {
        self.context()
    }

    /// A provider's context on this host.
    pub fn provider_context(&self) -> Context<ProviderWorld> {
        self.context()
    }

    fn context<W>(&self) -> Context<W> {
        let now = self.0.borrow().now;
        Context::fake(self.clone(), Timestamp(now), Timestamp(now + 30_000))
    }

    pub(crate) fn log(&self, level: Level, message: &str) {
        self.0.borrow_mut().log.push((level, message.to_owned()));
    }

    pub(crate) fn http_send(&self, request: Request) -> HttpResult {
        self.0.borrow_mut().requests.push(request.clone());
        // Taken out while they run, so that a responder may look at the host.
        let mut responders = std::mem::take(&mut self.0.borrow_mut().responders);
        let answer = responders.iter_mut().find_map(|responder| responder(&request));
        self.0.borrow_mut().responders = responders;
        if let Some(answer) = answer {
            return answer;
        }
        let key = (request.method, request.url);
        let mut inner = self.0.borrow_mut();
        in_turn(inner.scripted.get_mut(&key))
            .unwrap_or_else(|| Err(HttpError::Connect(format!("nothing is scripted for {} {}", key.0, key.1))))
    }

    pub(crate) fn tcp_run(&self, exchange: Exchange) -> Result<TcpReply, TcpError> {
        let mut inner = self.0.borrow_mut();
        inner.exchanges.push(exchange.clone());
        in_turn(inner.tcp.get_mut(&(exchange.host.clone(), exchange.port)))
            .unwrap_or_else(|| Err(TcpError::Refused(exchange.to_string())))
    }

    pub(crate) fn exec_run(&self, command: Command) -> Result<Output, ExecError> {
        let mut inner = self.0.borrow_mut();
        inner.commands.push(command.clone());
        in_turn(inner.programs.get_mut(&command.program)).unwrap_or(Err(ExecError::Denied(command.program)))
    }

    pub(crate) fn mail_send(&self, message: &Message) -> Result<String, SmtpError> {
        self.0.borrow_mut().mails.push(message.clone());
        Ok("250 queued".into())
    }

    pub(crate) fn file_read(&self, folder: &str, path: &str) -> Result<File, FilesError> {
        let inner = self.0.borrow();
        let files = inner.folders.get(folder).ok_or_else(|| FilesError::Denied(folder.to_owned()))?;
        let contents = files.get(path).ok_or_else(|| FilesError::NotFound(format!("{folder}/{path}")))?;
        Ok(File { contents: contents.clone(), digest: file_digest(contents) })
    }

    pub(crate) fn file_write(
        &self,
        folder: &str,
        path: &str,
        contents: &[u8],
        expect: &Expectation,
    ) -> Result<String, FilesError> {
        let mut inner = self.0.borrow_mut();
        if let Some((folder, path, contents)) = inner.interference.take() {
            inner.folders.entry(folder).or_default().insert(path, contents);
        }
        let files = inner.folders.get_mut(folder).ok_or_else(|| FilesError::Denied(folder.to_owned()))?;
        let met = match (expect, files.get(path)) {
            (Expectation::Anything, _) | (Expectation::Absent, None) => true,
            (Expectation::Digest(digest), Some(there)) => *digest == file_digest(there),
            _ => false,
        };
        if !met {
            return Err(FilesError::Conflict(format!("{folder}/{path}")));
        }
        files.insert(path.to_owned(), contents.to_vec());
        inner.writes += 1;
        Ok(file_digest(contents))
    }

    pub(crate) fn file_list(&self, folder: &str, path: &str) -> Result<Vec<Entry>, FilesError> {
        let inner = self.0.borrow();
        let files = inner.folders.get(folder).ok_or_else(|| FilesError::Denied(folder.to_owned()))?;
        let prefix = match path.trim_matches('/') {
            "" | "." => String::new(),
            path => format!("{path}/"),
        };
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        for (name, contents) in files {
            let Some(rest) = name.strip_prefix(&prefix) else { continue };
            let (name, kind, size) = match rest.split_once('/') {
                Some((folder, _)) => (folder, EntryKind::Folder, 0),
                None => (rest, EntryKind::File, contents.len() as u64),
            };
            entries.insert(name.to_owned(), Entry { name: name.to_owned(), kind, size });
        }
        if entries.is_empty() && !prefix.is_empty() {
            return Err(FilesError::NotFound(format!("{folder}/{path}")));
        }
        Ok(entries.into_values().collect())
    }

    pub(crate) fn file_remove(&self, folder: &str, path: &str) -> Result<(), FilesError> {
        let mut inner = self.0.borrow_mut();
        let files = inner.folders.get_mut(folder).ok_or_else(|| FilesError::Denied(folder.to_owned()))?;
        files.remove(path);
        Ok(())
    }
}

/// The next of a queue, whose last stays.
fn in_turn<T: Clone>(queue: Option<&mut VecDeque<T>>) -> Option<T> {
    let queue = queue?;
    if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() }
}
