//! The platforms that ONNX Runtime publishes a library for.

use std::env::consts::{ARCH, OS};
use std::fmt;

/// An operating system and processor architecture with an ONNX Runtime package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Platform {
    /// Linux with glibc 2.28 or newer on x86-64.
    LinuxX64,
    /// Linux with glibc 2.28 or newer on 64-bit ARM.
    LinuxArm64,
    /// macOS 14 or newer on Apple silicon.
    MacArm64,
    /// Windows on x86-64.
    WindowsX64,
    /// Windows on 64-bit ARM.
    WindowsArm64,
}

impl Platform {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::LinuxX64,
        Self::LinuxArm64,
        Self::MacArm64,
        Self::WindowsX64,
        Self::WindowsArm64,
    ];

    /// The platform that this program was built for; `None` where ONNX Runtime has no package.
    pub fn current() -> Option<Self> {
        match (OS, ARCH) {
            // The packages need glibc; a program linked with musl cannot load them.
            ("linux", _) if !cfg!(target_env = "gnu") => None,
            ("linux", "x86_64") => Some(Self::LinuxX64),
            ("linux", "aarch64") => Some(Self::LinuxArm64),
            ("macos", "aarch64") => Some(Self::MacArm64),
            ("windows", "x86_64") => Some(Self::WindowsX64),
            ("windows", "aarch64") => Some(Self::WindowsArm64),
            _ => None,
        }
    }

    /// The operating system and architecture that this program was built for, whether or not there
    /// is a package.
    pub(crate) fn describe() -> String {
        let musl = if cfg!(target_env = "musl") {
            "-musl"
        } else {
            ""
        };
        format!("{OS}-{ARCH}{musl}")
    }

    /// All platforms in one line.
    pub(crate) fn list() -> String {
        Self::ALL.map(|platform| platform.to_string()).join(", ")
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LinuxX64 => "linux-x86_64",
            Self::LinuxArm64 => "linux-aarch64",
            Self::MacArm64 => "macos-aarch64",
            Self::WindowsX64 => "windows-x86_64",
            Self::WindowsArm64 => "windows-aarch64",
        })
    }
}
