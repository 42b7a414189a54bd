//! What trains models.

use kiln_trainer::{DeviceKind, TrainError, kernel_instructions};

use super::finding::Finding;
use crate::args::open_quietly;

/// The devices that training can be asked for.
pub fn findings() -> Vec<Finding> {
    DeviceKind::ALL.map(finding).to_vec()
}

fn finding(kind: DeviceKind) -> Finding {
    match open_quietly(kind) {
        Ok(_) if kind == DeviceKind::Cpu => Finding::ok(
            kind.as_str(),
            format!("flex, with kiln's kernels for {}", kernel_instructions()),
        ),
        Ok(device) => Finding::ok(kind.as_str(), format!("works: {device}")),
        Err(TrainError::DeviceNotBuilt { .. }) => Finding::missing(
            kind.as_str(),
            "not part of this build",
            format!("cargo build --release -p kiln-cli --features {kind}"),
        ),
        Err(TrainError::DeviceUnusable { reason, .. }) => {
            Finding::missing(kind.as_str(), reason, "kiln train --device cpu")
        }
        Err(error) => Finding::missing(kind.as_str(), error.to_string(), "kiln train --device cpu"),
    }
}
