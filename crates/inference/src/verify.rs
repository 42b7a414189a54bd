//! Replaying the golden vectors of a file.

use std::fmt;

use kiln_metrics::argmax;
use kiln_model::OutputKind;
use kiln_onnx::GoldenVector;
use kiln_preprocess::RawImage;
use kiln_util::counted;

use crate::chunks::NamedTensor;
use crate::engine::interface::Outputs;
use crate::error::{RunError, VerifyError};
use crate::model::Model;

/// Maximum number of values prepared at once, so that memory stays bounded whatever a file holds: 64 MiB.
const VALUES: usize = 1 << 24;

/// What smaller probabilities are taken for: those near the end of f32's range are rounded to zero
/// by some engines.
const LEAST: f64 = 1e-30;

/// What a model gave for the golden vectors of its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Verification {
    /// One per vector, in the file's order; at least one.
    pub replays: Vec<Replay>,
    /// What computed the scores in the file.
    pub computed_by: String,
}

/// What a model gave for one golden vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// Where the image comes from.
    pub source: String,
    /// Largest difference of a score from the one in the file; infinite where the engine gave no
    /// finite number. Of probabilities it is that of their natural logarithms, any below 1e-30
    /// taken for that: where one class has nearly all of it, the probabilities themselves would
    /// hide whatever is wrong.
    pub difference: f64,
    /// Largest difference that passes.
    pub tolerance: f64,
    /// The class with the largest expected score, as it was called when the scores were computed.
    pub label: String,
    /// The same class, as the model calls it.
    pub named: String,
}

impl Model {
    /// Replays the golden vectors of the file from raw pixels to scores: proves that this machine,
    /// with this engine, prepares images and computes the graph as the program did that trained the
    /// model.
    ///
    /// # Errors
    ///
    /// Returns that the file has no vectors or vectors of other classes, or why one cannot be replayed.
    ///
    /// ```no_run
    /// let model = kiln_inference::Model::open("model.onnx")?;
    /// let verification = model.verify()?;
    /// assert!(verification.passed(), "{verification}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(&self) -> Result<Verification, VerifyError> {
        let golden = self.golden.as_ref().ok_or(VerifyError::NoVectors)?;
        // A single score is that of the second of two classes.
        let classes = if self.spec().scores.is_binary {
            1
        } else {
            self.labels().len()
        };
        if let Some(vector) = golden
            .vectors
            .iter()
            .find(|vector| vector.scores.len() != classes)
        {
            return Err(VerifyError::Classes {
                image: vector.source.clone(),
                found: vector.scores.len(),
                classes,
            });
        }
        let at_once = (VALUES / self.preprocessor.len()).max(1);
        let mut replays = Vec::with_capacity(golden.vectors.len());
        for vectors in golden.vectors.chunks(at_once) {
            let images: Vec<RawImage<'_>> = vectors.iter().map(raw).collect();
            let (pixels, _) =
                self.prepare(&images, |image, out| self.preprocessor.raw(*image, out))?;
            // Not `run`, which refuses scores that are no numbers: those are a difference like any
            // other.
            let NamedTensor { name, shape, data } = self
                .outputs(&pixels, images.len(), Outputs::First)?
                .swap_remove(0);
            let expected = [images.len(), classes];
            if !shape.starts_with(&expected) || data.len() != images.len() * classes {
                return Err(RunError::OutputShape {
                    name,
                    expected,
                    found: shape,
                }
                .into());
            }
            let compared = vectors.iter().zip(data.chunks_exact(classes));
            replays.extend(compared.map(|(vector, found)| self.compare(vector, found)));
        }
        Ok(Verification {
            replays,
            computed_by: golden.computed_by.clone(),
        })
    }

    fn compare(&self, vector: &GoldenVector, found: &[f32]) -> Replay {
        let kind = self.spec().output;
        let pairs = vector.scores.iter().zip(found);
        let differences = pairs.map(|(&expected, &found)| {
            // `max` would pass over NaN.
            if found.is_finite() {
                distance(expected, found, kind)
            } else {
                f64::INFINITY
            }
        });
        let best = match vector.scores.as_slice() {
            [only] => {
                let half = if kind.is_probabilities() { 0.5 } else { 0.0 };
                Some(usize::from(*only > half))
            }
            several => argmax(several),
        };
        Replay {
            source: vector.source.clone(),
            difference: differences.fold(0.0, f64::max),
            tolerance: vector.tolerance,
            label: vector.label.clone(),
            named: best
                .map(|class| self.labels()[class].clone())
                .unwrap_or_default(),
        }
    }
}

/// How far two scores lie apart: logits by their difference, probabilities by that of their logarithms. Of a sigmoid
/// it is also that of the opposite's, and both are less what an error of one unit of f32 at 1 makes of them: engines
/// compute a sigmoid as a half and something.
fn distance(expected: f32, found: f32, kind: OutputKind) -> f64 {
    let [expected, found] = [expected, found].map(f64::from);
    let of_logarithms = |a: f64, b: f64| (a.max(LEAST).ln() - b.max(LEAST).ln()).abs();
    match kind {
        OutputKind::Logits | OutputKind::LogProbabilities | OutputKind::SigmoidLogits => {
            (expected - found).abs()
        }
        OutputKind::Probabilities => of_logarithms(expected, found),
        OutputKind::Sigmoid => {
            let unit = f64::from(f32::EPSILON);
            let beyond_rounding = |a: f64, b: f64| {
                let [a, b] = [a, b].map(|value| value.max(unit));
                of_logarithms(a, b) - unit / a.min(b)
            };
            let opposite = beyond_rounding(1.0 - expected, 1.0 - found);
            beyond_rounding(expected, found).max(opposite).max(0.0)
        }
    }
}

fn raw(vector: &GoldenVector) -> RawImage<'_> {
    let GoldenVector {
        height,
        width,
        channels,
        ref pixels,
        ..
    } = *vector;
    RawImage {
        pixels,
        height,
        width,
        channels,
    }
}

impl Replay {
    /// Returns whether the scores are within the tolerance and the class has its name.
    pub fn passed(&self) -> bool {
        self.difference <= self.tolerance && self.named == self.label
    }
}

impl Verification {
    /// Returns whether every vector passed.
    pub fn passed(&self) -> bool {
        self.replays.iter().all(Replay::passed)
    }

    /// Returns the vector with the largest difference relative to its tolerance.
    pub fn worst(&self) -> &Replay {
        let share = |replay: &Replay| replay.difference / replay.tolerance;
        let worst = self
            .replays
            .iter()
            .max_by(|a, b| share(a).total_cmp(&share(b)));
        worst.expect("a golden record has a vector")
    }
}

impl fmt::Display for Verification {
    /// One line, such as `10 golden vectors, largest difference 2.1e-6 (allowed 1.0e-4)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Replay {
            source,
            difference,
            tolerance,
            ..
        } = self.worst();
        let count = counted(self.replays.len() as u64, "golden vector");
        write!(
            f,
            "{count}, largest difference {difference:.1e} (allowed {tolerance:.1e})"
        )?;
        if difference > tolerance {
            write!(f, " for {source}")?;
        }
        if let Some(Replay {
            label,
            named,
            source,
            ..
        }) = self.replays.iter().find(|r| r.named != r.label)
        {
            write!(
                f,
                ", {source} is of class `{label}`, which the model calls `{named}`"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_a_sigmoid_count_beyond_rounding_at_a_half() {
        let apart = |expected, found| distance(expected, found, OutputKind::Sigmoid);
        let sigmoid = kiln_metrics::sigmoid;
        for logit in [-12.0_f32, -3.0, 0.0, 3.0, 9.0] {
            let (expected, wrong) = (sigmoid(logit), sigmoid(logit + 0.1));
            assert!(apart(expected, expected + 5e-8) <= 0.0, "{logit}");
            assert!(apart(expected, wrong) > 0.02, "{logit}");
            assert!((apart(expected, wrong) - apart(wrong, expected)).abs() < 1e-12);
        }
        assert!(apart(1.0, 1.0) <= 0.0);
        assert!(apart(1.0, 0.99) > 1.0);
    }
}
