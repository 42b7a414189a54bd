//! Operations of two operands: parts of the step before them where they can be.

use kiln_kernels::{Activation, Conv2d};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;

use super::convert::{Input, Node, each, floats};
use super::draft::{Builder, Conv, Draft, Weights, strided};
use super::program::{Operand, Step};
use super::strided::{Binary, Strided};
use super::view::View;

impl Node<'_> {
    /// An operation of two operands, either of which may be constant.
    pub fn binary(&self, builder: &mut Builder, op: &TypedBinOp) -> Option<View> {
        let operation = match op.0.name() {
            "Add" => Binary::Add,
            "Sub" => Binary::Subtract,
            "Mul" => Binary::Multiply,
            "Div" => Binary::Divide,
            "Max" => Binary::Maximum,
            "Min" => Binary::Minimum,
            _ => return None,
        };
        match (op.1, &self.inputs[..]) {
            (None, [Input::Tensor { view, is_sole }, Input::Constant(by)]) => {
                let by = self.constant(by, view.axes.len())?;
                fused(builder, operation, view, &by, *is_sole)
                    .or_else(|| self.broadcast(builder, operation, &self.inputs))
            }
            (None, [Input::Constant(by), Input::Tensor { view, is_sole }])
                if !matches!(operation, Binary::Subtract | Binary::Divide) =>
            {
                let by = self.constant(by, view.axes.len())?;
                fused(builder, operation, view, &by, *is_sole)
                    .or_else(|| self.broadcast(builder, operation, &self.inputs))
            }
            (
                None,
                [
                    Input::Tensor { view: a, is_sole },
                    Input::Tensor {
                        view: b,
                        is_sole: b_sole,
                    },
                ],
            ) => pair_of(builder, operation, [(a, *is_sole), (b, *b_sole)])
                .or_else(|| self.broadcast(builder, operation, &self.inputs)),
            (None, [_, _]) => self.broadcast(builder, operation, &self.inputs),
            _ => None,
        }
    }

    /// Any two operands of which each may be repeated along some axes.
    fn broadcast(&self, builder: &mut Builder, operation: Binary, of: &[Input]) -> Option<View> {
        let first = of
            .iter()
            .filter_map(Input::view)
            .max_by_key(|view| view.len())?;
        let order = first.by_stride();
        let sizes: Vec<_> = order.iter().map(|&axis| self.shape[axis]).collect();
        let length: usize = sizes.iter().product();
        if length != self.len() {
            return None;
        }
        let operand = |input: &Input| match input {
            Input::Tensor { view, .. } => {
                let mut at = strided(view, &order);
                for (stride, &axis) in at.strides.iter_mut().zip(&order) {
                    if view.size(axis) == 1 {
                        *stride = 0;
                    }
                }
                Some((Operand::Value(view.value), at))
            }
            Input::Constant(tensor) => {
                let constant = self.constant(tensor, self.shape.len())?;
                Some((constant.operand(), constant.strided(&order)))
            }
        };
        let of = [operand(&of[0])?, operand(&of[1])?];
        let draft = Step::Binary {
            operation,
            sizes,
            of,
        };
        let value = builder.push(draft, length);
        Some(self.output(value, &order))
    }
}

/// An operation by a constant as a part of the step before it, or as a step that later ones may become a part of.
fn fused(
    builder: &mut Builder,
    operation: Binary,
    view: &View,
    by: &Constant,
    is_sole: bool,
) -> Option<View> {
    let order = view.by_stride();
    let is_whole = view.is_whole(&order, builder.len(view.value));
    let may_join = is_sole && is_whole;
    if let Some(by) = by.scalar() {
        let bounds = match operation {
            Binary::Maximum if by == 0.0 => Some((by, f32::INFINITY, Activation::Relu)),
            Binary::Minimum if by.to_bits() == SIX.to_bits() => {
                Some((f32::NEG_INFINITY, by, Activation::Relu6))
            }
            Binary::Maximum => Some((by, f32::INFINITY, Activation::Linear)),
            Binary::Minimum => Some((f32::NEG_INFINITY, by, Activation::Linear)),
            _ => None,
        };
        if let Some((low, high, activation)) = bounds {
            let is_activation = activation != Activation::Linear;
            let joined = may_join
                && (is_activation && builder.activate(view.value, activation)
                    || high < f32::INFINITY && builder.bound(view.value, high));
            return Some(if joined {
                view.clone()
            } else {
                each(builder, view, |of| Step::Clamp { low, high, of })
            });
        }
    }
    // The channels are what lies together.
    let channel = view.nearest();
    let channels = channel.map_or(1, |axis| view.size(axis));
    let by = by.along(channel, channels)?;
    let (scale, shift) = match operation {
        Binary::Add => (None, Some(by)),
        Binary::Subtract => (None, Some(by.iter().map(|value| -value).collect())),
        Binary::Multiply => (Some(by), None),
        Binary::Divide => (Some(by.iter().map(|value| 1.0 / value).collect()), None),
        Binary::Maximum | Binary::Minimum => return None,
    };
    let joins = |builder: &mut Builder| match (&scale, &shift) {
        (Some(by), _) => builder.scale(view.value, by),
        (None, Some(by)) => builder.shift(view.value, by),
        (None, None) => false,
    };
    if may_join && joins(builder) {
        return Some(view.clone());
    }
    let scale: Vec<f32> = scale.unwrap_or_else(|| vec![1.0; channels]);
    // An own filter of one weight for each channel.
    let pixels = view.len() / channels;
    let sizes = Conv2d {
        groups: channels,
        ..Conv2d::new([1, 1, pixels, channels], channels, [1, 1])
    };
    let affine = |of| {
        Draft::Conv(Conv {
            sizes,
            weights: Weights::Own(scale),
            bias: shift,
            of,
            residual: None,
            activation: Activation::Linear,
        })
    };
    (channels > 1).then(|| each(builder, view, affine))
}

/// The bound of `ReLU6`.
const SIX: f32 = 6.0;

/// An operation of two tensors that lie alike, or of an image with a number for each of its channels.
fn pair_of(builder: &mut Builder, operation: Binary, of: [(&View, bool); 2]) -> Option<View> {
    let [(a, a_sole), (b, b_sole)] = of;
    let (larger, smaller) = if a.len() < b.len() { (b, a) } else { (a, b) };
    let order = larger.by_stride();
    let is_whole = |builder: &Builder, view: &View| view.is_whole(&order, builder.len(view.value));
    if !is_whole(builder, larger) || !is_whole(builder, smaller) || a.batch() != b.batch() {
        return None;
    }
    let channel = larger.nearest()?;
    if operation == Binary::Multiply
        && larger.len() != smaller.len()
        && smaller.size(channel) == larger.size(channel)
        && smaller.len() == smaller.size(channel)
    {
        let draft = Step::Gate {
            channels: larger.size(channel),
            of: larger.value,
            gate: smaller.value,
        };
        let value = builder.push(draft, larger.len());
        return Some(View {
            value,
            ..larger.clone()
        });
    }
    let alike = (0..a.axes.len()).all(|axis| a.size(axis) == b.size(axis));
    if operation != Binary::Add || !alike || a.value == b.value {
        return None;
    }
    if a_sole && builder.add_residual(a.value, b.value) {
        return Some(a.clone());
    }
    if b_sole && builder.add_residual(b.value, a.value) {
        return Some(b.clone());
    }
    let draft = Step::Add {
        of: [a.value, b.value],
        activation: Activation::Linear,
    };
    let value = builder.push(draft, a.len());
    Some(View { value, ..a.clone() })
}

/// A constant operand: the same for every image.
pub struct Constant {
    values: Vec<f32>,
    pub shape: Vec<usize>,
}

impl Constant {
    /// A tensor of this rank, which is the same along the axis of the images, if there is one.
    pub fn new(tensor: &Tensor, rank: usize, batch: Option<usize>) -> Option<Self> {
        let (mut values, mut shape) = (floats(tensor)?, tensor.shape().to_vec());
        if shape.len() != rank || values.is_empty() {
            return None;
        }
        let images = batch.map_or(1, |batch| shape[batch]);
        let length = values.len() / images;
        let first = &values[..length];
        if values.chunks_exact(length).any(|image| image != first) {
            return None;
        }
        values.truncate(length);
        if let Some(batch) = batch {
            shape[batch] = 1;
        }
        Some(Self { values, shape })
    }

    fn scalar(&self) -> Option<f32> {
        (self.values.len() == 1).then(|| self.values[0])
    }

    /// Its values along an axis of so many elements, if it is the same along all others.
    fn along(&self, axis: Option<usize>, size: usize) -> Option<Vec<f32>> {
        if let Some(value) = self.scalar() {
            return Some(vec![value; size]);
        }
        let is_along = self.values.len() == size && self.shape.get(axis?) == Some(&size);
        is_along.then(|| self.values.clone())
    }

    pub fn operand(&self) -> Operand {
        Operand::Constant(self.values.as_slice().into())
    }

    /// Where its elements lie along these axes; it is repeated along those of size 1.
    pub fn strided(&self, axes: &[usize]) -> Strided {
        let mut at = Strided::row_major(&self.shape);
        let stride = |&axis: &usize| {
            if self.shape[axis] == 1 {
                0
            } else {
                at.strides[axis]
            }
        };
        at.strides = axes.iter().map(stride).collect();
        at
    }
}
