//! A batch normalisation.

use kiln_model::{BatchNorm, LayerKind};

use crate::attributes::sizes_of;
use crate::chain::Chain;
use crate::constants::Constants;
use crate::error::GraphError;
use crate::reader::{Found, Values};

/// kiln's names of the inputs of `BatchNormalization` behind the image, in order.
const PARAMETERS: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// Takes a batch normalisation in its form for inference.
pub fn take<'a>(chain: &mut Chain<'a>, constants: &Constants<'a>) -> Result<Found<'a>, GraphError> {
    let place = chain.take("BatchNormalization")?;
    place.require("training_mode", &0, &place.int("training_mode", 0))?;
    // Of the versions before 9; 0 was a normalisation of every pixel by itself.
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
    for (index, parameter) in PARAMETERS.into_iter().enumerate() {
        let tensor = constants
            .input(place, index + 1, parameter)?
            .ok_or_else(|| place.left_out(parameter))?;
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
            parameter,
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
