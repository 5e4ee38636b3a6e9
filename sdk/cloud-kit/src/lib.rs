//! What every provider of a cloud or an engine needs, once: which failures pass and when to come back, names and tags
//! that find things again, weights in the counterpart's units, lists in pages, states that a later call goes on from,
//! and the differences that a plan shows.
//!
//! It is a guest's library: pure but for the HTTP door of the call, and small. A provider never sleeps. It returns a
//! failure that says when to come back ([`Client`]), or a state to be called again with ([`Waiting`]); the engine
//! waits, counts the attempts and gives up.
//!
//! What it must **never** do: import anything but `http`, repeat a request by itself, keep a counterpart's own words
//! and request id from the person who has to act, or make two things share a name.

mod client;
mod differences;
mod error;
mod jitter;
mod name;
mod owner;
mod pages;
mod state;
mod weights;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

pub use client::{Client, Dialect, IfFound, Refused};
pub use differences::Differences;
pub use error::{ApiError, Class};
pub use jitter::Jitter;
pub use name::{Alphabet, digest, name};
pub use owner::{Owner, TagStyle};
pub use pages::{MOST_PAGES, Page, pages};
pub use state::{Waiting, decode_state, encode_state};
pub use weights::{from_units, to_units};

/// What RFC 3986 (section 2.3) leaves as it is in a part of a URL.
pub const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
