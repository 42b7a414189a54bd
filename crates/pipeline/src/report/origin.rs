//! How a run was made, in words.

use kiln_model::{Data, OptimizerKind, Phase, Validation, ValidationSubset};

use super::RunRecord;
use kiln_util::percent;

impl RunRecord {
    /// Data, settings, versions and device, each with its name.
    pub fn origin(&self) -> Vec<(String, String)> {
        let recipe = &self.recipe;
        let own = || {
            self.environment
                .as_ref()
                .is_some_and(|environment| environment.data.keys().any(|k| k.ends_with("/val")))
        };
        let split = |share| format!("{} of the training images", percent(share));
        let validation = match recipe.data.validation {
            Validation::Split(share) => split(share),
            Validation::Subset(ValidationSubset::Test) => "the test images".into(),
            Validation::Subset(ValidationSubset::Auto) if !own() => split(Data::DEFAULT_SPLIT),
            Validation::Subset(ValidationSubset::Val | ValidationSubset::Auto) => {
                "the images in `val`".into()
            }
        };
        let optimizers: Vec<String> = recipe.training.phases.iter().map(optimizer).collect();
        let mut facts = vec![
            ("Data set", recipe.data.dataset.to_string()),
            ("Validated on", validation),
            ("Epochs", recipe.training.epochs().to_string()),
            ("Batch size", recipe.training.batch_size.to_string()),
            ("Optimizer", optimizers.join("; then ")),
            ("Seed", recipe.training.seed.to_string()),
        ];
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
                .map(|measured| ("Evaluated with", measured.runtime.describe())),
        );
        facts
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect()
    }
}

fn optimizer(phase: &Phase) -> String {
    let name = match phase.optimizer.kind {
        OptimizerKind::Adam(_) => "Adam",
        OptimizerKind::AdamW { .. } => "AdamW",
        OptimizerKind::Sgd { .. } => "SGD",
    };
    format!("{name}, learning rate {:?}", phase.optimizer.learning_rate)
}
