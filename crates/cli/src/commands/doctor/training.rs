//! What trains models.

use super::finding::Finding;

/// The devices of this build.
pub fn findings() -> Vec<Finding> {
    let kernels = format!("built in: flex, with kiln's kernels for {}", kiln_trainer::kernel_instructions());
    vec![Finding::ok("cpu", kernels)]
}
