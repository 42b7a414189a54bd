//! Where tensors live, and what computes on them.

use std::fmt;

#[cfg(any(feature = "cuda", feature = "wgpu", test))]
use burn::tensor::{Tensor, TensorData};

use kiln_kernels::{Products, SimdLevel};
use kiln_model::Precision;

use crate::TrainError;

/// A kind of device that training can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceKind {
    /// The CPU, with kiln's kernels.
    #[default]
    Cpu,
    /// The first NVIDIA GPU, by CUDA: the cargo feature `cuda`.
    Cuda,
    /// The GPU that the system prefers, by Vulkan, Metal or DirectX: the cargo feature `wgpu`.
    Wgpu,
}

// The word of a GPU is its cargo feature too.
kiln_util::str_enum!(DeviceKind { Cpu = "cpu", Cuda = "cuda", Wgpu = "wgpu" });

/// A device that Burn computes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    pub(crate) burn: burn::tensor::Device,
    kind: DeviceKind,
    /// The driver's name of a GPU, where it says one.
    adapter: Option<String>,
    /// Whether kiln's kernels run the sequences of layers that they know.
    pub(crate) kernels: bool,
    /// How they multiply in training.
    pub(crate) products: Products,
}

impl Device {
    /// A device that works: a GPU computes two sums first. There is no fallback.
    ///
    /// A driver may offer a "GPU" that is a program on the CPU, such as Mesa's llvmpipe. It
    /// is refused unless `software`: it is slower than [`DeviceKind::Cpu`], and llvmpipe leaves a
    /// loop after 65,535 rounds, which makes long sums wrong without a word. With `software` small
    /// models can be tried out where there is no GPU.
    ///
    /// Some of Burn's GPU backends panic where a driver is missing. That is caught here.
    pub fn new(kind: DeviceKind, software: bool) -> Result<Self, TrainError> {
        #[cfg(not(feature = "wgpu"))]
        let _ = software;
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        let unusable = |reason: String| TrainError::DeviceUnusable {
            device: kind,
            reason,
        };
        match kind {
            DeviceKind::Cpu => Ok(Self::cpu()),
            #[cfg(feature = "cuda")]
            DeviceKind::Cuda => {
                let burn = burn::tensor::Device::cuda(0);
                check(&burn, true).map_err(unusable)?;
                Ok(Self {
                    burn,
                    kind,
                    adapter: None,
                    kernels: false,
                    products: Products::Float32,
                })
            }
            #[cfg(feature = "wgpu")]
            DeviceKind::Wgpu => {
                let opened = caught(wgpu::open).map_err(unusable)?;
                if opened.software && !software {
                    return Err(unusable(format!(
                        "there is only {}, a program on the CPU and no GPU",
                        opened.name
                    )));
                }
                check(&opened.device, !opened.software).map_err(unusable)?;
                Ok(Self {
                    burn: opened.device,
                    kind,
                    adapter: Some(opened.name),
                    kernels: false,
                    products: Products::Float32,
                })
            }
            #[cfg(not(feature = "cuda"))]
            DeviceKind::Cuda => Err(TrainError::DeviceNotBuilt { device: kind }),
            #[cfg(not(feature = "wgpu"))]
            DeviceKind::Wgpu => Err(TrainError::DeviceNotBuilt { device: kind }),
        }
    }

    /// Returns whether it is a GPU, on which Burn may panic: where memory runs out, or the driver gives up.
    pub(crate) fn is_gpu(&self) -> bool {
        self.kind != DeviceKind::Cpu
    }

    /// The CPU: Burn's flex backend with kiln's kernels.
    pub fn cpu() -> Self {
        Self {
            burn: burn::tensor::Device::flex(),
            kind: DeviceKind::Cpu,
            adapter: None,
            kernels: true,
            products: Products::Float32,
        }
    }

    /// The CPU, by Burn's own operations alone.
    pub fn stock_cpu() -> Self {
        Self::cpu().stock()
    }

    /// The same device without kiln's kernels.
    #[must_use]
    pub fn stock(self) -> Self {
        Self {
            kernels: false,
            ..self
        }
    }

    /// The same device, training in this precision.
    ///
    /// # Errors
    ///
    /// [`TrainError::Precision`] where it has no such products: a GPU, Burn's own operations, or a CPU without
    /// AVX512-BF16.
    pub fn with_precision(self, precision: Precision) -> Result<Self, TrainError> {
        let products = match precision {
            Precision::Float32 => Products::Float32,
            Precision::Bf16 => Products::Bf16,
        };
        let reason = match products {
            Products::Bf16 if !self.kernels => {
                Some(format!("only kiln's kernels have it, and this is {self}"))
            }
            Products::Bf16 if !Products::bf16_is_available() => Some(format!(
                "it takes a CPU with AVX512-BF16, and this one has {}",
                kernel_instructions()
            )),
            Products::Float32 | Products::Bf16 => None,
        };
        match reason {
            Some(reason) => Err(TrainError::Precision { precision, reason }),
            None => Ok(Self { products, ..self }),
        }
    }

    /// The same device with gradients.
    pub(crate) fn autodiff(&self) -> Self {
        Self {
            burn: self.burn.clone().autodiff(),
            ..self.clone()
        }
    }
}

/// Whether sums computed there are right. A `long` one is of 2^20 ones: all its partial sums are
/// exact, in whatever order.
#[cfg(any(feature = "cuda", feature = "wgpu", test))]
fn check(device: &burn::tensor::Device, long: bool) -> Result<(), String> {
    let count = if long { 1 << 20 } else { 4 };
    let sum = caught(|| {
        let ones = Tensor::<1>::from_data(TensorData::new(vec![1.0_f32; count], [count]), device);
        ones.sum()
            .try_into_vec_as::<f32>()
            .map_err(|error| error.to_string())
    })?;
    if sum == [count as f32] {
        Ok(())
    } else {
        Err(format!("it finds that {count} ones add up to {sum:?}"))
    }
}

/// What is done on a device, with its panic as an error.
pub(crate) fn caught<T>(compute: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    kiln_util::catch_panic(compute)
        .unwrap_or_else(|message| Err(message.lines().next().unwrap_or_default().to_owned()))
}

/// GPUs by Vulkan, Metal or DirectX.
#[cfg(feature = "wgpu")]
mod wgpu {
    use std::sync::OnceLock;

    use burn::tensor::Device;
    use burn::tensor::wgpu::wgpu::DeviceType;

    /// A GPU that Burn has opened.
    #[derive(Debug, Clone)]
    pub(super) struct Adapter {
        pub device: Device,
        /// The driver's name of it, with the interface, such as `NVIDIA H100 PCIe by Vulkan`.
        pub name: String,
        /// Whether the "GPU" is a program on the CPU, such as Mesa's llvmpipe.
        pub software: bool,
    }

    /// The GPU that the system prefers. Burn opens it once in a process, and refuses to do so again.
    pub(super) fn open() -> Result<Adapter, String> {
        static OPENED: OnceLock<Result<Adapter, String>> = OnceLock::new();
        OPENED
            .get_or_init(|| {
                let (device, setup) = Device::wgpu_options()
                    .init_with_setup()
                    .map_err(|error| error.to_string())?;
                let info = setup.adapter.get_info();
                Ok(Adapter {
                    device,
                    name: format!("{} by {}", info.name, info.backend),
                    software: info.device_type == DeviceType::Cpu,
                })
            })
            .clone()
    }
}

/// The instruction set that kiln's kernels use on this CPU.
pub fn kernel_instructions() -> &'static str {
    match SimdLevel::detect() {
        SimdLevel::Portable => "the target's baseline",
        SimdLevel::Avx2 => "AVX2 and FMA",
        SimdLevel::Avx512 if Products::bf16_is_available() => "AVX-512 with BF16",
        SimdLevel::Avx512 => "AVX-512",
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.kernels, &self.adapter) {
            (DeviceKind::Cpu, true, _) => match self.products {
                Products::Float32 => f.write_str("cpu (flex, kiln's kernels)"),
                Products::Bf16 => f.write_str("cpu (flex, kiln's kernels, bf16 products)"),
            },
            (DeviceKind::Cpu, false, _) => f.write_str("cpu (flex, stock kernels)"),
            (kind, _, None) => write!(f, "{kind} (Burn's own kernels)"),
            (kind, _, Some(adapter)) => write!(f, "{kind} ({adapter}, Burn's own kernels)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_always_works_and_words_are_read_back() {
        assert_eq!(Device::new(DeviceKind::Cpu, false).unwrap(), Device::cpu());
        check(&burn::tensor::Device::flex(), true).unwrap();
        for kind in DeviceKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("gpu".parse::<DeviceKind>().is_err());
    }

    #[test]
    fn bfloat16_is_of_the_cpu_with_kilns_kernels() {
        let error = Device::stock_cpu()
            .with_precision(Precision::Bf16)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "training in bf16 is not possible here: only kiln's kernels have it, and this is cpu (flex, stock kernels)"
        );
        assert_eq!(error.hint(), Some(crate::Hint::UseFloat32));
        let device = Device::cpu().with_precision(Precision::Bf16);
        assert_eq!(device.is_ok(), Products::bf16_is_available());
        for device in [Device::cpu(), Device::stock_cpu()] {
            assert_eq!(
                device.clone().with_precision(Precision::Float32).unwrap(),
                device
            );
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_is_not_built_in_says_how_to_build_it() {
        let error = Device::new(DeviceKind::Cuda, false).unwrap_err();
        assert_eq!(
            error.hint(),
            Some(crate::Hint::BuildWithDevice(DeviceKind::Cuda))
        );
    }

    #[test]
    fn a_panic_on_a_device_is_an_error() {
        assert_eq!(caught(|| Ok(1)), Ok(1));
        assert_eq!(
            caught::<()>(|| panic!("out of memory\nand more")),
            Err("out of memory".to_owned())
        );
    }
}
