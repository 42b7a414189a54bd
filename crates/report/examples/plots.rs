//! Draws the plots with made-up numbers, as SVG and as PNG, to be looked at:
//! `cargo run --release -p kiln-eval --example plots -- FOLDER`.

use std::path::PathBuf;

use kiln_metrics::ConfusionMatrix;
use kiln_report::{Compared, Comparison, EpochMetrics, Picture};
use kiln_report::{plot_comparison, plot_confusion, plot_curves};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder: PathBuf = std::env::args_os()
        .nth(1)
        .ok_or("give the folder to write to")?
        .into();
    std::fs::create_dir_all(&folder)?;
    let write = |name: &str, picture: &Picture| -> Result<(), Box<dyn std::error::Error>> {
        std::fs::write(folder.join(format!("{name}.svg")), picture.to_svg())?;
        Ok(std::fs::write(
            folder.join(format!("{name}.png")),
            picture.to_png()?,
        )?)
    };

    for epochs in [1, 3, 10, 100] {
        let history: Vec<_> = (1..=epochs).map(epoch).collect();
        write(
            &format!("curves-{epochs}"),
            &plot_curves(&history, Some(epochs))?,
        )?;
    }
    let mut gaps: Vec<_> = (1..=12).map(epoch).collect();
    for (broken, value) in [(3, f64::NAN), (4, f64::INFINITY), (9, f64::NAN)] {
        gaps[broken].train_loss = value;
    }
    for epoch in &mut gaps {
        (epoch.val_loss, epoch.val_accuracy) = (None, None);
    }
    write("curves-gaps", &plot_curves(&gaps, Some(1))?)?;

    for (classes, label) in [
        (2, "melanoma"),
        (10, ""),
        (10, "handwritten "),
        (20, "class "),
        (30, "species "),
        (100, "n"),
    ] {
        let labels: Vec<_> = (0..classes)
            .map(|class| format!("{label}{class}"))
            .collect();
        for normalized in [false, true] {
            let kind = if normalized { "shares" } else { "counts" };
            let name = format!("confusion-{classes}-{}-{kind}", label.trim());
            write(
                &name,
                &plot_confusion(&confusion(classes)?, &labels, normalized)?,
            )?;
        }
    }

    let row = |at: u32, values: &[f64]| Compared {
        label: format!("{at}x{at} kernels"),
        values: values.to_vec(),
        reference: Some(98.8 + f64::from(at) / 10.0),
    };
    let rows = [row(3, &[98.9, 99.0, 99.05]), row(5, &[99.21]), row(7, &[])];
    let (axis, reference) = ("test accuracy, %", Some("the paper"));
    write(
        "comparison",
        &plot_comparison(&Comparison {
            axis,
            possible: 0.0..=100.0,
            reference,
            rows: &rows,
        })?,
    )?;
    Ok(())
}

fn epoch(epoch: u32) -> EpochMetrics {
    let e = f64::from(epoch);
    let wiggle = (e * 1.7).sin() * 0.01;
    EpochMetrics {
        epoch,
        train_loss: 0.5 / e.powf(0.9) + 0.01,
        train_accuracy: 1.0 - 0.16 / e.powf(0.9),
        val_loss: Some(0.25 / e.sqrt() + 0.004 * e + wiggle),
        val_accuracy: Some(0.985 - 0.06 / e + wiggle * 0.3),
    }
}

fn confusion(classes: usize) -> Result<ConfusionMatrix, kiln_metrics::MetricsError> {
    let count = |truth: usize, predicted: usize| match truth.abs_diff(predicted) {
        0 => 900 + (truth * 37 % 200) as u64,
        distance => ((truth * 31 + predicted * 17) % 23 / distance * 3) as u64,
    };
    let row = |truth| {
        (0..classes)
            .map(|predicted| count(truth, predicted))
            .collect()
    };
    ConfusionMatrix::try_from((0..classes).map(row).collect::<Vec<Vec<u64>>>())
}
