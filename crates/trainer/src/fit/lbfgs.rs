//! L-BFGS: a smooth function's minimum, from its values and gradients in f64.
//!
//! Nocedal and Wright, Numerical Optimization (2006): algorithm 7.4 for the direction, 3.5 and 3.6 for
//! a step that satisfies the strong Wolfe conditions. Written here rather than taken from `argmin`,
//! since a fit is to be cancelled within an iteration and must end the same, bit for bit, whenever it
//! is resumed.

use std::collections::VecDeque;

/// Corrections that the approximation of the Hessian is made of; `SciPy`'s default.
const MEMORY: usize = 10;
/// Share of the decrease that the slope promises, and of the slope that may be left.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
/// Most evaluations that bracket a step, and that find it within the bracket.
const BRACKETING: usize = 20;
const ZOOMING: usize = 30;

/// When to end.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most iterations.
    pub iterations: usize,
    /// Largest component of the gradient at a minimum.
    pub tolerance: f64,
}

/// Where a minimization ended.
#[derive(Debug, Clone)]
pub struct Minimum {
    pub point: Vec<f64>,
    pub iterations: usize,
    /// Largest component of the gradient.
    pub gradient: f64,
    /// Whether that is within the tolerance.
    pub converged: bool,
}

/// Minimizes a function that returns its value at a point and writes its gradient, or `None` to
/// cancel.
pub fn minimize(
    start: Vec<f64>,
    limits: Limits,
    mut function: impl FnMut(&[f64], &mut [f64]) -> Option<f64>,
) -> Option<Minimum> {
    let mut point = start;
    let mut gradient = vec![0.0; point.len()];
    let mut value = function(&point, &mut gradient)?;
    let mut memory = Memory::default();
    let mut iterations = 0;
    while iterations < limits.iterations && largest(&gradient) > limits.tolerance {
        let mut direction = memory.direction(&gradient);
        let mut slope = dot(&gradient, &direction);
        if slope >= 0.0 {
            // Rounding has spoiled the approximation: begin again, down the gradient.
            memory = Memory::default();
            direction = memory.direction(&gradient);
            slope = dot(&gradient, &direction);
        }
        let first = if memory.corrections.is_empty() {
            (1.0 / dot(&gradient, &gradient).sqrt()).min(1.0)
        } else {
            1.0
        };
        let mut line = Line {
            function: &mut function,
            from: &point,
            direction: &direction,
            trial: point.clone(),
            gradient: vec![0.0; point.len()],
        };
        let begin = At {
            step: 0.0,
            value,
            slope,
        };
        let Some(found) = line.search(begin, first).ok()? else {
            if memory.corrections.is_empty() {
                // Not even down the gradient: this is as low as rounding lets it get.
                break;
            }
            memory = Memory::default();
            continue;
        };
        let (next, next_gradient) = (line.trial, line.gradient);
        memory.add(&point, &next, &gradient, &next_gradient);
        (point, gradient, value) = (next, next_gradient, found.value);
        iterations += 1;
    }
    let gradient = largest(&gradient);
    Some(Minimum {
        point,
        iterations,
        gradient,
        converged: gradient <= limits.tolerance,
    })
}

/// A place on a line: the step to it, the value and the slope along the line there.
#[derive(Debug, Clone, Copy)]
struct At {
    step: f64,
    value: f64,
    slope: f64,
}

/// The function gave no value.
struct Cancelled;

struct Line<'a, F> {
    function: &'a mut F,
    from: &'a [f64],
    direction: &'a [f64],
    /// The last place that was looked at, and the gradient there.
    trial: Vec<f64>,
    gradient: Vec<f64>,
}

impl<F: FnMut(&[f64], &mut [f64]) -> Option<f64>> Line<'_, F> {
    fn at(&mut self, step: f64) -> Result<At, Cancelled> {
        for ((to, from), along) in self.trial.iter_mut().zip(self.from).zip(self.direction) {
            *to = from + step * along;
        }
        let value = (self.function)(&self.trial, &mut self.gradient).ok_or(Cancelled)?;
        let slope = dot(&self.gradient, self.direction);
        Ok(At { step, value, slope })
    }

    /// Finds a step that satisfies the strong Wolfe conditions, or at least lowers the value, if there
    /// is one.
    fn search(&mut self, begin: At, first: f64) -> Result<Option<At>, Cancelled> {
        let (mut before, mut step) = (begin, first);
        for round in 0..BRACKETING {
            let here = self.at(step)?;
            if !here.value.is_finite()
                || !decreases(begin, here)
                || (round > 0 && here.value >= before.value)
            {
                return self.zoom(begin, before, here);
            }
            if here.slope.abs() <= -CURVATURE * begin.slope {
                return Ok(Some(here));
            }
            if here.slope >= 0.0 {
                return self.zoom(begin, here, before);
            }
            before = here;
            step *= 2.0;
        }
        // A convex function that falls so far has no minimum: take what there is.
        Ok(Some(before))
    }

    /// Between `low`, the better end, and `high` there is such a step.
    fn zoom(&mut self, begin: At, mut low: At, mut high: At) -> Result<Option<At>, Cancelled> {
        for _ in 0..ZOOMING {
            let here = self.at(between(low, high))?;
            if !here.value.is_finite() || !decreases(begin, here) || here.value >= low.value {
                high = here;
                continue;
            }
            if here.slope.abs() <= -CURVATURE * begin.slope {
                return Ok(Some(here));
            }
            if here.slope * (high.step - low.step) >= 0.0 {
                high = low;
            }
            low = here;
        }
        if low.step > 0.0 {
            return Ok(Some(self.at(low.step)?));
        }
        Ok(None)
    }
}

/// Whether the value falls as much as the slope at the beginning promises (Armijo's condition).
fn decreases(begin: At, here: At) -> bool {
    here.value <= begin.value + DECREASE * here.step * begin.slope
}

/// The minimum of the cubic with the values and slopes of both ends, or the middle where that is not
/// well within them.
fn between(a: At, b: At) -> f64 {
    let middle = f64::midpoint(a.step, b.step);
    let d1 = a.slope + b.slope - 3.0 * (a.value - b.value) / (a.step - b.step);
    let d2 = (b.step - a.step).signum() * (d1 * d1 - a.slope * b.slope).sqrt();
    let step = b.step - (b.step - a.step) * (b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2);
    let margin = 0.1 * (b.step - a.step).abs();
    let (least, most) = (a.step.min(b.step) + margin, a.step.max(b.step) - margin);
    if step.is_finite() && (least..=most).contains(&step) {
        step
    } else {
        middle
    }
}

/// The last steps, with the changes of the gradient over them.
#[derive(Default)]
struct Memory {
    /// Steps `s`, changes `y` of the gradient, and `1 / s·y`, the oldest first.
    corrections: VecDeque<(Vec<f64>, Vec<f64>, f64)>,
}

impl Memory {
    fn add(&mut self, from: &[f64], to: &[f64], before: &[f64], after: &[f64]) {
        let change =
            |a: &[f64], b: &[f64]| -> Vec<f64> { b.iter().zip(a).map(|(b, a)| b - a).collect() };
        let (step, change) = (change(from, to), change(before, after));
        let curvature = dot(&step, &change);
        // Else the approximation would not be positive definite.
        if curvature > f64::EPSILON * dot(&change, &change) {
            if self.corrections.len() == MEMORY {
                self.corrections.pop_front();
            }
            self.corrections.push_back((step, change, 1.0 / curvature));
        }
    }

    /// The approximate inverse Hessian times the gradient, downwards: the two-loop recursion.
    fn direction(&self, gradient: &[f64]) -> Vec<f64> {
        let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut shares = Vec::with_capacity(self.corrections.len());
        for (step, change, inverse) in self.corrections.iter().rev() {
            let share = inverse * dot(step, &direction);
            add_scaled(&mut direction, change, -share);
            shares.push(share);
        }
        if let Some((_, change, inverse)) = self.corrections.back() {
            let scale = 1.0 / (inverse * dot(change, change));
            for x in &mut direction {
                *x *= scale;
            }
        }
        for ((step, change, inverse), share) in self.corrections.iter().zip(shares.iter().rev()) {
            let other = inverse * dot(change, &direction);
            add_scaled(&mut direction, step, share - other);
        }
        direction
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add_scaled(to: &mut [f64], values: &[f64], factor: f64) {
    for (to, value) in to.iter_mut().zip(values) {
        *to += factor * value;
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| value.abs().max(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        iterations: 200,
        tolerance: 1e-9,
    };

    /// Rosenbrock's function in pairs of dimensions, whose minimum is 1 everywhere.
    fn rosenbrock(x: &[f64], gradient: &mut [f64]) -> f64 {
        let mut value = 0.0;
        for (x, g) in x.chunks_exact(2).zip(gradient.chunks_exact_mut(2)) {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            value += a * a + 100.0 * b * b;
            g[0] = -2.0 * a - 400.0 * x[0] * b;
            g[1] = 200.0 * b;
        }
        value
    }

    #[test]
    fn a_curved_valley_is_followed_to_its_end() {
        let start = [-1.2, 1.0].repeat(5);
        let function = |x: &[f64], g: &mut [f64]| Some(rosenbrock(x, g));
        let found = minimize(start, LIMITS, function).unwrap();
        assert!(found.converged && found.iterations < 100, "{found:?}");
        assert!(found.point.iter().all(|x| (x - 1.0).abs() < 1e-8));
    }

    #[test]
    fn what_has_not_converged_says_so_and_a_cancelled_one_is_nothing() {
        let limits = Limits {
            iterations: 3,
            ..LIMITS
        };
        let function = |x: &[f64], g: &mut [f64]| Some(rosenbrock(x, g));
        let found = minimize(vec![-1.2, 1.0], limits, function).unwrap();
        assert!(!found.converged && found.iterations == 3 && found.gradient > 1e-9);
        let mut left = 5;
        let cancelled = minimize(vec![-1.2, 1.0], LIMITS, |x, g| {
            left -= 1;
            (left > 0).then(|| rosenbrock(x, g))
        });
        assert!(cancelled.is_none());
    }

    #[test]
    fn a_minimum_to_begin_with_takes_no_iteration() {
        let function = |x: &[f64], g: &mut [f64]| Some(rosenbrock(x, g));
        let found = minimize(vec![1.0, 1.0], LIMITS, function).unwrap();
        assert_eq!((found.iterations, found.converged), (0, true));
    }
}
