//! What a secret is, and how every form of it is kept out of everything that leaves the host: answers to plugins, logs,
//! errors, events, the journal, tapes, the terminal.
//!
//! **Must never** show a secret: no `Display`, no `Serialize`, a `Debug` without the value.
//!
//! The attack it stops: a service, a proxy or an error message that hands a credential back (an echo server, a request
//! quoted in an error, a URL in a log line), so that a plugin or a reader of the journal gets to hold it.
//!
//! # What is found
//!
//! Of every secret: its bytes; without the white space at its ends (a value read from a file ends with a line feed); each
//! of its lines of at least 16 characters if it has several (a PEM key; not the `-----BEGIN …` lines, which are public),
//! also of lines inside the strings of a secret that is a JSON document. Of each of these:
//!
//! - itself, and for other bytes than ASCII the text that reading them as Latin-1 or as broken UTF-8 gives;
//! - base64 (RFC 4648 §4 and §5, padded or not) at all three alignments, so also inside of a longer base64 text, such as
//!   `user:secret` of HTTP Basic; also of its JSON-escaped form;
//! - base 16, in lower or upper case.
//!
//! All this also where any of it is written with percent-encoding (RFC 3986 §2.1, and `+` for a space), with backslash
//! escapes (JSON, RFC 8259 §7; `\xNN` and `\u{…}` of programming languages) or with XML's character references, whichever
//! characters the writer chose to escape, and where two of these are nested (JSON inside of JSON, JSON inside of a form, a
//! URL inside of a URL).
//!
//! # What is not found
//!
//! Any other transformation: compressed, encrypted, hashed, reversed, cut in parts, in mixed upper and lower case, base 16
//! with separators, base32, base64 of base64 or broken into lines, UTF-16, a number written in another way; three nested
//! escapes. A plugin never holds a secret that it could transform: this is about what comes back by mistake. Fields that a
//! caller takes out of a secret (the key in a JSON document) are secrets of their own: [`Redactor::learn`] them.
//!
//! The beginning of a secret alone is not found either, on purpose: what a redactor finds tells a plugin whether a guess is
//! right, and guessing a beginning is guessing byte by byte. Whoever cuts a text off redacts it first, or reads on and uses
//! [`Redactor::first`].
//!
//! Secrets of fewer than four bytes are refused ([`TooShort`]): they are in every text.

mod decode;
mod forms;
mod known;
mod redactor;
mod secret;
mod stream;

pub use redactor::{Redactor, TooShort};
pub use secret::{SecretName, SecretValue};
pub use stream::RedactStream;
