//! Records agree with the peers whose pipelines they describe; `make_golden.py` beside this file writes
//! what those make.

mod photographs;

use kiln_model::{Arithmetic, Preprocessing};
use kiln_preprocess::{Preprocessor, RawImage};
use serde::Deserialize;

/// Largest difference where the peer resizes bytes: one step of 255.
const BYTES: f32 = 1.0;

/// What the four digits of normalized values in golden.json leave out, in steps of 255.
const DIGITS: f32 = 5e-3;

/// Largest difference where the peer resizes floats, of values of 0 to 255: 1e-4 of the range.
const FLOATS: f32 = 1e-4 * 255.0;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    peer: String,
    /// Height, width, channels.
    image: [u32; 3],
    record: Preprocessing,
    /// `[channels, height, width]`.
    expected: Vec<f32>,
}

fn golden() -> Vec<Case> {
    let golden: Golden =
        serde_json::from_str(include_str!("golden.json")).expect("golden.json is complete");
    golden.cases
}

/// As `photograph` in `make_golden.py`.
fn photograph([height, width, channels]: [u32; 3]) -> Vec<u8> {
    let pixel = |y: u32, x: u32, c: u32| {
        let smooth = (5 * x + 3 * y + 70 * c + x * y / 4) % 256;
        let texture = (x * 37 + y * 59 + c * 11) % 31;
        if (x / 9 + y / 7).is_multiple_of(3) && !(x + c).is_multiple_of(5) {
            255
        } else {
            (smooth / 2 + texture).min(255) as u8
        }
    };
    let rows = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    rows.flat_map(|(y, x)| (0..channels).map(move |c| pixel(y, x, c)))
        .collect()
}

/// The largest difference of a case, of values of 0 to 255.
fn difference(case: &Case) -> f32 {
    let preprocessor = Preprocessor::new(case.record.clone()).expect("a valid record");
    let [height, width, channels] = case.image;
    let mut out = vec![f32::NAN; preprocessor.len()];
    let image = RawImage {
        pixels: &photograph(case.image),
        height,
        width,
        channels,
    };
    preprocessor.raw(image, &mut out).expect("a valid image");
    assert_eq!(out.len(), case.expected.len());
    let plane = out.len() / case.record.channels.count();
    let steps = |(at, (found, expected)): (usize, (&f32, &f32))| {
        (found - expected).abs() * case.record.std[at / plane] / case.record.scale
    };
    let all = out.iter().zip(&case.expected).enumerate().map(steps);
    all.fold(0.0, |largest, it| {
        if it > largest || it.is_nan() {
            it
        } else {
            largest
        }
    })
}

#[test]
fn pipelines_are_those_of_the_peers() {
    let cases = golden();
    for (peer, count) in [
        ("pillow", 33),
        ("torchvision", 9),
        ("timm", 12),
        ("torch", 15),
        ("tensorflow", 21),
    ] {
        let found = cases.iter().filter(|case| case.peer == peer).count();
        assert_eq!(found, count, "{peer}");
    }
    let mut failed = Vec::new();
    for case in &cases {
        let bound = match case.record.resize.arithmetic {
            Arithmetic::Pillow => BYTES + DIGITS,
            Arithmetic::TensorFlow | Arithmetic::Torch => FLOATS,
        };
        let difference = difference(case);
        if difference.is_nan() || difference > bound {
            failed.push(format!(
                "{} {:?} {:?}: {difference} of 255, at most {bound}",
                case.peer, case.image, case.record
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
