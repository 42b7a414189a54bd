//! The page of a run.

use kiln_model::Monitor;
use kiln_report::{Block, Curve, Figure, Page, Section, Table, classification_table, plot_curve};
use kiln_run::Epoch;
use kiln_util::{duration, percent, thousands};

use super::confused::confused;
use super::images::{Mistakes, hidden, images, mistakes};
use super::pictures::evaluation_figures;
use super::tables::{curves, layer_table};
use super::{fact, footer};
use crate::context::Context;
use crate::error::Result;
use crate::error::training::ReportRunError;
use crate::evaluate::EvaluationRecord;
use crate::event::Event;
use crate::parity::Parity;
use crate::run_record::RunRecord;

/// Makes one page of everything that a run's files say.
pub fn run_page(record: &RunRecord, context: &Context<'_>) -> Result<Page> {
    if record.history.epochs.is_empty() {
        let run = record.run.path().to_path_buf();
        return Err(ReportRunError::NoEpoch { run }.into());
    }
    let mut sections = vec![training(record)?];
    if let Some(first) = record.evaluations.first() {
        sections.push(test_images(&record.evaluations, first)?);
    }
    // Of a run that was not evaluated a page needs no images, and is made without them.
    if let Some(mistakes) = mistakes(record)? {
        let hidden = hidden(record, context)?;
        if let Some(reason) = &hidden {
            context.emit(&Event::PageWithoutImages { reason });
        }
        sections.push(mistakes_section(
            &mistakes,
            record,
            hidden.as_deref(),
            context,
        )?);
        if let Some(first) = record.evaluations.first() {
            let shown = hidden.is_none();
            sections.extend(confused(
                &first.evaluation,
                &mistakes,
                shown,
                record,
                context,
            )?);
        }
        if hidden.is_none() {
            sections.push(images(record, context)?);
        }
    }
    sections.push(model(record));
    sections.extend(record.parity.as_ref().map(agreement));
    sections.push(origin(record));
    Ok(Page {
        title: record.recipe.name.clone(),
        lead: record.recipe.description.clone().unwrap_or_default(),
        highlights: highlights(record),
        sections,
        footer: footer(),
    })
}

fn highlights(record: &RunRecord) -> Vec<(String, String)> {
    let test = record
        .evaluations
        .first()
        .map(|measured| &measured.evaluation);
    let test = test.map(|evaluation| {
        [
            fact("Test accuracy", percent(evaluation.accuracy)),
            fact("Test loss", format!("{:.4}", evaluation.loss)),
        ]
    });
    let best = record.history.best();
    let validation = best.map(|best| fact("Validation accuracy", percent(best.val_accuracy)));
    let parameters = thousands(record.recipe.model().counts().total());
    let features = record
        .features
        .map(|time| fact("Time of features", duration(time.seconds)));
    let rest = [fact("Parameters", parameters)]
        .into_iter()
        .chain(features)
        .chain([fact("Training time", duration(record.seconds()))]);
    test.into_iter()
        .flatten()
        .chain(validation)
        .chain(rest)
        .collect()
}

fn training(record: &RunRecord) -> Result<Section> {
    let (epochs, best) = curves(&record.history);
    let mut blocks = Vec::new();
    if let Some(epoch) = record.history.best() {
        let name = match epoch.penalty {
            Some(_) => epoch.name().replacen('p', "P", 1),
            None => format!("Epoch {}", epoch.epoch),
        };
        blocks.push(Block::Text(format!(
            "{name} of {} has {}; its weights were kept.",
            record.history.epochs.len(),
            match record.history.monitor {
                Monitor::ValLoss => format!(
                    "the lowest validation loss, {:.4}, with an accuracy of {}",
                    epoch.val_loss,
                    percent(epoch.val_accuracy)
                ),
                Monitor::ValMacroF1 => format!(
                    "the highest mean F1 of the classes on the validation images, {:.4}, with an accuracy of {}",
                    epoch.val_macro_f1.unwrap_or_default(),
                    percent(epoch.val_accuracy)
                ),
                Monitor::ValAccuracy => format!(
                    "the highest validation accuracy, {}, with a loss of {:.4}",
                    percent(epoch.val_accuracy),
                    epoch.val_loss
                ),
            },
        )));
    }
    let figure = |curve: Curve, caption: &str| -> Result<Figure> {
        let (name, picture) = (curve.name().into(), plot_curve(curve, &epochs, best)?);
        Ok(Figure {
            name,
            picture,
            caption: caption.into(),
        })
    };
    let fits = record
        .history
        .epochs
        .iter()
        .filter(|epoch| epoch.penalty.is_some());
    let fits: Vec<&Epoch> = fits.collect();
    if !fits.is_empty() {
        blocks.push(Block::Table {
            table: penalties(&fits),
            links: Vec::new(),
        });
    }
    if fits.len() == record.history.epochs.len() {
        return Ok(Section {
            title: "Training".into(),
            blocks,
        });
    }
    blocks.push(Block::Figures(vec![
        figure(Curve::Loss, "Loss (mean cross-entropy) by epoch")?,
        figure(
            Curve::Accuracy,
            "Share of images classified correctly by epoch",
        )?,
    ]));
    Ok(Section {
        title: "Training".into(),
        blocks,
    })
}

/// What came of each penalty of L-BFGS.
fn penalties(fits: &[&Epoch]) -> Table {
    let rows = fits.iter().map(|fit| {
        [
            format!("{:e}", fit.penalty.unwrap_or_default()),
            format!("{:.4}", fit.train_loss),
            percent(fit.train_accuracy),
            format!("{:.4}", fit.val_loss),
            percent(fit.val_accuracy),
        ]
    });
    let header = [
        "penalty",
        "training loss",
        "training accuracy",
        "validation loss",
        "validation accuracy",
    ];
    Table::new(header, rows, 0)
}

fn test_images(all: &[EvaluationRecord<'_>], first: &EvaluationRecord<'_>) -> Result<Section> {
    let evaluation = &first.evaluation;
    let correct = format!(
        "{} of {} images of {} are classified correctly: {}.",
        thousands(evaluation.confusion.correct() as usize),
        thousands(evaluation.images as usize),
        first.data,
        percent(evaluation.accuracy),
    );
    let engines = all.iter().map(|measured| {
        let rate = thousands(measured.throughput.images_per_second.round() as usize);
        let EvaluationRecord {
            runtime,
            evaluation,
            ..
        } = measured;
        [
            runtime.describe(),
            percent(evaluation.accuracy),
            format!("{:.4}", evaluation.loss),
            rate,
        ]
    });
    let blocks = vec![
        Block::Text(correct),
        Block::Figures(evaluation_figures(evaluation)?),
        Block::Table {
            table: classification_table(evaluation),
            links: Vec::new(),
        },
        Block::Table {
            table: Table::new(["engine", "accuracy", "loss", "images/s"], engines, 1),
            links: Vec::new(),
        },
    ];
    Ok(Section {
        title: "Test images".into(),
        blocks,
    })
}

fn mistakes_section(
    mistakes: &Mistakes,
    record: &RunRecord,
    hidden: Option<&str>,
    context: &Context<'_>,
) -> Result<Section> {
    let (count, shown) = (mistakes.count(), mistakes.shown());
    let text = match (count, hidden) {
        (0, _) => "There are none.".into(),
        (_, Some(reason)) => format!("{} of them, not shown: {reason}.", thousands(count)),
        _ => {
            let which = if shown == count {
                format!("All {count} of them, the most confident first.")
            } else {
                format!(
                    "{shown} of {}: those with the highest probability of the wrong class.",
                    thousands(count)
                )
            };
            format!(
                "{which} Below each its true class, and the predicted class with its probability."
            )
        }
    };
    let cards = if hidden.is_some() {
        Vec::new()
    } else {
        mistakes.cards(record, context)?
    };
    let explained = if hidden.is_some() {
        None
    } else {
        mistakes.explained(record, context)?
    };
    let mut blocks = vec![
        Block::Text(text),
        Block::Cards {
            name: "mistakes".into(),
            cards,
        },
    ];
    blocks.extend(explained.map(|figure| Block::Figures(vec![figure])));
    Ok(Section {
        title: "Most confident mistakes".into(),
        blocks,
    })
}

fn model(record: &RunRecord) -> Section {
    let model = record.recipe.model();
    let counts = model.counts();
    let facts = vec![
        fact("Total parameters", thousands(counts.total())),
        fact("Trainable", thousands(counts.trainable)),
        fact("Not trainable", thousands(counts.non_trainable)),
    ];
    let blocks = vec![
        Block::Table {
            table: layer_table(model, false),
            links: Vec::new(),
        },
        Block::Facts(facts),
    ];
    Section {
        title: "Model".into(),
        blocks,
    }
}

fn agreement(parity: &Parity) -> Section {
    let verdict = if parity.passed {
        "agree"
    } else {
        "do not agree"
    };
    let text = format!(
        "The same images through every implementation: they {verdict}. They agree if no score of any image differs by more \
         than {}. Where scores agree, another top class is a tie within the tolerance.",
        parity.allowed(),
    );
    let rows = parity.comparisons.iter().map(|comparison| {
        let agreement = &comparison.agreement;
        [
            format!("{} and {}", comparison.reference, comparison.other),
            if comparison.passed {
                "yes".to_string()
            } else {
                "no".to_string()
            },
            comparison.batch_size.to_string(),
            format!(
                "{} of {}",
                thousands(agreement.same_top as usize),
                thousands(agreement.images as usize)
            ),
            format!("{:.1e}", agreement.max_absolute),
        ]
    });
    let header = [
        "implementations",
        "agree",
        "batch",
        "same top class",
        "largest difference",
    ];
    let mut blocks = vec![
        Block::Text(text),
        Block::Table {
            table: Table::new(header, rows, 2),
            links: Vec::new(),
        },
    ];
    blocks.extend(
        parity
            .first_differences
            .iter()
            .map(|difference| Block::Text(difference.to_string())),
    );
    Section {
        title: "Agreement of the implementations".into(),
        blocks,
    }
}

fn origin(record: &RunRecord) -> Section {
    let source = Block::Source {
        title: "Resolved recipe".into(),
        text: record.recipe.to_toml(),
    };
    Section {
        title: "How it was made".into(),
        blocks: vec![Block::Facts(record.origin()), source],
    }
}
