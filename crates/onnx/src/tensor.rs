//! Values in and out of a `TensorProto`.

use crate::hint::Hint;
use crate::proto::{DataLocation, DataType, TensorProto};

/// A tensor whose values cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// Another element type than asked for.
    #[error("tensor `{name}` has element type {found}, expected {expected}")]
    Type {
        /// The tensor's name.
        name: String,
        /// The type asked for.
        expected: &'static str,
        /// The type found.
        found: String,
    },
    /// A negative size, or a product beyond the address space.
    #[error("tensor `{name}` has the impossible shape {dims:?}")]
    Shape {
        /// The tensor's name.
        name: String,
        /// The shape found.
        dims: Vec<i64>,
    },
    /// The data does not fill the shape.
    #[error("tensor `{name}` of shape {dims:?} needs {expected} values and has {found}")]
    Length {
        /// The tensor's name.
        name: String,
        /// The shape.
        dims: Vec<i64>,
        /// Values that the shape asks for.
        expected: usize,
        /// Values found; for bytes, whole values.
        found: usize,
    },
    /// The values are in another file.
    #[error("tensor `{name}` keeps its values in another file, `{location}`")]
    External {
        /// The tensor's name.
        name: String,
        /// The file that holds the values.
        location: String,
    },
}

impl TensorError {
    /// Returns what can be done about it.
    pub const fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Type { .. } => Hint::ConvertWeights,
            Self::Shape { .. } | Self::Length { .. } => Hint::ExportAgain,
            Self::External { .. } => Hint::SaveAsOneFile,
        })
    }
}

impl TensorProto {
    /// A tensor of 32-bit floats, values in row-major order.
    pub fn from_f32(name: &str, shape: &[usize], values: &[f32]) -> Self {
        Self::raw(name, shape, DataType::Float, values, f32::to_le_bytes)
    }

    /// A tensor of 64-bit integers, values in row-major order.
    pub fn from_i64(name: &str, shape: &[usize], values: &[i64]) -> Self {
        Self::raw(name, shape, DataType::Int64, values, i64::to_le_bytes)
    }

    /// A tensor of 32-bit integers, values in row-major order.
    pub fn from_i32(name: &str, shape: &[usize], values: &[i32]) -> Self {
        Self::raw(name, shape, DataType::Int32, values, i32::to_le_bytes)
    }

    /// A tensor of signed bytes, values in row-major order.
    pub fn from_i8(name: &str, shape: &[usize], values: &[i8]) -> Self {
        Self::raw(name, shape, DataType::Int8, values, i8::to_le_bytes)
    }

    /// A tensor of bytes, values in row-major order.
    pub fn from_u8(name: &str, shape: &[usize], values: &[u8]) -> Self {
        Self::raw(name, shape, DataType::Uint8, values, u8::to_le_bytes)
    }

    /// The values of a `Float` tensor in row-major order: exactly as many as the shape asks for.
    pub fn to_f32(&self) -> Result<Vec<f32>, TensorError> {
        self.values(
            DataType::Float,
            "float32",
            &self.float_data,
            f32::from_le_bytes,
        )
    }

    /// The values of an `Int64` tensor in row-major order: exactly as many as the shape asks for.
    pub fn to_i64(&self) -> Result<Vec<i64>, TensorError> {
        self.values(
            DataType::Int64,
            "int64",
            &self.int64_data,
            i64::from_le_bytes,
        )
    }

    /// The shape as sizes.
    pub fn shape(&self) -> Result<Vec<usize>, TensorError> {
        let sizes: Result<Vec<usize>, _> = self.dims.iter().map(|&d| usize::try_from(d)).collect();
        sizes.map_err(|_| TensorError::Shape {
            name: self.name.clone(),
            dims: self.dims.clone(),
        })
    }

    /// Number of values that the shape asks for.
    pub fn element_count(&self) -> Result<usize, TensorError> {
        let product = self
            .shape()?
            .into_iter()
            .try_fold(1_usize, usize::checked_mul);
        product.ok_or_else(|| TensorError::Shape {
            name: self.name.clone(),
            dims: self.dims.clone(),
        })
    }

    /// The file that holds the values, where that is another one.
    ///
    /// Every place but the message counts as another file: a parser that knows the values of the
    /// enumeration skips those that it does not know, and keeps what an earlier field said.
    pub fn external_location(&self) -> Option<&str> {
        (self.data_location != DataLocation::Default as i32).then(|| {
            let location = self
                .external_data
                .iter()
                .find(|entry| entry.key == "location");
            location.map_or("", |entry| entry.value.as_str())
        })
    }

    fn raw<T: Copy, const N: usize>(
        name: &str,
        shape: &[usize],
        data_type: DataType,
        values: &[T],
        bytes: fn(T) -> [u8; N],
    ) -> Self {
        let mut raw_data = vec![0; values.len() * N];
        for (chunk, &value) in raw_data.chunks_exact_mut(N).zip(values) {
            chunk.copy_from_slice(&bytes(value));
        }
        let dims = shape.iter().map(|&size| size as i64).collect();
        Self {
            name: name.to_owned(),
            dims,
            data_type: data_type as i32,
            raw_data,
            ..Self::default()
        }
    }

    fn values<T: Copy, const N: usize>(
        &self,
        expected: DataType,
        expected_name: &'static str,
        typed: &[T],
        value: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, TensorError> {
        if let Some(location) = self.external_location() {
            return Err(TensorError::External {
                name: self.name.clone(),
                location: location.to_owned(),
            });
        }
        if self.data_type != expected as i32 {
            return Err(TensorError::Type {
                name: self.name.clone(),
                expected: expected_name,
                found: DataType::try_from(self.data_type).map_or_else(
                    |_| format!("number {}", self.data_type),
                    |found| format!("{found:?}"),
                ),
            });
        }
        let count = self.element_count()?;
        let (chunks, rest) = self.raw_data.as_chunks::<N>();
        let found = if self.raw_data.is_empty() {
            typed.len()
        } else {
            chunks.len()
        };
        if found != count || !rest.is_empty() {
            let dims = self.dims.clone();
            return Err(TensorError::Length {
                name: self.name.clone(),
                dims,
                expected: count,
                found,
            });
        }
        if self.raw_data.is_empty() {
            return Ok(typed.to_vec());
        }
        Ok(chunks.iter().map(|&chunk| value(chunk)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_both_encodings() {
        let values = [1.0, -0.0, f32::MIN_POSITIVE, 3.5];
        let raw = TensorProto::from_f32("w", &[2, 2], &values);
        assert_eq!(raw.raw_data[..4], 1.0_f32.to_le_bytes());
        assert_eq!(raw.to_f32().unwrap(), values);
        let typed = TensorProto {
            raw_data: vec![],
            float_data: values.to_vec(),
            ..raw
        };
        assert_eq!(typed.to_f32().unwrap(), values);
        assert_eq!(
            TensorProto::from_i64("n", &[], &[-7]).to_i64().unwrap(),
            [-7]
        );
    }

    #[test]
    fn wrong_lengths_and_shapes_are_errors() {
        let tensor = TensorProto::from_f32("w", &[3], &[1.0, 2.0]);
        assert_eq!(
            tensor.to_f32().unwrap_err().to_string(),
            "tensor `w` of shape [3] needs 3 values and has 2"
        );
        let odd = TensorProto {
            raw_data: vec![0; 13],
            ..tensor.clone()
        };
        assert!(matches!(odd.to_f32(), Err(TensorError::Length { .. })));
        let negative = TensorProto {
            dims: vec![-1],
            ..tensor.clone()
        };
        assert!(matches!(negative.to_f32(), Err(TensorError::Shape { .. })));
        let huge = TensorProto {
            dims: vec![i64::MAX, 4],
            ..tensor.clone()
        };
        assert!(matches!(huge.to_f32(), Err(TensorError::Shape { .. })));
        assert!(matches!(tensor.to_i64(), Err(TensorError::Type { .. })));
    }

    #[test]
    fn external_data_names_its_file() {
        let entry = crate::StringStringEntryProto {
            key: "location".into(),
            value: "weights.bin".into(),
        };
        let tensor = TensorProto {
            name: "w".into(),
            data_location: DataLocation::External as i32,
            external_data: vec![entry],
            ..Default::default()
        };
        assert_eq!(
            tensor.to_f32().unwrap_err().to_string(),
            "tensor `w` keeps its values in another file, `weights.bin`"
        );
    }
}
