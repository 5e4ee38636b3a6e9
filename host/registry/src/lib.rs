//! Which bytes a plugin has: the lock file, and publishers' signatures.
//!
//! **Must never** accept bytes that differ from the lock file, or that lack a signature which a pinned key demands.
