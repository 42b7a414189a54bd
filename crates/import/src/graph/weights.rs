//! The weights of a known network.

use std::fmt;

use kiln_model::Base;
use kiln_onnx::{GraphProto, ModelProto};

use super::constant::{Budget, Data};
use super::layers::{Found, find};
use super::producers::Producers;
use crate::attributes::Place;
use crate::error::{GraphError, WeightsError};

/// A parameter of a layer with its values.
#[derive(Clone, PartialEq)]
pub struct Parameter {
    /// `<layer>.<parameter>`, as in kiln's models: `conv2d.weight`.
    pub name: String,
    /// Its shape: `[filters, channels, rows, columns]` of a kernel, one size of all others.
    pub shape: Vec<usize>,
    /// As many finite values as the shape asks for, row-major.
    pub values: Vec<f32>,
}

/// Without the values, which are millions.
impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameter")
            .field("name", &self.name)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// Reads a base's weights out of a model of that network, of whichever exporter.
///
/// The layers are found by following the image from the graph's one input: transposes NHWC to NCHW
/// first, if any; then each convolution with its bias (its own or a separate `Add`), its padding
/// (its own or a separate `Pad`) and its `Relu`; each batch normalization; each pooling. What comes
/// after the base's last layer is ignored; a graph may end before it where only layers without
/// weights are left. A graph with anything else is refused with the first difference, since weights
/// of another network would train badly without saying why.
///
/// The order of the first convolution's input channels and the range of the pixels are those that
/// the file's network was trained with; a file does not say which. Keras's VGG16 expects Caffe's
/// preprocessing: BGR, 0 to 255, less the mean 103.939, 116.779, 123.68. torchvision's expects RGB,
/// 0 to 1, less the mean 0.485, 0.456, 0.406, divided by 0.229, 0.224, 0.225.
pub fn weights(base: &Base, model: &ModelProto) -> Result<Vec<Parameter>, WeightsError> {
    let found = find(base, model)?;
    let graph = model.graph.as_ref().ok_or(GraphError::NoGraph)?;
    let parameter = |found: Found<'_>| match values(&found, graph) {
        Ok(values) => Ok(Parameter {
            name: found.role.of(found.layer),
            shape: found.shape,
            values,
        }),
        Err(source) => Err(WeightsError::At {
            layer: found.layer.into(),
            source,
        }),
    };
    found.into_iter().map(parameter).collect()
}

/// The values of a parameter: 32-bit floats of the file, or what the file computes from such.
fn values(found: &Found<'_>, graph: &GraphProto) -> Result<Vec<f32>, GraphError> {
    let (place, constant) = (Place(found.node), &found.constant);
    let values = match &constant.data {
        Data::File(tensor) => tensor.to_f32().map_err(|source| place.tensor(source))?,
        Data::Ints(_) | Data::Floats(_) | Data::Fill(_) | Data::Missing(_) => {
            let nodes = Producers::new(graph).needed(constant.name);
            let mut nodes = nodes.into_iter().filter_map(|at| graph.node.get(at));
            if let Some(node) = nodes.find(|node| node.op_type == "DequantizeLinear") {
                return Err(GraphError::Quantized {
                    node: found.node.describe(),
                    found: node.describe(),
                });
            }
            let floats = constant.floats(&mut Budget::of(constant.len()));
            let unread = |reason: std::rc::Rc<str>| GraphError::Unread {
                reason: reason.to_string(),
            };
            floats.map_err(unread)?.to_vec()
        }
    };
    match values.iter().find(|value| !value.is_finite()) {
        None => Ok(values),
        Some(&value) => Err(GraphError::NotFinite {
            node: found.node.describe(),
            tensor: constant.name.to_owned(),
            value,
        }),
    }
}
