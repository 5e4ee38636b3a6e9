//! What plugins can do, read from their bytes and grants, and what they did, read from the journal.
//!
//! **Must never** run a plugin, or leave out something that a plugin can do.
