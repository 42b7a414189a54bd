//! How weights are drawn before training.

use serde::Serialize;

use super::def::Init;
use crate::document::{Bound, Field, RecipeError, Section, Tagged};

/// How the weights of a convolution or dense layer are drawn before training. Names and defaults
/// are Keras's.
///
/// `fan_in` is the number of values that each output is computed from, `fan_out` the number of
/// outputs that each input reaches.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Initializer {
    /// Uniform within `±sqrt(6 / (fan_in + fan_out))`. Glorot and Bengio (2010), equation 16.
    #[default]
    GlorotUniform,
    /// Uniform within `±sqrt(6 / fan_in)`. He et al. (2015), equation 10.
    HeUniform,
    /// Truncated normal with the variance `2 / fan_in`. He et al. (2015), equation 10.
    HeNormal,
    /// With the variance `scale / n`.
    VarianceScaling {
        /// Above 0.
        scale: f64,
        /// What `n` is.
        mode: FanMode,
        /// What is drawn from.
        distribution: Distribution,
    },
    /// Normal with mean 0.
    RandomNormal {
        /// Standard deviation, above 0.
        stddev: f64,
    },
    /// Normal with mean 0, without what is further away than two standard deviations.
    TruncatedNormal {
        /// Standard deviation before truncation, above 0.
        stddev: f64,
    },
}

/// What [`Initializer::VarianceScaling`] divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FanMode {
    /// Number of values that each output is computed from.
    FanIn,
    /// Number of outputs that each input reaches.
    FanOut,
    /// The mean of both.
    FanAvg,
}

kiln_util::str_enum!(FanMode: Serialize { FanIn = "fan_in", FanOut = "fan_out", FanAvg = "fan_avg" });

/// What [`Initializer::VarianceScaling`] draws from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Normal, without what is further away than two standard deviations; its variance is right
    /// after truncation.
    TruncatedNormal,
    /// Normal.
    UntruncatedNormal,
    /// Uniform.
    Uniform,
}

kiln_util::str_enum!(Distribution: Serialize {
    TruncatedNormal = "truncated_normal",
    UntruncatedNormal = "untruncated_normal",
    Uniform = "uniform",
});

/// Standard deviation of a standard normal distribution that is truncated at ±2.
const TRUNCATED_STDDEV: f64 = 0.879_625_661_034_239_8;

impl Initializer {
    const TAGGED: &[Tagged<Self>] = &[
        Tagged {
            kind: "glorot_uniform",
            keys: &["type"],
            parse: |_| Ok(Self::GlorotUniform),
        },
        Tagged {
            kind: "he_uniform",
            keys: &["type"],
            parse: |_| Ok(Self::HeUniform),
        },
        Tagged {
            kind: "he_normal",
            keys: &["type"],
            parse: |_| Ok(Self::HeNormal),
        },
        Tagged {
            kind: "variance_scaling",
            keys: &["type", "scale", "mode", "distribution"],
            parse: |section| {
                Ok(Self::VarianceScaling {
                    scale: section.number_or("scale", 1.0, Bound::Positive)?,
                    mode: section.choice_or("mode", FanMode::FanIn, &FanMode::WORDS)?,
                    distribution: section.choice_or(
                        "distribution",
                        Distribution::TruncatedNormal,
                        &Distribution::WORDS,
                    )?,
                })
            },
        },
        Tagged {
            kind: "random_normal",
            keys: &["type", "stddev"],
            parse: |section| stddev(section).map(|stddev| Self::RandomNormal { stddev }),
        },
        Tagged {
            kind: "truncated_normal",
            keys: &["type", "stddev"],
            parse: |section| stddev(section).map(|stddev| Self::TruncatedNormal { stddev }),
        },
    ];

    /// Kaiming normal by `fan_out`, as torchvision has for convolutions. He et al. (2015).
    pub(crate) const KAIMING_FAN_OUT: Self = Self::VarianceScaling {
        scale: 2.0,
        mode: FanMode::FanOut,
        distribution: Distribution::UntruncatedNormal,
    };

    /// Reads the key `kernel_initializer`.
    pub(super) fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        let read = |field: Field<'_>| {
            let (initializer, _) = field.tagged_or_word(Self::TAGGED, None)?;
            Ok(initializer)
        };
        section
            .get("kernel_initializer")
            .map_or(Ok(Self::default()), read)
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns what is drawn for a weight with these fans.
    pub(super) fn init(self, fan_in: usize, fan_out: usize) -> Init {
        let (scale, mode, distribution) = match self {
            Self::GlorotUniform => return Init::GlorotUniform { fan_in, fan_out },
            Self::RandomNormal { stddev } => {
                return Init::Normal {
                    stddev: stddev as f32,
                };
            }
            Self::TruncatedNormal { stddev } => {
                return Init::TruncatedNormal {
                    stddev: stddev as f32,
                };
            }
            Self::HeUniform => (2.0, FanMode::FanIn, Distribution::Uniform),
            Self::HeNormal => (2.0, FanMode::FanIn, Distribution::TruncatedNormal),
            Self::VarianceScaling {
                scale,
                mode,
                distribution,
            } => (scale, mode, distribution),
        };
        let fan = match mode {
            FanMode::FanIn => fan_in as f64,
            FanMode::FanOut => fan_out as f64,
            FanMode::FanAvg => f64::midpoint(fan_in as f64, fan_out as f64),
        };
        let stddev = (scale / fan.max(1.0)).sqrt();
        match distribution {
            Distribution::UntruncatedNormal => Init::Normal {
                stddev: stddev as f32,
            },
            Distribution::TruncatedNormal => Init::TruncatedNormal {
                stddev: (stddev / TRUNCATED_STDDEV) as f32,
            },
            Distribution::Uniform => Init::Uniform {
                limit: (3.0_f64.sqrt() * stddev) as f32,
            },
        }
    }
}

fn stddev(section: &Section<'_>) -> Result<f64, RecipeError> {
    section.number_or("stddev", 0.05, Bound::Positive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kerass_formulas() {
        // keras.initializers.HeUniform()(shape=(6, 4)): limit sqrt(6 / 6); HeNormal: sqrt(2 / 6) / 0.8796….
        assert_eq!(
            Initializer::HeUniform.init(6, 4),
            Init::Uniform { limit: 1.0 }
        );
        let Init::TruncatedNormal { stddev } = Initializer::HeNormal.init(6, 4) else {
            panic!("expected a truncated normal distribution");
        };
        assert!((stddev - 0.656_353).abs() < 1e-5, "{stddev}");
        // torch.nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu") of [64, 3, 7, 7].
        let Init::Normal { stddev } = Initializer::KAIMING_FAN_OUT.init(147, 3136) else {
            panic!("expected a normal distribution");
        };
        assert!((stddev - 0.025_254).abs() < 1e-5, "{stddev}");
    }
}
