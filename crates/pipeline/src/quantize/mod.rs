//! A smaller copy of a model: in 8-bit integers, by what its activations are on calibration images, or with weights
//! alone in 8 bits or in half precision.
//!
//! ```text
//! model.onnx ──prepare──▶ float graph ──images──▶ ranges ──▶ small.onnx ──compare──▶ may it replace the model?
//!                              └──one layer at a time──▶ what each layer costs ──▶ layers to keep in float
//! ```

mod calibrate;
mod gate;
mod sensitivity;

use std::fmt::Write;
use std::path::Path;

use kiln_inference::Model;
use kiln_onnx::{ModelFile, ModelProto};
pub use kiln_quantize::{Activations, Method, Precision, QuantizeError, Settings};
use kiln_quantize::{Calibration, Prepared, shrink_weights};
use kiln_util::{counted, thousands};

use crate::context::Context;
use crate::describe::{Described, with_metadata};
use crate::engines::{self, EngineRequest};
use crate::error::Result;
use crate::error::models::QuantizeModelError;
use crate::inputs::Inputs;
use crate::provenance;
pub use calibrate::JUDGED;
pub use gate::{Gate, Passed};
pub use sensitivity::Sensitivity;

/// How a model becomes smaller.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct QuantizeRequest {
    /// What computes the activations, and what is specified about the model.
    pub engine: EngineRequest,
    /// Most calibration images; of more, as many are taken at equal distances.
    pub images: usize,
    /// How ranges are found.
    pub method: Method,
    /// The integers of activations, and whether layers are equalized.
    pub settings: Settings,
    /// Labels of layers that are to stay in float, which have to be of the model.
    pub keep: Vec<String>,
}

impl QuantizeRequest {
    /// Asks for 8 bits, by 300 images.
    pub fn new(engine: EngineRequest) -> Self {
        Self {
            engine,
            images: 300,
            method: Method::Mse,
            settings: Settings::default(),
            keep: Vec::new(),
        }
    }
}

/// A model that was made smaller.
#[derive(Debug)]
pub struct Quantized {
    /// The file, with all that was specified about the model in its metadata.
    pub file: ModelFile,
    /// What was done, such as `8-bit integers, 300 calibration images`.
    pub summary: String,
}

/// A model that is calibrated, to be written with any of its layers left in float.
pub struct Calibrated {
    /// The model as it was, with its metadata.
    proto: ModelProto,
    prepared: Prepared,
    calibration: Calibration,
    /// Prepared calibration images, those of which layers are judged by, with the scores of the float model.
    judged: Judged,
    engine: EngineRequest,
    images: usize,
    method: Method,
}

/// Images that layers are judged by.
struct Judged {
    pixels: Vec<f32>,
    scores: Vec<f32>,
    images: usize,
}

impl Calibrated {
    /// Opens a model, and runs it on calibration images, such as those of [`inputs::calibration`](crate::inputs::calibration), which are opened once
    /// the model is known to be one that can be quantized. Returns nothing if the work was cancelled.
    ///
    /// # Errors
    ///
    /// [`QuantizeModelError`] if the model cannot be put into 8 bits, lacks a layer that is to stay in float, or there
    /// are no images for it.
    pub fn open(
        path: &Path,
        request: &QuantizeRequest,
        images: impl FnOnce() -> Result<Inputs>,
        context: &Context<'_>,
    ) -> Result<Option<Self>> {
        let proto = self_contained(path, &request.engine, context)?;
        let fail = |source| QuantizeModelError::Model {
            path: path.into(),
            source,
        };
        let prepared = Prepared::new(proto.clone(), request.settings).map_err(fail)?;
        check_labels(&request.keep, prepared.nodes())?;
        let Some(observed) = calibrate::observe(&prepared, images()?, request, context)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            proto,
            prepared,
            calibration: Calibration::new(&observed.observers, request.method),
            judged: observed.judged,
            engine: request.engine.clone(),
            images: observed.images,
            method: request.method,
        }))
    }

    /// Returns the labels of the nodes that are put into 8 bits.
    pub fn nodes(&self) -> &[String] {
        self.prepared.nodes()
    }

    /// Writes the model in 8 bits, with these nodes left in float, and its golden vectors with a tolerance that
    /// covers the rounding.
    ///
    /// # Errors
    ///
    /// Why the model cannot be written or run.
    pub fn quantize(&self, keep: &[String], context: &Context<'_>) -> Result<Quantized> {
        let keeps = |label: &str| keep.iter().any(|kept| kept == label);
        let proto = self
            .prepared
            .quantize(&self.calibration, &keeps)
            .map_err(QuantizeModelError::Quantize)?;
        let mut summary = format!(
            "8-bit integers, {}, {}",
            method_name(self.method),
            counted(self.images as u64, "calibration image"),
        );
        if !keep.is_empty() {
            let (kept, all) = (thousands(keep.len()), thousands(self.nodes().len()));
            let _ = write!(summary, ", {kept} of {all} layers in float");
        }
        let file = finish(proto, &self.proto, &summary, &self.engine, context)?;
        Ok(Quantized { file, summary })
    }
}

/// Checks that these are labels of nodes that are put into 8 bits.
fn check_labels(labels: &[String], nodes: &[String]) -> Result<(), QuantizeModelError> {
    let Some(name) = labels.iter().find(|label| !nodes.contains(label)) else {
        return Ok(());
    };
    let known: Vec<&str> = nodes.iter().map(String::as_str).collect();
    Err(QuantizeModelError::Node {
        name: name.clone(),
        near: kiln_util::closest(name, &known).map(str::to_owned),
    })
}

/// The name of a method, as it is asked for.
pub fn method_name(method: Method) -> String {
    match method {
        Method::MinMax => "min-max".into(),
        Method::Percentile(share) => format!("percentile {}", share * 100.0),
        Method::Entropy => "entropy".into(),
        _ => "mse".into(),
    }
}

/// Makes the weights of a model smaller, and leaves its arithmetic in float.
///
/// # Errors
///
/// [`QuantizeModelError`], or why the model cannot be read.
pub fn shrink(
    path: &Path,
    precision: Precision,
    engine: &EngineRequest,
    context: &Context<'_>,
) -> Result<Quantized> {
    let original = self_contained(path, engine, context)?;
    let proto = shrink_weights(original.clone(), precision).map_err(|source| {
        QuantizeModelError::Model {
            path: path.into(),
            source,
        }
    })?;
    let summary = match precision {
        Precision::Float16 => "weights in half precision",
        _ => "weights in 8-bit integers",
    };
    let file = finish(proto, &original, summary, engine, context)?;
    Ok(Quantized {
        file,
        summary: summary.into(),
    })
}

/// A model with its weights inside and with all that is known of it in its metadata.
fn self_contained(
    path: &Path,
    engine: &EngineRequest,
    context: &Context<'_>,
) -> Result<ModelProto> {
    let described = Described::open(path, &engine.overrides, context)?;
    let (file, spec) = described.into_parts()?;
    let copy = with_metadata(file.bytes(), file.proto()?, &spec)?;
    Ok(ModelFile::from_bytes(copy.bytes).proto()?.clone())
}

/// Encodes a smaller model, with what was done to it among where it comes from.
fn finish(
    mut proto: ModelProto,
    original: &ModelProto,
    summary: &str,
    engine: &EngineRequest,
    context: &Context<'_>,
) -> Result<ModelFile> {
    let mut metadata = original.metadata().unwrap_or_default();
    // Tensors that were proven to be those of a backbone no longer are.
    metadata
        .provenance
        .retain(|key, _| !key.starts_with(provenance::FROZEN));
    let how = format!("{summary}; kiln {}", kiln_util::VERSION);
    metadata.provenance.insert("quantized".into(), how);
    proto.set_metadata(&metadata);
    let file = ModelFile::from_bytes(kiln_onnx::encode(&proto));
    let Some(golden) = &mut metadata.golden else {
        return Ok(file);
    };
    let model = load(&file, engine, context)?;
    let verification = model
        .verify()
        .map_err(|source| QuantizeModelError::Golden { source })?;
    let differences = verification.replays.iter().map(|replay| replay.difference);
    let largest = differences.fold(0.0, f64::max);
    if !largest.is_finite() {
        return Err(QuantizeModelError::NotFinite.into());
    }
    for vector in &mut golden.vectors {
        vector.tolerance = vector.tolerance.max(TOLERANCE * largest);
    }
    golden.computed_by += ", before it was quantized";
    proto.set_metadata(&metadata);
    Ok(ModelFile::from_bytes(kiln_onnx::encode(&proto)))
}

/// How many times as far as on any golden vector the scores of a quantized model may lie from the float model's:
/// engines round differently.
const TOLERANCE: f64 = 1.5;

/// Loads a model that is complete in itself: what was specified about the original is in its metadata.
fn load(file: &ModelFile, engine: &EngineRequest, context: &Context<'_>) -> Result<Model> {
    let request = EngineRequest {
        overrides: crate::overrides::OverridesRequest::default(),
        ..engine.clone()
    };
    engines::load(file, &request, context)
}
