//! Tapes: what passed between one call of a plugin and the outside, in the order in which it was asked for.
//!
//! A plugin has no clock, no dice and no door but the host's, so its call is a function of its arguments and of the
//! answers that it got. Both are on its tape, and so is what came of it: the call can be made again anywhere, without a
//! network, and has to ask for the same things and come to the same result.
//!
//! What is on a tape is what the plugin saw: placeholders in its requests, answers after the redactor.
//!
//! **Must never** do I/O, call a plugin, or take anything that it does not understand for something else.
//!
//! | To change | go to |
//! |---|---|
//! | what a tape holds and its form | [`tape`] |
//! | in which ways two calls can differ | [`divergence`] |
//! | the file that runs are exported to | [`mod@file`] |

pub mod divergence;
pub mod file;
pub mod tape;

pub use divergence::{Class, Divergence};
pub use file::{FileError, FileFinish, FileHeader, FileRecord, FileStart, FileTape, TAPE_FILE_VERSION, TapeFile};
pub use tape::{Exchange, Replay, TAPE_VERSION, Tape, TapeError, digest, digest_of_range, kept, mark, normal, sha256};
