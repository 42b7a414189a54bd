//! The page of a sweep.

use kiln_report::{Block, Compared, Comparison, Figure, Page, Section, plot_comparison};
use kiln_run::RunFile;

use kiln_util::{duration, percent, thousands};

use super::{fact, footer};
use crate::error::Result;
use crate::sweep::figures::{Metric, groups};
use crate::sweep::results::Results;
use crate::sweep::tables::{runs_table, seeds_table};

/// Makes the page that compares a sweep's runs. `linked` is whether the page lies in the sweep's folder, from
/// where the runs' own pages can be reached.
pub fn sweep_page(results: &Results, linked: bool) -> Result<Page> {
    let mut sections = vec![comparison(results)?];
    if let Some(table) = seeds_table(results) {
        let text = "Mean ± standard deviation over the runs that differ in nothing but the seed."
            .to_string();
        let blocks = vec![
            Block::Text(text),
            Block::Table {
                table,
                links: Vec::new(),
            },
        ];
        sections.push(Section {
            title: "Over the seeds".into(),
            blocks,
        });
    }
    sections.push(runs(results, linked));
    let failed = results
        .rows
        .iter()
        .filter_map(|row| Some(fact(&row.entry.label, row.entry.error.as_ref()?)));
    let failed: Vec<_> = failed.collect();
    if !failed.is_empty() {
        sections.push(Section {
            title: "Failed".into(),
            blocks: vec![Block::Facts(failed)],
        });
    }
    let origin = origin(results);
    if !origin.is_empty() {
        sections.push(Section {
            title: "How the runs were made".into(),
            blocks: vec![Block::Facts(origin)],
        });
    }
    Ok(Page {
        title: format!("{}: sweep", results.name),
        lead: results.description.clone().unwrap_or_default(),
        highlights: highlights(results),
        sections,
        footer: footer(),
    })
}

/// What is said of the runs, once where they agree and side by side where they do not.
fn origin(results: &Results) -> Vec<(String, String)> {
    let mut facts: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in results.rows.iter().flat_map(|row| &row.origin) {
        match facts.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) if values.contains(value) => {}
            Some((_, values)) => values.push(value.clone()),
            None => facts.push((name.clone(), vec![value.clone()])),
        }
    }
    facts
        .into_iter()
        .map(|(name, values)| (name, values.join("; ")))
        .collect()
}

fn highlights(results: &Results) -> Vec<(String, String)> {
    let best = results.best().map(|(row, figures)| {
        let value = match results.sort_by {
            Metric::ValAccuracy | Metric::TestAccuracy => percent(results.sort_by.of(figures)),
            Metric::ValLoss | Metric::TestLoss => format!("{:.4}", results.sort_by.of(figures)),
            Metric::Parameters => thousands(figures.parameters),
            Metric::Seconds => duration(figures.seconds),
        };
        fact(
            &format!("Best {}: {}", results.sort_by.title(), row.entry.label),
            value,
        )
    });
    let seconds: f64 = results
        .rows
        .iter()
        .filter_map(|row| Some(row.figures?.seconds))
        .sum();
    let runs = format!("{} of {}", results.complete(), results.rows.len());
    best.into_iter()
        .chain([fact("Runs", runs), fact("Training time", duration(seconds))])
        .collect()
}

fn comparison(results: &Results) -> Result<Section> {
    let rows: Vec<Compared> = groups(results)
        .into_iter()
        .map(|group| Compared {
            values: group
                .figures()
                .iter()
                .map(|figures| figures.test_accuracy * 100.0)
                .collect(),
            reference: group.rows[0]
                .entry
                .reference
                .and_then(|reference| reference.test_accuracy)
                .map(|a| a * 100.0),
            label: group.label,
        })
        .collect();
    let reference = Some(results.reference.as_deref().unwrap_or("reference"));
    let axis = "test accuracy, %";
    let picture = plot_comparison(&Comparison {
        axis,
        possible: 0.0..=100.0,
        reference,
        rows: &rows,
    })?;
    let caption = format!(
        "Share of the test images that each run's exported model classifies correctly; the table below \
         is sorted by {}",
        results.sort_by.title()
    );
    let figure = Figure {
        name: "comparison".into(),
        picture,
        caption,
    };
    Ok(Section {
        title: "Comparison".into(),
        blocks: vec![Block::Figures(vec![figure])],
    })
}

fn runs(results: &Results, linked: bool) -> Section {
    let sorted = results.sorted();
    let link = |run: &String| format!("{run}/{}", RunFile::Report.as_str());
    let links = sorted
        .iter()
        .map(|row| row.entry.run.as_ref().filter(|_| linked).map(link))
        .collect();
    let text = format!("Sorted by {}.", results.sort_by.title());
    let blocks = vec![
        Block::Text(text),
        Block::Table {
            table: runs_table(results, &sorted),
            links,
        },
    ];
    Section {
        title: "Runs".into(),
        blocks,
    }
}
