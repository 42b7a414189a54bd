//! The `kiln` binary: turns a result into an exit code.

use std::process::ExitCode;

/// Training allocates and frees large tensors at every step; the system's allocator returns their
/// pages each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    kiln_cli::run(std::env::args_os())
}
