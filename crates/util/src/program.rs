//! What results say about the program that made them.

use std::env::consts::{ARCH, OS};

/// Version of kiln, as in `1.2.3`; every crate has the same.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns operating system and architecture that the program was built for: `linux-x86_64`.
pub fn platform() -> String {
    format!("{OS}-{ARCH}")
}
