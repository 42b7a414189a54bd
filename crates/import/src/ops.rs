//! Layers out of ONNX nodes, one function for each operator.

use kiln_model::{Activation, BatchNorm, Conv2d, LayerKind, MaxPool, ParamRole, Pool, Relu};
use kiln_onnx::{NodeProto, TensorProto};

use crate::attributes::{Place, sizes_of};
use crate::chain::{Chain, is};
use crate::constants::Constants;
use crate::error::GraphError;
use crate::padding;

/// A layer found in a graph.
#[derive(Debug)]
pub struct Found<'a> {
    /// The node that gives it its name.
    pub node: &'a NodeProto,
    /// Its type and settings.
    pub kind: LayerKind,
    /// Numbers of input and output channels, where its parameters have them.
    pub channels: Option<[usize; 2]>,
    /// Its parameters, in kiln's order; their values are not checked yet.
    pub values: Vec<Values<'a>>,
}

/// A parameter found in a graph.
#[derive(Debug)]
pub struct Values<'a> {
    /// What it is to its layer.
    pub role: ParamRole,
    /// kiln's shape, of as many values as the tensor's.
    pub shape: Vec<usize>,
    /// The values.
    pub tensor: &'a TensorProto,
}

/// Takes the layer that begins with the next node, `node`.
pub fn take<'a>(
    node: &NodeProto,
    chain: &mut Chain<'a>,
    constants: &Constants<'a>,
) -> Result<Found<'a>, GraphError> {
    if is(node, "Conv") || is(node, "Pad") {
        conv(chain, constants)
    } else if is(node, "BatchNormalization") {
        batch_norm(chain, constants)
    } else if is(node, "MaxPool") {
        max_pool(chain)
    } else if let Some(Place(node)) = chain.take_if("Relu")? {
        Ok(Found {
            node,
            kind: LayerKind::Relu(Relu {}),
            channels: None,
            values: Vec::new(),
        })
    } else {
        Err(chain.unexpected("Conv, BatchNormalization, Relu or MaxPool")?)
    }
}

/// Takes a convolution: an optional `Pad`, the `Conv`, its bias as an input or as an `Add`, an
/// optional `Relu`.
fn conv<'a>(chain: &mut Chain<'a>, constants: &Constants<'a>) -> Result<Found<'a>, GraphError> {
    let before = match chain.take_if("Pad")? {
        Some(place) => Some(padding::of_pad(place, constants)?),
        None => None,
    };
    let place = chain.take("Conv")?;
    let weight = constants
        .input(place, 1, "weight")?
        .ok_or_else(|| place.left_out("weight"))?;
    place.require("group", &1, &place.int("group", 1))?;
    let sizes = sizes_of(&weight.dims).and_then(|sizes| <[usize; 4]>::try_from(sizes).ok());
    let Some([filters, channels, rows, columns]) = sizes else {
        return place.mismatch(
            "a weight of shape",
            "[filters, channels, rows, columns]",
            &weight.dims,
        );
    };
    let kernel_size = [rows, columns];
    place.require(
        "kernel_shape",
        &kernel_size,
        &place.pair("kernel_shape", Some(kernel_size))?,
    )?;
    place.require(
        "dilations",
        &[1, 1],
        &place.pair("dilations", Some([1, 1]))?,
    )?;
    let strides = place.pair("strides", Some([1, 1]))?;
    let padding = padding::of_conv(place, before, kernel_size, strides)?;
    let bias = match constants.input(place, 2, "bias")? {
        Some(bias) => {
            place.require("a bias of shape", &dims(&[filters])[..], &bias.dims)?;
            Some(bias)
        }
        None => added(chain, constants, filters)?,
    };
    let activation = chain.take_if("Relu")?.map(|_| Activation::Relu);
    let weight = Values {
        role: ParamRole::Weight,
        shape: vec![filters, channels, rows, columns],
        tensor: weight,
    };
    let bias = bias.map(|tensor| Values {
        role: ParamRole::Bias,
        shape: vec![filters],
        tensor,
    });
    let use_bias = bias.is_some();
    Ok(Found {
        node: place.0,
        kind: LayerKind::Conv2d(Conv2d {
            strides,
            padding,
            use_bias,
            activation,
            ..Conv2d::of_size(filters, kernel_size)
        }),
        channels: Some([channels, filters]),
        values: std::iter::once(weight).chain(bias).collect(),
    })
}

/// The bias of a convolution that has none of its own, where an `Add` of one value per filter
/// follows.
fn added<'a>(
    chain: &mut Chain<'a>,
    constants: &Constants<'a>,
    filters: usize,
) -> Result<Option<&'a TensorProto>, GraphError> {
    // Where the network branches, what comes next is not for this layer to say.
    let Ok(Some(node)) = chain.peek() else {
        return Ok(None);
    };
    if !is(node, "Add") {
        return Ok(None);
    }
    let place = Place(node);
    let name = node
        .input
        .iter()
        .find(|name| *name != chain.value())
        .ok_or_else(|| place.left_out("bias"))?;
    let bias = constants.resolve(place, name, "bias")?;
    // Shapes that broadcast over the images, rows and columns of NCHW.
    if bias.dims != dims(&[1, filters, 1, 1]) {
        place.require("a bias of shape", &dims(&[filters, 1, 1])[..], &bias.dims)?;
    }
    chain.step(node);
    Ok(Some(bias))
}

fn dims(sizes: &[usize]) -> Vec<i64> {
    sizes.iter().map(|&size| size as i64).collect()
}

/// The inputs of `BatchNormalization` after the image, in order.
const PARAMETERS: [ParamRole; 4] = [
    ParamRole::Weight,
    ParamRole::Bias,
    ParamRole::RunningMean,
    ParamRole::RunningVar,
];

/// Takes a batch normalization in its form for inference.
fn batch_norm<'a>(
    chain: &mut Chain<'a>,
    constants: &Constants<'a>,
) -> Result<Found<'a>, GraphError> {
    let place = chain.take("BatchNormalization")?;
    place.require("training_mode", &0, &place.int("training_mode", 0))?;
    // Of the versions before 9; 0 was a normalization of every pixel by itself.
    place.require("spatial", &1, &place.int("spatial", 1))?;
    let (epsilon, momentum) = (place.float("epsilon", 1e-5), place.float("momentum", 0.9));
    if !(epsilon > 0.0 && epsilon.is_finite()) {
        return place.mismatch("epsilon", "a number above 0", epsilon);
    }
    if !(0.0..1.0).contains(&momentum) {
        return place.mismatch("momentum", "a number of at least 0 and below 1", momentum);
    }
    let mut values = Vec::with_capacity(PARAMETERS.len());
    let mut expected = None;
    for (index, role) in PARAMETERS.into_iter().enumerate() {
        let tensor = constants
            .input(place, index + 1, role.as_str())?
            .ok_or_else(|| place.left_out(role.as_str()))?;
        let shape = sizes_of(&tensor.dims).filter(|sizes| sizes.len() == 1);
        let Some(shape) =
            shape.filter(|shape| *shape == *expected.get_or_insert_with(|| shape.clone()))
        else {
            let expected = expected.map_or_else(
                || "one size of at least 1".to_owned(),
                |shape| format!("{shape:?}"),
            );
            return place.mismatch("a parameter of shape", &expected, &tensor.dims);
        };
        values.push(Values {
            role,
            shape,
            tensor,
        });
    }
    let channels = values[0].shape[0];
    Ok(Found {
        node: place.0,
        kind: LayerKind::BatchNorm(BatchNorm {
            momentum: decimal(momentum),
            epsilon: decimal(epsilon),
        }),
        channels: Some([channels; 2]),
        values,
    })
}

/// The shortest decimal number that is this one in 32 bits: what its author wrote, 0.001 and not
/// 0.0010000000474974513.
fn decimal(x: f32) -> f64 {
    x.to_string().parse().expect("a float's digits are a float")
}

/// Takes a max pooling whose windows that do not fit are left out.
fn max_pool<'a>(chain: &mut Chain<'a>) -> Result<Found<'a>, GraphError> {
    let place = chain.take("MaxPool")?;
    let pool_size = place.pair("kernel_shape", None)?;
    let strides = place.pair("strides", Some([1, 1]))?;
    place.require(
        "dilations",
        &[1, 1],
        &place.pair("dilations", Some([1, 1]))?,
    )?;
    place.require("ceil_mode", &0, &place.int("ceil_mode", 0))?;
    match place.string("auto_pad", "NOTSET").as_str() {
        "NOTSET" => place.require("pads", &[0; 4][..], place.ints("pads").unwrap_or(&[0; 4]))?,
        // SAME would take in the last row and column of an image of odd size.
        auto_pad => place.require("auto_pad", "VALID", auto_pad)?,
    }
    let kind = LayerKind::MaxPool(MaxPool(Pool {
        strides,
        ..Pool::of_size(pool_size)
    }));
    Ok(Found {
        node: place.0,
        kind,
        channels: None,
        values: Vec::new(),
    })
}
