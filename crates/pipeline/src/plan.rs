//! What training a recipe would do, found out without fetching or writing anything.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use kiln_assets::Asset;
use kiln_model::{FileProblem, FileRequest, OptimizerKind, Recipe};
use kiln_run::RunDir;
use serde::Serialize;

use crate::backbone;
use crate::context::Context;
use crate::dataset::{self, Missing};
use crate::error::Result;
use crate::recipe::RecipeText;
use crate::train::{TrainRequest, check_backbone, device_of};

/// What would be trained, on what, and where it would be kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// The recipe's name.
    pub recipe: String,
    /// The dataset: a name or a path.
    pub data: String,
    /// Number of classes.
    pub classes: usize,
    /// How many images there are; none while the dataset is not on the machine.
    pub images: Option<PlannedImages>,
    /// The model; none while the file of its backbone is not on the machine.
    pub model: Option<PlannedModel>,
    /// Images per step: of several batches where gradients are accumulated.
    pub batch_size: usize,
    /// The phases in order, at least one.
    pub phases: Vec<PlannedPhase>,
    /// The device, such as `cpu (flex, kiln's kernels)`.
    pub device: String,
    /// The run directory that would be made.
    pub run: PathBuf,
    /// What would be fetched first.
    pub fetch: Vec<PlannedAsset>,
}

/// Number of images of each subset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlannedImages {
    /// Images to train on.
    pub train: usize,
    /// Images to validate on.
    pub validation: usize,
    /// Images to test on.
    pub test: usize,
}

/// The model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlannedModel {
    /// Channels, height and width of the images as the model takes them.
    pub input: [usize; 3],
    /// Number of all parameters.
    pub parameters: usize,
}

/// A phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PlannedPhase {
    /// Most epochs; of L-BFGS, fits.
    pub epochs: usize,
    /// Steps of an epoch; none while the number of images is not known, and of L-BFGS, which takes all
    /// images at once.
    pub steps: Option<usize>,
    /// The optimizer, as a recipe names it.
    pub optimizer: &'static str,
    /// Its learning rate; none of L-BFGS.
    pub learning_rate: Option<f64>,
    /// Number of parameters that are trained; none while the file of the backbone is not on the machine.
    pub trained: Option<usize>,
}

/// An asset that would be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlannedAsset {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its license.
    pub license: String,
}

/// Finds out what [`train`](fn@crate::train::train) would do with a recipe: reads the images that are
/// there, and draws the subsets. Nothing is fetched or written.
///
/// # Errors
///
/// What is wrong with the recipe or the images, as far as that can be told without what would be
/// fetched.
pub fn plan(
    recipe: &RecipeText,
    overrides: &[String],
    request: &TrainRequest,
    context: &Context<'_>,
) -> Result<Plan> {
    let absent = RefCell::new(None);
    let files = |file: &FileRequest<'_>| match to_fetch(file.weights, context) {
        None => backbone::base(file, context),
        Some(asset) => {
            let problem = format!("`{}` is not on this machine", asset.name);
            absent.replace(Some(asset));
            Err(FileProblem {
                is_output: false,
                problem,
                hint: None,
            })
        }
    };
    let whole = recipe.parse_with(overrides, &files);
    let absent = absent.take();
    let (recipe, has_model) = match (whole, &absent) {
        (Err(_), Some(_)) => (recipe.parse_outline(overrides, &files)?, false),
        (whole, _) => (whole?, true),
    };
    let device = device_of(&recipe, &request.device)?;
    let weights = recipe.backbone.as_ref();
    let weights = weights.and_then(|backbone| to_fetch(&backbone.weights, context));
    let dataset = match dataset::missing(&recipe.data.dataset, context) {
        Some(Missing::Asset { name }) => Some(Asset::named(name)?),
        Some(Missing::Path { .. }) | None => None,
    };
    if has_model && weights.is_none() {
        check_backbone(&recipe, context)?;
    }
    let images = match dataset {
        Some(_) => None,
        None => Some(images(&recipe, context)?),
    };
    let assets = [dataset, absent, weights].into_iter().flatten();
    Ok(Plan {
        // Also of a model that stands for the recipe's.
        classes: recipe.model().classes(),
        images,
        model: has_model.then(|| model(&recipe)),
        batch_size: recipe.training.step_images(),
        phases: phases(&recipe, images, has_model),
        device: device.to_string(),
        run: RunDir::next(&request.runs, &recipe),
        fetch: assets
            .map(|asset| PlannedAsset {
                bytes: asset.size(),
                name: asset.name,
                license: asset.license,
            })
            .collect(),
        recipe: recipe.name.clone(),
        data: recipe.data.dataset.to_string(),
    })
}

/// The asset that a backbone's weights are, if it would have to be fetched.
fn to_fetch(weights: &str, context: &Context<'_>) -> Option<Asset> {
    if Path::new(weights).exists() || !Asset::NAMES.contains(&weights) {
        return None;
    }
    let asset = Asset::named(weights).ok()?;
    context.assets.lookup(&asset).is_none().then_some(asset)
}

fn images(recipe: &Recipe, context: &Context<'_>) -> Result<PlannedImages> {
    let splits = dataset::splits(recipe, context)?;
    Ok(PlannedImages {
        train: splits.train.len(),
        validation: splits.validation.len(),
        test: dataset::test_images(recipe, context)?.len(),
    })
}

fn model(recipe: &Recipe) -> PlannedModel {
    let record = recipe.model().preprocessing();
    PlannedModel {
        input: [
            record.channels.count(),
            record.height as usize,
            record.width as usize,
        ],
        parameters: recipe.model().counts().total(),
    }
}

fn phases(recipe: &Recipe, images: Option<PlannedImages>, has_model: bool) -> Vec<PlannedPhase> {
    let training = &recipe.training;
    let phases = training.phases.iter().zip(recipe.models());
    let plan = phases.map(|(phase, model)| {
        let fits = matches!(phase.optimizer.kind, OptimizerKind::Lbfgs(_));
        let steps = images.map(|images| training.epoch_steps(images.train));
        PlannedPhase {
            epochs: phase.epochs,
            steps: steps.filter(|_| !fits),
            optimizer: phase.optimizer.kind.name(),
            learning_rate: (!fits).then_some(phase.optimizer.learning_rate),
            trained: has_model.then(|| model.counts().trainable),
        }
    });
    plan.collect()
}
