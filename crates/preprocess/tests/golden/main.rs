//! Pixels agree with TensorFlow and Pillow; `make_golden.py` beside this file writes what they
//! make.

use image::{DynamicImage, ImageBuffer};
use kiln_model::{Channels, Preprocessing, Resize};
use kiln_preprocess::{Preprocessor, RawImage};
use serde::Deserialize;

/// Largest difference allowed, of values of 0 to 255: a few roundings of f32.
const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Golden {
    resize: Vec<ResizeCase>,
    luma: Luma,
    alpha: Alpha,
    sixteen_bit: SixteenBit,
}

#[derive(Deserialize)]
struct ResizeCase {
    /// Height, width, channels.
    source: [u32; 3],
    /// Height, width.
    size: [u32; 2],
    antialias: bool,
    pixels: Vec<u8>,
    expected: Vec<f32>,
}

#[derive(Deserialize)]
struct Luma {
    pixels: Vec<u8>,
    expected: Vec<u8>,
}

#[derive(Deserialize)]
struct Alpha {
    pixels: Vec<u8>,
    rgb: Vec<u8>,
    gray: Vec<u8>,
}

#[derive(Deserialize)]
struct SixteenBit {
    samples: Vec<u16>,
    expected: Vec<u8>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden.json")).expect("golden.json is complete")
}

/// The image's values in HWC order.
fn run(record: Preprocessing, pixels: &[u8], [height, width, channels]: [u32; 3]) -> Vec<f32> {
    let preprocessor = Preprocessor::new(record).expect("a valid record");
    let mut planes = vec![f32::NAN; preprocessor.len()];
    preprocessor
        .raw(
            RawImage {
                pixels,
                height,
                width,
                channels,
            },
            &mut planes,
        )
        .expect("a valid image");
    let [channels, height, width] = preprocessor.shape();
    let area = height * width;
    (0..channels * area)
        .map(|i| planes[i % channels * area + i / channels])
        .collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.iter().copied().map(f32::from).collect()
}

#[test]
fn resizing_is_tensorflows() {
    let cases = golden().resize;
    assert_eq!(cases.len(), 8);
    for ResizeCase {
        source,
        size: [height, width],
        antialias,
        pixels,
        expected,
    } in cases
    {
        let channels = if source[2] == 1 {
            Channels::Gray
        } else {
            Channels::Rgb
        };
        let record = Preprocessing {
            resize: Resize {
                antialias,
                ..Resize::default()
            },
            ..Preprocessing::raw(height, width, channels)
        };
        let found = run(record, &pixels, source);
        assert_eq!(found.len(), expected.len());
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let difference = (found - expected).abs();
            assert!(
                difference <= TOLERANCE,
                "{source:?} to {height}x{width}, antialias {antialias}, value {i}: expected {expected}, found {found}"
            );
        }
    }
}

#[test]
fn color_to_gray_is_pillows() {
    let Luma { pixels, expected } = golden().luma;
    assert_eq!(
        run(Preprocessing::raw(8, 8, Channels::Gray), &pixels, [8, 8, 3]),
        floats(&expected)
    );
}

#[test]
fn alpha_is_dropped_as_by_pillow() {
    let Alpha { pixels, rgb, gray } = golden().alpha;
    assert_eq!(
        run(Preprocessing::raw(4, 4, Channels::Rgb), &pixels, [4, 4, 4]),
        floats(&rgb)
    );
    assert_eq!(
        run(Preprocessing::raw(4, 4, Channels::Gray), &pixels, [4, 4, 4]),
        floats(&gray)
    );
}

#[test]
fn sixteen_bits_become_eight_as_by_tensorflow() {
    let SixteenBit { samples, expected } = golden().sixteen_bit;
    let image =
        DynamicImage::ImageLuma16(ImageBuffer::from_raw(8, 8, samples).expect("64 samples"));
    let preprocessor =
        Preprocessor::new(Preprocessing::raw(8, 8, Channels::Gray)).expect("a valid record");
    let mut out = vec![f32::NAN; 64];
    preprocessor.image(&image, &mut out).expect("a valid image");
    assert_eq!(out, floats(&expected));
}
