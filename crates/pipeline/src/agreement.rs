//! Two engines on the same random images, and the first node at which they part.

use std::fmt::Write;
use std::path::Path;

use kiln_inference::{LoadError, Model, ModelFile, ModelOverrides, Origin, Preprocess};
use kiln_metrics::{Agreement, MetricsError, Tolerance};
use kiln_onnx::{DataType, ModelProto, ValueInfoProto};
use serde::Serialize;

use crate::bench::random_images;
use crate::context::Context;
use crate::engines::{self, EngineRequest};
use crate::error::Result;
use crate::overrides::Resolved;

/// Images of random pixels that both engines get.
const IMAGES: usize = 16;

/// What two engines make of the same images.
#[derive(Debug, Clone, Serialize)]
pub struct EngineAgreement {
    /// The engine that the other is measured against.
    pub reference: &'static str,
    /// The other.
    pub other: &'static str,
    /// How far the scores lie apart.
    #[serde(flatten)]
    pub agreement: Agreement,
    /// What an image's scores may differ by: where the graph rounds values itself, much more than
    /// the rounding of floats.
    pub tolerance: Tolerance,
    /// Whether every image's scores are within it.
    pub passed: bool,
    /// The first node whose values differ, where the scores do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parting: Option<Parting>,
}

/// A node at which two engines part.
#[derive(Debug, Clone, Serialize)]
pub struct Parting {
    /// The node, such as `` node `conv1` (Conv) ``.
    pub node: String,
    /// Largest difference of its values, as a part of the largest value.
    pub max_relative: f64,
}

/// Compares two engines on random images. Preprocessing that nobody specifies is that of pixels of 0 to
/// 1.
///
/// # Errors
///
/// Returns why the model cannot be loaded or run.
pub fn compare_engines(
    file: &ModelFile,
    [first, second]: [&EngineRequest; 2],
    context: &Context<'_>,
) -> Result<EngineAgreement> {
    let models = [load(file, first, context)?, load(file, second, context)?];
    let pixels = random_images(&models[0], IMAGES)?;
    let scores = |model: &Model| -> Result<Vec<f32>> {
        Ok(model
            .run_named(&pixels, IMAGES)?
            .into_iter()
            .next()
            .map_or_else(Vec::new, |scores| scores.data))
    };
    let [a, b] = [scores(&models[0])?, scores(&models[1])?];
    let proto = file.proto().map_err(|error| LoadError {
        origin: file.to_string(),
        kind: error.into(),
    })?;
    let tolerance = tolerance(proto);
    let agreement = between(&a, &b, tolerance)?;
    let passed = agreement.passes();
    let parting = if passed {
        None
    } else {
        let probe = Probe {
            file,
            models: &models,
            requests: [first, second],
            pixels: &pixels,
            tolerance,
            context,
        };
        probe.first()
    };
    let [reference, other] = [first, second].map(|request| request.engine.title());
    Ok(EngineAgreement {
        reference,
        other,
        agreement,
        tolerance,
        passed,
        parting,
    })
}

fn load(file: &ModelFile, request: &EngineRequest, context: &Context<'_>) -> Result<Model> {
    let mut request = request.clone();
    let path = file.path().unwrap_or(Path::new(""));
    let resolved = Resolved::new(path, &request.overrides)?;
    let specified = resolved.all().specifies_normalization()
        || file
            .metadata()
            .is_some_and(|metadata| metadata.preprocessing.is_some());
    if !specified {
        request.overrides.specified.preprocess = Some(Preprocess::Unit);
    }
    match engines::load(file, &request, context) {
        // A graph of pixels takes them as they are.
        Err(_) if !specified => {
            request.overrides.specified.preprocess = Some(Preprocess::Raw);
            engines::load(file, &request, context)
        }
        loaded => loaded,
    }
}

/// What an image's scores may differ by.
fn tolerance(model: &ModelProto) -> Tolerance {
    let operators = model.operators();
    let rounds = |name: &String| {
        name.contains("QuantizeLinear") || name.contains("QLinear") || name.ends_with("Integer")
    };
    let halves = model
        .other_floats()
        .iter()
        .any(|found| matches!(found, DataType::Float16 | DataType::Bfloat16));
    let relative = match (operators.keys().any(rounds), halves) {
        (true, _) => 0.1,
        (_, true) => 1e-2,
        _ => 1e-4,
    };
    Tolerance {
        absolute: relative,
        relative,
    }
}

/// How far the values of all images lie apart; as far as can be where some are no numbers.
fn between(a: &[f32], b: &[f32], tolerance: Tolerance) -> Result<Agreement> {
    match Agreement::between(a, b, a.len() / IMAGES, tolerance) {
        Err(MetricsError::NotFinite { .. }) => Ok(Agreement::none(IMAGES as u64)),
        other => Ok(other?),
    }
}

/// Looks for the first value that differs, by halves: once values differ, those after them do.
struct Probe<'a> {
    file: &'a ModelFile,
    models: &'a [Model; 2],
    requests: [&'a EngineRequest; 2],
    pixels: &'a [f32],
    tolerance: Tolerance,
    context: &'a Context<'a>,
}

impl Probe<'_> {
    fn first(&self) -> Option<Parting> {
        let whole = match self.file.path() {
            Some(path) if self.file.has_external_data() => {
                kiln_onnx::load_with_external_data(path).ok()
            }
            _ => self.file.proto().ok().cloned(),
        };
        let model = whole?;
        let nodes = model.graph.as_ref().map_or(0, |graph| graph.node.len());
        let differ = |at| {
            if self.context.cancel.is_cancelled() {
                return None;
            }
            let agreement = self.differ(&model, at)?;
            Some((!agreement.passes()).then_some(agreement.max_relative))
        };
        let (at, max_relative) = first_difference(nodes, differ)?;
        Some(Parting {
            node: model.graph.as_ref()?.node.get(at)?.describe(),
            max_relative,
        })
    }

    /// How far the first values of a node lie apart; none where they cannot be compared.
    fn differ(&self, model: &ModelProto, at: usize) -> Option<Agreement> {
        let value = model.graph.as_ref()?.node.get(at)?.output.first()?.clone();
        let [a, b] = [0, 1].map(|which| self.values(model, &value, which));
        let (a, b) = (a?, b?);
        (a.len() == b.len() && !a.is_empty())
            .then(|| between(&a, &b, self.tolerance).ok())
            .flatten()
    }

    /// A value of a graph on one of the engines.
    fn values(&self, model: &ModelProto, value: &str, which: usize) -> Option<Vec<f32>> {
        let mut probed = model.clone();
        let graph = probed.graph.as_mut()?;
        let is_output = graph.output.iter().any(|output| output.name == value);
        if !is_output {
            graph.output.push(ValueInfoProto {
                name: value.to_owned(),
                ..ValueInfoProto::default()
            });
        }
        let spec = self.models[which].spec();
        let declared = ModelOverrides {
            labels: (spec.origins.labels != Origin::Default).then(|| spec.labels.clone()),
            layout: Some(spec.layout),
            output: Some(spec.output),
            output_name: Some(spec.output_name.clone()),
            ..spec.preprocessing.clone().into()
        };
        let options = self.requests[which].options(self.context);
        let options = options.with_declared(declared);
        let probed = Model::from_bytes(&kiln_onnx::encode(&probed), &options).ok()?;
        let outputs = probed.run_named(self.pixels, IMAGES).ok()?;
        let found = outputs.into_iter().find(|output| output.name == value)?;
        (found.shape.first() == Some(&IMAGES)).then_some(found.data)
    }
}

/// Finds the first of `count` values that differs, by halves, and by how much. `differ` gives none for a
/// value that cannot be compared, such as integers, and else by how much it differs, if it does.
fn first_difference(
    count: usize,
    differ: impl Fn(usize) -> Option<Option<f64>>,
) -> Option<(usize, f64)> {
    let (mut low, mut high) = (0, count);
    let mut found = None;
    while low < high {
        let middle = usize::midpoint(low, high);
        match (middle..high).find_map(|at| Some((at, differ(at)?))) {
            None => high = middle,
            Some((at, None)) => low = at + 1,
            Some((at, Some(by))) => {
                found = Some((at, by));
                high = middle;
            }
        }
    }
    found
}

/// Describes an agreement for people: `ONNX Runtime and tract agree on 16 random images: …`.
pub fn agreement_text(found: &EngineAgreement) -> String {
    let EngineAgreement {
        reference,
        other,
        agreement,
        tolerance,
        passed,
        parting,
    } = found;
    let verdict = if *passed { "agree" } else { "differ" };
    let mut text = format!(
        "{other} and {reference} {verdict} on {} random images: scores differ by at most {:.1e} of an image's largest (allowed {:.0e})\n",
        agreement.images, agreement.max_relative, tolerance.relative
    );
    if let Some(Parting { node, max_relative }) = parting {
        let _ = writeln!(
            text,
            "They part at {node}: its values differ by up to {max_relative:.1e} of the largest"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_found_by_halves() {
        for count in 1..40 {
            for first in 0..count {
                let differ = |at: usize| Some((at >= first).then_some(at as f64));
                assert_eq!(first_difference(count, differ), Some((first, first as f64)));
                // Every third value cannot be compared: the next one that can is found.
                let some = |at: usize| (at % 3 != 1).then(|| (at >= first).then_some(0.5));
                let expected = (first..count).find(|at| at % 3 != 1);
                let found = first_difference(count, some).map(|(at, _)| at);
                assert_eq!(found, expected, "{first} of {count}");
            }
            assert_eq!(first_difference(count, |_| Some(None)), None);
            assert_eq!(first_difference(count, |_| None), None);
        }
    }
}
