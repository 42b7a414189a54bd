//! Phase 3: a run's model with its best weights, written as ONNX.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_data::{Decoding, View};
use kiln_exporter::{Exported, Options, export};
use kiln_inference::EngineId;
use kiln_metrics::{sigmoid, softmax};
use kiln_model::{Model, Recipe};
use kiln_onnx::{Golden, Metadata, OutputKind};
use kiln_run::{Environment, RunDir, RunFile, Weights};
use kiln_trainer::{Device, GradCam, Predictor, is_finished};
use kiln_util::write_atomically;

use crate::backbone::BackboneFile;
use crate::context::Context;
use crate::engines::check_name;
use crate::error::Result;
use crate::error::training::BackboneError;
pub use crate::error::training::ExportRunError;
use crate::event::Event;
use crate::provenance::{DATA, FEATURES, FROZEN};
use crate::train::of_run;
use crate::{dataset, golden, thresholds};

/// Which form of a run's model is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExportForm {
    /// As the recipe says.
    #[default]
    Model,
    /// With the preprocessing in the graph: uint8 pixels in NHWC in, probabilities out.
    Uint8Input,
    /// Only the layers after the frozen prefix.
    HeadOnly,
}

/// How to export a run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExportRequest {
    /// The form.
    pub form: ExportForm,
    /// Whether the graph ends in a softmax even if the recipe does not ask for it; a graph that
    /// takes pixels always does. Of a model that is trained with a binary loss it cannot.
    pub softmax: bool,
    /// The same of a model that is trained with a binary loss: whether the graph ends in a sigmoid.
    pub sigmoid: bool,
    /// Whether golden vectors are written if the recipe asks for them.
    pub golden: bool,
    /// The file to write; one in the run directory if `None`.
    pub output: Option<PathBuf>,
}

impl Default for ExportRequest {
    fn default() -> Self {
        Self {
            form: ExportForm::Model,
            softmax: false,
            sigmoid: false,
            golden: true,
            output: None,
        }
    }
}

impl ExportRequest {
    /// Returns the file of the run that is written if no other is named. What was verified and
    /// evaluated is the run's own model: a variant of it gets another name.
    pub fn default_file(&self, recipe: &Recipe) -> RunFile {
        match self.form {
            ExportForm::HeadOnly => RunFile::HeadModel,
            ExportForm::Uint8Input => RunFile::Uint8Model,
            ExportForm::Model if self.softmax => RunFile::SoftmaxModel,
            ExportForm::Model if self.sigmoid => RunFile::SigmoidModel,
            ExportForm::Model if recipe.export.golden && !self.golden => RunFile::PlainModel,
            ExportForm::Model => RunFile::Model,
        }
    }
}

/// Exports a run's best weights and returns the file.
///
/// Golden vectors are made if the dataset is at hand; nothing is fetched for them.
pub fn export_run(run: &RunDir, request: &ExportRequest, context: &Context<'_>) -> Result<PathBuf> {
    let recipe = run.recipe(kiln_trainer::bases())?;
    let path = match &request.output {
        Some(path) => path.clone(),
        None => run.file(request.default_file(&recipe)),
    };
    check_name(&path)?;
    let mut export = recipe.export.clone();
    let loss = recipe.training.loss;
    let asked = [(request.softmax, false), (request.sigmoid, true)];
    if asked.contains(&(true, !loss.is_binary())) {
        let loss = loss.name();
        let right = if request.softmax {
            "sigmoid"
        } else {
            "softmax"
        };
        return Err(ExportRunError::OtherProbabilities { loss, right }.into());
    }
    if request.softmax || request.sigmoid || request.form == ExportForm::Uint8Input {
        export = export.with_probabilities(loss);
    }
    export.golden &= request.golden;
    let mut trained = TrainedModel::open(run, recipe.with_export(export), context)?;
    match request.form {
        ExportForm::HeadOnly => trained.keep_head_only()?,
        ExportForm::Uint8Input => trained.take_pixels(),
        ExportForm::Model => {}
    }
    if let Some(epochs_done) = trained.unfinished {
        context.emit(&Event::UnfinishedExported {
            run: run.path(),
            epochs_done,
            epochs: trained.recipe.training.epochs(),
        });
    }
    trained.threshold = match thresholds::of_run(&trained, run, context)? {
        Some(thresholds) => thresholds,
        None => return Err(ExportRunError::Stopped.into()),
    };
    let replaces_golden = request.output.is_none() && has_golden(&path);
    // The input of a head is no image.
    if trained.recipe.export.golden && request.form != ExportForm::HeadOnly {
        match dataset::missing(&trained.recipe.data.dataset, context) {
            None => {
                let images = test_images(run, &trained.recipe, context)?;
                let name = dataset::test_name(&trained.recipe);
                trained.golden = golden::vectors(&trained, &images, &name, context, || false)?;
            }
            Some(missing) if replaces_golden => {
                return Err(ExportRunError::GoldenLost { path, missing }.into());
            }
            Some(missing) => context.emit(&Event::WithoutGolden { missing: &missing }),
        }
    } else if replaces_golden {
        return Err(ExportRunError::GoldenReplaced { path }.into());
    }
    trained.write(&path, context)?;
    Ok(path)
}

/// Returns the test images. Files with the checksums that the run was trained with could all be
/// decoded then: only those that are used are decoded.
fn test_images(run: &RunDir, recipe: &Recipe, context: &Context<'_>) -> Result<View> {
    context.files.set_decoding(Decoding::Defer);
    let environment: Option<Environment> = run.read_json(RunFile::Environment)?;
    let now = dataset::checksums(&recipe.data.dataset, context);
    let known = environment.is_some_and(|before| now.is_ok_and(|now| now == before.data));
    if !known {
        context.files.forget();
        context.files.set_decoding(Decoding::Verify);
    }
    dataset::test_images(recipe, context)
}

/// Returns whether a file is a model with golden vectors.
fn has_golden(path: &Path) -> bool {
    let metadata = kiln_onnx::load(path).ok().and_then(|m| m.metadata().ok());
    metadata.is_some_and(|metadata| metadata.golden.is_some())
}

/// A run's model with its best weights and the names of its classes.
pub struct TrainedModel {
    /// The recipe.
    pub recipe: Recipe,
    /// The model.
    pub model: Model,
    /// The weights.
    pub weights: Weights,
    /// Names of the classes.
    pub labels: Vec<String>,
    /// Whether the graph takes pixels.
    pub uint8_input: bool,
    /// Golden vectors to write into the file.
    pub golden: Option<Golden>,
    /// What the probability of a class has to exceed, where the recipe says so.
    pub threshold: Option<Vec<f32>>,
    /// The first layer that is exported.
    first_layer: usize,
    /// The backbone, where it is read from its file.
    backbone: Option<BackboneFile>,
    /// Number of epochs done, if the training did not finish.
    unfinished: Option<usize>,
    provenance: BTreeMap<String, String>,
}

impl TrainedModel {
    /// Reads the best weights of a run, with its recipe, labels and provenance.
    pub fn open(run: &RunDir, recipe: Recipe, context: &Context<'_>) -> Result<Self> {
        let model = recipe.model().clone();
        let Some(best) = run.best_weights(recipe.training.monitor)? else {
            let run = run.path().to_path_buf();
            return Err(ExportRunError::NoWeights { run }.into());
        };
        let backbone = BackboneFile::open(&recipe, context)?;
        // A training that was killed leaves only those weights that it changed.
        let missing = |weights: &Weights| model.params().any(|p| weights.get(&p.name).is_none());
        let weights = if best.progress.is_some() && missing(&best.weights) {
            let mut weights = of_run(run, &recipe, backbone.as_ref(), context)?;
            weights.extend(best.weights);
            weights
        } else {
            best.weights
        };
        let unfinished = best
            .progress
            .filter(|progress| !is_finished(&recipe.training, progress));
        let unfinished = unfinished.map(|progress| progress.history.epochs.len());
        let mut trained = Self::new(recipe, model, weights);
        trained.backbone = backbone;
        trained.unfinished = unfinished;
        trained.labels = run.labels()?;
        if let Some(Environment {
            platform,
            device,
            data,
            ..
        }) = run.read_json(RunFile::Environment)?
        {
            trained
                .provenance
                .extend([("platform".into(), platform), ("device".into(), device)]);
            trained.provenance.extend(
                data.into_iter()
                    .map(|(file, checksum)| (format!("{DATA}{file}"), checksum)),
            );
        }
        for (tensor, checksum) in run.frozen()? {
            trained
                .provenance
                .insert(format!("{FROZEN}{tensor}"), checksum);
        }
        if let Some(best) = best.epoch {
            trained
                .provenance
                .insert("epoch".into(), best.epoch.to_string());
            trained
                .provenance
                .insert("val_accuracy".into(), format!("{:.4}", best.val_accuracy));
        }
        Ok(trained)
    }

    /// Bundles a recipe, its model and weights. Classes are called by their numbers.
    pub fn new(recipe: Recipe, model: Model, weights: Weights) -> Self {
        // The sigmoid of one score is the probability of the second of two classes.
        let labels = (0..model.classes().max(2))
            .map(|class| class.to_string())
            .collect();
        let provenance = BTreeMap::from([
            ("kiln".to_string(), kiln_util::VERSION.to_string()),
            ("recipe".to_string(), recipe.name.clone()),
            (
                "dataset".to_string(),
                recipe.data.dataset.as_str().to_string(),
            ),
            ("seed".to_string(), recipe.training.seed.to_string()),
        ]);
        Self {
            recipe,
            model,
            weights,
            labels,
            uint8_input: false,
            golden: None,
            threshold: None,
            first_layer: 0,
            backbone: None,
            unfinished: None,
            provenance,
        }
    }

    /// Leaves out the frozen prefix, and notes in the provenance where the rest begins.
    pub fn keep_head_only(&mut self) -> Result<()> {
        self.first_layer = self.recipe.fixed_prefix();
        let Some(last) = self.first_layer.checked_sub(1) else {
            let recipe = self.recipe.name.clone();
            return Err(ExportRunError::NoFrozenPrefix { recipe }.into());
        };
        self.provenance.retain(|key, _| !key.starts_with(FROZEN));
        self.provenance
            .insert(FEATURES.into(), self.model.layers()[last].name.clone());
        Ok(())
    }

    /// Puts the preprocessing into the graph, and notes it in the provenance.
    pub fn take_pixels(&mut self) {
        self.uint8_input = true;
        let record = serde_json::to_string(self.model.preprocessing());
        self.provenance.insert(
            "preprocessing_in_graph".into(),
            record.expect("a record of plain values is JSON"),
        );
    }

    /// Converts the model to ONNX; a head is grafted onto the graph that its backbone's file has.
    pub fn export(&self) -> Result<Exported> {
        let mut options = Options {
            labels: self.labels.clone(),
            provenance: self.provenance.clone(),
            output: self.output_kind(),
            threshold: self.threshold.clone(),
            first_layer: self.first_layer,
            uint8_input: self.uint8_input,
            golden: self.golden.clone(),
        };
        let Some(backbone) = &self.backbone else {
            return Ok(export(&self.model, &self.weights, &options)?);
        };
        let layers = self.model.layers().iter();
        let of_backbone = layers.filter(|layer| layer.backbone.is_some()).count();
        if self.first_layer >= of_backbone {
            return Ok(export(&self.model, &self.weights, &options)?);
        }
        if self.first_layer > 0 {
            let form = "its trained layers alone";
            return Err(BackboneError::Form { form }.into());
        }
        if self.uint8_input {
            let form = "its preprocessing in the graph";
            return Err(BackboneError::Form { form }.into());
        }
        options.first_layer = of_backbone;
        let head = export(&self.model, &self.weights, &options)?;
        let mut proto = backbone.graft(&head.proto, &self.weights)?;
        if !backbone.is_in(&proto)? {
            return Err(BackboneError::NotKept.into());
        }
        proto.set_metadata(&Metadata {
            preprocessing: Some(self.model.preprocessing().clone()),
            labels: Some(options.labels),
            layout: Some(backbone.layout()),
            output: Some(options.output),
            output_name: None,
            threshold: options.threshold,
            provenance: options.provenance,
            golden: options.golden,
        });
        // The head's values may have got other names, and layers are compared by them.
        let layers = Vec::new();
        Ok(Exported { proto, layers })
    }

    /// Returns what the exported graph's scores are.
    pub fn output_kind(&self) -> OutputKind {
        let binary = self.recipe.training.loss.is_binary();
        match (binary, self.recipe.export.probabilities()) {
            (false, false) => OutputKind::Logits,
            (false, true) => OutputKind::Probabilities,
            (true, false) => OutputKind::SigmoidLogits,
            (true, true) => OutputKind::Sigmoid,
        }
    }

    /// Makes the exported graph's scores of logits `[images, classes]`, row-major.
    pub fn scores(&self, logits: Vec<f32>) -> Vec<f32> {
        match self.output_kind() {
            OutputKind::Probabilities => logits
                .chunks_exact(self.model.classes())
                .flat_map(softmax)
                .collect(),
            OutputKind::Sigmoid => logits.into_iter().map(sigmoid).collect(),
            OutputKind::Logits | OutputKind::LogProbabilities | OutputKind::SigmoidLogits => logits,
        }
    }

    /// Returns whether an inference engine computes a part of it.
    pub fn has_graph(&self) -> bool {
        self.engine_part().is_some()
    }

    fn engine_part(&self) -> Option<&BackboneFile> {
        let backbone = self.backbone.as_ref();
        backbone.filter(|backbone| backbone.frozen().is_some())
    }

    /// Returns the only engine that is to agree with Burn, where the backbone's graph computes in integers or half precision.
    pub fn only_engine(&self) -> Option<EngineId> {
        self.backbone.as_ref()?.only_engine()
    }

    /// Returns the same model, in which the segments of its backbone's file from this one on, counted from 0, are
    /// layers that Burn computes.
    pub(crate) fn with_segments_from(self, first: usize, context: &Context<'_>) -> Result<Self> {
        let recipe = self.recipe.with_segments_from(first);
        let recipe = recipe.map_err(BackboneError::Segments)?;
        let model = recipe.model().clone();
        let backbone = BackboneFile::open(&recipe, context)?;
        let mut weights = match &backbone {
            Some(backbone) => backbone.weights(&model)?,
            None => Weights::default(),
        };
        weights.extend(self.weights);
        Ok(Self {
            recipe,
            model,
            weights,
            backbone,
            ..self
        })
    }

    /// Returns the model with the gradients of its logits; none where it has no feature maps of several places.
    pub(crate) fn grad_cam(&self) -> Result<Option<GradCam>> {
        let (first, device) = (usize::from(self.has_graph()), Device::cpu());
        Ok(GradCam::new(first, &self.model, &self.weights, &device)?)
    }

    /// Returns what the first layer that Burn computes takes of prepared images, row-major: the features of the
    /// part that an engine computes, or the images themselves.
    pub(crate) fn burn_input<'a>(&self, pixels: &'a [f32]) -> Result<Cow<'a, [f32]>> {
        features(self.engine_part(), pixels)
    }

    /// Returns Burn with the weights: behind an engine where the backbone is a graph in a file.
    pub fn burn(&self) -> Result<Burn<'_>> {
        let device = Device::cpu();
        let first = usize::from(self.has_graph());
        Ok(Burn {
            frozen: self.engine_part(),
            predictor: Predictor::after(first, &self.model, &self.weights, &device)?,
            device,
        })
    }

    /// Writes the model as an ONNX file, whole or not at all.
    pub fn write(&self, path: &Path, context: &Context<'_>) -> Result<()> {
        let file = kiln_onnx::encode(&self.export()?.proto);
        write_atomically(path, &file)?;
        context.emit(&Event::Exported {
            path,
            bytes: file.len() as u64,
        });
        Ok(())
    }
}

/// What a frozen part that an engine computes makes of images: the images themselves where there is none.
fn features<'a>(frozen: Option<&BackboneFile>, pixels: &'a [f32]) -> Result<Cow<'a, [f32]>> {
    Ok(match frozen {
        Some(frozen) => frozen.features(pixels)?.into(),
        None => pixels.into(),
    })
}

/// A trained model on Burn, or its head where an engine computes the backbone.
pub struct Burn<'a> {
    frozen: Option<&'a BackboneFile>,
    predictor: Predictor,
    device: Device,
}

impl Burn<'_> {
    /// Computes the logits of prepared images, row-major.
    pub fn logits(&self, pixels: &[f32]) -> Result<Vec<f32>> {
        Ok(self.predictor.logits(&features(self.frozen, pixels)?)?)
    }

    /// Returns all layers on Burn; none where an engine computes some.
    pub fn whole(&self) -> Option<&Predictor> {
        self.frozen.is_none().then_some(&self.predictor)
    }

    /// Returns what computes, such as `Burn, cpu (flex)`.
    pub fn describe(&self) -> String {
        let device = &self.device;
        match self.frozen.and_then(BackboneFile::engine) {
            Some(engine) => format!("{engine} and Burn, {device}"),
            None => format!("Burn, {device}"),
        }
    }
}
