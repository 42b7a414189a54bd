//! How `[training]` is written.

use serde::{Serialize, Serializer};

use super::{Phase, Training};
use crate::Layers;

/// A single phase is written in `[training]` itself, as it was most likely read.
#[derive(Serialize)]
struct Written<'a> {
    batch_size: usize,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    freeze: Option<&'a Layers>,
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
        let Self { batch_size, seed, freeze, .. } = self;
        Written { batch_size: *batch_size, seed: *seed, freeze: freeze.as_ref(), phase, phases }.serialize(serializer)
    }
}
