//! A graph in the making: nodes with the tensors that they take from a file.

use std::collections::BTreeSet;

use kiln_model::Preprocessing;
use kiln_onnx::{Dim, GraphBuilder, ModelProto};
use kiln_util::shown;

use crate::error::ConvertError;
use crate::tensors::Tensors;

/// Names of the two bounds of `ReLU6`.
const RELU6: [&str; 2] = ["relu6.min", "relu6.max"];

/// A value of the graph: images of several channels.
#[derive(Debug, Clone)]
pub(super) struct Maps {
    pub value: String,
    pub channels: usize,
    /// Height and width.
    pub size: usize,
}

/// How a convolution pads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Padding {
    /// `PyTorch`'s usual: half of the kernel on all sides.
    Half,
    /// TensorFlow's `SAME`: as much as outputs for all steps need, the odd pixel at the end.
    Same,
}

/// A convolution of square kernels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conv {
    pub filters: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: Padding,
    pub depthwise: bool,
}

impl Conv {
    /// A convolution over all channels.
    pub const fn new(filters: usize, kernel: usize, stride: usize, padding: Padding) -> Self {
        Self {
            filters,
            kernel,
            stride,
            padding,
            depthwise: false,
        }
    }
}

/// Where the tensors of a convolution are, and how they lie.
#[derive(Debug, Clone, Copy)]
pub(super) enum ConvTensors<'a> {
    /// `NAME.weight` `[out, in, h, w]`, no bias.
    Torch(&'a str),
    /// `NAME.0` `[h, w, in, out]`, bias `NAME.1`.
    Keras(&'a str),
}

pub(super) struct Assembly<'a> {
    graph: GraphBuilder,
    tensors: &'a Tensors<'a>,
    taken: BTreeSet<String>,
    input: Maps,
}

impl<'a> Assembly<'a> {
    pub fn new(name: &str, tensors: &'a Tensors<'a>, input: &Preprocessing) -> Self {
        let mut graph = GraphBuilder::new(name);
        graph.input("input", Dim::batched(input.shape()));
        let [channels, size, _] = input.shape();
        Self {
            graph,
            tensors,
            taken: BTreeSet::new(),
            input: Maps {
                value: "input".into(),
                channels,
                size,
            },
        }
    }

    /// The images that the network takes.
    pub fn input(&self) -> Maps {
        self.input.clone()
    }

    /// Adds a convolution.
    pub fn conv(
        &mut self,
        node: &str,
        input: &Maps,
        tensors: ConvTensors<'_>,
        conv: Conv,
    ) -> Result<Maps, ConvertError> {
        let Conv {
            filters,
            kernel,
            stride,
            padding,
            depthwise,
        } = conv;
        let groups = if depthwise { input.channels } else { 1 };
        let per_group = input.channels / groups;
        let weight = format!("{node}.weight");
        let bias = format!("{node}.bias");
        let mut inputs = vec![input.value.as_str(), &weight];
        let values = match tensors {
            ConvTensors::Torch(name) => {
                let shape = [filters, per_group, kernel, kernel];
                self.take(&format!("{name}.weight"), &shape, &[0, 1, 2, 3])?
            }
            ConvTensors::Keras(name) => {
                let biases = self.take(&format!("{name}.1"), &[filters], &[0])?;
                self.graph.initializer(&bias, &[filters], biases);
                inputs.push(&bias);
                let shape = [kernel, kernel, per_group, filters];
                self.take(&format!("{name}.0"), &shape, &[3, 2, 0, 1])?
            }
        };
        self.graph
            .initializer(&weight, &[filters, per_group, kernel, kernel], values);
        let (begin, end) = padding.of(input.size, kernel, stride);
        self.graph
            .node("Conv", node, &inputs, node)
            .ints("dilations", [1, 1])
            .int("group", groups as i64)
            .ints("kernel_shape", [kernel as i64; 2])
            .ints("pads", [begin, begin, end, end].map(|n| n as i64))
            .ints("strides", [stride as i64; 2]);
        Ok(Maps {
            value: node.to_owned(),
            channels: filters,
            size: (input.size + begin + end - kernel) / stride + 1,
        })
    }

    /// Adds a batch normalization with the statistics of `NAME.running_mean` and `NAME.running_var`.
    pub fn batch_norm(
        &mut self,
        node: &str,
        input: &Maps,
        name: &str,
        epsilon: f32,
    ) -> Result<Maps, ConvertError> {
        let mut inputs = vec![input.value.clone()];
        for part in ["weight", "bias", "running_mean", "running_var"] {
            let values = self.take(&format!("{name}.{part}"), &[input.channels], &[0])?;
            let initializer = format!("{node}.{part}");
            self.graph
                .initializer(&initializer, &[input.channels], values);
            inputs.push(initializer);
        }
        // How many batches the statistics are of; of no use for inference, and not in every file.
        self.taken.insert(format!("{name}.num_batches_tracked"));
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.graph
            .node("BatchNormalization", node, &inputs, node)
            .float("epsilon", epsilon);
        Ok(Maps {
            value: node.to_owned(),
            ..*input
        })
    }

    /// Adds a `ReLU6`.
    pub fn relu6(&mut self, node: &str, input: &Maps) -> Maps {
        // Checked like every name: `finish` would complain about a second one.
        if self.taken.insert("relu6".into()) {
            for (name, bound) in RELU6.into_iter().zip([0.0, 6.0]) {
                self.graph.initializer(name, &[], vec![bound]);
            }
        }
        let [min, max] = RELU6;
        self.simple("Clip", node, &[&input.value, min, max], input)
    }

    /// Adds a `ReLU`.
    pub fn relu(&mut self, node: &str, input: &Maps) -> Maps {
        self.simple("Relu", node, &[&input.value], input)
    }

    /// Adds the sum of two values of one shape.
    pub fn add(&mut self, node: &str, left: &Maps, right: &Maps) -> Maps {
        self.simple("Add", node, &[&left.value, &right.value], left)
    }

    /// Adds a node whose output has the shape of `like`.
    fn simple(&mut self, op_type: &str, node: &str, inputs: &[&str], like: &Maps) -> Maps {
        self.graph.node(op_type, node, inputs, node);
        Maps {
            value: node.to_owned(),
            ..*like
        }
    }

    /// Adds a concatenation of channels.
    pub fn concat(&mut self, node: &str, left: &Maps, right: &Maps) -> Maps {
        self.graph
            .node("Concat", node, &[&left.value, &right.value], node)
            .int("axis", 1);
        Maps {
            value: node.to_owned(),
            channels: left.channels + right.channels,
            ..*left
        }
    }

    /// Adds max-pooling by squares of `window` pixels, without padding.
    pub fn max_pool(&mut self, node: &str, input: &Maps, window: usize, stride: usize) -> Maps {
        self.graph
            .node("MaxPool", node, &[&input.value], node)
            .ints("kernel_shape", [window as i64; 2])
            .ints("strides", [stride as i64; 2]);
        Maps {
            value: node.to_owned(),
            size: (input.size - window) / stride + 1,
            ..*input
        }
    }

    /// Adds the mean of each channel as vectors, called `output`; returns their name.
    pub fn pooled(&mut self, input: &Maps, output: &str) -> String {
        let nodes = &mut self.graph;
        nodes.node("GlobalAveragePool", "avgpool", &[&input.value], "avgpool");
        nodes
            .node("Flatten", "flatten", &["avgpool"], output)
            .int("axis", 1);
        output.to_owned()
    }

    /// Adds a dense layer with the tensors `NAME.weight` `[units, inputs]` and `NAME.bias`.
    pub fn dense(
        &mut self,
        node: &str,
        (input, inputs): (&str, usize),
        name: &str,
        (output, units): (&str, usize),
    ) -> Result<(), ConvertError> {
        let weight = self.take(&format!("{name}.weight"), &[units, inputs], &[0, 1])?;
        let bias = self.take(&format!("{name}.bias"), &[units], &[0])?;
        let names = [format!("{node}.weight"), format!("{node}.bias")];
        self.graph.initializer(&names[0], &[units, inputs], weight);
        self.graph.initializer(&names[1], &[units], bias);
        self.graph
            .node("Gemm", node, &[input, &names[0], &names[1]], output)
            .int("transB", 1);
        Ok(())
    }

    /// Checks that every tensor is in use and returns the model, whose output is `output` `[batch,
    /// length]`.
    pub fn finish(mut self, output: &str, length: usize) -> Result<ModelProto, ConvertError> {
        if let Some((name, _)) = self
            .tensors
            .iter()
            .find(|(name, _)| !self.taken.contains(*name))
        {
            return Err(ConvertError::Extra(shown(name, 100)));
        }
        self.graph.output(output, Dim::batched([length]));
        Ok(self.graph.finish()?)
    }

    /// Returns the values of a tensor that has this shape, with its axes in the given order.
    fn take(
        &mut self,
        name: &str,
        shape: &[usize],
        order: &[usize],
    ) -> Result<Vec<f32>, ConvertError> {
        let tensor = self
            .tensors
            .get(name)
            .ok_or_else(|| ConvertError::Missing(name.to_owned()))?;
        let misshapen = || ConvertError::Shape {
            name: name.to_owned(),
            expected: shape.to_vec(),
            found: tensor.shape().to_vec(),
        };
        if tensor.shape() != shape {
            return Err(misshapen());
        }
        let permuted = tensor.permuted(order).ok_or_else(misshapen)?;
        let values = permuted.to_f32().ok_or_else(|| ConvertError::Type {
            name: name.to_owned(),
            found: tensor.element(),
        })?;
        if values.iter().any(|value| !value.is_finite()) {
            return Err(ConvertError::NotFinite(name.to_owned()));
        }
        self.taken.insert(name.to_owned());
        Ok(values)
    }
}

impl Padding {
    /// Pixels before and after an axis of `size` pixels.
    fn of(self, size: usize, kernel: usize, stride: usize) -> (usize, usize) {
        match self {
            Self::Half => (kernel / 2, kernel / 2),
            Self::Same => {
                let steps = size.div_ceil(stride);
                let total = ((steps - 1) * stride + kernel).saturating_sub(size);
                (total / 2, total - total / 2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_is_that_of_tensorflow() {
        assert_eq!(Padding::Same.of(224, 3, 2), (0, 1));
        assert_eq!(Padding::Same.of(56, 5, 2), (1, 2));
        assert_eq!(Padding::Same.of(227, 3, 2), (1, 1));
        assert_eq!(Padding::Same.of(14, 5, 1), (2, 2));
        assert_eq!(Padding::Same.of(4, 1, 2), (0, 0));
        assert_eq!(Padding::Half.of(224, 3, 2), (1, 1));
    }
}
