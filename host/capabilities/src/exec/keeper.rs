//! The keeper: a process between the host and a granted program, which sees to it that nothing outlives the call.
//!
//! A program can start others in sessions of their own, and a process group does not hold them. So the host starts
//! itself once more as a keeper, and the keeper starts the program. The keeper is the *subreaper* of everything below it:
//! whoever loses its parent becomes the keeper's child. When the program ends, when the call is cut off, or when the host
//! dies (each closes the socket between them), the keeper ends its children until there are none.
//!
//! The keeper also looks at the granted digest: it copies the program into sealed memory, takes the digest of that copy,
//! and starts that copy (`sealed`). What was looked at is what runs, whatever happens to the file meanwhile.
//!
//! Stops: a program's child in a session of its own, or whose parent has ended, that lives on after the call or after the
//! host; a program that is exchanged or written to between the look and the start; open files of the host's own parent in
//! the program; a program that talks to the terminal.
//!
//! Does not stop a program that sets out to kill or halt its own keeper: it runs as the same user, and could kill the
//! host as well.
//!
//! **Must never** take an order from the program: the socket is the keeper's own standard input, and the program gets
//! another one.

mod child;
mod descendants;
mod parent;
mod sealed;

use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

pub use child::serve_if_asked;
pub(super) use parent::{KeeperError, Kept, Program};

/// The hidden argument that asks a program to be a keeper.
const ASK: &str = "__basb-keep";

/// The largest order that a keeper reads, in bytes: arguments and variables, not the input of the program.
const MOST_ORDER: usize = 16 << 20;

/// Who keeps programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeper {
    /// A program that calls [`serve_if_asked`].
    pub program: PathBuf,
    /// What it is started with.
    pub args: Vec<OsString>,
}

impl Keeper {
    /// This program once more. Its `main` must begin with [`serve_if_asked`].
    #[must_use]
    pub fn this_program() -> Self {
        // By this name the child finds the very file that runs here, even after an update has put another one in its
        // place; where there is no such name, the path has to do.
        let own = PathBuf::from("/proc/self/exe");
        Self::at(if own.exists() { own } else { std::env::current_exe().unwrap_or(own) })
    }

    /// Another program that calls [`serve_if_asked`].
    #[must_use]
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: vec![ASK.into()] }
    }
}

/// What the host tells the keeper: the length of this as JSON (eight bytes, big-endian), this, and the program's input.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    path: String,
    sha256: Option<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    input_bytes: usize,
}

/// What the keeper tells the host: one in each line, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Told {
    /// The program runs; it leads the process group of this number.
    Started { group: i32 },
    /// The file has another digest: its hexadecimal digits.
    Differs { found: String },
    /// The program cannot be started.
    NotStarted { why: String },
    /// The program has ended, and everything it started with it, except for so many processes that could not be ended.
    Ended { status: Option<i32>, left: usize },
}
