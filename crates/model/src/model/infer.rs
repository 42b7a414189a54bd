//! Names and shapes: from a recipe's layers to layers that fit.

use super::{Layer, ModelError, Param};
use crate::naming::layer_names;
use crate::{LayerSpec, Shape};

/// Limit of the values of one sample or one parameter: 2³¹, far beyond any network that a CPU can
/// hold, and small enough that no product of sizes overflows.
const MAX_VALUES: usize = 1 << 31;

/// Limit of the parameters of a model: 2²⁸, 1 GiB, of which training holds four copies. VGG19 with its
/// dense layers has half.
const MAX_PARAMETERS: usize = 1 << 28;

pub(super) fn layers(input: Shape, specs: &[LayerSpec]) -> Result<Vec<Layer>, ModelError> {
    if specs.is_empty() {
        return Err(ModelError {
            index: 0,
            name: "layers".into(),
            problem: "the model has no layers: add at least `flatten` and `dense`".into(),
        });
    }
    let names = names(specs)?;
    let mut shape = input;
    let mut parameters = 0;
    let mut layers = Vec::with_capacity(specs.len());
    for (index, (spec, name)) in specs.iter().zip(names).enumerate() {
        let fail = |problem: String| ModelError {
            index,
            name: name.clone(),
            problem,
        };
        if spec.kind.is_softmax() && index + 1 < specs.len() {
            return Err(fail(
                "softmax turns logits into probabilities and can only be the last layer: move it"
                    .into(),
            ));
        }
        let output = spec
            .kind
            .output(&[shape])
            .map_err(|error| fail(error.to_string()))?;
        if !fits(&output.dims()) {
            return Err(fail(format!(
                "its output {output} is over 2^31 values: make it smaller"
            )));
        }
        let params = spec
            .kind
            .params(&[shape])
            .map_err(|error| fail(error.to_string()))?;
        let params: Vec<Param> = params
            .into_iter()
            .map(|param| Param::new(&name, param))
            .collect();
        if let Some(large) = params.iter().find(|p| !fits(&p.shape)) {
            return Err(fail(format!(
                "`{}` would be {:?}, over 2^31 values: make the layer smaller",
                large.name, large.shape
            )));
        }
        parameters += params.iter().map(Param::len).sum::<usize>();
        if parameters > MAX_PARAMETERS {
            return Err(fail(format!(
                "the model has {parameters} parameters up to here, over 2^28: make it smaller"
            )));
        }
        layers.push(Layer {
            name,
            kind: spec.kind.clone(),
            frozen: false,
            backbone: None,
            input: shape,
            output,
            params,
        });
        shape = output;
    }
    match layers.last() {
        Some(last) if !matches!(last.output, Shape::Vector(n) if n >= 2) => Err(ModelError {
            index: layers.len() - 1,
            name: last.name.clone(),
            problem: format!(
                "the last layer must output one score per class, at least 2; this one outputs {}: end with `flatten` and `dense`",
                last.output
            ),
        }),
        _ => Ok(layers),
    }
}

/// Names of all layers; they must be different.
fn names(specs: &[LayerSpec]) -> Result<Vec<String>, ModelError> {
    let given: Vec<_> = specs
        .iter()
        .map(|spec| (spec.kind.type_name(), spec.name.as_deref()))
        .collect();
    let names = layer_names(&given);
    for (index, name) in names.iter().enumerate() {
        if let Some(first) = names[..index].iter().position(|other| other == name) {
            let problem = format!(
                "the name is taken by layer {}: layers need different names",
                first + 1
            );
            return Err(ModelError {
                index,
                name: name.clone(),
                problem,
            });
        }
    }
    Ok(names)
}

fn fits(dims: &[usize]) -> bool {
    dims.iter()
        .try_fold(1_usize, |product, &dim| product.checked_mul(dim))
        .is_some_and(|n| n <= MAX_VALUES)
}
