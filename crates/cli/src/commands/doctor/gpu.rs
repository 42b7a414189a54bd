//! NVIDIA's GPUs, driver and libraries, as far as they can be seen without loading
//! any of it.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::finding::Finding;
use super::machine::{library, program, text};

/// PCI's number for NVIDIA.
const NVIDIA: &str = "0x10de";

/// What ONNX Runtime's CUDA provider loads, besides the driver, with the packages that have it.
const LIBRARIES: [(&str, &[&str], &str); 3] = [
    (
        "CUDA runtime",
        &["libcudart.so.13", "libcudart.so.12"],
        "pip install nvidia-cuda-runtime-cu12",
    ),
    (
        "cuBLAS",
        &["libcublasLt.so.13", "libcublasLt.so.12"],
        "pip install nvidia-cublas-cu12",
    ),
    ("cuDNN", &["libcudnn.so.9"], "pip install nvidia-cudnn-cu12"),
];

/// The driver first; what lies above it only where there is one, since it is of no use without.
pub fn findings() -> Vec<Finding> {
    if !cfg!(target_os = "linux") {
        return Vec::new();
    }
    let driver = text("/proc/driver/nvidia/version")
        .or_else(|| library("libcuda.so.1").map(|path| path.display().to_string()));
    let Some(driver) = driver else {
        let (found, fix) = if present() {
            (
                "there is an NVIDIA device, but no driver",
                "install NVIDIA's driver, such as by `sudo ubuntu-drivers install`",
            )
        } else {
            (
                "no NVIDIA device, no driver",
                "none needed: kiln runs on the CPU (--device cpu)",
            )
        };
        return vec![Finding::missing("NVIDIA", found, fix)];
    };
    let mut findings = vec![Finding::ok(
        "NVIDIA driver",
        driver.lines().next().unwrap_or_default(),
    )];
    findings.push(match devices() {
        Ok(devices) => Finding::ok("devices", devices),
        Err(why) => Finding::missing("devices", why, "nvidia-smi"),
    });
    for (name, files, fix) in [("libcuda", &["libcuda.so.1"][..], "sudo ldconfig")]
        .into_iter()
        .chain(LIBRARIES)
    {
        findings.push(match files.iter().find_map(|file| library(file)) {
            Some(path) => Finding::ok(name, path.display().to_string()),
            None => Finding::missing(
                name,
                format!("no {} where the loader looks", files.join(" or ")),
                format!("{fix}, and its folder in LD_LIBRARY_PATH"),
            ),
        });
    }
    findings
}

/// Whether a device of NVIDIA's is on the PCI bus.
fn present() -> bool {
    let entries = std::fs::read_dir("/sys/bus/pci/devices")
        .into_iter()
        .flatten()
        .flatten();
    entries
        .into_iter()
        .any(|entry| text(entry.path().join("vendor")).as_deref() == Some(NVIDIA))
}

/// Names and memory, by `nvidia-smi`, which can hang where the driver is unwell.
fn devices() -> Result<String, String> {
    const LONGEST: Duration = Duration::from_secs(5);
    let program = program("nvidia-smi").ok_or("nvidia-smi is not on the PATH")?;
    let query = [
        "--query-gpu=name,memory.total,driver_version",
        "--format=csv,noheader",
    ];
    let mut child = Command::new(program)
        .args(query)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("nvidia-smi does not start: {error}"))?;
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if start.elapsed() > LONGEST => {
                let _ = child.kill();
                return Err("nvidia-smi gave no answer in five seconds".to_owned());
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut output = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout
            .take(64 << 10)
            .read_to_string(&mut output)
            .map_err(|error| error.to_string())?;
    }
    if status.success() {
        Ok(output.trim().to_owned())
    } else {
        Err(format!("nvidia-smi failed: {}", output.trim()))
    }
}
