//! What holds for every image.

use image::{DynamicImage, ImageBuffer};
use kiln_model::{Arithmetic, Channels, CropRounding, Filter, Fit, Preprocessing, Resize};
use kiln_preprocess::{Preprocessor, RawImage};
use proptest::prelude::*;

/// Roundings of f32 at 255, for sums over as many pixels as these images have a side.
const ROUNDING: f32 = 1e-3;

fn channels() -> impl Strategy<Value = Channels> {
    prop::sample::select(vec![Channels::Gray, Channels::Rgb, Channels::Bgr])
}

fn records() -> impl Strategy<Value = Preprocessing> {
    (1..50u32, 1..50u32, channels(), any::<bool>()).prop_map(
        |(height, width, channels, antialias)| Preprocessing {
            resize: Resize {
                antialias,
                ..Resize::default()
            },
            ..Preprocessing::raw(height, width, channels)
        },
    )
}

/// Every way of resizing, cropping and padding.
fn resizes() -> impl Strategy<Value = Resize> {
    let fits = prop::sample::select(&Fit::ALL[..]);
    let filters = prop::sample::select(&Filter::ALL[..]);
    let arithmetics = prop::sample::select(&Arithmetic::ALL[..]);
    let roundings = prop::sample::select(&CropRounding::ALL[..]);
    let size = prop::option::of([1..40u32, 1..40u32]);
    let padding = any::<[u8; 3]>();
    (
        fits,
        filters,
        arithmetics,
        roundings,
        size,
        padding,
        any::<bool>(),
        0..=3u32,
    )
        .prop_map(
            |(fit, filter, arithmetic, crop_rounding, size, padding, antialias, reducing_gap)| {
                Resize {
                    fit,
                    size,
                    filter,
                    antialias,
                    arithmetic,
                    padding,
                    crop_rounding,
                    reducing_gap,
                }
            },
        )
}

/// Pixels with their height, width and channels.
fn images() -> impl Strategy<Value = (Vec<u8>, [u32; 3])> {
    (1..50u32, 1..50u32, 1..=4u32).prop_flat_map(|(height, width, channels)| {
        let length = (height * width * channels) as usize;
        (
            prop::collection::vec(any::<u8>(), length),
            Just([height, width, channels]),
        )
    })
}

fn run(record: Preprocessing, pixels: &[u8], [height, width, channels]: [u32; 3]) -> Vec<f32> {
    let preprocessor = Preprocessor::new(record).expect("a valid record");
    let mut out = vec![f32::NAN; preprocessor.len()];
    preprocessor
        .raw(
            RawImage {
                pixels,
                height,
                width,
                channels,
            },
            &mut out,
        )
        .expect("a valid image");
    out
}

proptest! {
    #[test]
    fn constant_images_stay_constant(record in records(), height in 1..300u32, width in 1..300u32, p: u8) {
        let out = run(record, &vec![p; (height * width) as usize], [height, width, 1]);
        prop_assert!(out.iter().all(|v| (v - f32::from(p)).abs() <= ROUNDING));
    }

    #[test]
    fn every_value_is_written_and_within_reach(
        resize in resizes(), size in (1..40u32, 1..40u32), channels in channels(), (pixels, shape) in images(),
    ) {
        let record = Preprocessing { resize, ..Preprocessing::raw(size.0, size.1, channels) };
        prop_assume!(record.check().is_ok());
        // Bicubic and Lanczos filters overshoot, in f32 without clipping.
        let out = run(record, &pixels, shape);
        prop_assert!(out.iter().all(|v| (-255.0..=510.0).contains(v)), "{:?}", out);
    }

    #[test]
    fn values_lie_between_those_of_the_image(record in records(), (pixels, shape) in images()) {
        let min = f32::from(*pixels.iter().min().expect("not empty")) - ROUNDING;
        let max = f32::from(*pixels.iter().max().expect("not empty")) + ROUNDING;
        prop_assert!(run(record, &pixels, shape).iter().all(|v| (min..=max).contains(v)));
    }

    #[test]
    fn the_same_size_is_the_identity(size in (1..50u32, 1..50u32), antialias: bool, seed: u8) {
        let (height, width) = size;
        let pixels: Vec<u8> = (0..height * width).map(|i| (i as u8).wrapping_mul(seed)).collect();
        let record = Preprocessing { resize: Resize { antialias, ..Resize::default() }, ..Preprocessing::raw(height, width, Channels::Gray) };
        let expected: Vec<f32> = pixels.iter().copied().map(f32::from).collect();
        prop_assert_eq!(run(record, &pixels, [height, width, 1]), expected);
    }

    #[test]
    fn normalizing_is_the_formula_on_resized_values(record in records(), (pixels, shape) in images()) {
        let n = record.channels.count();
        let (scale, mean, std) = (1.0 / 255.0, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        let normalized = Preprocessing { scale, mean: mean[..n].into(), std: std[..n].into(), ..record.clone() };
        let area = (record.height * record.width) as usize;
        let expected: Vec<u32> = run(record, &pixels, shape)
            .iter()
            .enumerate()
            .map(|(i, p)| ((p * scale - mean[i / area]) / std[i / area]).to_bits())
            .collect();
        let found: Vec<u32> = run(normalized, &pixels, shape).iter().map(|v| v.to_bits()).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn images_and_raw_pixels_agree(record in records(), (pixels, shape) in images()) {
        let [height, width, channels] = shape;
        let samples = pixels.clone();
        let image = match channels {
            1 => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLuma8),
            2 => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLumaA8),
            3 => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgb8),
            _ => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgba8),
        }
        .expect("the sizes fit");
        let preprocessor = Preprocessor::new(record.clone()).expect("a valid record");
        let mut out = vec![f32::NAN; preprocessor.len()];
        preprocessor.image(&image, &mut out).expect("a valid image");
        prop_assert_eq!(out, run(record, &pixels, shape));
    }
}
