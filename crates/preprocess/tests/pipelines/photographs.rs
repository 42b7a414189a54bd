//! Photographs of odd sizes, modes and orientations, through the usual pipelines: `make_photographs.py`
//! beside this file writes what those of the peers make of them.
//!
//! `UPDATE_TABLE=1 cargo test --release -p kiln-preprocess --test pipelines` writes what is measured
//! into `docs/preprocessing.md`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use kiln_model::{Channels, Preprocess, Preprocessing};
use kiln_preprocess::{Pixels, Preprocessor};
use serde::Deserialize;

use crate::{BYTES, DIGITS, FLOATS};

#[derive(Deserialize)]
struct Golden {
    versions: BTreeMap<String, String>,
    rows: Vec<Row>,
}

/// A pipeline and what a peer makes by it.
#[derive(Deserialize)]
struct Row {
    pipeline: String,
    peer: String,
    /// Whether the peer resizes floats, not bytes.
    floats: bool,
    /// Which values of the peer's tensor are kept: every so many.
    stride: usize,
    #[serde(default)]
    preset: Option<String>,
    /// Height and width of the tensor, of a preset.
    #[serde(default)]
    size: Option<[u32; 2]>,
    #[serde(default)]
    record: Option<Preprocessing>,
    /// By the name of the photograph; values of 0 to 255.
    cases: BTreeMap<String, Vec<f32>>,
}

impl Row {
    fn record(&self) -> Preprocessing {
        match (&self.preset, self.size, &self.record) {
            (Some(name), Some([height, width]), None) => {
                let preset: Preprocess = name.parse().expect("the name of a preset");
                preset.record(height, width, Channels::Rgb)
            }
            (None, None, Some(record)) => record.clone(),
            _ => panic!("{}: a preset or a record", self.pipeline),
        }
    }

    fn bound(&self) -> f32 {
        if self.floats { FLOATS } else { BYTES + DIGITS }
    }

    /// The largest difference of a photograph, of values of 0 to 255.
    fn difference(&self, name: &str, expected: &[f32]) -> f32 {
        let bytes = std::fs::read(folder().join(name)).expect("a photograph");
        let preprocessor = Preprocessor::new(self.record()).expect("a valid record");
        let mut out = vec![f32::NAN; preprocessor.len()];
        let pixels = Pixels::decode(&bytes, name, None).expect("a photograph that is decoded");
        preprocessor
            .pixels(pixels, &mut out)
            .expect("a photograph that is prepared");
        let record = preprocessor.record();
        let plane = out.len() / record.channels.count();
        let pixel = |(at, value): (usize, &f32)| {
            (value * record.std[at / plane] + record.mean[at / plane]) / record.scale
        };
        let found = out.iter().enumerate().step_by(self.stride).map(pixel);
        assert_eq!(found.len(), expected.len(), "{} {name}", self.pipeline);
        let steps = found.zip(expected).map(|(a, b)| (a - b).abs());
        // `f32::max` would drop a NaN.
        steps.fold(0.0, |largest, it| if it <= largest { largest } else { it })
    }

    /// The largest difference, and of which photograph.
    fn largest(&self) -> (f32, &str) {
        let differences = self
            .cases
            .iter()
            .map(|(name, expected)| (self.difference(name, expected), name.as_str()));
        differences.fold(
            (0.0, ""),
            |largest, it| {
                if it.0 <= largest.0 { largest } else { it }
            },
        )
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pipelines/photographs")
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("photographs.json")).expect("photographs.json is complete")
}

#[test]
fn photographs_are_those_of_the_peers() {
    let golden = golden();
    let mut failed = Vec::new();
    for row in &golden.rows {
        for (name, expected) in &row.cases {
            let difference = row.difference(name, expected);
            if difference.is_nan() || difference > row.bound() {
                failed.push(format!(
                    "{} ({}) {name}: {difference} of 255, at most {}",
                    row.pipeline,
                    row.peer,
                    row.bound()
                ));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_set_is_whole() {
    let golden = golden();
    let mut orientations = Vec::new();
    for entry in std::fs::read_dir(folder()).expect("the photographs") {
        let path = entry.expect("a photograph").path();
        let bytes = std::fs::read(&path).expect("a photograph");
        let pixels = Pixels::decode(&bytes, "it", None).expect("a photograph that is decoded");
        orientations.push(pixels.orientation().exif());
    }
    orientations.sort_unstable();
    assert_eq!(orientations, [1, 1, 1, 1, 2, 3, 4, 5, 6, 6, 7, 8]);
    for preset in Preprocess::ALL {
        let named = |row: &Row| row.preset.as_deref() == Some(preset.as_str());
        // As bytes are: nothing to compare.
        let compared = preset != Preprocess::Raw;
        assert_eq!(golden.rows.iter().any(named), compared, "{preset}");
    }
    // Peers refuse what would have a side of no pixels.
    for row in &golden.rows {
        assert!((8..=12).contains(&row.cases.len()), "{}", row.pipeline);
    }
}

const BEGIN: &str = "<!-- table: written by crates/preprocess/tests/pipelines -->\n";
const END: &str = "<!-- end of the table -->\n";

/// One line of the table: a pipeline and its variants.
#[derive(Default)]
struct Line {
    variants: Vec<String>,
    photographs: usize,
    largest: f32,
}

/// The name of a peer with its version.
fn versioned(peer: &str, versions: &BTreeMap<String, String>) -> String {
    let (package, rest) = peer.split_at(peer.find([',', ' ']).unwrap_or(peer.len()));
    let version = versions.get(&package.to_lowercase()).expect("a version");
    format!("{package} {version}{}", rest.trim_start_matches(','))
}

/// The table of the documentation; without the differences, which depend on the machine's floats,
/// where `measured` is off.
fn table(golden: &Golden, measured: bool) -> String {
    let mut lines: Vec<((&str, &str, bool), Line)> = Vec::new();
    for row in &golden.rows {
        let (name, variant) = row.pipeline.split_once(", ").unwrap_or((&row.pipeline, ""));
        let key = (name, row.peer.as_str(), row.floats);
        let at = lines.iter().position(|(it, _)| *it == key);
        let at = at.unwrap_or_else(|| {
            lines.push((key, Line::default()));
            lines.len() - 1
        });
        let line = &mut lines[at].1;
        if !variant.is_empty() {
            line.variants.push(variant.replace(',', ""));
        }
        line.photographs += row.cases.len();
        line.largest = row.largest().0.max(line.largest);
    }
    let mut text = String::from(
        "| pipeline | variants | peer | images | largest difference | bound |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for ((name, peer, floats), line) in lines {
        let difference = match (measured, floats) {
            (false, _) => String::new(),
            // Bytes differ by whole steps.
            (true, false) => format!("{:.0}", line.largest),
            (true, true) => format!("{:.4}", line.largest),
        };
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {difference} | {} |",
            line.variants.join(", "),
            versioned(peer, &golden.versions),
            line.photographs,
            if floats { "0.0255" } else { "1" },
        );
    }
    text
}

#[test]
fn the_documentation_has_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/preprocessing.md");
    let document = std::fs::read_to_string(&path).expect("docs/preprocessing.md");
    let (before, rest) = document.split_once(BEGIN).expect("where the table begins");
    let (found, after) = rest.split_once(END).expect("where the table ends");
    let golden = golden();
    if std::env::var_os("UPDATE_TABLE").is_some() {
        let text = [before, BEGIN, &table(&golden, true), END, after].concat();
        std::fs::write(&path, text).expect("docs/preprocessing.md is written");
        return;
    }
    let unmeasured: String = found
        .lines()
        .map(|line| {
            let mut cells: Vec<&str> = line.split(" | ").collect();
            if let [_, _, _, _, difference, _] = cells.as_mut_slice()
                && difference.parse::<f32>().is_ok()
            {
                *difference = "";
            }
            cells.join(" | ") + "\n"
        })
        .collect();
    assert_eq!(
        unmeasured,
        table(&golden, false),
        "UPDATE_TABLE=1 writes it"
    );
}
