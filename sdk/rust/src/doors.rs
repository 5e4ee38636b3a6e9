//! The doors to the outside other than HTTP, and which world has which.

use std::fmt;
use std::time::Duration;

use crate::bindings::host::basb::host as wire;
use crate::failure::Failure;
use crate::values::millis;

/// Who answers: the host, or in native tests a script. An enum and not a trait object, so that a door that the plugin
/// never calls is not linked.
#[derive(Debug, Clone)]
pub(crate) enum Backend {
    /// The host.
    Live,
    /// A script.
    #[cfg(not(target_arch = "wasm32"))]
    Fake(crate::testing::FakeHost),
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! doors {
    ($($(#[$doc:meta])* $name:ident)*) => { $($(#[$doc])* pub trait $name: sealed::Sealed {})* };
}

doors! {
    /// The world imports `log`.
    HasLog
    /// The world imports `http`.
    HasHttp
    /// The world imports `tcp`.
    HasTcp
    /// The world imports `exec`.
    HasExec
    /// The world imports `files`.
    HasFiles
    /// The world imports `smtp`.
    HasSmtp
}

macro_rules! world {
    ($(#[$doc:meta])* $name:ident: $($door:ident)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub enum $name {}
        impl sealed::Sealed for $name {}
        $(impl $door for $name {})*
    };
}

world! {
    /// The provider world.
    ProviderWorld: HasLog HasHttp HasExec HasFiles
}
world! {
    /// The probe world.
    ProbeWorld: HasLog HasHttp HasTcp HasExec
}
world! {
    /// The notifier world.
    NotifierWorld: HasLog HasHttp HasSmtp HasFiles
}

pub use wire::log::Level;

/// The host's log. Its volume is bounded.
#[derive(Debug, Clone, Copy)]
pub struct Log<'a>(pub(crate) &'a Backend);

impl Log<'_> {
    /// Writes one line.
    pub fn write(self, level: Level, message: impl AsRef<str>) {
        match self.0 {
            Backend::Live => wire::log::write(level, message.as_ref()),
            #[cfg(not(target_arch = "wasm32"))]
            Backend::Fake(host) => host.log(level, message.as_ref()),
        }
    }

    /// For the plugin's author.
    pub fn debug(self, message: impl AsRef<str>) {
        self.write(Level::Debug, message);
    }

    /// For the operator who looks.
    pub fn info(self, message: impl AsRef<str>) {
        self.write(Level::Info, message);
    }

    /// For the operator who should look.
    pub fn warn(self, message: impl AsRef<str>) {
        self.write(Level::Warn, message);
    }

    /// For the operator who must look.
    pub fn error(self, message: impl AsRef<str>) {
        self.write(Level::Error, message);
    }
}

/// Declares an error of a door: its cases, what each says to a person, and what failure it is to the engine.
macro_rules! door_error {
    ($(#[$doc:meta])* $name:ident from $wire:ident { $($(#[$case_doc:meta])* $case:ident = $words:literal => $failure:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name { $($(#[$case_doc])* $case(String),)* }

        impl $name {
            /// The host's own words.
            pub fn message(&self) -> &str {
                match self { $(Self::$case(message) => message,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self { $(Self::$case(message) => write!(f, concat!($words, "{}"), message),)* }
            }
        }

        impl std::error::Error for $name {}

        impl From<$wire> for $name {
            fn from(error: $wire) -> $name {
                match error { $($wire::$case(message) => $name::$case(message),)* }
            }
        }

        impl From<$name> for $crate::Failure {
            fn from(error: $name) -> $crate::Failure {
                match &error { $($name::$case(_) => $crate::Failure::$failure(error.to_string()),)* }
            }
        }
    };
}
pub(crate) use door_error;

type WireTcpError = wire::tcp::Error;
type WireExecError = wire::exec::Error;
type WireFilesError = wire::files::Error;
type WireSmtpError = wire::smtp::Error;

door_error! {
    /// Why a TCP exchange came to nothing.
    TcpError from WireTcpError {
        /// The grant does not cover host and port; the text holds the lines that would.
        Denied = "not granted: " => denied,
        /// The name could not be resolved.
        Dns = "name not resolved: " => unavailable,
        /// Nobody listens.
        Refused = "connection refused: " => unavailable,
        /// No answer in time.
        TimedOut = "no answer in time: " => timed_out,
        /// Anything else.
        Other = "" => other,
    }
}

door_error! {
    /// Why a program did not run to its end.
    ExecError from WireExecError {
        /// The grant does not cover it; the text holds the lines that would.
        Denied = "not granted: " => denied,
        /// It could not be started.
        NotStarted = "not started: " => unavailable,
        /// It took too long and was ended: the effect is in doubt.
        TimedOut = "not finished in time: " => timed_out,
        /// It wrote more than the limit.
        TooLarge = "too much output: " => other,
        /// Anything else.
        Other = "" => other,
    }
}

door_error! {
    /// Why a file could not be read or written.
    FilesError from WireFilesError {
        /// No such folder in the grant, or the grant does not allow writing; the text holds the lines that would.
        Denied = "not granted: " => denied,
        /// Not there.
        NotFound = "not found: " => not_found,
        /// The expectation was not met: somebody else wrote it. Reading again and repeating helps.
        Conflict = "changed in the meantime: " => conflict,
        /// Over the limit.
        TooLarge = "too large: " => other,
        /// Anything else.
        Other = "" => other,
    }
}

door_error! {
    /// Why a mail was not sent.
    SmtpError from WireSmtpError {
        /// The grant does not cover server, sender or recipient; the text holds the lines that would.
        Denied = "not granted: " => denied,
        /// No connection, or no answer in time.
        Unavailable = "mail server unavailable: " => unavailable,
        /// The server said no.
        Refused = "mail refused: " => invalid,
        /// Anything else.
        Other = "" => other,
    }
}

/// One exchange over TCP: connect, send, read, close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What to send once connected; empty for nothing.
    pub send: Vec<u8>,
    /// The most to read, in bytes; 0 for nothing.
    pub read_limit: u32,
    /// The longest the whole exchange may take.
    pub timeout: Duration,
}

impl Exchange {
    /// Connects and closes again.
    pub fn connect(host: impl Into<String>, port: u16, timeout: Duration) -> Exchange {
        Exchange { host: host.into(), port, send: Vec::new(), read_limit: 0, timeout }
    }

    /// What to send once connected.
    #[must_use]
    pub fn send(mut self, bytes: impl Into<Vec<u8>>) -> Exchange {
        self.send = bytes.into();
        self
    }

    /// The most to read, in bytes.
    #[must_use]
    pub fn read_up_to(mut self, limit: u32) -> Exchange {
        self.read_limit = limit;
        self
    }
}

/// What came back over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TcpReply {
    /// Until the connection was there.
    pub connected: Duration,
    /// All of it.
    pub total: Duration,
    /// What was read.
    pub received: Vec<u8>,
}

/// The TCP door.
#[derive(Debug, Clone, Copy)]
pub struct Tcp<'a>(pub(crate) &'a Backend);

impl Tcp<'_> {
    /// Connects, sends, reads, closes.
    ///
    /// # Errors
    /// Where the grant does not cover it or the counterpart does not answer.
    pub fn run(self, exchange: Exchange) -> Result<TcpReply, TcpError> {
        match self.0 {
            Backend::Live => {
                let reply = wire::tcp::run(&wire::tcp::Exchange {
                    host: exchange.host,
                    port: exchange.port,
                    send: exchange.send,
                    read_limit: exchange.read_limit,
                    timeout: millis(exchange.timeout),
                })?;
                Ok(TcpReply {
                    connected: Duration::from_micros(reply.connected),
                    total: Duration::from_micros(reply.total),
                    received: reply.received,
                })
            }
            #[cfg(not(target_arch = "wasm32"))]
            Backend::Fake(host) => host.tcp_run(exchange),
        }
    }
}

/// A program to run, by its name in the grant. There is no shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program's name in the grant.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables to set, of those that the grant lists.
    pub env: Vec<(String, String)>,
    /// What it reads on standard input.
    pub stdin: Vec<u8>,
    /// The longest it may take.
    pub timeout: Duration,
}

impl Command {
    /// Without arguments, and half a minute to run.
    pub fn new(program: impl Into<String>) -> Command {
        Command {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: Vec::new(),
            timeout: Duration::from_secs(30),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Command {
        self.args.push(arg.into());
        self
    }

    /// The longest it may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Command {
        self.timeout = timeout;
        self
    }
}

/// What a program did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// The exit status; none when it was ended by a signal.
    pub status: Option<i32>,
    /// Standard output, up to the limit.
    pub stdout: Vec<u8>,
    /// Standard error, up to the limit.
    pub stderr: Vec<u8>,
}

/// The door to granted programs.
#[derive(Debug, Clone, Copy)]
pub struct Exec<'a>(pub(crate) &'a Backend);

impl Exec<'_> {
    /// Runs it to its end.
    ///
    /// # Errors
    /// Where the grant does not cover it or it does not end in time. A status other than 0 is no error.
    pub fn run(self, command: Command) -> Result<Output, ExecError> {
        match self.0 {
            Backend::Live => {
                let output = wire::exec::run(&wire::exec::Command {
                    program: command.program,
                    args: command.args,
                    env: command.env,
                    stdin: command.stdin,
                    timeout: millis(command.timeout),
                })?;
                Ok(Output { status: output.status, stdout: output.stdout, stderr: output.stderr })
            }
            #[cfg(not(target_arch = "wasm32"))]
            Backend::Fake(host) => host.exec_run(command),
        }
    }
}

pub use wire::files::{Entry, EntryKind, Expectation, File};

/// The door to granted folders. Paths are relative to the folder and cannot leave it.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a>(pub(crate) &'a Backend);

impl Files<'_> {
    /// Reads a whole file.
    ///
    /// # Errors
    /// [`FilesError::NotFound`] where there is none; others where the grant does not cover it.
    pub fn read(self, folder: &str, path: &str) -> Result<File, FilesError> {
        match self.0 {
            Backend::Live => Ok(wire::files::read(folder, path)?),
            #[cfg(not(target_arch = "wasm32"))]
            Backend::Fake(host) => host.file_read(folder, path),
        }
    }

    /// Reads a whole file, or nothing where there is none.
    ///
    /// # Errors
    /// Where the grant does not cover it, or reading fails.
    pub fn read_if_there(self, folder: &str, path: &str) -> Result<Option<File>, FilesError> {
        match self.read(folder, path) {
            Ok(file) => Ok(Some(file)),
            Err(FilesError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a whole file at once, and makes missing folders on the way. Returns the new digest.
    ///
    /// # Errors
    /// [`FilesError::Conflict`] where the expectation is not met.
    pub fn write(self, folder: &str, path: &str, contents: &[u8], expect: &Expectation) -> Result<String, FilesError> {
        match self.0 {
            Backend::Live => Ok(wire::files::write(folder, path, contents, expect)?),
            #[cfg(not(target_arch = "wasm32"))]
            Backend::Fake(host) => host.file_write(folder, path, contents, expect),
        }
    }

    /// Lists a folder, sorted by name.
    ///
    /// # Errors
    /// Where it is not there or the grant does not cover it.
    pub fn list(self, folder: &str, path: &str) -> Result<Vec<Entry>, FilesError> {
        match self.0 {
            Backend::Live => Ok(wire::files::list(folder, path)?),
            #[cfg(not(target_arch = "wasm32"))]
            Backend::Fake(host) => host.file_list(folder, path),
        }
    }

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// Where the grant does not cover it.
    pub fn remove(self, folder: &str, path: &str) -> Result<(), FilesError> {
        match self.0 {
            Backend::Live => Ok(wire::files::remove(folder, path)?),
            #[cfg(not(target_arch = "wasm32"))]
            Backend::Fake(host) => host.file_remove(folder, path),
        }
    }
}

pub use wire::smtp::Message;

/// The door to a granted mail server.
#[derive(Debug, Clone, Copy)]
pub struct Smtp<'a>(pub(crate) &'a Backend);

impl Smtp<'_> {
    /// Hands a message to the server. Returns the server's last answer.
    ///
    /// # Errors
    /// Where the grant does not cover it or the server says no.
    pub fn send(self, message: &Message) -> Result<String, SmtpError> {
        match self.0 {
            Backend::Live => Ok(wire::smtp::send(message)?),
            #[cfg(not(target_arch = "wasm32"))]
            Backend::Fake(host) => host.mail_send(message),
        }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Turns any door's error into a failure with what was being done in front.
pub trait DoorContext<T> {
    /// What was being done, in front of the message.
    ///
    /// # Errors
    /// The same, as a failure.
    fn doing(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> DoorContext<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| error.into().context(what))
    }
}
