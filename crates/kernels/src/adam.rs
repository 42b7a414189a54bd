//! Adam and `AdamW`, one pass over memory.
//!
//! Elementwise operations would read and write the parameter, both moments and some temporaries, about
//! thirty memory accesses a value; the step is bound by memory, and one loop makes do with seven. The
//! bias corrections do not depend on the value and are folded into step size and epsilon; square root
//! and division are vector instructions of all levels.

use crate::parallel::{self, Shared, share};
use crate::simd_level::{SimdLevel, multiversioned};

/// One step of Adam (Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Step size.
    pub learning_rate: f64,
    /// Share of the first moment that is kept, in [0, 1).
    pub beta_1: f64,
    /// Share of the second moment that is kept, in [0, 1).
    pub beta_2: f64,
    /// Added to the root of the corrected second moment.
    pub epsilon: f64,
    /// Share of the parameter that is taken away, times the learning rate, apart from the
    /// gradient's step ("decoupled": `AdamW`, Loshchilov and Hutter, "Decoupled Weight Decay
    /// Regularization", 2019); 0 is none.
    pub weight_decay: f64,
    /// Number of this step, from 1: the moments begin as zeros, which the first steps make up for.
    pub step: usize,
}

/// The numbers of a step as the loop needs them.
#[derive(Clone, Copy)]
struct Factors {
    beta_1: f32,
    beta_2: f32,
    /// Shares of the gradient and of its square.
    rest_1: f32,
    rest_2: f32,
    epsilon: f32,
    rate: f32,
    /// What the decay leaves of the parameter.
    kept: f32,
}

/// Updates a parameter and its moments in one pass: with `g` the gradient,
///
/// ```text
/// moment_1 = beta_1 moment_1 + (1 - beta_1) g          moment_2 = beta_2 moment_2 + (1 - beta_2) g²
/// parameter = (1 - learning_rate weight_decay) parameter
///           - learning_rate · moment_1 / (1 - beta_1^step) / (√(moment_2 / (1 - beta_2^step)) + epsilon)
/// ```
///
/// Seven memory accesses a value; the same in elementwise operations takes about thirty.
///
/// # Panics
///
/// When the slices differ in length.
pub fn adam(
    step: &Adam,
    gradient: &[f32],
    parameter: &mut [f32],
    moment_1: &mut [f32],
    moment_2: &mut [f32],
) {
    let length = gradient.len();
    assert_eq!(
        (parameter.len(), moment_1.len(), moment_2.len()),
        (length, length, length),
        "adam: lengths"
    );
    let number = step.step as f64;
    let root = (1.0 - step.beta_2.powf(number)).sqrt();
    let factors = Factors {
        beta_1: step.beta_1 as f32,
        beta_2: step.beta_2 as f32,
        rest_1: (1.0 - step.beta_1) as f32,
        rest_2: (1.0 - step.beta_2) as f32,
        // Both corrections in the step size: m / c1 / (√v / root + ε) = root / c1 · m / (√v + root
        // ε).
        epsilon: (step.epsilon * root) as f32,
        rate: (step.learning_rate * root / (1.0 - step.beta_1.powf(number))) as f32,
        kept: (1.0 - step.learning_rate * step.weight_decay) as f32,
    };
    let level = SimdLevel::current();
    let (parameter, moment_1, moment_2) = (
        Shared::new(parameter),
        Shared::new(moment_1),
        Shared::new(moment_2),
    );
    parallel::tasks(parallel::threads_for(length), |task, tasks| {
        let range = share(length, task, tasks);
        let (start, count) = (range.start, range.len());
        // SAFETY: each range is one task's.
        let (parameter, moment_1, moment_2) = unsafe {
            (
                parameter.slice(start, count),
                moment_1.slice(start, count),
                moment_2.slice(start, count),
            )
        };
        update(
            level,
            factors,
            &gradient[range],
            parameter,
            moment_1,
            moment_2,
        );
    });
}

multiversioned! {
    fn update(factors: Factors, gradient: &[f32], parameter: &mut [f32], moment_1: &mut [f32], moment_2: &mut [f32]) =
        update_body
}

#[inline(always)]
fn update_body(
    factors: Factors,
    gradient: &[f32],
    parameter: &mut [f32],
    moment_1: &mut [f32],
    moment_2: &mut [f32],
) {
    let Factors {
        beta_1,
        beta_2,
        rest_1,
        rest_2,
        epsilon,
        rate,
        kept,
    } = factors;
    let moments = moment_1.iter_mut().zip(moment_2.iter_mut());
    for ((parameter, &gradient), (moment_1, moment_2)) in
        parameter.iter_mut().zip(gradient).zip(moments)
    {
        let first = beta_1 * *moment_1 + rest_1 * gradient;
        let second = beta_2 * *moment_2 + rest_2 * (gradient * gradient);
        *moment_1 = first;
        *moment_2 = second;
        *parameter = *parameter * kept - rate * first / (second.sqrt() + epsilon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_the_definition() {
        const COUNT: usize = 40_000;
        let mut parameter: Vec<f32> = (0..COUNT).map(|i| (i % 201) as f32 / 100.0 - 1.0).collect();
        let mut expected: Vec<[f64; 3]> = parameter
            .iter()
            .map(|&p| [f64::from(p), 0.0, 0.0])
            .collect();
        let (mut moment_1, mut moment_2) = (vec![0.0; COUNT], vec![0.0; COUNT]);
        for step in 1..=5 {
            let gradient: Vec<f32> = (0..COUNT)
                .map(|i| ((i * 7919 + step * 31) % 1009) as f32 / 504.0 - 1.0)
                .collect();
            let weight_decay = if step > 2 { 0.04 } else { 0.0 };
            let adam_step = Adam {
                learning_rate: 0.1,
                beta_1: 0.9,
                beta_2: 0.999,
                epsilon: 1e-7,
                weight_decay,
                step,
            };
            for ([p, m, v], &g) in expected.iter_mut().zip(&gradient) {
                let g = f64::from(g);
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                let (m, v) = (
                    *m / (1.0 - 0.9_f64.powi(step as i32)),
                    *v / (1.0 - 0.999_f64.powi(step as i32)),
                );
                *p = *p * (1.0 - 0.1 * weight_decay) - 0.1 * m / (v.sqrt() + 1e-7);
            }
            for level in SimdLevel::available() {
                let (mut p, mut m, mut v) = (parameter.clone(), moment_1.clone(), moment_2.clone());
                SimdLevel::scope(level, || {
                    adam(&adam_step, &gradient, &mut p, &mut m, &mut v);
                });
                for (found, expected) in p.iter().zip(&expected) {
                    assert!(
                        (f64::from(*found) - expected[0]).abs() < 2e-6,
                        "{level:?}: {found}, not {}",
                        expected[0]
                    );
                }
            }
            adam(
                &adam_step,
                &gradient,
                &mut parameter,
                &mut moment_1,
                &mut moment_2,
            );
        }
    }

    #[test]
    fn a_gradient_of_zero_moves_nothing() {
        let (mut p, mut m, mut v) = ([0.5], [0.0], [0.0]);
        let step = Adam {
            learning_rate: 0.1,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-7,
            weight_decay: 0.0,
            step: 1,
        };
        adam(&step, &[0.0], &mut p, &mut m, &mut v);
        assert_eq!((p, m, v), ([0.5], [0.0], [0.0]));
    }
}
