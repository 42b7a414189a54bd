//! The layers of a known network among the nodes of a graph.

use kiln_model::graph::{Binary, Dims, Op, PadMode, Size, Unary};
use kiln_model::{
    Activation, Base, BatchNorm, Conv2d, LayerKind, LayerSpec, MaxPool, Pads, ParamRole, Pool,
};
use kiln_onnx::{ModelProto, NodeProto};

use super::constant::Constant;
use super::reader::{Flat, Source};
use crate::attributes::Place;
use crate::error::{GraphError, WeightsError};

/// Height and width of images for files that leave them open. Odd after each halving, so that `SAME`
/// of a pooling pads.
const SIZE: [usize; 2] = [255, 255];

/// A parameter of a layer, found in a graph; its values are not looked at yet.
#[derive(Debug)]
pub struct Found<'a> {
    /// The layer's name.
    pub layer: &'a str,
    /// The node that takes it.
    pub node: &'a NodeProto,
    /// What it is to the layer.
    pub role: ParamRole,
    /// kiln's shape, of as many values as the constant has.
    pub shape: Vec<usize>,
    /// The values.
    pub constant: Constant<'a>,
}

/// Finds the parameters of a base's layers in a model of that network.
pub fn find<'a>(base: &'a Base, model: &'a ModelProto) -> Result<Vec<Found<'a>>, WeightsError> {
    let outputs = model.graph.iter().flat_map(|graph| &graph.output);
    let outputs: Vec<_> = outputs.map(|output| output.name.as_str()).collect();
    let typed = super::typed(model, Some(SIZE), &outputs)?;
    let nodes = typed.reader.finish();
    let mut walk = Walk::new(&nodes, typed.image.shape.as_ref(), base.channels);
    walk.skip_transposes()?;
    let mut found = Vec::new();
    for (at, LayerSpec { name, kind }) in base.layers.iter().enumerate() {
        let mut rest = base.layers[at..].iter();
        // Cut off before the last pooling, as for style transfer.
        if matches!(walk.peek(), Ok(None)) && rest.all(|layer| !layer.kind.has_params()) {
            break;
        }
        let layer = name.as_deref().unwrap_or_default();
        let parameters = walk.layer(kind).map_err(|source| WeightsError::At {
            layer: layer.into(),
            source,
        })?;
        found.extend(
            parameters
                .into_iter()
                .map(|parameter| Found { layer, ..parameter }),
        );
    }
    Ok(found)
}

/// A network as a chain of nodes, and a place in it.
#[derive(Debug)]
struct Walk<'n, 'a> {
    nodes: &'n [Flat<'a>],
    /// Which nodes take each value: the image, 0, or the output of a node, counted from 1.
    consumers: Vec<Vec<usize>>,
    image: Option<&'n Dims>,
    /// The value that the next node takes.
    value: usize,
    /// Its channels.
    channels: usize,
}

impl<'n, 'a> Walk<'n, 'a> {
    fn new(nodes: &'n [Flat<'a>], image: Option<&'n Dims>, channels: usize) -> Self {
        let mut consumers = vec![Vec::new(); nodes.len() + 1];
        for (at, node) in nodes.iter().enumerate() {
            for input in &node.inputs {
                if let Source::Live(value) = *input
                    && consumers[value].last() != Some(&at)
                {
                    consumers[value].push(at);
                }
            }
        }
        Self {
            nodes,
            consumers,
            image,
            value: 0,
            channels,
        }
    }

    /// The next node; none at the end of the graph.
    fn peek(&self) -> Result<Option<&'n Flat<'a>>, GraphError> {
        match &self.consumers[self.value][..] {
            [] => Ok(None),
            [at] => Ok(Some(&self.nodes[*at])),
            several => Err(GraphError::Branch {
                nodes: several
                    .iter()
                    .map(|&at| self.nodes[at].node.describe())
                    .collect(),
            }),
        }
    }

    /// Goes past the next node.
    fn step(&mut self) {
        if let Some(next) = self.consumers[self.value].first() {
            self.value = next + 1;
        }
    }

    /// Takes the next node, which must be of this operator and take the image as its first input.
    /// `layer` is what it is to be, for errors.
    fn take(&mut self, operator: &str, layer: &'static str) -> Result<&'n Flat<'a>, GraphError> {
        let next = self.peek()?;
        let first = |node: &Flat<'_>| matches!(node.inputs.first(), Some(Source::Live(value)) if *value == self.value);
        match next.filter(|next| is(next, operator) && first(next)) {
            Some(node) => {
                self.step();
                Ok(node)
            }
            None => Err(GraphError::Operator {
                expected: layer,
                found: next.map_or_else(
                    || "the end of the graph".to_owned(),
                    |next| next.node.describe(),
                ),
            }),
        }
    }

    /// Takes the next node if it fits. A branch is an error only where one that fits is `expected`.
    fn take_if(
        &mut self,
        expected: bool,
        fits: impl Fn(&Op) -> bool,
    ) -> Result<Option<&'n Flat<'a>>, GraphError> {
        let next = match self.peek() {
            Err(branch) if expected => return Err(branch),
            next => next.ok().flatten().filter(|next| fits(&next.op)),
        };
        if next.is_some() {
            self.step();
        }
        Ok(next)
    }

    /// Height and width of the value that the next node takes.
    fn size(&self) -> [usize; 2] {
        let shape = match self.value.checked_sub(1) {
            None => self.image,
            Some(at) => self.nodes[at].shape.as_ref(),
        };
        match shape.map(Dims::sizes) {
            Some([_, _, Size::Fixed(height), Size::Fixed(width)]) => [*height, *width],
            _ => SIZE,
        }
    }

    /// Skips transposes that together keep the axes or turn NHWC into NCHW: exporters from Keras
    /// and TensorFlow take NHWC images.
    fn skip_transposes(&mut self) -> Result<(), GraphError> {
        // Axis `i` is axis `axes[i]` of the input.
        let (mut axes, mut last) = (vec![0, 1, 2, 3], None);
        while let Some(node) = self.peek()?.filter(|node| is(node, "Transpose")) {
            let Op::Transpose { perm } = &node.op else {
                return Err(unread(node));
            };
            let moved = perm.iter().map(|&axis| axes.get(axis).copied());
            axes = moved.collect::<Option<_>>().unwrap_or_else(|| perm.clone());
            last = Some(Place(node.node));
            self.step();
        }
        match last {
            Some(place) if axes != [0, 1, 2, 3] => {
                place.require("perm", &[0, 3, 1, 2][..], axes.as_slice())
            }
            _ => Ok(()),
        }
    }

    /// Takes a layer; returns its parameters.
    fn layer(&mut self, kind: &LayerKind) -> Result<Vec<Found<'a>>, GraphError> {
        let (name, size) = (kind.type_name(), self.size());
        if let LayerKind::Conv2d(conv) = kind {
            self.padding()?;
            let node = self.take("Conv", name)?;
            self.conv(conv, node, size)
        } else if let LayerKind::BatchNorm(norm) = kind {
            let node = self.take("BatchNormalization", name)?;
            self.batch_norm(norm, node)
        } else if let LayerKind::MaxPool(MaxPool(pool)) = kind {
            max_pool(pool, self.take("MaxPool", name)?, size).map(|()| Vec::new())
        } else if let LayerKind::Relu(_) = kind {
            self.take("Relu", name).map(|_| Vec::new())
        } else {
            // No base has others, and no operator is called so.
            self.take(name, name).map(|_| Vec::new())
        }
    }

    /// Says what is wrong with a `Pad` that is not the convolution's own padding.
    fn padding(&self) -> Result<(), GraphError> {
        if let Some(node) = self.peek()?
            && let Op::Pad(padded) = &node.op
        {
            let place = Place(node.node);
            place.require("mode", &PadMode::Constant(0.0), &padded.mode)?;
            let others = padded.pads.get(..2).unwrap_or_default();
            place.require("padding of batch and channels", &[[0; 2]; 2][..], others)?;
        }
        Ok(())
    }

    /// Reads a convolution of an image of this height and width; takes its bias, where that is an
    /// `Add`, and its `Relu`.
    fn conv(
        &mut self,
        conv: &Conv2d,
        node: &'n Flat<'a>,
        size: [usize; 2],
    ) -> Result<Vec<Found<'a>>, GraphError> {
        let place = Place(node.node);
        place.require("group", &(conv.groups as i64), &place.int("group", 1))?;
        let weight = self.parameter(node, 1, ParamRole::Weight)?;
        let Op::Conv(settings) = &node.op else {
            return Err(unread(node));
        };
        let window = settings.window;
        let [filters, depth, kernel @ ..] = &weight.shape[..] else {
            return Err(unread(node));
        };
        place.require("channels", &(self.channels / conv.groups), depth)?;
        place.require("kernel_size", &conv.kernel_size[..], kernel)?;
        place.require("kernel_shape", &conv.kernel_size, &window.kernel)?;
        place.require("filters", &conv.filters, filters)?;
        place.require("strides", &conv.strides, &window.strides)?;
        place.require("dilations", &conv.dilation_rate, &window.dilations)?;
        let pads = conv.pads(size);
        place.require("padding", &sides(pads), &sides(window.sides()))?;
        let bias = match node.inputs.get(2) {
            Some(_) => Some(self.parameter(node, 2, ParamRole::Bias)?),
            None => self.added(conv)?,
        };
        place.require("use_bias", &conv.use_bias, &bias.is_some())?;
        if let Some(bias) = &bias {
            place.require("a bias of shape", &[conv.filters][..], &bias.shape)?;
        }
        let relu = |op: &Op| *op == Op::Unary(Unary::Relu);
        let relu = self.take_if(conv.activation.is_some(), relu)?;
        let found = relu.map(|_| Activation::Relu);
        if found != conv.activation {
            let [expected, found] = [conv.activation, found]
                .map(|activation| activation.map_or("linear", Activation::as_str));
            return place.mismatch("activation", expected, format_args!("{found}"));
        }
        self.channels = conv.filters;
        Ok(std::iter::once(weight).chain(bias).collect())
    }

    /// Takes the bias of a convolution that has none of its own, where an `Add` of one value per
    /// filter follows.
    fn added(&mut self, conv: &Conv2d) -> Result<Option<Found<'a>>, GraphError> {
        let add = |op: &Op| *op == Op::Binary(Binary::Add);
        let Some(node) = self.take_if(conv.use_bias, add)? else {
            return Ok(None);
        };
        let constant = |source: &Source<'_>| matches!(source, Source::Constant(_));
        let index = node.inputs.iter().position(constant).unwrap_or(1);
        let bias = self.parameter(node, index, ParamRole::Bias)?;
        // Shapes that broadcast over the images, rows and columns of NCHW.
        let shape = [1, conv.filters, 1, 1];
        if bias.shape != shape {
            Place(node.node).require("a bias of shape", &shape[1..], &bias.shape)?;
        }
        Ok(Some(Found {
            shape: vec![conv.filters],
            ..bias
        }))
    }

    /// Reads a batch normalization.
    fn batch_norm(
        &self,
        norm: &BatchNorm,
        node: &'n Flat<'a>,
    ) -> Result<Vec<Found<'a>>, GraphError> {
        let Op::BatchNormalization { epsilon, .. } = node.op else {
            return Err(unread(node));
        };
        let place = Place(node.node);
        place.require("epsilon", &(norm.epsilon as f32), &epsilon)?;
        let roles = [
            ParamRole::Weight,
            ParamRole::Bias,
            ParamRole::RunningMean,
            ParamRole::RunningVar,
        ];
        let parameters = (1..).zip(roles).map(|(index, role)| {
            let parameter = self.parameter(node, index, role)?;
            place.require(
                "a parameter of shape",
                &[self.channels][..],
                &parameter.shape,
            )?;
            Ok(parameter)
        });
        parameters.collect()
    }

    /// The constant that a node takes as this input.
    fn parameter(
        &self,
        node: &Flat<'a>,
        index: usize,
        role: ParamRole,
    ) -> Result<Found<'a>, GraphError> {
        match node.inputs.get(index) {
            Some(Source::Constant(constant)) => Ok(Found {
                layer: "",
                node: node.node,
                role,
                shape: constant.dims.clone(),
                constant: constant.clone(),
            }),
            Some(Source::Live(value)) => Err(GraphError::NotConstant {
                node: node.node.describe(),
                what: role.as_str(),
                found: match value.checked_sub(1) {
                    None => "the image".to_owned(),
                    Some(at) => self.nodes[at].node.describe(),
                },
            }),
            None => Err(Place(node.node).left_out(role.as_str())),
        }
    }
}

fn max_pool(pool: &Pool, node: &Flat<'_>, size: [usize; 2]) -> Result<(), GraphError> {
    let Op::MaxPool(found) = &node.op else {
        return Err(unread(node));
    };
    let (place, window) = (Place(node.node), found.window);
    place.require("pool_size", &pool.pool_size, &window.kernel)?;
    place.require("strides", &pool.strides, &window.strides)?;
    place.require("dilations", &[1, 1], &window.dilations)?;
    place.require("ceil_mode", &pool.ceil_mode, &found.ceil_mode)?;
    let pads = pool.padding.pads(size, pool.pool_size, pool.strides);
    place.require("pads", &sides(pads), &sides(window.sides()))
}

/// In ONNX's order.
const fn sides(pads: Pads) -> [usize; 4] {
    [pads.top, pads.left, pads.bottom, pads.right]
}

/// Whether a node is of one of ONNX's own operators.
fn is(node: &Flat<'_>, operator: &str) -> bool {
    node.node.is_onnx() && node.node.op_type == operator
}

/// The error about a node whose operator was expected, but not as the file has it.
fn unread(node: &Flat<'_>) -> GraphError {
    let reason = match &node.op {
        Op::Other(other) => other.reason.clone(),
        op => format!("{} is read as {}", node.node.describe(), op.name()),
    };
    GraphError::Unread { reason }
}
