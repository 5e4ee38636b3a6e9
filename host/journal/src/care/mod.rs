//! Care for the file itself: looking for damage, backing up, restoring, and saving what a damaged file still holds.
//!
//! All of it works on files, without an open [`Journal`](crate::Journal), since a damaged one does not open. What is
//! there is never deleted: a file that is replaced is kept beside the new one.

mod backup;
mod beside;
mod check;
mod files;
mod first;
mod recover;
mod restore;
mod salvage;

pub use backup::backup;
pub use beside::Beside;
pub use check::{Checked, check};
pub use first::first_records;
pub use recover::{Recovered, recover};
pub use restore::{Replace, Restored, restore};
pub use salvage::{Closing, SavedRun};
