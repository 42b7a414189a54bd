//! How `[training]` is written.

use serde::{Serialize, Serializer};

use super::{ClassWeight, Monitor, Phase, Training};
use crate::Layers;

/// A single phase is written in `[training]` itself, as it was most likely read.
#[derive(Serialize)]
struct Written<'a> {
    batch_size: usize,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    freeze: Option<&'a Layers>,
    monitor: Monitor,
    #[serde(skip_serializing_if = "Option::is_none")]
    label_smoothing: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class_weight: Option<&'a ClassWeight>,
    #[serde(flatten)]
    phase: Option<&'a Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phases: Option<&'a [Phase]>,
}

impl Serialize for Training {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (phase, phases) = match self.phases.as_slice() {
            [only] => (Some(only), None),
            several => (None, Some(several)),
        };
        let written = Written {
            batch_size: self.batch_size,
            seed: self.seed,
            freeze: self.freeze.as_ref(),
            monitor: self.monitor,
            label_smoothing: (self.label_smoothing > 0.0).then_some(self.label_smoothing),
            class_weight: self.class_weight.as_ref(),
            phase,
            phases,
        };
        written.serialize(serializer)
    }
}
