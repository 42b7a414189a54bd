//! What a graph takes: prepared values, or pixels that it prepares itself.

use std::borrow::Cow;

use kiln_model::Layout;
use kiln_onnx::{DataType, TensorInfo};
use kiln_preprocess::to_pixels;

/// What the elements of a graph's input are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// Prepared values, float32.
    Values,
    /// Pixels of 0 to 255, uint8. The graph does the rest of the preprocessing.
    Pixels,
}

/// The input of one run, in the graph's type and layout.
#[derive(Debug, Clone, PartialEq)]
pub enum Input<'a> {
    /// Prepared values.
    F32(Cow<'a, [f32]>),
    /// Pixels.
    U8(Vec<u8>),
}

impl InputKind {
    /// What a graph with these inputs takes.
    pub(crate) fn of(inputs: &[TensorInfo]) -> Self {
        match inputs {
            [
                TensorInfo {
                    data_type: Some(DataType::Uint8),
                    ..
                },
            ] => Self::Pixels,
            _ => Self::Values,
        }
    }

    /// The type as messages call it.
    pub(crate) const fn type_name(self) -> &'static str {
        match self {
            Self::Values => "float32",
            Self::Pixels => "uint8",
        }
    }

    /// The input for images `[images, channels, height, width]` of this shape.
    pub(crate) fn of_values(
        self,
        values: Cow<'_, [f32]>,
        shape: [usize; 3],
        layout: Layout,
    ) -> Input<'_> {
        match (self, layout) {
            (Self::Values, Layout::Nchw) => Input::F32(values),
            (Self::Values, Layout::Nhwc) => Input::F32(channels_last(&values, shape).into()),
            (Self::Pixels, Layout::Nhwc) => Input::U8(to_pixels(&values, shape)),
            // One row of one channel: their order stays.
            (Self::Pixels, Layout::Nchw) => {
                Input::U8(to_pixels(&values, [1, 1, values.len().max(1)]))
            }
        }
    }
}

/// From `[images, channels, height, width]` to `[images, height, width, channels]`.
fn channels_last(images: &[f32], [channels, height, width]: [usize; 3]) -> Vec<f32> {
    let area = height * width;
    let mut out = vec![0.0; images.len()];
    for (image, out) in images
        .chunks_exact(channels * area)
        .zip(out.chunks_exact_mut(channels * area))
    {
        for (channel, plane) in image.chunks_exact(area).enumerate() {
            for (pixel, &value) in out.chunks_exact_mut(channels).zip(plane) {
                pixel[channel] = value;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_go_last_image_by_image() {
        let images: Vec<f32> = (0..24_u8).map(f32::from).collect();
        let out = channels_last(&images, [3, 2, 2]);
        let first = [0.0, 4.0, 8.0, 1.0, 5.0, 9.0, 2.0, 6.0, 10.0, 3.0, 7.0, 11.0];
        assert_eq!(out[..12], first);
        assert_eq!(out[12..], first.map(|value| value + 12.0));
    }

    #[test]
    fn pixels_take_either_order() {
        let values = || Cow::Borrowed(&[0.0, 1.0, 2.0, 3.0][..]);
        let pixels = |layout| InputKind::Pixels.of_values(values(), [2, 1, 2], layout);
        assert_eq!(pixels(Layout::Nchw), Input::U8(vec![0, 1, 2, 3]));
        assert_eq!(pixels(Layout::Nhwc), Input::U8(vec![0, 2, 1, 3]));
    }
}
