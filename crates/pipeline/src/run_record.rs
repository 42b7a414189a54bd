//! What a run's files say about it.

use kiln_data::{SubsetRole, subset_role};
use kiln_model::{Data, OptimizerKind, Phase, Recipe, Validation, ValidationSubset};
use kiln_run::{Environment, FeatureTime, History, RunDir, RunFile};
use kiln_util::percent;

use crate::error::Result;
use crate::evaluate::AnyRecord;
use crate::parity::Parity;
use crate::smaller::Smaller;

/// A run as its files have it; what was not done yet is absent.
pub struct RunRecord {
    /// The run directory.
    pub run: RunDir,
    /// The resolved recipe.
    pub recipe: Recipe,
    /// Versions, device and checksums of the data.
    pub environment: Option<Environment>,
    /// Loss and accuracy by epoch.
    pub history: History,
    /// One per engine, the first being the one whose figures are reported.
    pub evaluations: Vec<AnyRecord<'static>>,
    /// How long features took, where the run computed some.
    pub features: Option<FeatureTime>,
    /// Agreement of Burn and the engines.
    pub parity: Option<Parity>,
    /// The smaller copy of the model, where the recipe asks for one.
    pub smaller: Option<Smaller>,
}

impl RunRecord {
    /// Reads the files.
    pub fn read(run: RunDir) -> Result<Self> {
        let recipe = run.recipe(kiln_trainer::bases())?;
        Ok(Self {
            environment: run.read_json(RunFile::Environment)?,
            history: run.history(recipe.training.monitor)?,
            recipe,
            features: run.read_json(RunFile::Features)?,
            evaluations: run.read_json(RunFile::Evaluation)?.unwrap_or_default(),
            parity: run.read_json(RunFile::Parity)?,
            smaller: run.read_json(RunFile::Quantized)?,
            run,
        })
    }

    /// Whether it went through the whole flow, and all implementations agreed.
    pub fn is_complete(&self) -> bool {
        self.parity.as_ref().is_some_and(|parity| parity.passed) && !self.evaluations.is_empty()
    }

    /// The engines that computed test images, by their titles, the one whose figures are reported first.
    pub fn engines(&self) -> Vec<String> {
        let evaluated = self.evaluations.iter().map(|it| it.runtime().title());
        let compared = self.parity.iter().flat_map(Parity::engines);
        let mut engines: Vec<String> = Vec::new();
        for engine in evaluated.chain(compared) {
            if !engines.iter().any(|known| known == engine) {
                engines.push(engine.to_owned());
            }
        }
        engines
    }

    /// How long its epochs took, in seconds.
    pub fn seconds(&self) -> f64 {
        self.history.epochs.iter().map(|epoch| epoch.seconds).sum()
    }

    /// Data, settings, versions and device, each with its name.
    pub fn origin(&self) -> Vec<(String, String)> {
        let recipe = &self.recipe;
        // Datasets of files have a checksum for each subset, by its folder.
        let whole = format!("images of {}", recipe.data.dataset);
        let is_validation = |key: &&String| {
            let folder = key.rsplit(['/', '\\']).next();
            **key != whole && folder.and_then(subset_role) == Some(SubsetRole::Validation)
        };
        let environment = self.environment.as_ref();
        let own = environment.and_then(|environment| environment.data.keys().find(is_validation));
        let own = own.and_then(|key| key.rsplit(['/', '\\']).next());
        let split = |share| format!("{} of the training images", percent(share));
        let validation = match recipe.data.validation {
            Validation::Split(share) => split(share),
            Validation::Subset(ValidationSubset::Test) => "the test images".into(),
            Validation::Subset(ValidationSubset::Auto) if own.is_none() => {
                split(Data::DEFAULT_SPLIT)
            }
            Validation::Subset(ValidationSubset::Val | ValidationSubset::Auto) => {
                format!("the images in `{}`", own.unwrap_or("val"))
            }
        };
        let optimizers: Vec<String> = recipe.training.phases.iter().map(optimizer).collect();
        let mut facts = vec![
            ("Dataset", recipe.data.dataset.to_string()),
            ("Validated on", validation),
        ];
        let in_batches = |phase: &Phase| !matches!(phase.optimizer.kind, OptimizerKind::Lbfgs(_));
        if recipe.training.phases.iter().any(in_batches) {
            facts.extend([
                ("Epochs", recipe.training.epochs().to_string()),
                ("Batch size", recipe.training.batch_size.to_string()),
            ]);
        }
        facts.extend([
            ("Optimizer", optimizers.join("; then ")),
            ("Seed", recipe.training.seed.to_string()),
        ]);
        if let Some(environment) = &self.environment {
            facts.extend([
                ("kiln", environment.kiln.clone()),
                ("Trained on", environment.device.clone()),
                ("Threads", environment.threads.to_string()),
                ("Platform", environment.platform.clone()),
            ]);
        }
        facts.extend(
            self.evaluations
                .iter()
                .map(|measured| ("Evaluated with", measured.runtime().describe())),
        );
        facts
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect()
    }
}

fn optimizer(phase: &Phase) -> String {
    let name = match &phase.optimizer.kind {
        OptimizerKind::Adam(_) => "Adam",
        OptimizerKind::AdamW { .. } => "AdamW",
        OptimizerKind::Sgd { .. } => "SGD",
        OptimizerKind::Lion { .. } => "Lion",
        OptimizerKind::Lamb { .. } => "LAMB",
        OptimizerKind::Lbfgs(params) => {
            let penalties: Vec<String> =
                params.penalties.iter().map(|p| format!("{p:e}")).collect();
            return format!(
                "L-BFGS on all images at once, penalties {}",
                penalties.join(", ")
            );
        }
    };
    format!("{name}, learning rate {:?}", phase.optimizer.learning_rate)
}
