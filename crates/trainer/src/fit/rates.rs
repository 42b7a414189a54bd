//! The learning rates of a phase.

use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::ParamGroup;
use kiln_model::Layers;

use super::Task;
use super::schedule::{self, Position};
use crate::network::Network;

/// The learning rates of a phase, as the schedule has them at the moment.
pub struct Rates {
    /// The optimizer's.
    base: f64,
    /// Those of layers that have one of their own.
    groups: Vec<(ParamGroup, f64)>,
    /// The optimizer's, scheduled.
    current: f64,
    all: ModuleLearningRate,
}

impl Rates {
    pub fn new(task: &Task<'_>, network: &Network) -> Self {
        let layers = task.model.layers();
        let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        let mut groups = Vec::new();
        for (pattern, rate) in &task.phase.learning_rates {
            let selected = Layers::Named(vec![pattern.clone()])
                .select(&names)
                .expect("a recipe's patterns are checked");
            for (name, _) in names.iter().zip(selected).filter(|(_, selected)| *selected) {
                groups.extend(network.group(name).map(|group| (group, *rate)));
            }
        }
        let base = task.phase.optimizer.learning_rate;
        let all = scaled(base, &groups, 1.0);
        Self {
            base,
            groups,
            current: base,
            all,
        }
    }

    /// The optimizer's, as the schedule has it.
    pub fn current(&self) -> f64 {
        self.current
    }

    /// All of them, for a step.
    pub fn all(&self) -> ModuleLearningRate {
        self.all.clone()
    }

    /// Goes on to those of the next step.
    pub fn advance(&mut self, task: &Task<'_>, at: Position<'_>) {
        let factor = schedule::factor(&task.phase.schedule, task.history.monitor, self.base, at);
        if factor.to_bits() != (self.current / self.base).to_bits() {
            self.current = self.base * factor;
            self.all = scaled(self.base, &self.groups, factor);
        }
    }
}

fn scaled(base: f64, groups: &[(ParamGroup, f64)], factor: f64) -> ModuleLearningRate {
    let scheduler = ModuleLrScheduler::new(base * factor);
    let with_group = |scheduler: ModuleLrScheduler, (group, rate): &(ParamGroup, f64)| {
        scheduler.with_group(group.clone(), rate * factor)
    };
    groups.iter().fold(scheduler, with_group).step()
}
