//! Whether a tensor has as many values as its shape asks for.

use super::budget::{Budget, GateError, check_rank};
use super::sizes::element_bits;
use crate::proto::{DataType, SparseTensorProto, TensorProto};
use crate::tensor::TensorError;

/// Checks a tensor's shape, element type and number of values: an engine may reserve what the shape
/// asks for before it looks at the values.
pub fn check(tensor: &TensorProto, budget: &Budget) -> Result<(), GateError> {
    check_rank(&tensor.name, tensor.dims.len(), budget)?;
    let count = count(&tensor.name, &tensor.dims)?;
    let Ok(data_type) = DataType::try_from(tensor.data_type) else {
        return Err(TensorError::Type {
            name: tensor.name.clone(),
            expected: "one of ONNX's types",
            found: format!("number {}", tensor.data_type),
        }
        .into());
    };
    if let (Some(bits), false) = (data_type.bits(), tensor.raw_data.is_empty()) {
        let expected = count.saturating_mul(bits).div_ceil(8);
        let found = tensor.raw_data.len() as u64;
        return if found == expected {
            Ok(())
        } else {
            Err(GateError::Bytes {
                name: tensor.name.clone(),
                dims: tensor.dims.clone(),
                expected,
                found,
            })
        };
    }
    // Values in another file, whose length was compared when the file was looked at.
    if tensor.external_location().is_some() {
        return Ok(());
    }
    let (expected, found) = typed(tensor, data_type, count);
    if found == expected {
        return Ok(());
    }
    Err(TensorError::Length {
        name: tensor.name.clone(),
        dims: tensor.dims.clone(),
        expected: usize::try_from(expected).unwrap_or(usize::MAX),
        found: found as usize,
    }
    .into())
}

/// The numbers that a tensor needs in the field of its element type, and those that are there
/// (`onnx.proto`, `TensorProto`).
fn typed(tensor: &TensorProto, data_type: DataType, count: u64) -> (u64, u64) {
    let (expected, found) = match data_type {
        // An empty message, whose shape is that of a scalar.
        DataType::Undefined => (count.saturating_sub(1), 0),
        DataType::Float => (count, tensor.float_data.len()),
        DataType::Complex64 => (count.saturating_mul(2), tensor.float_data.len()),
        DataType::Double => (count, tensor.double_data.len()),
        DataType::Complex128 => (count.saturating_mul(2), tensor.double_data.len()),
        DataType::Int64 => (count, tensor.int64_data.len()),
        DataType::Uint32 | DataType::Uint64 => (count, tensor.uint64_data.len()),
        DataType::String => (count, tensor.string_data.len()),
        DataType::Uint4 | DataType::Int4 | DataType::Float4e2m1 => {
            (count.div_ceil(2), tensor.int32_data.len())
        }
        DataType::Uint2 | DataType::Int2 => (count.div_ceil(4), tensor.int32_data.len()),
        DataType::Uint8
        | DataType::Int8
        | DataType::Uint16
        | DataType::Int16
        | DataType::Int32
        | DataType::Bool
        | DataType::Float16
        | DataType::Bfloat16
        | DataType::Float8e4m3fn
        | DataType::Float8e4m3fnuz
        | DataType::Float8e5m2
        | DataType::Float8e5m2fnuz
        | DataType::Float8e8m0 => (count, tensor.int32_data.len()),
    };
    (expected, found as u64)
}

/// Checks the dense shape of a sparse tensor, which engines fill.
pub fn check_sparse(sparse: &SparseTensorProto, budget: &Budget) -> Result<(), GateError> {
    let values = sparse.values.as_ref();
    let name = values.map_or("", |tensor| tensor.name.as_str());
    check_rank(name, sparse.dims.len(), budget)?;
    let count = count(name, &sparse.dims)?;
    let bits = element_bits(values.map_or(0, |tensor| tensor.data_type));
    let bytes = u128::from(count) * u128::from(bits) / 8;
    if bytes > u128::from(budget.bytes_per_value) {
        return Err(GateError::Size {
            place: "a sparse tensor".to_owned(),
            value: name.to_owned(),
            shape: format!("{:?}", sparse.dims),
            bytes,
            limit: budget.bytes_per_value,
        });
    }
    Ok(())
}

/// The number of elements. The product of the axes that are not empty must be a number too: an engine
/// may multiply in another order.
fn count(name: &str, dims: &[i64]) -> Result<u64, TensorError> {
    let sizes = dims.iter().map(|&dim| u64::try_from(dim).ok());
    let product = sizes.clone().try_fold(1_u64, |product, size| {
        let product = product.checked_mul(size?.max(1))?;
        // Bits fit as well.
        (product <= 1 << 56).then_some(product)
    });
    let product = product.ok_or_else(|| TensorError::Shape {
        name: name.to_owned(),
        dims: dims.to_vec(),
    })?;
    Ok(if dims.contains(&0) { 0 } else { product })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(tensor: &TensorProto) -> String {
        check(tensor, &Budget::default()).unwrap_err().to_string()
    }

    #[test]
    fn values_fill_the_shape_in_either_form() {
        let budget = Budget::default();
        let raw = TensorProto::from_f32("w", &[2, 2], &[0.0; 4]);
        assert_eq!(check(&raw, &budget), Ok(()));
        let typed = TensorProto {
            raw_data: Vec::new(),
            float_data: vec![0.0; 4],
            ..raw.clone()
        };
        assert_eq!(check(&typed, &budget), Ok(()));
        for (data_type, dims, numbers) in [
            (DataType::Int4, vec![5], 3),
            (DataType::Uint2, vec![5], 2),
            (DataType::Float16, vec![5], 5),
            (DataType::Bool, vec![], 1),
            (DataType::Bool, vec![3, 0], 0),
        ] {
            let narrow = TensorProto {
                dims,
                data_type: data_type as i32,
                int32_data: vec![0; numbers],
                ..TensorProto::default()
            };
            assert_eq!(check(&narrow, &budget), Ok(()), "{data_type:?}");
        }
    }

    #[test]
    fn a_claim_without_values_is_refused() {
        let tensor = TensorProto {
            dims: vec![1 << 20, 1 << 20],
            ..TensorProto::from_f32("w", &[], &[])
        };
        assert_eq!(
            error(&tensor),
            "tensor `w` of shape [1048576, 1048576] needs 1099511627776 values and has 0"
        );
        let few = TensorProto {
            dims: vec![3],
            ..TensorProto::from_f32("w", &[2], &[0.0; 2])
        };
        assert_eq!(
            error(&few),
            "tensor `w` of shape [3] needs 12 bytes, found 8"
        );
    }

    #[test]
    fn impossible_shapes_and_types_are_refused() {
        for dims in [vec![-1], vec![i64::MAX, 4], vec![0, i64::MAX, 4]] {
            let tensor = TensorProto {
                dims,
                ..TensorProto::from_f32("w", &[], &[])
            };
            assert!(error(&tensor).contains("impossible shape"));
        }
        let unknown = TensorProto {
            data_type: 99,
            ..TensorProto::from_f32("w", &[1], &[0.0])
        };
        assert!(error(&unknown).contains("element type number 99"));
        let deep = TensorProto::from_f32("w", &[1; 17], &[0.0]);
        assert_eq!(error(&deep), "`w` has 17 axes, expected at most 16");
    }

    #[test]
    fn a_sparse_tensor_is_as_large_as_its_dense_shape() {
        let sparse = SparseTensorProto {
            values: Some(TensorProto::from_f32("s", &[1], &[1.0])),
            indices: Some(TensorProto::from_i64("", &[1], &[0])),
            dims: vec![1 << 40],
        };
        let error = check_sparse(&sparse, &Budget::default()).unwrap_err();
        assert!(error.to_string().starts_with("a sparse tensor makes `s`"));
    }
}
