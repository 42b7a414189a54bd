//! GPUs by Vulkan, Metal or DirectX.

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
