//! The smaller copy of a run's model: made, verified, and measured beside the model.

use kiln_inference::{Model, ModelFile};
use kiln_metrics::Paired;
use kiln_model::{Quantize, Recipe};
use kiln_report::text_table;
use kiln_run::{RunDir, RunFile};
use kiln_util::{bytes, percent, thousands};
use serde::{Deserialize, Serialize};

use crate::compare::p_value_text;
use crate::context::Context;
use crate::dataset;
use crate::engines::{self, EngineRequest};
use crate::error::Result;
use crate::error::models::QuantizeModelError;
use crate::evaluate::AnyRecord;
use crate::event::Event;
use crate::inputs::Inputs;
use crate::quantize::{
    Calibrated, Gate, JUDGED, Precision, QuantizeRequest, Quantized, Sensitivity, shrink,
};
use crate::test_images::{LoadedModel, TestImages, TestRun};

/// Multiplications with an addition each that judging the layers may take: for small networks on all images that are kept
/// for that, for EfficientNet-Lite0 on 224 x 224 pixels on some 30.
const JUDGING_WORK: u64 = 1_000_000_000_000;
/// Layers are judged by so many images at least.
const LEAST_JUDGED: usize = 8;

/// What came of a smaller copy of a run's model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Smaller {
    /// How it was made, such as `8-bit integers, mse, 300 calibration images`.
    pub summary: String,
    /// Name of its file in the run directory; none where it loses more than it may, and was not written.
    pub file: Option<String>,
    /// Bytes of the model and of the copy.
    pub bytes: [u64; 2],
    /// Layers that were left in float.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// What each layer alone costs, the most costly first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Sensitivity>,
    /// The bound on what it may lose, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Bound>,
    /// Model and copy on the test images, on each engine.
    pub engines: Vec<OnEngine>,
}

/// What a smaller copy may lose, and what it loses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// Accuracy on the validation images that it may lose, 0 to 1.
    pub max_drop: f64,
    /// Model and copy on the validation images.
    pub paired: Paired,
    /// Whether it loses no more.
    pub passed: bool,
}

/// Model and copy on the test images, on one engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OnEngine {
    /// The engine's title.
    pub engine: String,
    /// Figures of the model and of the copy.
    pub figures: [Figures; 2],
    /// Both on the images that this engine computed, where each image has one class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paired: Option<Paired>,
    /// The replay of the copy's golden vectors, where it has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<Replayed>,
}

/// Figures of one model on the test images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Images that this engine computed.
    pub images: u64,
    /// The figure that stands for all, such as `accuracy`.
    pub figure: String,
    /// Its value for people.
    pub value: String,
    /// Mean loss in nats.
    pub loss: f64,
    /// Expected calibration error, 0 to 1, where each image has one class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration_error: Option<f64>,
    /// With reading, decoding and preprocessing.
    pub images_per_second: f64,
}

/// The worst of a file's golden vectors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// Largest difference of a score from the model's, computed by Burn.
    pub difference: f64,
    /// Largest difference that passes.
    pub tolerance: f64,
    /// Whether all vectors passed.
    pub passed: bool,
}

impl Smaller {
    /// Whether it loses no more than it may, and its golden vectors pass on every engine.
    pub fn passed(&self) -> bool {
        let mut replays = self.engines.iter().filter_map(|on| on.golden);
        self.file.is_some() && replays.all(|replay| replay.passed)
    }

    /// Its size beside the model's: `745.12 kB → 210.45 kB (28 %)`.
    pub fn sizes(&self) -> String {
        let [model, copy] = self.bytes;
        let share = 100.0 * copy as f64 / model.max(1) as f64;
        format!("{} → {} ({share:.0} %)", bytes(model), bytes(copy))
    }

    /// Describes what came of it for people: how it was made, a table of the engines, and whether it may replace the model.
    pub fn to_text(&self) -> String {
        let mut lines = vec![format!("Smaller model: {}, {}", self.summary, self.sizes())];
        if let Some(first) = self.engines.first() {
            let header = [
                "engine",
                "images",
                &first.figures[1].figure,
                "images/s",
                "change",
                "McNemar's test",
                "same class",
            ];
            let rows = self.engines.iter().map(OnEngine::row);
            lines.push(format!("\n{}\n", text_table(header, rows, 1)));
        }
        lines.extend(self.bound.as_ref().map(Bound::to_text));
        let failed = |on: &&OnEngine| on.golden.is_some_and(|replay| !replay.passed);
        lines.extend(
            self.engines
                .iter()
                .filter(failed)
                .map(|on| format!("FAILED: its golden vectors on {}", on.engine)),
        );
        lines.join("\n")
    }
}

impl Bound {
    /// What it loses on the validation images, for people.
    pub fn to_text(&self) -> String {
        let verdict = if self.passed { "passed" } else { "FAILED" };
        format!(
            "{verdict}: {} on {} validation images, at most {:.2} may be lost",
            points(self.paired.accuracy_change()),
            thousands(self.paired.images() as usize),
            100.0 * self.max_drop
        )
    }
}

impl OnEngine {
    fn new(models: [&AnyRecord<'_>; 2], paired: Option<Paired>, golden: Option<Replayed>) -> Self {
        Self {
            engine: models[1].runtime().title().into(),
            figures: models.map(Figures::of),
            paired,
            golden,
        }
    }

    fn row(&self) -> [String; 7] {
        let [_, copy] = &self.figures;
        let paired =
            |text: fn(&Paired) -> String| self.paired.as_ref().map_or_else(String::new, text);
        [
            self.engine.clone(),
            thousands(copy.images as usize),
            copy.value.clone(),
            thousands(copy.images_per_second.round() as usize),
            paired(|it| points(it.accuracy_change())),
            paired(|it| p_value_text(it.p_value())),
            paired(|it| percent(it.agreement())),
        ]
    }
}

/// Writes a change of an accuracy: `-0.20 points`.
pub fn points(change: f64) -> String {
    format!("{:+.2} points", 100.0 * change)
}

impl Figures {
    fn of(record: &AnyRecord<'_>) -> Self {
        let (figure, value) = record.headline();
        Self {
            images: record.images(),
            figure: figure.into(),
            value,
            loss: record.loss(),
            calibration_error: record.calibration_error(),
            images_per_second: record.images_per_second(),
        }
    }
}

/// What a smaller copy is made from and measured beside.
pub(crate) struct Flow<'a> {
    pub form: Quantize,
    pub recipe: &'a Recipe,
    pub run: &'a RunDir,
    /// Multiplications with an addition each for an image.
    pub multiply_adds: u64,
    /// The exported model on each engine, and what came of it on the test images.
    pub models: &'a [&'a LoadedModel],
    pub float: &'a [TestRun],
    pub images: &'a TestImages<'a>,
}

/// A copy that was made, and what is known of it before the test images.
struct Copy {
    quantized: Quantized,
    kept: Vec<String>,
    layers: Vec<Sensitivity>,
    bound: Option<Bound>,
}

impl Flow<'_> {
    /// Makes the copy and writes it, unless it loses more than it may, and measures it. Returns `None` if cancelled.
    pub fn run(&self, data: &str, context: &Context<'_>) -> Result<Option<Smaller>> {
        let Some(copy) = self.make(context)? else {
            return Ok(None);
        };
        let model = engines::open(&self.run.file(RunFile::Model))?;
        let bytes = [&model, &copy.quantized.file].map(ModelFile::total_bytes);
        let mut smaller = Smaller {
            summary: copy.quantized.summary,
            file: None,
            bytes,
            kept: copy.kept,
            layers: copy.layers,
            bound: copy.bound,
            engines: Vec::new(),
        };
        if smaller.bound.is_some_and(|bound| !bound.passed) {
            return Ok(Some(smaller));
        }
        let file = self.file();
        self.run.write(file, copy.quantized.file.bytes())?;
        context.emit(&Event::Exported {
            path: &self.run.file(file),
            bytes: bytes[1],
        });
        smaller.file = Some(file.as_str().into());
        let Some(engines) = self.measure(&copy.quantized.file, data, context)? else {
            return Ok(None);
        };
        smaller.engines = engines;
        Ok(Some(smaller))
    }

    const fn file(&self) -> RunFile {
        match self.form {
            Quantize::Int8 => RunFile::Int8Model,
            Quantize::WeightsOnly => RunFile::Int8WeightsModel,
            Quantize::Fp16 => RunFile::Fp16Model,
        }
    }

    /// On the engine whose figures are reported: calibrated on the training images, judged on the validation images.
    fn make(&self, context: &Context<'_>) -> Result<Option<Copy>> {
        let (engine, model) = self.models[0];
        let engine = EngineRequest::new(*engine);
        let path = self.run.file(RunFile::Model);
        let splits = dataset::splits(self.recipe, context)?;
        let held_out = || Ok(Inputs::of_view(&splits.validation));
        let gate = self.recipe.export.max_drop.map(|max_drop| Gate {
            model,
            engine: &engine,
            images: &held_out,
            max_drop: Some(max_drop),
            batch_size: self.images.batch_size,
        });
        let bound = |paired, passed| {
            let max_drop = self.recipe.export.max_drop?;
            Some(Bound {
                max_drop,
                paired,
                passed,
            })
        };
        let unbounded = |quantized, layers| Copy {
            quantized,
            kept: Vec::new(),
            layers,
            bound: None,
        };
        let precision = match self.form {
            Quantize::Int8 => None,
            Quantize::WeightsOnly => Some(Precision::Int8),
            Quantize::Fp16 => Some(Precision::Float16),
        };
        let (passed, layers) = if let Some(precision) = precision {
            let quantized = shrink(&path, precision, &engine, context)?;
            let Some(gate) = gate else {
                return Ok(Some(unbounded(quantized, Vec::new())));
            };
            (gate.measure(quantized, &[], context)?, Vec::new())
        } else {
            let request = QuantizeRequest::new(engine.clone());
            let images = || Ok(Inputs::of_view(&splits.train));
            let Some(calibrated) = Calibrated::open(&path, &request, images, context)? else {
                return Ok(None);
            };
            let Some(layers) = calibrated.sensitivities(self.judged(&calibrated), context)? else {
                return Ok(None);
            };
            let Some(gate) = gate else {
                let quantized = calibrated.quantize(&[], context)?;
                return Ok(Some(unbounded(quantized, layers)));
            };
            let passed = calibrated.fewest_in_float(&layers, &[], &gate, context)?;
            (passed, layers)
        };
        Ok(passed.map(|passed| Copy {
            bound: bound(passed.comparison.paired, passed.passes),
            quantized: passed.quantized,
            kept: passed.kept,
            layers,
        }))
    }

    /// How many images layers are judged by.
    fn judged(&self, calibrated: &Calibrated) -> usize {
        let layers = calibrated.nodes().len() as u64;
        let images = JUDGING_WORK / (self.multiply_adds * layers).max(1);
        usize::try_from(images).map_or(JUDGED, |images| images.clamp(LEAST_JUDGED, JUDGED))
    }

    /// Replays the copy's golden vectors and classifies the test images, on every engine. Returns `None` if cancelled.
    fn measure(
        &self,
        file: &ModelFile,
        data: &str,
        context: &Context<'_>,
    ) -> Result<Option<Vec<OnEngine>>> {
        let mut copies: Vec<LoadedModel> = Vec::with_capacity(self.models.len());
        for (engine, _) in self.models {
            let loaded = engines::load(file, &EngineRequest::new(*engine), context)?;
            copies.push((*engine, loaded));
        }
        let order: Vec<&LoadedModel> = copies.iter().collect();
        let Some(runs) = self.images.run(&order, context)? else {
            return Ok(None);
        };
        let mut engines = Vec::with_capacity(runs.len());
        for ((float, copy), (_, model)) in self.float.iter().zip(&runs).zip(&copies) {
            let [of_float, of_copy] = [float, copy].map(|run| run.evaluated.record(data));
            engines.push(OnEngine::new(
                [&of_float, &of_copy],
                float.paired(copy),
                replay(model)?,
            ));
        }
        Ok(Some(engines))
    }
}

/// Replays the golden vectors of a file that may have none.
fn replay(model: &Model) -> Result<Option<Replayed>> {
    if model.golden_vectors() == 0 {
        return Ok(None);
    }
    let verification = model
        .verify()
        .map_err(|source| QuantizeModelError::Golden { source })?;
    let worst = verification.worst();
    Ok(Some(Replayed {
        difference: worst.difference,
        tolerance: worst.tolerance,
        passed: verification.passed(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(passed: bool) -> OnEngine {
        let figures = || Figures {
            images: 1000,
            figure: "accuracy".into(),
            value: "90.00 %".into(),
            loss: 0.3,
            calibration_error: None,
            images_per_second: 1234.5,
        };
        OnEngine {
            engine: "tract".into(),
            figures: [figures(), figures()],
            paired: Some(Paired {
                both_right: 890,
                only_first: 12,
                only_second: 10,
                both_wrong: 88,
                same_class: 950,
            }),
            golden: Some(Replayed {
                difference: 0.2,
                tolerance: 0.3,
                passed,
            }),
        }
    }

    fn copy(passed: bool) -> Smaller {
        Smaller {
            summary: "8-bit integers".into(),
            file: Some("model-int8.onnx".into()),
            bytes: [4_000_000, 1_000_000],
            kept: Vec::new(),
            layers: Vec::new(),
            bound: None,
            engines: vec![on(true), on(passed)],
        }
    }

    #[test]
    fn a_copy_passes_if_it_was_written_and_proves_itself_on_every_engine() {
        assert!(copy(true).passed());
        let failing = copy(false);
        assert!(!failing.passed());
        assert!(
            failing
                .to_text()
                .ends_with("FAILED: its golden vectors on tract")
        );
        let bound = Bound {
            max_drop: 0.001,
            paired: on(true).paired.unwrap(),
            passed: false,
        };
        let lost = Smaller {
            file: None,
            bound: Some(bound),
            engines: Vec::new(),
            ..copy(true)
        };
        assert!(!lost.passed());
        assert_eq!(
            lost.to_text(),
            "Smaller model: 8-bit integers, 4.00 MB → 1.00 MB (25 %)\n\
             FAILED: -0.20 points on 1,000 validation images, at most 0.10 may be lost"
        );
    }

    #[test]
    fn what_is_written_reads_back_as_itself() {
        let copy = copy(true);
        let text = serde_json::to_string(&copy).unwrap();
        assert_eq!(serde_json::from_str::<Smaller>(&text).unwrap(), copy);
    }
}
