//! The page of a run.

use kiln_metrics::SeveralEvaluation;
use kiln_model::Monitor;
use kiln_report::{
    Block, Curve, Figure, Page, Section, Table, classification_table, plot_curve,
    plot_precision_recall, several_table,
};
use kiln_run::Epoch;
use kiln_util::{duration, percent, thousands};

use super::confused::confused;
use super::images::{Mistakes, hidden, images, mistakes};
use super::pictures::evaluation_figures;
use super::smaller::smaller;
use super::tables::{curves, layer_table};
use super::{fact, footer};
use crate::context::Context;
use crate::error::Result;
use crate::error::training::ReportRunError;
use crate::evaluate::AnyRecord;
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
        if let Some(AnyRecord::One(first)) = record.evaluations.first() {
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
    if let Some(copy) = &record.smaller {
        sections.push(smaller(copy)?);
    }
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
    let test = record.evaluations.first().map(|measured| {
        let (figure, value) = measured.headline();
        [
            fact(&format!("Test {figure}"), value),
            fact("Test loss", format!("{:.4}", measured.loss())),
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
    let (loss, accuracy) = if record.recipe.training.loss.is_binary() {
        (
            "Loss (mean binary cross-entropy) by epoch",
            "Share of images, or of decisions about their classes, that are right by epoch",
        )
    } else {
        (
            "Loss (mean cross-entropy) by epoch",
            "Share of images classified correctly by epoch",
        )
    };
    blocks.push(Block::Figures(vec![
        figure(Curve::Loss, loss)?,
        figure(Curve::Accuracy, accuracy)?,
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

fn test_images(all: &[AnyRecord<'_>], first: &AnyRecord<'_>) -> Result<Section> {
    let table = |table| Block::Table {
        table,
        links: Vec::new(),
    };
    let mut blocks = match first {
        AnyRecord::One(one) => {
            let evaluation = &one.evaluation;
            let correct = format!(
                "{} of {} images of {} are classified correctly: {}.",
                thousands(evaluation.confusion.correct() as usize),
                thousands(evaluation.images as usize),
                one.data,
                percent(evaluation.accuracy),
            );
            vec![
                Block::Text(correct),
                Block::Figures(evaluation_figures(evaluation)?),
                table(classification_table(evaluation)),
            ]
        }
        AnyRecord::Several(several) => {
            let evaluation = &several.evaluation;
            let mut blocks = vec![
                Block::Text(decisions(evaluation, &several.data)),
                table(several_table(evaluation)),
            ];
            blocks.extend(curves_by_class(evaluation)?.map(|figure| Block::Figures(vec![figure])));
            blocks
        }
    };
    let engines = all.iter().map(|measured| {
        [
            measured.runtime().describe(),
            measured.headline().1,
            format!("{:.4}", measured.loss()),
            thousands(measured.images_per_second().round() as usize),
        ]
    });
    let header = ["engine", first.headline().0, "loss", "images/s"];
    blocks.push(table(Table::new(header, engines, 1)));
    Ok(Section {
        title: "Test images".into(),
        blocks,
    })
}

/// Describes what came of images that can have several classes.
fn decisions(evaluation: &SeveralEvaluation, data: &str) -> String {
    let precision = evaluation.mean_average_precision;
    let precision = precision.map_or_else(String::new, |precision| {
        format!(
            "The mean of the classes' average precisions, the areas under their curves of precision by recall, is {}; \
             the mean F1 at their thresholds is {}. ",
            percent(precision),
            percent(evaluation.macro_average.f1)
        )
    });
    format!(
        "{precision}{} of {} images of {data} have exactly the predicted classes, and {} of the decisions about a class are \
         right.",
        percent(evaluation.exact_matches),
        thousands(evaluation.images as usize),
        percent(1.0 - evaluation.hamming_loss),
    )
}

/// The curve of each class; none where no image has one.
fn curves_by_class(evaluation: &SeveralEvaluation) -> Result<Option<Figure>> {
    if evaluation.mean_average_precision.is_none() {
        return Ok(None);
    }
    Ok(Some(Figure {
        name: "precision-recall".into(),
        picture: plot_precision_recall(evaluation)?,
        caption: "Precision by recall as the threshold falls, and average precision; the mark is at the threshold, the line at \
                  the share of images that have the class"
            .into(),
    }))
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
