//! What stands where the network and programs are, for tests of plugins without a cloud.
//!
//! It stands *behind* the doors: the grant was asked, credentials and secrets are in the request, and what comes back is
//! decoded, searched for secrets and taped as ever. So a plugin that is tested so meets the same host as in a run, but
//! for the wire. A host that has an outside of its own opens no connection for a plugin and starts no program for one.

use crate::exchange::Ask;
use crate::exec::{Command, ExecError, Output};
use crate::http::answer::Raw;
use crate::http::{HttpError, Ready, Timing};
use crate::smtp::{Message, SmtpError};
use crate::tcp::{Exchange, Reply, TcpError};
use futures_util::future::BoxFuture;

/// Answers in place of the network.
pub trait Outside: Send + Sync + std::fmt::Debug {
    /// A request as it would go out.
    fn http<'a>(&'a self, request: &'a Ready) -> BoxFuture<'a, Result<(Raw, Timing), HttpError>>;

    /// An exchange over TCP that the grant covers.
    fn tcp<'a>(&'a self, exchange: &'a Exchange) -> BoxFuture<'a, Result<Reply, TcpError>>;

    /// A program that the grant covers.
    fn exec<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, Result<Output, ExecError>>;

    /// A mail that the grant covers.
    fn mail<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<String, SmtpError>>;

    /// An access to a file: `live` is the access itself, to be awaited or not. Both answers are as on a tape.
    fn file<'a>(&'a self, access: &'a Ask, live: BoxFuture<'a, String>) -> BoxFuture<'a, String>;
}
