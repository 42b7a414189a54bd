//! The `kiln-serve` binary: turns a result into an exit code.

use std::process::ExitCode;

/// Every request allocates images of its own size, which the system's allocator would give back and ask for again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    kiln_serve::run(std::env::args_os())
}
