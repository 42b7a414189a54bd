//! A node of tract's graph as steps of a program, where the kernels have it.

use std::sync::Arc;

use kiln_kernels::{Activation, Conv2d, Conv2dShape, Divisor, Elementwise, NormPool, Pool2d};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::array::{Gather, Slice, TypedConcat};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::cnn::{
    Conv, KernelFormat, MaxPool, PaddingSpec, PoolSpec, SumPool,
};
use tract_onnx::tract_core::ops::downsample::Downsample;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::nn::{DataFormat, Reduce, Reducer, Softmax, SoftmaxKind};

use super::binary::Constant;
use super::draft::{Builder, Conv as ConvDraft, Draft, Weights, strided};
use super::product;
use super::program::{Operand, Piece, Step, ValueId};
use super::view::View;
use crate::engine::tract::quantized::RoundTrip;

/// An input of a node.
#[derive(Clone)]
pub enum Input {
    /// The same for every image.
    Constant(Arc<Tensor>),
    /// A tensor of the program, and whether nothing but this node takes it.
    Tensor { view: View, is_sole: bool },
}

/// A node with one output to convert.
pub struct Node<'a> {
    pub of: &'a TypedNode,
    pub inputs: Vec<Input>,
    /// Of the output.
    pub shape: Vec<usize>,
    /// The axis of the images in every tensor, where there is one: not for a single image.
    pub batch: Option<usize>,
}

impl Input {
    pub fn view(&self) -> Option<&View> {
        match self {
            Self::Constant(_) => None,
            Self::Tensor { view, .. } => Some(view),
        }
    }

    pub fn constant(&self) -> Option<&Arc<Tensor>> {
        match self {
            Self::Constant(tensor) => Some(tensor),
            Self::Tensor { .. } => None,
        }
    }
}

/// The values of a constant, row-major.
pub fn floats(tensor: &Tensor) -> Option<Vec<f32>> {
    if tensor.datum_type() != f32::datum_type() {
        return None;
    }
    let view = tensor.to_plain_array_view::<f32>().ok()?;
    Some(view.iter().copied().collect())
}

impl Node<'_> {
    /// Adds the steps of the node, and returns its output; none where the kernels do not have it, and what was added
    /// is to be taken back.
    pub fn convert(&self, builder: &mut Builder) -> Option<View> {
        let node = self.of;
        if let Some(op) = node.op_as::<AxisOp>() {
            self.axes(builder, op)
        } else if let Some(op) = node.op_as::<Conv>() {
            self.conv(builder, op)
        } else if let Some(op) = node.op_as::<EinSum>() {
            product::convert(self, builder, op)
        } else if let Some(op) = node.op_as::<TypedBinOp>() {
            self.binary(builder, op)
        } else if let Some(op) = node.op_as::<ElementWiseOp>() {
            self.elementwise(builder, op)
        } else if let Some(&RoundTrip { steps }) = node.op_as::<RoundTrip>() {
            let view = self.inputs[0].view()?;
            Some(each(builder, view, |of| Step::Round { steps, of }))
        } else if let Some(op) = node.op_as::<MaxPool>() {
            let of = op.with_index_outputs.is_none().then_some(&op.pool_spec)?;
            let (view, sizes) = self.pool(builder, of)?;
            let of = view.value;
            Some(self.image(
                builder,
                self.format(&op.pool_spec)?,
                Draft::MaxPool { sizes, of },
            ))
        } else if let Some(op) = node.op_as::<SumPool>() {
            let (view, sizes) = self.pool(builder, &op.pool_spec)?;
            let divisor = if op.count_include_pad {
                Divisor::Window
            } else {
                Divisor::Inside
            };
            // With windows that reach beyond the padding, what divides a sum depends on the exporter.
            let is_whole = !matches!(
                op.pool_spec.padding,
                PaddingSpec::ExplicitOnnxPool(_, _, true)
            );
            let of = (op.normalize && is_whole).then_some(view.value)?;
            let draft = Draft::AveragePool { sizes, divisor, of };
            Some(self.image(builder, self.format(&op.pool_spec)?, draft))
        } else if let Some(op) = node.op_as::<Reduce>() {
            self.reduce(builder, op)
        } else if let Some(op) = node.op_as::<Softmax>() {
            self.softmax(builder, op)
        } else if let Some(op) = node.op_as::<TypedConcat>() {
            self.concat(builder, op.axis)
        } else if let Some(op) = node.op_as::<Slice>() {
            let [start, end] =
                [&op.start, &op.end].map(|it| usize::try_from(it.to_i64().ok()?).ok());
            let (start, end) = (start?, end?);
            let size = end.checked_sub(start)?;
            self.inputs[0].view()?.clone().part(op.axis, start, size, 1)
        } else if let Some(op) = node.op_as::<Downsample>() {
            let step = usize::try_from(op.stride).ok()?;
            let size = *self.shape.get(op.axis)?;
            self.inputs[0]
                .view()?
                .clone()
                .part(op.axis, op.modulo, size, step)
        } else if let Some(op) = node.op_as::<Gather>() {
            self.gather(op.axis)
        } else {
            None
        }
    }

    /// Floats of the output of an image.
    pub fn len(&self) -> usize {
        let of_image = self.shape.iter().enumerate();
        let of_image = of_image.filter(|(axis, _)| self.batch != Some(*axis));
        of_image.map(|(_, size)| size).product()
    }

    /// The output as a whole value whose memory has these axes one after another.
    pub fn output(&self, value: ValueId, order: &[usize]) -> View {
        View::new(value, &self.shape, self.batch, order)
    }

    /// The output of a draft that makes an image, channels last.
    fn image(&self, builder: &mut Builder, format: Axes, draft: Draft) -> View {
        let value = builder.push(draft, self.len());
        self.output(value, &format.order())
    }

    /// The axes of images of two dimensions.
    fn format(&self, spec: &PoolSpec) -> Option<Axes> {
        let (has_images, rows, columns, channels) = match spec.data_format {
            DataFormat::NCHW => (true, 2, 3, 1),
            DataFormat::NHWC => (true, 1, 2, 3),
            DataFormat::CHW => (false, 1, 2, 0),
            DataFormat::HWC => (false, 0, 1, 2),
        };
        let is_known = spec.kernel_shape.len() == 2 && (has_images || self.batch.is_none());
        is_known.then_some(Axes {
            rows,
            columns,
            channels,
        })
    }

    /// A constant operand.
    pub fn constant(&self, tensor: &Tensor, rank: usize) -> Option<Constant> {
        Constant::new(tensor, rank, self.batch)
    }

    fn axes(&self, builder: &mut Builder, op: &AxisOp) -> Option<View> {
        let view = self.inputs[0].view()?.clone();
        match op {
            AxisOp::Add(at) => view.with_unit(*at),
            AxisOp::Rm(at) => view.without(*at),
            AxisOp::Move(from, to) => view.moved(*from, *to),
            AxisOp::Reshape(at, from, to) => {
                let sizes: Option<Vec<usize>> = to
                    .iter()
                    .map(|size| usize::try_from(size.to_i64().ok()?).ok())
                    .collect();
                let (count, sizes) = (from.len(), sizes?);
                view.reshaped(*at, count, &sizes).or_else(|| {
                    let inner = view.inner();
                    builder.whole(&view, &inner).reshaped(*at, count, &sizes)
                })
            }
        }
    }

    fn conv(&self, builder: &mut Builder, op: &Conv) -> Option<View> {
        let is_float = op.q_params.is_none() && op.kernel_fmt == KernelFormat::OIHW;
        let [input, kernel, bias] = &self.inputs[..] else {
            return None;
        };
        let format = is_float.then_some(self.format(&op.pool_spec)?)?;
        let view = builder.whole(input.view()?, &format.order());
        let spec = &op.pool_spec;
        let (height, width) = (view.size(format.rows), view.size(format.columns));
        let input = [1, height, width, spec.input_channels];
        let sizes = Conv2d {
            stride: pair(&spec.strides())?,
            padding: padding(spec, &view, format)?,
            dilation: pair(&spec.dilations())?,
            groups: op.group,
            ..Conv2d::new(input, spec.output_channels, pair(&spec.kernel_shape)?)
        };
        let shape = sizes.checked().ok().filter(is_modest)?;
        let expected = [self.shape[format.rows], self.shape[format.columns]];
        let weights = Weights::of(kernel.constant()?)?;
        let mut bias = floats(bias.constant()?)?;
        if bias.len() == 1 {
            bias = vec![bias[0]; sizes.filters];
        }
        let fits = shape.output() == expected
            && weights.len() == shape.weights_len()
            && bias.len() == sizes.filters
            && view.size(format.channels) == sizes.channels
            && self.shape[format.channels] == sizes.filters;
        let bias = bias.iter().any(|&bias| bias != 0.0).then_some(bias);
        let draft = ConvDraft {
            sizes,
            weights,
            bias,
            of: view.value,
            residual: None,
            activation: Activation::Linear,
        };
        Some(self.image(builder, fits.then_some(format)?, Draft::Conv(draft)))
    }

    /// The input of a pooling, channels last, and the pooling's sizes.
    fn pool(&self, builder: &mut Builder, spec: &PoolSpec) -> Option<(View, NormPool)> {
        let format = self.format(spec)?;
        let view = builder.whole(self.inputs[0].view()?, &format.order());
        let is_dense = spec.dilations().iter().all(|&dilation| dilation == 1);
        let pool = Pool2d {
            window: pair(&spec.kernel_shape)?,
            stride: pair(&spec.strides())?,
            padding: padding(spec, &view, format)?,
        };
        let sizes = NormPool {
            batch: 1,
            height: view.size(format.rows),
            width: view.size(format.columns),
            channels: view.size(format.channels),
            pool,
        };
        let shape = is_dense.then_some(sizes)?.checked().ok()?;
        let expected = [self.shape[format.rows], self.shape[format.columns]];
        (shape.output() == expected).then_some((view, sizes))
    }

    fn elementwise(&self, builder: &mut Builder, op: &ElementWiseOp) -> Option<View> {
        let function = match op.0.name().as_str() {
            "Sigmoid" => Elementwise::Sigmoid,
            "Silu" => Elementwise::Silu,
            "HardSwish" => Elementwise::HardSwish,
            "GeluExact" => Elementwise::Gelu,
            _ => return None,
        };
        let of = op.1.is_none().then_some(self.inputs[0].view()?)?;
        Some(each(builder, of, |of| Step::Elementwise { function, of }))
    }

    /// The sum of all pixels of each channel.
    fn reduce(&self, builder: &mut Builder, op: &Reduce) -> Option<View> {
        let view = (op.reducer == Reducer::Sum).then_some(self.inputs[0].view()?)?;
        let mut kept = view.inner();
        kept.retain(|axis| !op.axes.contains(axis) && view.size(*axis) > 1);
        let is_inner = op.axes.iter().all(|&axis| view.axis(axis).is_some());
        let channels: usize = kept.iter().map(|&axis| view.size(axis)).product();
        let mut order = op.axes.to_vec();
        order.extend(&kept);
        // One channel axis, so that pixels are sums of what lies apart.
        let view = builder.whole((is_inner && kept.len() <= 1).then_some(view)?, &order);
        let pixels = view.len() / channels.max(1);
        let draft = Step::GlobalMean {
            pixels,
            channels,
            scale: pixels as f32,
            of: view.value,
        };
        let value = builder.push(draft, channels);
        Some(self.output(value, &kept))
    }

    fn softmax(&self, builder: &mut Builder, op: &Softmax) -> Option<View> {
        let is_plain = op.kind == SoftmaxKind::Softmax && op.quant_output_dt.is_none();
        let view = is_plain.then_some(self.inputs[0].view()?)?;
        let [axis] = op.axes[..] else {
            return None;
        };
        let columns = view.axis(axis)?.0;
        let order = view.with_last(axis);
        let view = builder.whole(view, &order);
        let value = builder.push(
            Step::Softmax {
                columns,
                of: view.value,
            },
            view.len(),
        );
        Some(self.output(value, &order))
    }

    fn concat(&self, builder: &mut Builder, axis: usize) -> Option<View> {
        let first = self.inputs.iter().find_map(Input::view)?;
        let order = first.by_stride();
        let target = self.output(first.value, &order);
        let (mut start, mut pieces) = (0, Vec::new());
        for input in &self.inputs {
            let (of, from, size) = match input {
                Input::Tensor { view, .. } => {
                    let size = view.axis(axis)?.0;
                    (Operand::Value(view.value), strided(view, &order), size)
                }
                Input::Constant(tensor) => {
                    let constant = self.constant(tensor, self.shape.len())?;
                    let size = constant.shape[axis];
                    (constant.operand(), constant.strided(&order), size)
                }
            };
            let mut sizes: Vec<_> = order.iter().map(|&axis| self.shape[axis]).collect();
            sizes[order.iter().position(|&other| other == axis)?] = size;
            let to = target.clone().part(axis, start, size, 1)?;
            pieces.push(Piece {
                of,
                sizes,
                from,
                to: strided(&to, &order),
            });
            start += size;
        }
        let value = builder.push(Step::Copy { pieces }, self.len());
        Some(View { value, ..target })
    }

    /// One element along an axis, which the output lacks.
    fn gather(&self, axis: usize) -> Option<View> {
        let [of, places] = &self.inputs[..] else {
            return None;
        };
        let places = places.constant()?;
        let place = places.rank() == 0;
        let place = place.then(|| places.cast_to_scalar::<i64>().ok())??;
        let view = of.view()?.clone();
        let size = i64::try_from(view.axis(axis)?.0).ok()?;
        let place = if place < 0 { place + size } else { place };
        view.part(axis, usize::try_from(place).ok()?, 1, 1)?
            .without(axis)
    }
}

/// A function of each number of a view, which keeps its axes.
pub fn each<D: Into<Draft>>(
    builder: &mut Builder,
    view: &View,
    draft: impl FnOnce(ValueId) -> D,
) -> View {
    let order = view.by_stride();
    let view = builder.whole(view, &order);
    let value = builder.push(draft(view.value), view.len());
    View { value, ..view }
}

/// Which axis is which.
#[derive(Clone, Copy)]
struct Axes {
    rows: usize,
    columns: usize,
    channels: usize,
}

impl Axes {
    /// Channels last.
    fn order(self) -> [usize; 3] {
        [self.rows, self.columns, self.channels]
    }
}

/// Whether a convolution takes no more beside its input and output than those of networks do. The kernels list which input meets
/// which tap along each axis, and copy images with their padding: of a convolution that is made to do harm, both could take
/// more than there is.
fn is_modest(shape: &Conv2dShape) -> bool {
    const MOST_TAPS: usize = 1 << 22;
    const MOST_PADDING: usize = 1 << 20;
    let [rows, columns] = shape.output();
    let taps = rows.saturating_mul(shape.kernel[0]) + columns.saturating_mul(shape.kernel[1]);
    let [top, left, bottom, right] = shape.padding;
    let padded = (shape.height + top + bottom) * (shape.width + left + right) * shape.channels;
    taps <= MOST_TAPS && padded <= 8 * (shape.input_len() + shape.output_len()) + MOST_PADDING
}

fn pair(values: &[usize]) -> Option<[usize; 2]> {
    values.try_into().ok()
}

/// Top, left, bottom, right.
fn padding(spec: &PoolSpec, view: &View, format: Axes) -> Option<[usize; 4]> {
    let sides = [view.size(format.rows), view.size(format.columns)];
    let computed = spec.computed_padding(&sides);
    let [rows, columns] = &computed[..] else {
        return None;
    };
    Some([
        rows.pad_before,
        columns.pad_before,
        rows.pad_after,
        columns.pad_after,
    ])
}
