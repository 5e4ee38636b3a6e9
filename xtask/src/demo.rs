//! TODO
use crate::shell::Done;
/// x
pub enum After { Keep, CleanUp }
/// x
pub fn run(_: After) -> Done { Ok(()) }
