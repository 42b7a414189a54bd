//! The shared library of ONNX Runtime, the processor build.

use crate::{Asset, AssetFile, Platform, Source};

/// The version of ONNX Runtime.
pub(super) const VERSION: &str = "1.31.1";

/// What the wheel for one platform holds.
struct Wheel {
    /// Platform tag.
    tag: &'static str,
    /// Name of the library in the folder `onnxruntime/capi/`.
    library: &'static str,
    /// Size in bytes.
    size: u64,
    sha256: &'static str,
}

/// The wheel of each platform.
const fn wheel(platform: Platform) -> Wheel {
    match platform {
        Platform::LinuxX64 => Wheel {
            tag: "manylinux_2_28_x86_64",
            library: "libonnxruntime.so.1.31.1",
            size: 29_352_200,
            sha256: "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
        },
        Platform::LinuxArm64 => Wheel {
            tag: "manylinux_2_28_aarch64",
            library: "libonnxruntime.so.1.31.1",
            size: 25_265_040,
            sha256: "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
        },
        Platform::MacArm64 => Wheel {
            tag: "macosx_14_0_arm64",
            library: "libonnxruntime.1.31.1.dylib",
            size: 33_037_336,
            sha256: "f8b06155feece624e55e49124340eea279da812529ae6fbc46a9f2be9c9cad2e",
        },
        Platform::WindowsX64 => Wheel {
            tag: "win_amd64",
            library: "onnxruntime.dll",
            size: 19_288_888,
            sha256: "8482d2ee174e28504f99730fb01d6861575870283de4ed3a897ad39170d9a9b9",
        },
        Platform::WindowsArm64 => Wheel {
            tag: "win_arm64",
            library: "onnxruntime.dll",
            size: 19_171_640,
            sha256: "f4f7729bf4aa0c78b6ab5253747f3593bb9a28b4c4275a0a9f59f04ea580d61f",
        },
    }
}

impl Asset {
    /// ONNX Runtime 1.31.1 for one platform: one file, the shared library to load at run time.
    pub fn onnxruntime(platform: Platform) -> Self {
        let Wheel {
            tag,
            library,
            size,
            sha256,
        } = wheel(platform);
        Self {
            name: "onnxruntime".into(),
            version: format!("{VERSION}-{platform}"),
            licence: "MIT".into(),
            origin: "Microsoft: ONNX Runtime, https://onnxruntime.ai".into(),
            files: vec![AssetFile {
                name: library.into(),
                size,
                sha256: sha256.into(),
            }],
            sources: vec![Source::Pip {
                package: "onnxruntime".into(),
                version: VERSION.into(),
                // The checksums are of this wheel's library; those for other Python versions need
                // not agree.
                python: "3.11".into(),
                platform: Some(tag.into()),
                members: vec![format!("onnxruntime/capi/{library}")],
            }],
        }
    }
}
