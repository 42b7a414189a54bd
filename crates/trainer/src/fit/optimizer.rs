//! The recipe's optimizer in Burn: its kind, the clipping of gradients, and the learning rates of a
//! phase.

use burn::grad_clipping::GradientClippingConfig;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::{self, Module, ModuleVisitor, ParamGroup};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdamConfig, AdamWConfig, GradientsParams, LambConfig, LionConfig, ModuleOptimizer, SgdConfig,
};
use burn::tensor::Tensor;
use kiln_model::{AdamParams, Model, Optimizer, OptimizerKind, Param};

use super::Task;
use super::schedule::{self, Position};
use crate::network::{Network, param_id, values};
use crate::{Device, TrainError, fused};

/// Builds the optimizer of a phase.
pub fn build(
    optimizer: &Optimizer,
    model: &Model,
    device: &Device,
) -> Result<ModuleOptimizer, TrainError> {
    let built = of_kind(&optimizer.kind, device)?;
    let clipping = match (optimizer.clipnorm, optimizer.clipvalue) {
        (Some(norm), _) => Some(GradientClippingConfig::Norm(norm as f32)),
        (None, Some(value)) => Some(GradientClippingConfig::Value(value as f32)),
        (None, None) => None,
    };
    let built = match &clipping {
        Some(clipping) => built.with_grad_clipping(clipping.init()),
        None => built,
    };
    let Some(rule) = optimizer.kind.without_decay() else {
        return Ok(built);
    };
    // A bias, and a scale or shift of a normalization, has one axis; a layer scale of a graph may have
    // others of size 1.
    let vector = |param: &&Param| param.shape.iter().filter(|&&size| size > 1).count() < 2;
    let vectors = model
        .params()
        .filter(vector)
        .map(|param| param_id(&param.name));
    let group = ParamGroup::from_ids(vectors.collect());
    let clipping = clipping.map(|clipping| clipping.init());
    Ok(match rule {
        OptimizerKind::AdamW { adam: params, .. } if device.kernels => {
            built.with_group(group, adam(params, 0.0), clipping)
        }
        // Without decay it is Adam.
        OptimizerKind::AdamW { adam: params, .. } => {
            built.with_group(group, burn_adam(params).build(), clipping)
        }
        OptimizerKind::Sgd {
            momentum, nesterov, ..
        } => built.with_group(group, burn_sgd(momentum, nesterov, 0.0).build(), clipping),
        OptimizerKind::Lion { beta_1, beta_2, .. } => {
            built.with_group(group, burn_lion([beta_1, beta_2], 0.0).build(), clipping)
        }
        OptimizerKind::Lamb { adam: params, .. } => {
            built.with_group(group, burn_lamb(params, 0.0).build(), clipping)
        }
        OptimizerKind::Adam(_) | OptimizerKind::Lbfgs(_) => built,
    })
}

/// The rule; Adam and `AdamW` by kiln's kernel where the device has it.
fn of_kind(kind: &OptimizerKind, device: &Device) -> Result<ModuleOptimizer, TrainError> {
    Ok(match *kind {
        OptimizerKind::Adam(params) if device.kernels => adam(params, 0.0).into(),
        OptimizerKind::AdamW {
            adam: params,
            weight_decay,
            ..
        } if device.kernels => adam(params, weight_decay).into(),
        OptimizerKind::Adam(params) => burn_adam(params).init(),
        OptimizerKind::AdamW {
            adam:
                AdamParams {
                    beta_1,
                    beta_2,
                    epsilon,
                },
            weight_decay,
            ..
        } => {
            let config = AdamWConfig::new()
                .with_beta_1(beta_1 as f32)
                .with_beta_2(beta_2 as f32);
            config
                .with_epsilon(epsilon as f32)
                .with_weight_decay(weight_decay as f32)
                .init()
        }
        OptimizerKind::Sgd {
            momentum,
            nesterov,
            weight_decay,
            ..
        } => burn_sgd(momentum, nesterov, weight_decay).init(),
        OptimizerKind::Lion {
            beta_1,
            beta_2,
            weight_decay,
            ..
        } => burn_lion([beta_1, beta_2], weight_decay).init(),
        OptimizerKind::Lamb {
            adam, weight_decay, ..
        } => burn_lamb(adam, weight_decay).init(),
        OptimizerKind::Lbfgs(_) => return Err(TrainError::NotOneDense),
    })
}

/// Burn's Adam.
fn burn_adam(params: AdamParams) -> AdamConfig {
    AdamConfig::new()
        .with_beta_1(params.beta_1 as f32)
        .with_beta_2(params.beta_2 as f32)
        .with_epsilon(params.epsilon as f32)
}

/// Burn's Lion.
fn burn_lion([beta_1, beta_2]: [f64; 2], weight_decay: f64) -> LionConfig {
    LionConfig::new()
        .with_beta_1(beta_1 as f32)
        .with_beta_2(beta_2 as f32)
        .with_weight_decay(weight_decay as f32)
}

/// Burn's LAMB.
fn burn_lamb(params: AdamParams, weight_decay: f64) -> LambConfig {
    LambConfig::new()
        .with_beta_1(params.beta_1 as f32)
        .with_beta_2(params.beta_2 as f32)
        .with_epsilon(params.epsilon as f32)
        .with_weight_decay(weight_decay as f32)
}

/// Burn's stochastic gradient descent.
fn burn_sgd(momentum: f64, nesterov: bool, weight_decay: f64) -> SgdConfig {
    // Burn's default dampening would take a tenth off each gradient; Keras's and PyTorch's take
    // nothing.
    let rule = MomentumConfig::new()
        .with_momentum(momentum)
        .with_dampening(0.0)
        .with_nesterov(nesterov);
    let decay = WeightDecayConfig::new(weight_decay as f32);
    SgdConfig::new()
        .with_momentum((momentum > 0.0).then_some(rule))
        .with_weight_decay((weight_decay > 0.0).then_some(decay))
}

fn adam(
    AdamParams {
        beta_1,
        beta_2,
        epsilon,
    }: AdamParams,
    weight_decay: f64,
) -> fused::Adam {
    fused::Adam {
        beta_1,
        beta_2,
        epsilon,
        weight_decay,
    }
}

/// Clips by the norm of all gradients together; by value, and by the norm of each, Burn's optimizers
/// do it. Scales the gradients down by one factor where their Euclidean norm, taken as of one vector, is
/// above `most`; Keras's `global_clipnorm`.
pub fn clip_by_global_norm(
    network: &Network,
    gradients: GradientsParams,
    most: f64,
) -> Result<GradientsParams, TrainError> {
    let mut squares = Squares {
        gradients: &gradients,
        sum: Ok(0.0),
    };
    network.visit(&mut squares);
    let norm = squares.sum?.sqrt();
    if norm <= most {
        return Ok(gradients);
    }
    let mut scaling = Scaling {
        gradients,
        factor: (most / norm) as f32,
    };
    network.visit(&mut scaling);
    Ok(scaling.gradients)
}

/// Adds up the squares of all gradients; those of one parameter on the device, the others in f64.
struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Result<f64, TrainError>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &module::Param<Tensor<D>>) {
        let (Some(gradient), Ok(sum)) = (self.gradients.get::<D>(param.id), &mut self.sum) else {
            return;
        };
        match values(gradient.square().sum()) {
            Ok(square) => *sum += f64::from(square[0]),
            Err(error) => self.sum = Err(error),
        }
    }
}

struct Scaling {
    gradients: GradientsParams,
    factor: f32,
}

impl ModuleVisitor for Scaling {
    fn visit_float<const D: usize>(&mut self, param: &module::Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor);
        }
    }
}

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
        let base = task.phase.optimizer.learning_rate;
        let mut groups = Vec::new();
        if let Some(decay) = task.phase.layer_decay {
            let blocks = task.model.blocks_to_end();
            for (layer, blocks) in task.model.layers().iter().zip(blocks) {
                let rate = base * decay.powi(i32::try_from(blocks).unwrap_or(i32::MAX));
                groups.extend(network.group(&layer.name).map(|group| (group, rate)));
            }
        }
        for (pattern, rate) in &task.phase.learning_rates {
            let selected = task
                .model
                .selected(pattern)
                .expect("a recipe's patterns are checked");
            for layer in selected {
                groups.extend(network.group(&layer.name).map(|group| (group, *rate)));
            }
        }
        let all = scaled(base, &groups, 1.0);
        Self {
            base,
            groups,
            current: base,
            all,
        }
    }

    /// Returns the optimizer's rate, as the schedule has it.
    pub fn current(&self) -> f64 {
        self.current
    }

    /// Returns all rates for a step.
    pub fn all(&self) -> ModuleLearningRate {
        self.all.clone()
    }

    /// Sets the optimizer's; layers that have one of their own keep its proportion to this.
    pub fn set(&mut self, learning_rate: f64) {
        self.current = learning_rate;
        self.all = scaled(self.base, &self.groups, learning_rate / self.base);
    }

    /// Advances to those of the next step.
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
