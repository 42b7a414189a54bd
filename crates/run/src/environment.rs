//! `environment.json`: what a run was made with, so that it can be made again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Versions, device, seed and data of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of kiln.
    pub kiln: String,
    /// Operating system and processor architecture, such as `linux-x86_64`.
    pub platform: String,
    /// Where it was trained, such as `cpu (flex)`.
    pub device: String,
    /// Number of threads.
    pub threads: usize,
    /// The recipe's seed.
    pub seed: u64,
    /// SHA-256 of each data file by name; of a set of image files, of what `sha256sum` prints for
    /// them in their order.
    pub data: BTreeMap<String, String>,
}
