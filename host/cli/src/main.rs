//! The `basb-host` binary: see the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    basb_cli::main()
}
