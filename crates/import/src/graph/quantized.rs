//! Weights that a file keeps as integers.

use super::call::Call;
use super::constant::{Budget, Data};

/// Computes `(x - zero_point) · scale`, per tensor or along an axis; none where that is not
/// possible.
pub fn dequantized<'a>(call: &Call<'a>, budget: &mut Budget) -> Option<(Vec<usize>, Data<'a>)> {
    let (quantized, scale) = (call.constant_at(0)?, call.constant_at(1)?);
    let count = quantized.len();
    let missing = |why: &str| {
        let reason = format!("{}: {why}", call.node.describe());
        Some((quantized.dims.clone(), Data::Missing(reason.into())))
    };
    let tensor = match &quantized.data {
        Data::File(tensor) => *tensor,
        Data::Ints(_) | Data::Floats(_) | Data::Fill(_) | Data::Missing(_) => {
            return missing("expected quantized weights as a tensor of the file");
        }
    };
    if !budget.take(count) {
        return missing("too large to be computed");
    }
    let Some(ints) = tensor.to_ints() else {
        return missing("expected quantized weights of 8, 16 or 32 bits");
    };
    let Ok(scales) = scale.floats(&mut Budget::of(1 << 20)) else {
        return missing("expected a scale of floats");
    };
    let zeros: Option<Vec<i64>> = match call.constant_at(2) {
        None => Some(vec![0; scales.len()]),
        Some(zeros) => zeros
            .ints()
            .and_then(|ints| ints.iter().map(|int| int.known()).collect()),
    };
    let Some(zeros) = zeros.filter(|zeros| zeros.len() == scales.len()) else {
        return missing("expected a zero point for each scale");
    };
    // Without an axis there is one scale.
    let axis = call.place().int("axis", 1);
    let rank = quantized.dims.len();
    let axis = call.axis(axis, rank, false);
    let (size, inner) = match (scales.len(), axis) {
        (1, _) => (1, count.max(1)),
        (_, Ok(axis)) => (
            quantized.dims[axis],
            quantized.dims[axis + 1..].iter().product::<usize>(),
        ),
        (_, Err(_)) => return missing("expected a scale for each entry of an axis"),
    };
    if scales.len() != size || inner == 0 || call.place().int("block_size", 0) != 0 {
        return missing("expected a scale for each entry of an axis");
    }
    let floats = ints.iter().enumerate().map(|(at, &int)| {
        let entry = at / inner % size;
        int.saturating_sub(zeros[entry]) as f32 * scales[entry]
    });
    Some((quantized.dims.clone(), Data::Floats(floats.collect())))
}

#[cfg(test)]
mod tests {
    use kiln_onnx::{DataType, NodeProto, TensorProto};

    use super::super::call::Known;
    use super::super::constant::Constant;
    use super::*;

    #[test]
    fn weights_are_restored_per_tensor_and_per_axis() {
        let weights = TensorProto {
            dims: vec![2, 2],
            data_type: DataType::Int8 as i32,
            raw_data: vec![1, 2, 3, 0xff],
            ..TensorProto::default()
        };
        let node = NodeProto {
            op_type: "DequantizeLinear".into(),
            ..NodeProto::default()
        };
        let restored = |scales: &[f32]| {
            let scale = TensorProto::from_f32("s", &[scales.len()], scales);
            let inputs = [&weights, &scale]
                .map(|tensor| Some(Known::Constant(Constant::of("w", tensor).unwrap())));
            let call = Call {
                node: &node,
                opset: 13,
                inputs: inputs.to_vec(),
                file_batch: None,
            };
            let (_, data) = dequantized(&call, &mut Budget::of(100)).unwrap();
            match data {
                Data::Floats(floats) => floats.to_vec(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(restored(&[0.5]), [0.5, 1.0, 1.5, -0.5]);
        assert_eq!(restored(&[0.5, 2.0]), [0.5, 4.0, 1.5, -2.0]);
    }
}
