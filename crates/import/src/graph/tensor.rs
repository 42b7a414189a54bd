//! Values of a file's tensors, of whichever type, as floats or integers.

use kiln_onnx::{DataType, TensorError, TensorProto};

/// Whether a type is of floats that can be read.
pub const fn is_float_type(data_type: DataType) -> bool {
    matches!(
        data_type,
        DataType::Float | DataType::Float16 | DataType::Bfloat16 | DataType::Double
    )
}

/// Whether a tensor has floats that can be read.
pub fn is_float(tensor: &TensorProto) -> bool {
    DataType::try_from(tensor.data_type).is_ok_and(is_float_type)
}

/// The values of a tensor of 16-, 32- or 64-bit floats, rounded to 32 bits.
pub fn floats(tensor: &TensorProto) -> Result<Vec<f32>, TensorError> {
    match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float16) => halves(tensor, half),
        Ok(DataType::Bfloat16) => halves(tensor, |bits| f32::from_bits(u32::from(bits) << 16)),
        Ok(DataType::Double) => {
            let of = |bytes| f64::from_le_bytes(bytes) as f32;
            let typed = tensor.double_data.iter().map(|&value| value as f32);
            values(tensor, of, typed)
        }
        // Others are refused with their type.
        _ => tensor.to_f32(),
    }
}

/// The values of a tensor of integers or truth values; none where they cannot be read.
pub fn ints(tensor: &TensorProto) -> Option<Vec<i64>> {
    let narrow = || tensor.int32_data.iter().map(|&value| i64::from(value));
    let found = match DataType::try_from(tensor.data_type).ok()? {
        DataType::Int64 => return tensor.to_i64().ok(),
        DataType::Int32 => values(tensor, |b| i64::from(i32::from_le_bytes(b)), narrow()),
        DataType::Int16 => values(tensor, |b| i64::from(i16::from_le_bytes(b)), narrow()),
        DataType::Uint16 => values(tensor, |b| i64::from(u16::from_le_bytes(b)), narrow()),
        DataType::Int8 => values(tensor, |b| i64::from(i8::from_le_bytes(b)), narrow()),
        DataType::Uint8 => values(tensor, |b| i64::from(u8::from_le_bytes(b)), narrow()),
        DataType::Bool => values(tensor, |[b]: [u8; 1]| i64::from(b != 0), narrow()),
        _ => return None,
    };
    found.ok()
}

fn halves(tensor: &TensorProto, of: fn(u16) -> f32) -> Result<Vec<f32>, TensorError> {
    // Bit patterns, in the low halves of the integers.
    let typed = tensor.int32_data.iter().map(|&bits| of(bits as u16));
    values(tensor, |bytes| of(u16::from_le_bytes(bytes)), typed)
}

fn values<T: Clone, const N: usize>(
    tensor: &TensorProto,
    of: impl Fn([u8; N]) -> T,
    typed: impl Iterator<Item = T>,
) -> Result<Vec<T>, TensorError> {
    if let Some(location) = tensor.external_location() {
        return Err(TensorError::External {
            name: tensor.name.clone(),
            location: location.to_owned(),
        });
    }
    let expected = tensor.element_count()?;
    let (chunks, rest) = tensor.raw_data.as_chunks::<N>();
    let values: Vec<T> = if tensor.raw_data.is_empty() {
        typed.collect()
    } else {
        chunks.iter().map(|&chunk| of(chunk)).collect()
    };
    if values.len() == expected && rest.is_empty() {
        Ok(values)
    } else {
        Err(TensorError::Length {
            name: tensor.name.clone(),
            dims: tensor.dims.clone(),
            expected,
            found: values.len(),
        })
    }
}

/// A 16-bit float of IEEE 754.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = ((bits >> 10) & 0x1f, f32::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2_f32.powi(-24),
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        exponent => (1024.0 + fraction) * 2_f32.powi(i32::from(exponent) - 25),
    };
    sign * magnitude
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_ieees() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x0400, 6.103_515_6e-5),
            (0x8000, -0.0),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(half(bits).to_bits(), f32::to_bits(value), "{bits:x}");
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn every_type_is_read_from_both_encodings() {
        let tensor = |data_type: DataType, raw_data: Vec<u8>| TensorProto {
            dims: vec![1],
            data_type: data_type as i32,
            raw_data,
            ..TensorProto::default()
        };
        let double = tensor(DataType::Double, 0.5_f64.to_le_bytes().to_vec());
        assert_eq!(floats(&double), Ok(vec![0.5]));
        assert_eq!(
            floats(&tensor(DataType::Float16, vec![0, 0x3c])),
            Ok(vec![1.0])
        );
        assert_eq!(
            floats(&tensor(DataType::Bfloat16, vec![0x80, 0x3f])),
            Ok(vec![1.0])
        );
        assert_eq!(ints(&tensor(DataType::Int8, vec![0xff])), Some(vec![-1]));
        assert_eq!(ints(&tensor(DataType::Uint8, vec![0xff])), Some(vec![255]));
        assert_eq!(ints(&tensor(DataType::Bool, vec![1])), Some(vec![1]));
        assert_eq!(ints(&tensor(DataType::Int32, vec![1])), None);
        let typed = TensorProto {
            int32_data: vec![0x3c00],
            ..tensor(DataType::Float16, Vec::new())
        };
        assert_eq!(floats(&typed), Ok(vec![1.0]));
        assert!(floats(&tensor(DataType::Int64, vec![0; 8])).is_err());
    }
}
