//! How a run was made, in words.

use kiln_spec::{Data, OptimizerKind, Phase, Validation, ValidationSubset};

use super::RunRecord;
use crate::terminal::percent;

impl RunRecord {
    /// Data, settings, versions and device, each with its name.
    pub fn origin(&self) -> Vec<(String, String)> {
        let recipe = &self.recipe;
        let validation = match recipe.data.validation {
            Validation::Split(share) => format!("{} of the training images", percent(share)),
            Validation::Subset(ValidationSubset::Test) => "the test images".into(),
            Validation::Subset(ValidationSubset::Val) => "the data set's validation images".into(),
            Validation::Subset(ValidationSubset::Auto) => {
                format!("the data set's validation images, or {} of the others without", percent(Data::DEFAULT_SPLIT))
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
        facts.extend(self.evaluations.iter().map(|measured| ("Evaluated with", measured.runtime.describe())));
        facts.into_iter().map(|(name, value)| (name.into(), value)).collect()
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
