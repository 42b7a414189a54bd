//! Multinomial logistic regression of features: one dense layer, by L-BFGS on all images at once.
//!
//! For each penalty the minimum of
//!
//! ```text
//! 1/n Σ_i w(y_i) Σ_k -t_ik log softmax(W x_i + b)_k  +  penalty/2 ||W||²
//! ```
//!
//! `t` being the labels, smoothed, and `w` the weights of the classes. The features `x` are centered
//! and divided by one number, the root of the mean of their variances, so that a penalty means the
//! same for the features of any network; both are then folded into the layer's weights. Of vectors `X`
//! as they are, it is the minimum of scikit-learn's `LogisticRegression(C = 1 / (penalty * n *
//! X.var(0).mean()))`. Dividing each feature by its own deviation instead, which lets those that hardly
//! vary weigh as much as others, gave a higher validation loss on photographs.

use std::time::Instant;

use kiln_data::{Loader, Order, Samples};
use kiln_metrics::{ClassCounts, argmax};
use kiln_model::{LbfgsParams, Param};
use kiln_run::{Epoch, Tensor, Weights};
use kiln_util::CancelToken;
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

use super::lbfgs::{Limits, minimize};
use super::loss::Loss;
use super::observer::{Observer, Snapshot};
use super::{Fitted, Task, improvement};
use crate::{TrainError, frozen};

/// Rows whose products are computed at once.
const BLOCK: usize = 128;
/// Parts that threads share the rows in, whose sums are added up in order: the same for any number of
/// threads.
const PARTS: usize = 16;

/// Fits the layer for each penalty, from the largest on.
pub fn fit(
    task: &Task<'_>,
    params: &LbfgsParams,
    observer: &mut dyn Observer,
) -> Result<Fitted, TrainError> {
    let mut fitted = Fitted {
        best: task.weights.clone(),
        history: task.history.clone(),
        stopped: false,
    };
    let before = task.before();
    let layer = Dense::of(task)?;
    let (Some(train), Some(validation)) = (
        Rows::read(&task.train, layer.inputs, task.cancel)?,
        Rows::read(&task.validation, layer.inputs, task.cancel)?,
    ) else {
        fitted.stopped = true;
        return Ok(fitted);
    };
    let loss = task.loss();
    let scaling = Scaling::of(&train, layer.bias.is_some());
    let mut problem = Problem {
        rows: &train,
        loss: &loss,
        layer: &layer,
        scaling: &scaling,
        penalty: 0.0,
    };
    let mut point = match &task.resume {
        Some(resume) => decode(&resume.snapshot.optimizer, layer.len())?,
        None => vec![0.0; layer.len()],
    };
    let done = fitted.history.epochs.len() - before;
    let limits = Limits {
        iterations: params.max_iterations,
        tolerance: params.tolerance,
    };
    for &penalty in params.penalties.iter().skip(done) {
        let so_far = &fitted.history.epochs[before..];
        let over = |stopping| improvement::is_over(stopping, fitted.history.monitor, so_far);
        if task.phase.early_stopping.is_some_and(over) {
            break;
        }
        let start = Instant::now();
        let number = fitted.history.epochs.len() + 1;
        problem.penalty = penalty;
        let function = |point: &[f64], gradient: &mut [f64]| {
            (!task.cancel.is_cancelled()).then(|| problem.value(point, gradient))
        };
        let Some(minimum) = minimize(point, limits, function) else {
            fitted.stopped = true;
            return Ok(fitted);
        };
        point = minimum.point;
        let weights = scaling.fold(&layer, &point);
        let (val_loss, of_validation) = layer.figures(&weights, &validation, &loss.plain());
        let (train_loss, of_training) = layer.figures(&weights, &train, &loss);
        if !val_loss.is_finite() {
            return Err(TrainError::ValidationDiverged {
                epoch: number,
                learning_rate: 0.0,
                loss: val_loss,
            });
        }
        let epoch = Epoch {
            epoch: number,
            train_loss,
            train_accuracy: of_training.accuracy(),
            val_loss,
            val_accuracy: of_validation.accuracy(),
            val_macro_f1: Some(of_validation.macro_f1()),
            learning_rate: 0.0,
            seconds: start.elapsed().as_secs_f64(),
            images_per_second: None,
            penalty: Some(penalty),
        };
        if !minimum.converged {
            observer.not_converged(&epoch, minimum.iterations, minimum.gradient);
        }
        fitted.history.epochs.push(epoch);
        let snapshot = Snapshot {
            average: None,
            weights,
            optimizer: point.iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        let best = fitted.history.best();
        let is_best = best.is_some_and(|best| best.epoch == number);
        observer.epoch(&epoch, &snapshot, is_best)?;
        if is_best {
            fitted.best.extend(snapshot.weights);
        }
    }
    frozen::check(task.model, task.weights, &fitted.best)?;
    Ok(fitted)
}

/// Reads the point that a fit ended at.
fn decode(bytes: &[u8], len: usize) -> Result<Vec<f64>, TrainError> {
    let (values, rest) = bytes.as_chunks::<8>();
    if values.len() != len || !rest.is_empty() {
        let problem = format!("expected {len} numbers, found {} bytes", bytes.len());
        return Err(TrainError::Optimizer(problem));
    }
    Ok(values
        .iter()
        .map(|value| f64::from_le_bytes(*value))
        .collect())
}

/// The layer: its sizes and the names of its parameters.
struct Dense<'a> {
    inputs: usize,
    units: usize,
    weight: &'a Param,
    bias: Option<&'a Param>,
}

impl<'a> Dense<'a> {
    fn of(task: &Task<'a>) -> Result<Self, TrainError> {
        // That it is the only one is checked where a recipe is read.
        let params = match task.model.layers().get(task.first_layer..) {
            Some([layer]) => layer.params.as_slice(),
            _ => &[],
        };
        let (weight, bias) = match params {
            [weight] => (weight, None),
            [weight, bias] => (weight, Some(bias)),
            _ => return Err(TrainError::NotOneDense),
        };
        match weight.shape[..] {
            [units, inputs] => Ok(Self {
                inputs,
                units,
                weight,
                bias,
            }),
            _ => Err(TrainError::NotOneDense),
        }
    }

    /// Number of values of the weights, then of the bias.
    fn weights(&self) -> usize {
        self.units * self.inputs
    }

    fn len(&self) -> usize {
        self.weights() + self.bias.map_or(0, |_| self.units)
    }

    /// Mean loss of weights, in f64, and what they predict.
    fn figures(&self, weights: &Weights, rows: &Rows, loss: &Loss) -> (f64, ClassCounts) {
        let values = |param: &Param| -> Vec<f64> {
            let tensor = weights.get(&param.name);
            let values = tensor.map_or(&[][..], |tensor| &tensor.data);
            values.iter().map(|value| f64::from(*value)).collect()
        };
        let bias = self.bias.map_or_else(|| vec![0.0; self.units], values);
        let sums = rows.sums(self, &values(self.weight), &bias, loss, false);
        let n = rows.len() as f64;
        (sums.loss / n, sums.predictions)
    }
}

/// Features with their labels.
struct Rows {
    /// `[n, width]`, row-major.
    values: Vec<f32>,
    labels: Vec<u32>,
    width: usize,
}

impl Rows {
    /// Reads all samples; `None` if cancelled.
    fn read(
        samples: &Samples,
        width: usize,
        cancel: &CancelToken,
    ) -> Result<Option<Self>, TrainError> {
        let n = samples.view().len();
        let mut rows = Self {
            values: Vec::with_capacity(n * width),
            labels: Vec::with_capacity(n),
            width,
        };
        for batch in &Loader::new(samples.clone(), BLOCK, Order::Sequential)? {
            let batch = batch?;
            rows.values.extend_from_slice(&batch.values);
            rows.labels.extend_from_slice(&batch.labels);
            if cancel.is_cancelled() {
                return Ok(None);
            }
        }
        Ok(Some(rows))
    }

    fn len(&self) -> usize {
        self.labels.len()
    }

    /// Sums over all rows, with the gradient if it is wanted.
    fn sums(
        &self,
        layer: &Dense<'_>,
        weight: &[f64],
        bias: &[f64],
        loss: &Loss,
        gradient: bool,
    ) -> Sums {
        let rows = self.len().div_ceil(PARTS).max(1);
        let parts = self
            .values
            .par_chunks(rows * self.width)
            .zip(self.labels.par_chunks(rows));
        let parts: Vec<Sums> = parts
            .map(|(values, labels)| {
                let mut sums = Sums::new(layer, gradient);
                let mut block = Block::new(layer);
                for (values, labels) in values.chunks(BLOCK * self.width).zip(labels.chunks(BLOCK))
                {
                    block.add(values, labels, weight, bias, loss, &mut sums);
                }
                sums
            })
            .collect();
        let mut parts = parts.into_iter();
        let first = parts.next().unwrap_or_else(|| Sums::new(layer, gradient));
        parts.fold(first, Sums::plus)
    }
}

/// Sums over rows.
struct Sums {
    loss: f64,
    predictions: ClassCounts,
    /// Of the weights on the features as they are, then of the bias; empty if it is not wanted.
    gradient: Vec<f64>,
}

impl Sums {
    fn new(layer: &Dense<'_>, gradient: bool) -> Self {
        let len = if gradient {
            layer.weights() + layer.units
        } else {
            0
        };
        Self {
            loss: 0.0,
            predictions: ClassCounts::default(),
            gradient: vec![0.0; len],
        }
    }

    fn plus(mut self, other: Self) -> Self {
        self.loss += other.loss;
        self.predictions.add(&other.predictions);
        for (sum, value) in self.gradient.iter_mut().zip(other.gradient) {
            *sum += value;
        }
        self
    }
}

/// Room for a few rows and their logits.
struct Block {
    inputs: usize,
    units: usize,
    /// `[BLOCK, inputs]`.
    rows: Vec<f64>,
    /// `[BLOCK, units]`.
    logits: Vec<f64>,
}

impl Block {
    fn new(layer: &Dense<'_>) -> Self {
        Self {
            inputs: layer.inputs,
            units: layer.units,
            rows: vec![0.0; BLOCK * layer.inputs],
            logits: vec![0.0; BLOCK * layer.units],
        }
    }

    fn add(
        &mut self,
        values: &[f32],
        labels: &[u32],
        weight: &[f64],
        bias: &[f64],
        loss: &Loss,
        sums: &mut Sums,
    ) {
        let (n, inputs, units) = (labels.len(), self.inputs, self.units);
        for (to, value) in self.rows.iter_mut().zip(values) {
            *to = f64::from(*value);
        }
        let rows = matrix(&self.rows, [n, inputs]);
        let logits = &mut self.logits[..n * units];
        let weight = matrix(weight, [units, inputs]);
        general_mat_mul(
            1.0,
            &rows,
            &weight.t(),
            0.0,
            &mut matrix_mut(logits, [n, units]),
        );
        for (row, &label) in logits.chunks_exact_mut(units).zip(labels) {
            for (logit, bias) in row.iter_mut().zip(bias) {
                *logit += bias;
            }
            let predicted = argmax(&row.iter().map(|logit| *logit as f32).collect::<Vec<_>>());
            let predicted = predicted.unwrap_or_default();
            sums.predictions.record(label as usize, predicted);
            sums.loss += loss.row(row, label);
        }
        if sums.gradient.is_empty() {
            return;
        }
        // What were the logits are the residuals now.
        let (of_weight, of_bias) = sums.gradient.split_at_mut(units * inputs);
        let residuals = matrix(logits, [n, units]);
        let mut of_weight = matrix_mut(of_weight, [units, inputs]);
        general_mat_mul(1.0, &residuals.t(), &rows, 1.0, &mut of_weight);
        for row in logits.chunks_exact(units) {
            for (sum, residual) in of_bias.iter_mut().zip(row) {
                *sum += residual;
            }
        }
    }
}

/// The first values as a matrix, row-major.
fn matrix(values: &[f64], [rows, columns]: [usize; 2]) -> ArrayView2<'_, f64> {
    let values = &values[..rows * columns];
    ArrayView2::from_shape((rows, columns), values).expect("as many values as the shape has")
}

fn matrix_mut(values: &mut [f64], [rows, columns]: [usize; 2]) -> ArrayViewMut2<'_, f64> {
    let values = &mut values[..rows * columns];
    ArrayViewMut2::from_shape((rows, columns), values).expect("as many values as the shape has")
}

/// What makes features comparable.
struct Scaling {
    /// Means of the features.
    mean: Vec<f64>,
    /// What all of them are multiplied by then.
    scale: f64,
}

impl Scaling {
    /// That of the training rows. Without a bias nothing can make up for a mean, and it stays.
    fn of(rows: &Rows, center: bool) -> Self {
        let n = rows.len() as f64;
        let mut mean = vec![0.0; rows.width];
        for row in rows.values.chunks_exact(rows.width) {
            for (sum, value) in mean.iter_mut().zip(row) {
                *sum += f64::from(*value) / n;
            }
        }
        let mut variance = 0.0;
        for row in rows.values.chunks_exact(rows.width) {
            let squares = row.iter().zip(&mean);
            let squares = squares.map(|(value, mean)| (f64::from(*value) - mean).powi(2));
            variance += squares.sum::<f64>() / (n * rows.width as f64);
        }
        Self {
            scale: if variance > 0.0 {
                1.0 / variance.sqrt()
            } else {
                1.0
            },
            mean: if center { mean } else { vec![0.0; rows.width] },
        }
    }

    /// Weights and bias on the features as they are, from those on the scaled ones.
    fn unscaled(&self, layer: &Dense<'_>, point: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (weight, bias) = point.split_at(layer.weights());
        let mut bias = bias.to_vec();
        bias.resize(layer.units, 0.0);
        let mut unscaled = Vec::with_capacity(weight.len());
        for (row, bias) in weight.chunks_exact(layer.inputs).zip(&mut bias) {
            for (weight, mean) in row.iter().zip(&self.mean) {
                unscaled.push(weight * self.scale);
                *bias -= weight * self.scale * mean;
            }
        }
        (unscaled, bias)
    }

    /// The layer's parameters.
    fn fold(&self, layer: &Dense<'_>, point: &[f64]) -> Weights {
        let (weight, bias) = self.unscaled(layer, point);
        let tensor = |param: &Param, values: &[f64]| {
            let tensor = Tensor {
                shape: param.shape.clone(),
                data: values.iter().map(|value| *value as f32).collect(),
            };
            (param.name.clone(), tensor)
        };
        let bias = layer.bias.map(|param| tensor(param, &bias));
        std::iter::once(tensor(layer.weight, &weight))
            .chain(bias)
            .collect()
    }
}

/// What is minimized.
struct Problem<'a> {
    rows: &'a Rows,
    loss: &'a Loss,
    layer: &'a Dense<'a>,
    scaling: &'a Scaling,
    penalty: f64,
}

impl Problem<'_> {
    /// The value at a point, and the gradient there.
    fn value(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let Self {
            rows,
            layer,
            scaling,
            penalty,
            ..
        } = self;
        let (weight, bias) = scaling.unscaled(layer, point);
        let sums = rows.sums(layer, &weight, &bias, self.loss, true);
        let n = rows.len() as f64;
        let (of_weight, of_bias) = sums.gradient.split_at(layer.weights());
        let (weight, bias) = gradient.split_at_mut(layer.weights());
        let mut squares = 0.0;
        let units = weight
            .chunks_exact_mut(layer.inputs)
            .zip(of_weight.chunks_exact(layer.inputs))
            .zip(point.chunks_exact(layer.inputs));
        for (((to, from), at), of_bias) in units.zip(of_bias) {
            for (feature, to) in to.iter_mut().enumerate() {
                let centered = from[feature] - of_bias * scaling.mean[feature];
                *to = centered * scaling.scale / n + penalty * at[feature];
                squares += at[feature] * at[feature];
            }
        }
        for (to, from) in bias.iter_mut().zip(of_bias) {
            *to = from / n;
        }
        sums.loss / n + penalty / 2.0 * squares
    }
}
