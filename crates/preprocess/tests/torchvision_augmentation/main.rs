//! Crops and changes of colors and places agree with torchvision's when what it draws is given;
//! `make_golden.py` beside this file writes what torchvision makes.

use kiln_model::{Arithmetic, Channels, Preprocessing, Resize};
use kiln_preprocess::{Adjustment, Crop, Mixture, Preprocessor, RawImage, Transform};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    adjustments: Vec<Picture>,
    crops: Vec<Cropped>,
    mixtures: Vec<Mixed>,
}

#[derive(Deserialize)]
struct Mixed {
    /// Height, width and channels.
    size: [u32; 3],
    pixels: Vec<u8>,
    own: f32,
    chains: Vec<Chain>,
    expected: Vec<f32>,
}

#[derive(Deserialize)]
struct Chain {
    share: f32,
    changes: Vec<(String, Option<f64>)>,
}

#[derive(Deserialize)]
struct Picture {
    /// Height, width and channels.
    size: [u32; 3],
    pixels: Vec<u8>,
    changes: Vec<Changed>,
}

#[derive(Deserialize)]
struct Changed {
    change: String,
    value: Option<f64>,
    expected: Vec<f32>,
}

#[derive(Deserialize)]
struct Cropped {
    size: [u32; 2],
    from: [u32; 2],
    part: [u32; 2],
    to: [u32; 2],
    arithmetic: String,
    pixels: Vec<u8>,
    expected: Vec<f32>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden.json")).expect("golden.json is complete")
}

fn adjustment(change: &str, value: Option<f64>) -> Adjustment {
    let value = || value.expect("this change has a value");
    match change {
        "ShearX" => Adjustment::ShearX(value()),
        "ShearY" => Adjustment::ShearY(value()),
        "TranslateX" => Adjustment::TranslateX(value()),
        "TranslateY" => Adjustment::TranslateY(value()),
        "Rotate" => Adjustment::Rotate(value()),
        "Brightness" => Adjustment::Brightness(value()),
        "Contrast" => Adjustment::Contrast(value()),
        "Saturation" => Adjustment::Saturation(value()),
        "Hue" => Adjustment::Hue(value()),
        "Sharpness" => Adjustment::Sharpness(value()),
        "Posterize" => Adjustment::Posterize(value() as u32),
        "Solarize" => Adjustment::Solarize(value()),
        "AutoContrast" => Adjustment::AutoContrast,
        "Equalize" => Adjustment::Equalize,
        other => panic!("{other}"),
    }
}

fn transformed(record: Preprocessing, image: RawImage<'_>, transform: &Transform) -> Vec<f32> {
    let preprocessor = Preprocessor::new(record).expect("valid");
    let mut found = vec![f32::NAN; preprocessor.len()];
    preprocessor
        .transformed(image, transform, &mut found)
        .expect("a valid image");
    found
}

fn largest_difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}

#[test]
fn adjustments_are_those_of_torchvision() {
    let pictures = golden().adjustments;
    assert_eq!(pictures.len(), 4);
    for picture in &pictures {
        assert_eq!(picture.changes.len(), 22);
        let [height, width, channels] = picture.size;
        let wanted = if channels == 1 {
            Channels::Gray
        } else {
            Channels::Rgb
        };
        let image = RawImage {
            pixels: &picture.pixels,
            height,
            width,
            channels,
        };
        for changed in &picture.changes {
            let adjustment = adjustment(&changed.change, changed.value);
            // Moved pixels are interpolated in f32 there, and hues take a way through f32 that has other roundings:
            // both may end at the neighboring byte.
            let tolerance = match adjustment {
                Adjustment::ShearX(_)
                | Adjustment::ShearY(_)
                | Adjustment::Rotate(_)
                | Adjustment::Hue(_) => 1.0,
                _ => 0.0,
            };
            let transform = Transform {
                adjustments: vec![adjustment],
                ..Transform::default()
            };
            let found = transformed(Preprocessing::raw(height, width, wanted), image, &transform);
            let difference = largest_difference(&found, &changed.expected);
            assert!(
                difference <= tolerance,
                "{adjustment:?} of {:?} differs by {difference}",
                picture.size
            );
            let other = found
                .iter()
                .zip(&changed.expected)
                .filter(|(a, b)| a.to_bits() != b.to_bits());
            let other = other.count() as f64 / found.len() as f64;
            // Where all weights are multiples of 0.05, as of this shear, a twentieth of the values lies halfway between
            // two bytes.
            let most = if adjustment == Adjustment::ShearY(0.3) {
                0.05
            } else {
                0.01
            };
            assert!(other < most, "{adjustment:?}: {other} of the values differ");
        }
    }
}

#[test]
fn chains_are_mixed_as_by_torchvision() {
    let mixtures = golden().mixtures;
    assert_eq!(mixtures.len(), 5);
    for (number, mixed) in mixtures.iter().enumerate() {
        let [height, width, channels] = mixed.size;
        let wanted = if channels == 1 {
            Channels::Gray
        } else {
            Channels::Rgb
        };
        let image = RawImage {
            pixels: &mixed.pixels,
            height,
            width,
            channels,
        };
        let chains = mixed.chains.iter().map(|chain| {
            let changes = chain.changes.iter();
            let changes = changes.map(|(change, value)| adjustment(change, *value));
            (chain.share, changes.collect())
        });
        let mixture = Mixture {
            own: mixed.own,
            chains: chains.collect(),
        };
        let transform = Transform {
            mixture: Some(mixture),
            ..Transform::default()
        };
        let found = transformed(Preprocessing::raw(height, width, wanted), image, &transform);
        // Turned and sheared images may differ by one, as above, and by what later changes of the chain make of it.
        let difference = largest_difference(&found, &mixed.expected);
        assert!(
            difference <= 2.0,
            "mixture {number} differs by {difference}"
        );
        let pairs = found.iter().zip(&mixed.expected);
        let other = pairs.filter(|(a, b)| a.to_bits() != b.to_bits());
        let other = other.count() as f64 / found.len() as f64;
        assert!(
            other < 0.02,
            "mixture {number}: {other} of the values differ"
        );
    }
}

#[test]
fn parts_are_resized_as_by_torchvision() {
    let crops = golden().crops;
    assert_eq!(crops.len(), 8);
    for (number, crop) in crops.iter().enumerate() {
        let [height, width] = crop.size;
        let [rows, columns] = crop.part;
        let arithmetic = if crop.arithmetic == "pillow" {
            Arithmetic::Pillow
        } else {
            Arithmetic::Torch
        };
        let record = Preprocessing {
            resize: Resize {
                arithmetic,
                antialias: true,
                ..Resize::default()
            },
            ..Preprocessing::raw(crop.to[0], crop.to[1], Channels::Rgb)
        };
        let image = RawImage {
            pixels: &crop.pixels,
            height,
            width,
            channels: 3,
        };
        let place =
            |from: u32, side: u32, part: u32| (f64::from(from) + 0.5) / f64::from(side - part + 1);
        let share = f64::from(rows * columns) / f64::from(height * width);
        let part = Crop {
            // The first is larger than the image.
            tries: vec![[1.0, 100.0], [share, f64::from(columns) / f64::from(rows)]],
            place: [
                place(crop.from[0], height, rows),
                place(crop.from[1], width, columns),
            ],
            ratio: [0.75, 4.0 / 3.0],
        };
        let transform = Transform {
            crop: Some(part),
            ..Transform::default()
        };
        let found = transformed(record, image, &transform);
        let difference = largest_difference(&found, &crop.expected);
        // Bytes are resized by Pillow's fixed-point arithmetic, which another vector unit may round otherwise.
        let tolerance = if arithmetic == Arithmetic::Pillow {
            1.0
        } else {
            1e-3
        };
        assert!(
            difference <= tolerance,
            "crop {number} differs by {difference}"
        );
    }
}
