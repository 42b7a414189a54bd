//! Erased rectangles agree with torchvision's `erase`; `make_golden.py` beside this file writes what it
//! makes.

use kiln_model::{Channels, Preprocessing};
use kiln_preprocess::{Erasing, Filling, Preprocessor, RawImage, Transform};
use serde::Deserialize;

/// Largest difference allowed, of normalized values of up to 2.7: a few roundings of f32. The erased
/// ones are the same to the last bit.
const TOLERANCE: f32 = 1e-6;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    height: u32,
    width: u32,
    from: [usize; 2],
    size: [usize; 2],
    value: f32,
    pixels: Vec<u8>,
    expected: Vec<f32>,
}

#[test]
fn rectangles_are_erased_as_by_torchvision() {
    let golden: Golden =
        serde_json::from_str(include_str!("golden.json")).expect("golden.json is complete");
    assert_eq!(golden.cases.len(), 4);
    for (number, case) in golden.cases.iter().enumerate() {
        let record = Preprocessing {
            scale: 1.0 / 255.0,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            ..Preprocessing::raw(case.height, case.width, Channels::Rgb)
        };
        let preprocessor = Preprocessor::new(record).expect("valid");
        let image = RawImage {
            pixels: &case.pixels,
            height: case.height,
            width: case.width,
            channels: 3,
        };
        let transform = Transform {
            erasing: Some(Erasing {
                from: case.from,
                size: case.size,
                filling: Filling::Constant(case.value),
            }),
            ..Transform::default()
        };
        let mut found = vec![f32::NAN; preprocessor.len()];
        preprocessor
            .transformed(image, &transform, &mut found)
            .expect("a valid image");
        assert_eq!(found.len(), case.expected.len());
        for (i, (found, expected)) in found.iter().zip(&case.expected).enumerate() {
            let close = (found - expected).abs() <= TOLERANCE;
            assert!(
                close,
                "case {number}, value {i}: expected {expected}, found {found}"
            );
        }
        let erased = found.iter().filter(|v| v.to_bits() == case.value.to_bits());
        assert!(
            erased.count() >= 3 * case.size[0] * case.size[1],
            "case {number}"
        );
    }
}
