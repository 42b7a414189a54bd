//! The smaller copy of a run's model, on the run's page.

use kiln_report::{Block, Figure, Section, Table};
use kiln_util::{percent, thousands};

use crate::compare::p_value_text;
use crate::error::Result;
use crate::quantize::Sensitivity;
use crate::smaller::{Figures, OnEngine, Smaller, points};

/// Describes the copy, and compares it with the model on each engine.
pub fn smaller(smaller: &Smaller) -> Result<Section> {
    let what = match &smaller.file {
        Some(file) => format!("{file}: {}, {}.", smaller.summary, smaller.sizes()),
        None => format!(
            "{}, {}: it loses more than it may, and was not written.",
            smaller.summary,
            smaller.sizes()
        ),
    };
    let mut blocks = vec![Block::Text(what)];
    blocks.extend(
        smaller
            .bound
            .map(|bound| Block::Text(format!("{}.", bound.to_text()))),
    );
    if !smaller.engines.is_empty() {
        let rows = smaller.engines.iter().flat_map(rows);
        let header = [
            "engine",
            "model",
            "images",
            "result",
            "loss",
            "calibration error",
            "images/s",
        ];
        blocks.push(table(Table::new(header, rows, 2)));
    }
    let compared: Vec<_> = smaller.engines.iter().filter_map(comparison).collect();
    if !compared.is_empty() {
        let header = [
            "engine",
            "same class",
            "accuracy",
            "McNemar's exact test",
            "golden vectors",
        ];
        blocks.push(table(Table::new(header, compared, 1)));
    }
    if !smaller.layers.is_empty() {
        blocks.push(Block::Figures(vec![sensitivity(smaller)?]));
    }
    Ok(Section {
        title: "Smaller model".into(),
        blocks,
    })
}

const fn table(table: Table) -> Block {
    Block::Table {
        table,
        links: Vec::new(),
    }
}

/// The model and the copy on an engine, a row each.
fn rows(on: &OnEngine) -> [[String; 7]; 2] {
    let row = |name: &str, figures: &Figures| {
        [
            on.engine.clone(),
            name.to_owned(),
            thousands(figures.images as usize),
            format!("{} {}", figures.figure, figures.value),
            format!("{:.4}", figures.loss),
            figures.calibration_error.map_or_else(String::new, percent),
            thousands(figures.images_per_second.round() as usize),
        ]
    };
    let [model, copy] = &on.figures;
    [row("as trained", model), row("smaller", copy)]
}

/// How the copy differs from the model on an engine.
fn comparison(on: &OnEngine) -> Option<[String; 5]> {
    let paired = on.paired?;
    let golden = on.golden.map_or_else(String::new, |replay| {
        format!(
            "{}: scores differ by at most {:.2}, {:.2} allowed",
            if replay.passed { "pass" } else { "fail" },
            replay.difference,
            replay.tolerance
        )
    });
    Some([
        on.engine.clone(),
        format!(
            "{} of {}",
            thousands(paired.same_class as usize),
            thousands(paired.images() as usize)
        ),
        points(paired.accuracy_change()),
        p_value_text(paired.p_value()),
        golden,
    ])
}

/// What each layer costs.
fn sensitivity(smaller: &Smaller) -> Result<Figure> {
    Ok(Figure {
        name: "sensitivity".into(),
        picture: Sensitivity::plot(&smaller.layers, &smaller.kept)?,
        caption: "What a layer alone in 8 bits does to the scores of calibration images: the mean squared change of a score by \
                  the variance of the scores. 0.01 is a noise of a tenth of them"
            .into(),
    })
}
