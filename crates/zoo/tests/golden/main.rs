//! Small files as Python writes them, and networks of files with the published names and shapes.

mod networks;
mod pickles;

use std::fs;
use std::path::Path;

use kiln_zoo::{ReadError, Tensors};
use proptest::prelude::*;
use serde_json::Value;

const FILES: [(&str, &str); 5] = [
    ("legacy.pth", "torch"),
    ("zip.pth", "torch"),
    ("numpy-3.pkl", "numpy"),
    ("numpy-4.pkl", "numpy"),
    ("numpy-5.pkl", "numpy"),
];

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    fs::read(folder.join(name)).unwrap()
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&golden(name)).unwrap()
}

#[test]
fn every_format_gives_the_tensors_that_python_wrote() {
    let expected = json("expected.json");
    for (file, kind) in FILES {
        let bytes = golden(file);
        let tensors = Tensors::read(&bytes).unwrap();
        let expected = expected[kind].as_object().unwrap();
        assert_eq!(tensors.len(), expected.len(), "{file}");
        for (name, expected) in expected {
            let tensor = tensors.get(name).unwrap();
            assert_eq!(
                tensor.element().as_str(),
                expected["type"],
                "{file}: {name}"
            );
            let shape: Vec<usize> = serde_json::from_value(expected["shape"].clone()).unwrap();
            assert_eq!(tensor.shape(), shape, "{file}: {name}");
            let values = expected["values"].as_array().unwrap().iter();
            let values: Vec<f32> = values
                .map(|value| value.as_f64().map_or(f32::INFINITY, |value| value as f32))
                .collect();
            assert_eq!(tensor.len(), values.len(), "{file}: {name}");
            let floats = tensor.element().as_str().starts_with("float");
            assert_eq!(tensor.to_f32(), floats.then_some(values), "{file}: {name}");
        }
    }
}

#[test]
fn axes_are_exchanged_in_place() {
    let bytes = golden("numpy-4.pkl");
    let tensors = Tensors::read(&bytes).unwrap();
    let tensor = tensors.get("conv/1x1.0").unwrap();
    let values = tensor.to_f32().unwrap();
    let turned = tensor.permuted(&[2, 1, 0]).unwrap();
    assert_eq!(turned.shape(), [3, 2, 1]);
    let expected = [0, 3, 1, 4, 2, 5].map(|at| values[at]);
    assert_eq!(turned.to_f32().unwrap(), expected);
    for wrong in [&[0, 1][..], &[0, 1, 1], &[0, 1, 3]] {
        assert_eq!(tensor.permuted(wrong), None);
    }
}

#[test]
fn a_file_cut_off_anywhere_is_an_error() {
    for (file, _) in FILES {
        let bytes = golden(file);
        for length in 0..bytes.len() {
            assert!(Tensors::read(&bytes[..length]).is_err(), "{file}: {length}");
        }
        // Zip archives may have a comment.
        if file != "zip.pth" {
            let longer = [&bytes[..], b"N."].concat();
            assert!(matches!(
                Tensors::read(&longer),
                Err(ReadError::Format { .. })
            ));
        }
    }
}

proptest! {
    #[test]
    fn changed_bytes_are_tensors_or_an_error(
        file in 0..FILES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = golden(FILES[file].0);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(tensors) = Tensors::read(&bytes) {
            for (_, tensor) in tensors.iter() {
                let _ = tensor.to_f32();
            }
        }
    }

    #[test]
    fn any_bytes_are_tensors_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Tensors::read(&bytes);
        let _ = Tensors::read(&[b"PK\x03\x04", &bytes[..]].concat());
    }
}
