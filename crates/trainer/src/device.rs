//! Where tensors live, and what computes on them.

/// A device that Burn computes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    pub(crate) burn: burn::tensor::Device,
    /// Whether kiln's kernels run the sequences of layers that they know.
    pub(crate) kernels: bool,
}

impl Device {
    /// The processor: Burn's flex backend with kiln's kernels.
    pub fn cpu() -> Self {
        Self { burn: burn::tensor::Device::flex(), kernels: true }
    }

    /// The processor, by Burn's own operations alone.
    pub fn stock_cpu() -> Self {
        Self { kernels: false, ..Self::cpu() }
    }

    /// The same device with gradients.
    pub(crate) fn autodiff(&self) -> Self {
        Self { burn: self.burn.clone().autodiff(), ..*self }
    }
}

/// The instruction set that kiln's kernels use on this processor.
pub fn kernel_instructions() -> &'static str {
    match kiln_kernels::Level::detect() {
        kiln_kernels::Level::Portable => "the target's baseline",
        kiln_kernels::Level::Avx2 => "AVX2 and FMA",
        kiln_kernels::Level::Avx512 => "AVX-512",
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.kernels { "cpu (flex, kiln's kernels)" } else { "cpu (flex, stock kernels)" })
    }
}
