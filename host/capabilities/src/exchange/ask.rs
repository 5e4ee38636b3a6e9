//! What a plugin can ask the host for, as a value.

use crate::{LogLevel, exec, files, http, smtp, tcp};
use serde::{Deserialize, Serialize};

/// What a plugin asks the host for. Its JSON form is what stands on tapes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// One request; of `basb:host/http` and of `wasi:http` alike.
    Http(http::Request),
    /// Several requests at once.
    HttpMany(Vec<http::Request>),
    /// One exchange over TCP.
    Tcp(tcp::Exchange),
    /// A program.
    Exec(exec::Command),
    /// A file's content.
    FilesRead(Path),
    /// A file is written.
    FilesWrite(Write),
    /// The entries of a folder.
    FilesList(Path),
    /// A file is removed.
    FilesRemove(Path),
    /// A mail.
    Smtp(smtp::Message),
    /// A line for the log. It has no answer.
    Log {
        /// How much it matters.
        level: LogLevel,
        /// The text, as it was written.
        text: String,
    },
}

/// A path in a granted folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    /// The folder's name in the grant.
    pub folder: String,
    /// The path within it.
    pub path: String,
}

/// What is written to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The folder's name in the grant.
    pub folder: String,
    /// The path within it.
    pub path: String,
    /// What is written.
    #[serde(default, with = "super::form::bytes", skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<u8>,
    /// What must be there.
    pub expect: files::Expectation,
}

impl Ask {
    /// Whether it surely changes nothing outside. What is not known to read counts as a change: the price of a mistake is
    /// a write to the disk too many.
    #[must_use]
    pub fn reads(&self) -> bool {
        match self {
            Self::Http(request) => reads(request),
            Self::HttpMany(requests) => requests.iter().all(reads),
            Self::Tcp(exchange) => exchange.send.is_empty(),
            Self::FilesRead(_) | Self::FilesList(_) | Self::Log { .. } => true,
            Self::Exec(_) | Self::FilesWrite(_) | Self::FilesRemove(_) | Self::Smtp(_) => false,
        }
    }

    /// In one line, for the record of what a call did.
    #[must_use]
    pub fn shown(&self) -> String {
        let request = |request: &http::Request| {
            let url = request.url.split(['?', '#']).next().unwrap_or_default();
            format!("{} {url}", request.method)
        };
        match self {
            Self::Http(one) => request(one),
            Self::HttpMany(all) => all.iter().map(request).collect::<Vec<_>>().join(", "),
            Self::Tcp(exchange) => format!("{}:{}", exchange.host, exchange.port),
            Self::Exec(command) => command.program.clone(),
            Self::FilesRead(at) => format!("read {}/{}", at.folder, at.path),
            Self::FilesWrite(at) => format!("write {}/{}", at.folder, at.path),
            Self::FilesList(at) => format!("list {}/{}", at.folder, at.path),
            Self::FilesRemove(at) => format!("remove {}/{}", at.folder, at.path),
            Self::Smtp(message) => format!("mail to {}", message.to.join(", ")),
            Self::Log { text, .. } => text.clone(),
        }
    }

    /// By which capability it is asked for.
    #[must_use]
    pub fn capability(&self) -> crate::Capability {
        use crate::Capability as C;
        match self {
            Self::Http(_) | Self::HttpMany(_) => C::Http,
            Self::Tcp(_) => C::Tcp,
            Self::Exec(_) => C::Exec,
            Self::FilesRead(_) | Self::FilesWrite(_) | Self::FilesList(_) | Self::FilesRemove(_) => C::Files,
            Self::Smtp(_) => C::Smtp,
            Self::Log { .. } => C::Log,
        }
    }
}

/// The query protocols of AWS take changes with GET too, so a GET that names an action is not known to read.
fn reads(request: &http::Request) -> bool {
    let names_action = request.url.split_once('?').is_some_and(|(_, query)| query.contains("Action"));
    matches!(request.method.as_str(), "GET" | "HEAD") && !names_action
}
