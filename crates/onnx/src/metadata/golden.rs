//! Inputs with the scores that a model gives for them.

use serde::{Deserialize, Serialize};

/// Inputs with the scores that a model gives for them, computed by the program that trained it:
/// what proves that another one prepares images and computes the graph as it should.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    /// What computed the scores, such as `Burn, cpu (flex, kiln's kernels)`.
    pub computed_by: String,
    /// At least one.
    pub vectors: Vec<GoldenVector>,
}

/// One input with its scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenVector {
    /// Where the image comes from, such as `mnist:test, image 18`.
    pub source: String,
    /// Height in pixels, at least 1.
    pub height: u32,
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Samples of a pixel: 1 (gray), 2 (gray, alpha), 3 (red, green, blue) or 4 (red, green, blue,
    /// alpha).
    pub channels: u32,
    /// The image before all preprocessing, 8 bits a sample, HWC; base64 in the file.
    #[serde(with = "base64_bytes")]
    pub pixels: Vec<u8>,
    /// The graph's first output for it, one score per class.
    pub scores: Vec<f32>,
    /// Name of the class with the largest score.
    pub label: String,
    /// Largest difference of a score that passes, more than 0.
    pub tolerance: f64,
}

impl Golden {
    /// Says what is wrong, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.vectors.is_empty() {
            return Err("there are no vectors".into());
        }
        let checked = self
            .vectors
            .iter()
            .enumerate()
            .map(|(at, v)| v.check().map_err(|e| format!("vector {at}: {e}")));
        checked.collect()
    }
}

impl GoldenVector {
    fn check(&self) -> Result<(), String> {
        let Self {
            height,
            width,
            channels,
            ..
        } = *self;
        let expected = u64::from(height)
            .checked_mul(width.into())
            .and_then(|n| n.checked_mul(channels.into()));
        if !(1..=4).contains(&channels)
            || expected == Some(0)
            || expected != Some(self.pixels.len() as u64)
        {
            let found = self.pixels.len();
            return Err(format!(
                "{found} bytes of pixels are no image of {height}x{width} with {channels} channels"
            ));
        }
        if self.scores.is_empty() || self.scores.iter().any(|score| !score.is_finite()) {
            return Err("expected one finite score per class".into());
        }
        if !(self.tolerance.is_finite() && self.tolerance > 0.0) {
            return Err(format!(
                "the tolerance is {}: expected a number above 0",
                self.tolerance
            ));
        }
        Ok(())
    }
}

/// Bytes as base64 with padding (RFC 4648, section 4).
mod base64_bytes {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD
            .decode(text)
            .map_err(|error| de::Error::custom(format_args!("expected base64: {error}")))
    }
}
