//! The graph's input against the preprocessing record.

use kiln_model::{Channels, Layout, Preprocessing};
use kiln_onnx::{DataType, Dim, TensorInfo};

use super::{describe, describe_shape, join};
use crate::error::LoadErrorKind;
use crate::hint::Hint;
use crate::input::InputKind;

/// Most values of a batch that a graph may ask for: 1 GiB of them.
const MAX_VALUES: usize = 1 << 28;

/// The axes of an image in a graph's input.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// `[channels, height, width]`, each where it is fixed.
    shape: [Option<usize>; 3],
}

impl Image {
    /// The axes by their places.
    pub fn new([_, a, b, c]: &[Dim; 4], layout: Layout) -> Self {
        let [channels, height, width] = match layout {
            Layout::Nchw => [a, b, c],
            Layout::Nhwc => [c, a, b],
        };
        Self {
            shape: [channels.fixed(), height.fixed(), width.fixed()],
        }
    }

    /// Height and width, where both are fixed.
    pub fn size(&self) -> Option<[u32; 2]> {
        let [_, height, width] = self.shape;
        Some([u32::try_from(height?).ok()?, u32::try_from(width?).ok()?])
    }

    /// What this number of channels usually is, where it is fixed.
    pub fn channels(&self) -> Option<Channels> {
        match self.shape[0] {
            Some(1) => Some(Channels::Gray),
            Some(3) => Some(Channels::Rgb),
            _ => None,
        }
    }
}

/// Which axes a graph's input has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axes {
    /// A batch, and three of an image.
    Batched,
    /// Those of one image, without a batch.
    Unbatched,
    /// A batch, height and width: images of one channel.
    WithoutChannels,
}

/// The shape of the only input, with all four axes, and which of them it has; no shape where the file
/// does not say it.
pub fn shape(inputs: &[TensorInfo]) -> Result<(Option<[Dim; 4]>, Axes), LoadErrorKind> {
    use DataType::{Bfloat16, Double, Float, Float16, Int8, Uint8};

    let refuse = |problem| error("[batch, channels, height, width]", inputs, problem);
    let [input] = inputs else {
        return Err(refuse(Problem::Axes));
    };
    let known = [Float, Float16, Bfloat16, Double, Int8, Uint8];
    if input.data_type.is_some_and(|found| !known.contains(&found)) {
        return Err(refuse(Problem::Type));
    }
    let one = Dim::Fixed(1);
    match input.shape.as_deref() {
        None => Ok((None, Axes::Batched)),
        Some([a, b, c, d]) => Ok((Some([a, b, c, d].map(Clone::clone)), Axes::Batched)),
        Some([a, b, c]) => {
            let channels = |dim: &Dim| matches!(dim.fixed(), Some(1 | 3));
            let shape = [a, b, c].map(Clone::clone);
            // An open axis in front is a batch.
            if channels(a) || a.fixed().is_some() && channels(c) {
                let [a, b, c] = shape;
                Ok((Some([one, a, b, c]), Axes::Unbatched))
            } else {
                let [a, b, c] = shape;
                Ok((Some([a, one, b, c]), Axes::WithoutChannels))
            }
        }
        Some(_) => Err(refuse(Problem::Axes)),
    }
}

/// The order of the axes by where the channels are, and whether the shape says so: where it could
/// be either, the first is taken.
pub fn detect([_, first, _, last]: &[Dim; 4], channels: Option<usize>) -> (Layout, bool) {
    let are_channels = |dim: &Dim| {
        dim.fixed()
            .is_some_and(|n| channels.map_or(n == 1 || n == 3, |known| n == known))
    };
    match (are_channels(first), are_channels(last)) {
        (false, true) => (Layout::Nhwc, true),
        (true, false) => (Layout::Nchw, true),
        (true, true) | (false, false) => (Layout::Nchw, false),
    }
}

/// Checks that images of this record fit; returns the batch size if it is fixed.
pub fn check(
    inputs: &[TensorInfo],
    layout: Layout,
    record: &Preprocessing,
) -> Result<Option<usize>, LoadErrorKind> {
    let (Some(shape), _) = shape(inputs)? else {
        return Ok(None);
    };
    let image = layout.image_shape(record.shape());
    let [batch, axes @ ..] = &shape;
    let refuse = |problem| error(&describe_shape(&Dim::batched(image)), inputs, problem);
    if axes
        .iter()
        .zip(image)
        .any(|(axis, size)| axis.fixed().is_some_and(|found| found != size))
    {
        return Err(refuse(Problem::Size));
    }
    match batch.fixed() {
        Some(0) => Err(refuse(Problem::EmptyBatch)),
        Some(images) if images.saturating_mul(record.len()) > MAX_VALUES => {
            Err(refuse(Problem::LargeBatch))
        }
        batch => Ok(batch),
    }
}

/// What is wrong with a graph's inputs.
#[derive(Clone, Copy)]
enum Problem {
    /// More than one, or another number of axes than an image has.
    Axes,
    Type,
    Size,
    EmptyBatch,
    LargeBatch,
}

fn error(shape: &str, inputs: &[TensorInfo], problem: Problem) -> LoadErrorKind {
    let expected = format!("{} input {shape}", InputKind::of(inputs).type_name());
    let found = if inputs.is_empty() {
        "none".to_owned()
    } else {
        join(inputs.iter().map(describe))
    };
    let (why, hint) = match problem {
        Problem::Axes => ("", Hint::ImageInput),
        Problem::Type => ("", Hint::ConvertToFloat),
        Problem::Size => ("", Hint::MatchInput),
        Problem::EmptyBatch => (": a batch of 0 images", Hint::ExportAgain),
        Problem::LargeBatch => (": a batch takes over 1 GiB", Hint::SmallerBatch),
    };
    LoadErrorKind::Input {
        expected,
        found: found + why,
        hint,
    }
}
