//! The weights of a known network.

use std::fmt;

use kiln_model::{Activation, Base, LayerKind, LayerSpec, MaxPool};
use kiln_onnx::ModelProto;

use crate::error::{GraphError, WeightsError, describe};
use crate::ops::{Found, Values};
use crate::reader::Reader;

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
    let mut parameters = Vec::new();
    for (layer, found) in &found {
        for values in &found.values {
            parameters.push(read(layer, found, values)?);
        }
    }
    Ok(parameters)
}

/// A base's layers in a model, each with its name; the values of their parameters are not looked
/// at.
pub fn find<'a>(
    base: &'a Base,
    model: &'a ModelProto,
) -> Result<Vec<(&'a str, Found<'a>)>, WeightsError> {
    let mut reader = Reader::new(model)?;
    let mut layers = Vec::with_capacity(base.layers.len());
    let mut channels = Some(base.channels);
    for (at, LayerSpec { name, kind }) in base.layers.iter().enumerate() {
        let layer = name.as_deref().unwrap_or_default();
        let different = |found: String| WeightsError::Kind {
            layer: layer.into(),
            expected: kind.type_name(),
            found,
        };
        let found = match reader.next() {
            Ok(Some(found)) => found,
            // Cut off before the last pooling, as for style transfer.
            Ok(None)
                if base.layers[at..]
                    .iter()
                    .all(|layer| !layer.kind.has_params()) =>
            {
                break;
            }
            Ok(None) => return Err(different("the end of the graph".into())),
            Err(GraphError::Operator { found, .. }) => return Err(different(found)),
            Err(source) => {
                return Err(WeightsError::At {
                    layer: layer.into(),
                    source,
                });
            }
        };
        if std::mem::discriminant(kind) != std::mem::discriminant(&found.kind) {
            return Err(different(describe(found.node)));
        }
        let image = found.channels.and_then(|[found, _]| {
            Some(("channels", channels.take()?.to_string(), found.to_string()))
        });
        let settings = image.into_iter().chain(settings(kind, &found.kind));
        if let Some((setting, expected, found_setting)) =
            settings.into_iter().find(|(_, a, b)| a != b)
        {
            return Err(WeightsError::Setting {
                layer: layer.into(),
                node: describe(found.node),
                setting,
                expected: expected.into(),
                found: found_setting.into(),
            });
        }
        layers.push((layer, found));
    }
    Ok(layers)
}

fn read(layer: &str, found: &Found<'_>, values: &Values<'_>) -> Result<Parameter, WeightsError> {
    let Values {
        role,
        shape,
        tensor,
    } = values;
    let node = describe(found.node);
    let name = role.of(layer);
    let values = tensor.to_f32().map_err(|source| WeightsError::At {
        layer: layer.into(),
        source: GraphError::Tensor {
            node: node.clone(),
            source: source.into(),
        },
    })?;
    match values.iter().find(|value| !value.is_finite()) {
        None => Ok(Parameter {
            name,
            shape: shape.clone(),
            values,
        }),
        Some(&value) => Err(WeightsError::NotFinite {
            layer: layer.into(),
            node,
            tensor: tensor.name.clone(),
            value,
        }),
    }
}

/// The settings of two layers of the same type that weights depend on, by name.
fn settings(expected: &LayerKind, found: &LayerKind) -> Vec<(&'static str, String, String)> {
    settings_of(expected)
        .into_iter()
        .zip(settings_of(found))
        .map(|((name, expected), (_, found))| (name, expected, found))
        .collect()
}

/// The settings of a layer that weights depend on, by name; of the types that a graph can be read
/// as.
fn settings_of(kind: &LayerKind) -> Vec<(&'static str, String)> {
    let pair = |sizes: [usize; 2]| format!("{sizes:?}");
    if let LayerKind::Conv2d(conv) = kind {
        let activation = conv.activation.map_or("linear", Activation::as_str);
        return vec![
            ("kernel_size", pair(conv.kernel_size)),
            ("filters", conv.filters.to_string()),
            ("strides", pair(conv.strides)),
            ("padding", conv.padding.to_string()),
            ("use_bias", conv.use_bias.to_string()),
            ("activation", activation.to_owned()),
        ];
    }
    if let LayerKind::MaxPool(MaxPool(pool)) = kind {
        return vec![
            ("pool_size", pair(pool.pool_size)),
            ("strides", pair(pool.strides)),
        ];
    }
    if let LayerKind::BatchNorm(norm) = kind {
        // The momentum matters only to training.
        return vec![("epsilon", norm.epsilon.to_string())];
    }
    Vec::new()
}
