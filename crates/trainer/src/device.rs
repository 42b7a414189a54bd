//! Where tensors live, and what computes on them.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use burn::tensor::Tensor;

use crate::TrainError;

/// A kind of device that training can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceKind {
    /// The processor, with kiln's kernels.
    #[default]
    Cpu,
    /// The first NVIDIA GPU, by CUDA: the cargo feature `cuda`.
    Cuda,
    /// The GPU that the system prefers, by Vulkan, Metal or DirectX: the cargo feature `wgpu`.
    Wgpu,
}

impl DeviceKind {
    /// Every kind, whether or not this build has it.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Cuda, Self::Wgpu];

    /// The word used on the command line and in results; that of a GPU is its cargo feature too.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
        }
    }

    /// Burn's device, or nothing where this build lacks it.
    fn burn(self) -> Option<burn::tensor::Device> {
        match self {
            Self::Cpu => Some(burn::tensor::Device::flex()),
            #[cfg(feature = "cuda")]
            Self::Cuda => Some(burn::tensor::Device::cuda(0)),
            #[cfg(not(feature = "cuda"))]
            Self::Cuda => None,
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Some(burn::tensor::Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(not(feature = "wgpu"))]
            Self::Wgpu => None,
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeviceKind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        found.ok_or_else(|| "expected one of `cpu`, `cuda`, `wgpu`".to_owned())
    }
}

/// A device that Burn computes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    pub(crate) burn: burn::tensor::Device,
    kind: DeviceKind,
    /// Whether kiln's kernels run the sequences of layers that they know.
    pub(crate) kernels: bool,
}

impl Device {
    /// A device that works: a GPU adds two numbers first. There is no fallback.
    ///
    /// Burn's GPU backends panic where a driver is missing. That is caught here, but the panic's message goes to standard
    /// error unless the program has set a hook.
    pub fn new(kind: DeviceKind) -> Result<Self, TrainError> {
        let device = kind.burn().ok_or(TrainError::DeviceNotBuilt { device: kind })?;
        if kind != DeviceKind::Cpu {
            let fails = |reason: String| TrainError::DeviceUnusable { device: kind, reason };
            match catch_unwind(AssertUnwindSafe(|| add(&device))) {
                Ok(Ok(sum)) if sum == [4.0] => {}
                Ok(Ok(sum)) => return Err(fails(format!("it finds that 1 + 3 is {sum:?}"))),
                Ok(Err(reason)) => return Err(fails(reason)),
                Err(panic) => {
                    let message = panic.downcast_ref::<String>().map(String::as_str);
                    let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
                    return Err(fails(message.lines().next().unwrap_or_default().to_owned()));
                }
            }
        }
        Ok(Self { burn: device, kind, kernels: kind == DeviceKind::Cpu })
    }

    /// The processor: Burn's flex backend with kiln's kernels.
    pub fn cpu() -> Self {
        Self { burn: burn::tensor::Device::flex(), kind: DeviceKind::Cpu, kernels: true }
    }

    /// The processor, by Burn's own operations alone.
    pub fn stock_cpu() -> Self {
        Self::cpu().stock()
    }

    /// The same device without kiln's kernels.
    #[must_use]
    pub fn stock(self) -> Self {
        Self { kernels: false, ..self }
    }

    /// The same device with gradients.
    pub(crate) fn autodiff(&self) -> Self {
        Self { burn: self.burn.clone().autodiff(), ..*self }
    }
}

/// 1 + 3, computed there and brought back.
fn add(device: &burn::tensor::Device) -> Result<Vec<f32>, String> {
    let sum = Tensor::<1>::from_data([1.0_f32], device) + Tensor::<1>::from_data([3.0_f32], device);
    sum.try_into_vec_as::<f32>().map_err(|error| error.to_string())
}

/// The instruction set that kiln's kernels use on this processor.
pub fn kernel_instructions() -> &'static str {
    match kiln_kernels::Level::detect() {
        kiln_kernels::Level::Portable => "the target's baseline",
        kiln_kernels::Level::Avx2 => "AVX2 and FMA",
        kiln_kernels::Level::Avx512 => "AVX-512",
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.kernels) {
            (DeviceKind::Cpu, true) => f.write_str("cpu (flex, kiln's kernels)"),
            (DeviceKind::Cpu, false) => f.write_str("cpu (flex, stock kernels)"),
            (kind, _) => write!(f, "{kind} (Burn's own kernels)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_always_works_and_words_are_read_back() {
        assert_eq!(Device::new(DeviceKind::Cpu).unwrap(), Device::cpu());
        assert_eq!(add(&burn::tensor::Device::flex()).unwrap(), [4.0]);
        for kind in DeviceKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("gpu".parse::<DeviceKind>().is_err());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_is_not_built_in_says_how_to_build_it() {
        let message = Device::new(DeviceKind::Cuda).unwrap_err().to_string();
        assert!(message.contains("--features cuda") && message.contains("--device cpu"), "{message}");
    }
}
