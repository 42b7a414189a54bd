//! Where tensors live.

/// A device that Burn computes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Device(pub(crate) burn::tensor::Device);

impl Device {
    /// The processor, by Burn's flex backend.
    pub fn cpu() -> Self {
        Self(burn::tensor::Device::flex())
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cpu (flex)")
    }
}
