//! Image files of each kind against the pixels that Pillow makes of them. `make_golden.py` says how the
//! files were made.

use kiln_model::{Channels, Preprocessing};
use kiln_preprocess::{Decoded, Hint, Preprocessor, decode};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    /// In hexadecimal digits, as all bytes here.
    file: String,
    /// What kind it is, of files that are not decoded.
    refused: Option<String>,
    #[serde(flatten)]
    picture: Option<Picture>,
}

#[derive(Deserialize)]
struct Picture {
    width: u32,
    height: u32,
    orientation: u16,
    rgb: String,
    gray: String,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("golden.json")).expect("golden.json is as expected")
}

fn bytes(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Steps of 255 that a sample may be off. The standard of JPEG leaves open how samples are rounded and
/// how chroma is made larger; everything else is exact, but for the rounding of CMYK in TIFF.
fn tolerance(name: &str) -> u8 {
    match name {
        "jpeg 4:2:2" => 3,
        "jpeg gray" | "jpeg rgb" | "jpeg cmyk" | "jpeg ycck" | "tiff cmyk" => 1,
        // A step of chroma is almost two of a color.
        _ if name.starts_with("jpeg") => 2,
        _ => 0,
    }
}

fn pixels(Decoded { image, .. }: &Decoded, channels: Channels) -> Vec<f32> {
    let record = Preprocessing::raw(image.height(), image.width(), channels);
    let preprocessor = Preprocessor::new(record).expect("a valid record");
    let mut planes = vec![f32::NAN; preprocessor.len()];
    preprocessor
        .image(image, &mut planes)
        .expect("8 or 16 bits");
    let area = (image.height() * image.width()) as usize;
    let plane = |at: usize| planes[at..].iter().step_by(area).copied();
    (0..area).flat_map(plane).collect()
}

#[test]
fn files_are_decoded_as_by_pillow() {
    let mut failures = Vec::new();
    for Case {
        name,
        file,
        picture,
        ..
    } in cases()
    {
        let Some(picture) = picture else { continue };
        let decoded = match decode(&bytes(&file)) {
            Ok(decoded) => decoded,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let size = (decoded.image.width(), decoded.image.height());
        assert_eq!(size, (picture.width, picture.height), "{name}");
        assert_eq!(decoded.orientation.exif(), picture.orientation, "{name}");
        for (channels, expected) in [(Channels::Rgb, picture.rgb), (Channels::Gray, picture.gray)] {
            let found = pixels(&decoded, channels);
            let steps = |(found, expected): (&f32, u8)| (found - f32::from(expected)).abs();
            let expected = bytes(&expected);
            assert_eq!(found.len(), expected.len(), "{name}");
            let worst = found.iter().zip(expected).map(steps).fold(0.0, f32::max);
            if worst > f32::from(tolerance(&name)) {
                failures.push(format!("{name}, {channels:?}: {worst} steps"));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn other_kinds_are_named() {
    for case in cases() {
        let Some(kind) = case.refused else { continue };
        let error = decode(&bytes(&case.file)).expect_err("a kind that is not decoded");
        let expected = format!("the data is {kind}, a kind that kiln cannot read");
        assert_eq!(error.to_string(), expected, "{}", case.name);
        assert_eq!(error.hint(), Hint::ConvertKind);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn damage_never_panics(
        case: prop::sample::Index, length: prop::sample::Index, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let cases = files();
        let mut file = cases[case.index(cases.len())].clone();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        // Half of them keep their length.
        file.truncate(2 * length.index(file.len()));
        let _ = decode(&file);
    }
}

fn files() -> &'static [Vec<u8>] {
    static FILES: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    FILES.get_or_init(|| cases().iter().map(|case| bytes(&case.file)).collect())
}
