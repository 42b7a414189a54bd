//! The recipe's optimizer in Burn.

use burn::grad_clipping::GradientClippingConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, ModuleOptimizer, SgdConfig};
use kiln_model::{AdamParams, Optimizer, OptimizerKind};

use crate::{Device, fused};

/// Builds it; Adam and `AdamW` by kiln's kernel where the device has it.
pub fn build(optimizer: &Optimizer, device: &Device) -> ModuleOptimizer {
    let built: ModuleOptimizer = match optimizer.kind {
        OptimizerKind::Adam(params) if device.kernels => adam(params, 0.0).into(),
        OptimizerKind::AdamW {
            adam: params,
            weight_decay,
        } if device.kernels => adam(params, weight_decay).into(),
        OptimizerKind::Adam(AdamParams {
            beta_1,
            beta_2,
            epsilon,
        }) => {
            let config = AdamConfig::new()
                .with_beta_1(beta_1 as f32)
                .with_beta_2(beta_2 as f32);
            config.with_epsilon(epsilon as f32).init()
        }
        OptimizerKind::AdamW {
            adam:
                AdamParams {
                    beta_1,
                    beta_2,
                    epsilon,
                },
            weight_decay,
        } => {
            let config = AdamWConfig::new()
                .with_beta_1(beta_1 as f32)
                .with_beta_2(beta_2 as f32);
            config
                .with_epsilon(epsilon as f32)
                .with_weight_decay(weight_decay as f32)
                .init()
        }
        OptimizerKind::Sgd { momentum, nesterov } => {
            // Burn's default dampening would take a tenth off each gradient; Keras's and PyTorch's
            // take nothing.
            let config = MomentumConfig::new()
                .with_momentum(momentum)
                .with_dampening(0.0)
                .with_nesterov(nesterov);
            SgdConfig::new()
                .with_momentum((momentum > 0.0).then_some(config))
                .init()
        }
    };
    let clipping = match (optimizer.clipnorm, optimizer.clipvalue) {
        (Some(norm), _) => Some(GradientClippingConfig::Norm(norm as f32)),
        (None, Some(value)) => Some(GradientClippingConfig::Value(value as f32)),
        (None, None) => None,
    };
    match clipping {
        Some(clipping) => built.with_grad_clipping(clipping.init()),
        None => built,
    }
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
