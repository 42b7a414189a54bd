//! The page of a sweep.

use kiln_report::{Block, Compared, Comparison, Figure, Page, Section, plot_comparison};
use kiln_run::RunFile;

use kiln_util::{duration, thousands};

use super::{fact, footer};
use crate::error::Result;
use crate::sweep::figures::{Metric, groups};
use crate::sweep::results::{Results, Row, State};
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
        let value = results.sort_by.of(figures);
        let value = value.map_or_else(String::new, |value| results.sort_by.text(value));
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
    let runs = format!("{} of {}", results.count(State::Done), results.rows.len());
    let pruned = results.count(State::Pruned);
    best.into_iter()
        .chain([fact("Runs", runs)])
        .chain((pruned > 0).then(|| fact("Pruned", thousands(pruned))))
        .chain([fact("Training time", duration(seconds))])
        .collect()
}

/// Draws what the best is chosen by, and the figures of the test images that there are references for.
fn comparison(results: &Results) -> Result<Section> {
    let by = results.sort_by;
    let of_test = [Metric::TestAccuracy, Metric::TestLoss].map(|metric| {
        let references = || results.rows.iter().filter_map(|row| row.entry.reference);
        let any = references().any(|reference| metric.of_reference(reference).is_some());
        (metric != by && any).then_some(metric)
    });
    let figures = std::iter::once(by).chain(of_test.into_iter().flatten());
    let figures = figures.map(|metric| figure(results, metric));
    let mut blocks = vec![Block::Figures(figures.collect::<Result<_>>()?)];
    blocks.extend(results.notes().into_iter().map(Block::Text));
    Ok(Section {
        title: "Comparison".into(),
        blocks,
    })
}

/// Draws a metric of the complete runs.
fn figure(results: &Results, metric: Metric) -> Result<Figure> {
    let scale = if metric.is_share() { 100.0 } else { 1.0 };
    let rows: Vec<Compared> = groups(results)
        .into_iter()
        .map(|group| Compared {
            values: group
                .figures()
                .iter()
                .filter_map(|figures| Some(metric.of(figures)? * scale))
                .collect(),
            reference: group.rows[0]
                .entry
                .reference
                .and_then(|reference| Some(metric.of_reference(reference)? * scale)),
            label: group.label,
        })
        .collect();
    let reference = Some(results.reference.as_deref().unwrap_or("reference"));
    let unit = metric
        .unit()
        .map_or_else(String::new, |unit| format!(", {unit}"));
    let axis = format!("{}{unit}", metric.title());
    let most = if metric.is_share() { 100.0 } else { f64::MAX };
    let picture = plot_comparison(&Comparison {
        axis: &axis,
        possible: 0.0..=most,
        reference,
        rows: &rows,
    })?;
    let chosen = if metric == results.sort_by {
        "; the best is chosen by it, and the table below is sorted by it"
    } else {
        ""
    };
    Ok(Figure {
        name: if metric == results.sort_by {
            "comparison".into()
        } else {
            format!("comparison-{metric}").replace('_', "-")
        },
        picture,
        caption: format!("{}{chosen}", metric.description()),
    })
}

fn runs(results: &Results, linked: bool) -> Section {
    let sorted = results.sorted();
    let link = |row: &&Row| {
        let run = row
            .entry
            .run
            .as_ref()
            .filter(|_| linked && row.is_complete())?;
        Some(format!("{run}/{}", RunFile::Report.as_str()))
    };
    let links = sorted.iter().map(link).collect();
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
