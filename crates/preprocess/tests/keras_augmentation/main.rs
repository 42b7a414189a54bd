//! Transformed images agree with Keras's `ImageDataGenerator`; `make_golden.py` beside this file
//! writes what it makes.

use kiln_model::{Channels, FillMode, Preprocessing};
use kiln_preprocess::{Preprocessor, RawImage, Transform};
use serde::Deserialize;

/// Largest difference allowed, of values of 0 to 255: a few roundings of f32.
const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    side: u32,
    channels: u32,
    fill_mode: String,
    cval: f64,
    rotation: f64,
    shift: [f64; 2],
    shear: f64,
    zoom: [f64; 2],
    horizontal_flip: bool,
    vertical_flip: bool,
    channel_shift: f32,
    brightness: Option<f32>,
    pixels: Vec<u8>,
    expected: Vec<f32>,
}

#[test]
fn transforms_are_those_of_keras() {
    let golden: Golden =
        serde_json::from_str(include_str!("golden.json")).expect("golden.json is complete");
    assert_eq!(golden.cases.len(), 21);
    for (number, case) in golden.cases.iter().enumerate() {
        let fill_mode = match case.fill_mode.as_str() {
            "nearest" => FillMode::Nearest,
            "constant" => FillMode::Constant,
            "reflect" => FillMode::Reflect,
            "wrap" => FillMode::Wrap,
            other => panic!("fill mode {other}"),
        };
        let transform = Transform {
            rotation: case.rotation,
            shift: case.shift,
            shear: case.shear,
            zoom: case.zoom,
            horizontal_flip: case.horizontal_flip,
            vertical_flip: case.vertical_flip,
            channel_shift: case.channel_shift,
            brightness: case.brightness,
            fill_mode,
            cval: case.cval,
            ..Transform::default()
        };
        let channels = if case.channels == 1 {
            Channels::Gray
        } else {
            Channels::Rgb
        };
        let preprocessor =
            Preprocessor::new(Preprocessing::raw(case.side, case.side, channels)).expect("valid");
        let image = RawImage {
            pixels: &case.pixels,
            height: case.side,
            width: case.side,
            channels: case.channels,
        };
        let mut planes = vec![f32::NAN; preprocessor.len()];
        preprocessor
            .transformed(image, &transform, &mut planes)
            .expect("a valid image");
        let (count, area) = (case.channels as usize, (case.side * case.side) as usize);
        for (i, expected) in case.expected.iter().enumerate() {
            let found = planes[i % count * area + i / count];
            assert!(
                (found - expected).abs() <= TOLERANCE,
                "case {number}, {transform:?}, value {i}: expected {expected}, found {found}"
            );
        }
    }
}
