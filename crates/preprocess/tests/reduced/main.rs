//! Photographs that are divided before they are resized, beside what Pillow makes of them: `make.py` beside
//! this file writes it.

use std::path::Path;

use kiln_model::{Arithmetic, Channels, Preprocessing, Resize};
use kiln_preprocess::{Picture, Preprocessor, decode};
use serde::Deserialize;

/// Largest difference in steps of 255 between two decoders that both divide.
const DRAFTED: f32 = 8.0;
/// The same of decoders that do not divide.
const AVERAGED: f32 = 3.0;
/// The same of files that every decoder reads alike.
const EXACT: f32 = 1.0;
/// Largest mean difference.
const MEAN: f32 = 1.5;

#[derive(Deserialize)]
struct Golden {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    file: String,
    by: u32,
    /// Height and width.
    size: [u32; 2],
    /// Every seventh value, [height, width, channels], of a JPEG that is decoded smaller.
    drafted: Option<Vec<f32>>,
    /// The same of one that is decoded whole.
    averaged: Vec<f32>,
}

impl Row {
    fn preprocessor(&self) -> Preprocessor {
        let [height, width] = self.size;
        let channels = if self.file == "gray.jpg" {
            Channels::Gray
        } else {
            Channels::Rgb
        };
        let record = Preprocessing {
            orientation: true,
            resize: Resize {
                antialias: true,
                arithmetic: Arithmetic::Pillow,
                reducing_gap: 1,
                ..Resize::default()
            },
            ..Preprocessing::raw(height, width, channels)
        };
        Preprocessor::new(record).expect("a valid record")
    }

    /// The largest difference, and the mean of all.
    fn difference(&self, image: &impl Picture, expected: &[f32]) -> [f32; 2] {
        let preprocessor = self.preprocessor();
        let mut out = vec![f32::NAN; preprocessor.len()];
        image
            .prepare(&preprocessor, &mut out)
            .expect("an image that is prepared");
        let [channels, height, width] = preprocessor.shape();
        let in_file = |at: usize| out[at % channels * height * width + at / channels];
        let found = (0..out.len()).step_by(7).map(in_file);
        assert_eq!(found.len(), expected.len(), "{}", self.file);
        let steps: Vec<f32> = found.zip(expected).map(|(a, b)| (a - b).abs()).collect();
        assert!(!steps.iter().any(|step| step.is_nan()));
        let largest = steps.iter().copied().fold(0.0, f32::max);
        [largest, steps.iter().sum::<f32>() / steps.len() as f32]
    }
}

#[test]
fn divided_photographs_are_those_of_pillow() {
    let golden: Golden =
        serde_json::from_str(include_str!("golden.json")).expect("golden.json is complete");
    assert_eq!(golden.rows.len(), 18);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reduced");
    let mut failed = Vec::new();
    for row in &golden.rows {
        let bytes = std::fs::read(folder.join(&row.file)).expect("a photograph");
        let preprocessor = row.preprocessor();
        let whole = decode(&bytes).expect("a photograph that is decoded");
        let wanted = preprocessor
            .decode(&bytes)
            .expect("a photograph that is decoded");
        let is_jpeg = row.drafted.is_some();
        // A JPEG is decoded at twice the size that it is divided to, if that is less than half.
        let by = if is_jpeg && row.by == 8 { 4 } else { 1 };
        assert_eq!(
            [wanted.image.height(), wanted.image.width()],
            [whole.image.height(), whole.image.width()].map(|side| side.div_ceil(by)),
            "{} by {}",
            row.file,
            row.by
        );
        let averaged = if is_jpeg { AVERAGED } else { EXACT };
        let mut check = |way: &str, [largest, mean]: [f32; 2], bound: f32| {
            println!("{} by {}, {way}: {largest}, {mean:.2}", row.file, row.by);
            if largest > bound || mean > MEAN {
                failed.push(format!(
                    "{} by {}, {way}: {largest} of 255, at most {bound}, in the mean {mean:.2}",
                    row.file, row.by
                ));
            }
        };
        check("averaged", row.difference(&whole, &row.averaged), averaged);
        if let Some(drafted) = &row.drafted {
            check("drafted", row.difference(&wanted, drafted), DRAFTED);
            check(
                "beside whole",
                row.difference(&wanted, &row.averaged),
                DRAFTED,
            );
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
