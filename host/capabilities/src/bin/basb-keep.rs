//! Keeps programs for the tests of this crate, as `basb-host` does for itself.
//!
//! **Must never** do anything else.

use std::process::ExitCode;

fn main() -> ExitCode {
    basb_capabilities::exec::keeper::serve_if_asked();
    // Nobody asked.
    ExitCode::from(2)
}
