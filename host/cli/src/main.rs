//! The `basb-host` binary: see the library beside it.

use std::process::ExitCode;

// A run of thousands of services makes millions of small allocations on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    basb_cli::main()
}
