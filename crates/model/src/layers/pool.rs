//! Pooling: over windows, over whole channels, and over channels.

use serde::Serialize;

use super::def::LayerDef;
use super::nodes::{Nodes, join, window};
use super::padding::{Padding, Pads, positions};
use crate::document::{MAX_COUNT, RecipeError, Section};
use crate::graph::{self, Op, Reduction};
use crate::{Shape, ShapeError};

/// Settings of a pooling over windows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pool {
    /// Height and width of the window.
    pub pool_size: [usize; 2],
    /// Step in height and width.
    pub strides: [usize; 2],
    /// Whether windows may reach over the edge, where pixels outside of the image are ignored; else
    /// windows that do not fit are left out.
    #[serde(skip_serializing_if = "Padding::is_valid")]
    pub padding: Padding,
    /// Whether rows and columns that are left over at the end get a window of their own, as with
    /// `PyTorch`'s `ceil_mode`.
    #[serde(skip_serializing_if = "is_false")]
    pub ceil_mode: bool,
    /// Of means: whether pixels outside of the image count, as zeros.
    #[serde(skip_serializing_if = "is_false")]
    pub count_include_pad: bool,
}

impl Pool {
    /// Windows of this size beside each other, inside the image.
    pub const fn of_size(pool_size: [usize; 2]) -> Self {
        Self {
            pool_size,
            strides: pool_size,
            padding: Padding::Valid,
            ceil_mode: false,
            count_include_pad: false,
        }
    }

    /// Computes the rows and columns that the windows reach over an image of this height and
    /// width, those of a last window with [`ceil_mode`](Self::ceil_mode) included.
    pub fn pads(&self, size: [usize; 2]) -> Pads {
        let pads = self.padding.pads(size, self.pool_size, self.strides);
        if !self.ceil_mode {
            return pads;
        }
        Pads {
            bottom: pads.bottom + self.left_over(0, size[0], [pads.top, pads.bottom]),
            right: pads.right + self.left_over(1, size[1], [pads.left, pads.right]),
            ..pads
        }
    }

    /// Computes how far one more window along an axis would reach over the padding; 0 where no
    /// pixel is left for it. A window that begins after the image is none, as in `PyTorch`.
    fn left_over(&self, axis: usize, size: usize, [before, after]: [usize; 2]) -> usize {
        let (window, stride) = (self.pool_size[axis], self.strides[axis]);
        let Some(rest) = (size + before + after).checked_sub(window) else {
            return 0;
        };
        let next = rest.div_ceil(stride) * stride;
        if next >= size + before {
            0
        } else {
            next - rest
        }
    }

    /// The same windows over an image of this height and width, all pads explicit.
    fn operator(&self, size: [usize; 2]) -> graph::Pool {
        graph::Pool {
            window: window(self.pool_size, self.strides, [1, 1], self.pads(size)),
            ceil_mode: false,
            count_include_pad: self.count_include_pad,
        }
    }

    fn lower(
        &self,
        op: impl Fn(graph::Pool) -> Op,
        nodes: &mut Nodes,
        path: &str,
        input: usize,
    ) -> Option<usize> {
        let shape = nodes.shape(input)?;
        let image = Shape::only_image("pool", &[shape]).ok()?;
        nodes.add_to(path, op(self.operator(image.size())), input)
    }

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        let pool_size = section.pair_or("pool_size", [2, 2], 1..=MAX_COUNT)?;
        Ok(Self {
            strides: section.pair_or("strides", pool_size, 1..=MAX_COUNT)?,
            padding: Padding::parse(section)?,
            ceil_mode: section.boolean_or("ceil_mode", false)?,
            ..Self::of_size(pool_size)
        })
    }

    fn output(&self, layer: &'static str, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let image = Shape::only_image(layer, inputs)?;
        if let Padding::Explicit(pads) = self.padding
            && (pads.top.max(pads.bottom) >= self.pool_size[0]
                || pads.left.max(pads.right) >= self.pool_size[1])
        {
            return Err(ShapeError::PoolPadding {
                padding: self.padding.to_string(),
                window: self.pool_size,
            });
        }
        let padded = self.pads(image.size()).around(image.size());
        let [height, width] = positions("window", padded, self.pool_size, self.strides)?;
        Ok(Shape::Image {
            channels: image.channels,
            height,
            width,
        })
    }
}

/// Maximum over windows of each channel.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct MaxPool(pub Pool);

impl LayerDef for MaxPool {
    const TYPE: &'static str = "max_pool";
    const KEYS: &'static [&'static str] = &[
        "type",
        "name",
        "repeat",
        "pool_size",
        "strides",
        "padding",
        "ceil_mode",
    ];

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        Pool::parse(section).map(Self)
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        self.0.output(Self::TYPE, inputs)
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        self.0.lower(Op::MaxPool, nodes, path, input)
    }
}

/// Mean over windows of each channel.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct AvgPool(pub Pool);

impl LayerDef for AvgPool {
    const TYPE: &'static str = "avg_pool";
    const KEYS: &'static [&'static str] = &[
        "type",
        "name",
        "repeat",
        "pool_size",
        "strides",
        "padding",
        "ceil_mode",
        "count_include_pad",
    ];

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        let pool = Pool {
            count_include_pad: section.boolean_or("count_include_pad", false)?,
            ..Pool::parse(section)?
        };
        if pool.count_include_pad && pool.ceil_mode {
            // PyTorch counts the padding, but not what the last window reaches beyond it.
            return Err(section.error(
                "`ceil_mode` and `count_include_pad` exclude each other: keep one, or give `padding` as [top, left, \
                 bottom, right]",
            ));
        }
        Ok(Self(pool))
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        self.0.output(Self::TYPE, inputs)
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        self.0.lower(Op::AveragePool, nodes, path, input)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Maximum of each channel: image to vector.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GlobalMaxPool {}

impl LayerDef for GlobalMaxPool {
    const TYPE: &'static str = "global_max_pool";
    const KEYS: &'static [&'static str] = &["type", "name", "repeat"];

    fn parse(_: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {})
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only_image(Self::TYPE, inputs).map(|image| Shape::Vector(image.channels))
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        let pooled = nodes.add_to(path, Op::GlobalMaxPool, input)?;
        nodes.add_to(&join(path, "flatten"), Op::Flatten { axis: 1 }, pooled)
    }
}

/// Mean of each channel: image to vector.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GlobalAvgPool {}

impl LayerDef for GlobalAvgPool {
    const TYPE: &'static str = "global_avg_pool";
    const KEYS: &'static [&'static str] = &["type", "name", "repeat"];

    fn parse(_: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {})
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only_image(Self::TYPE, inputs).map(|image| Shape::Vector(image.channels))
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        let pooled = nodes.add_to(path, Op::GlobalAveragePool, input)?;
        nodes.add_to(&join(path, "flatten"), Op::Flatten { axis: 1 }, pooled)
    }
}

/// Maximum over the channels at each pixel: an image of one channel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChannelMax {}

impl LayerDef for ChannelMax {
    const TYPE: &'static str = "channel_max";
    const KEYS: &'static [&'static str] = &["type", "name", "repeat"];

    fn parse(_: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {})
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only_image(Self::TYPE, inputs).map(|image| Shape::Image {
            channels: 1,
            height: image.height,
            width: image.width,
        })
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        let op = Op::Reduce {
            reduction: Reduction::Max,
            axes: vec![1],
            keep_dims: true,
        };
        nodes.add_to(path, op, input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounded_up_pool_has_pytorchs_sizes() {
        // torch.nn.functional.max_pool2d(x, kernel, stride, padding, ceil_mode=True).
        let cases = [
            (112, 3, 2, 0, 56),
            (6, 3, 2, 0, 3),
            (4, 2, 2, 1, 3),
            (3, 2, 2, 1, 2),
            (7, 3, 2, 1, 4),
            (13, 3, 2, 0, 6),
        ];
        for (size, window, stride, pad, expected) in cases {
            let pool = Pool {
                strides: [stride; 2],
                padding: Padding::Explicit(Pads::all(pad)),
                ceil_mode: true,
                ..Pool::of_size([window; 2])
            };
            let image = Shape::Image {
                channels: 1,
                height: size,
                width: size,
            };
            let output = MaxPool(pool).output(&[image]).unwrap();
            assert_eq!(output.dims(), [1, expected, expected], "{size} {window}");
        }
    }
}
