//! Tensors of requests and answers, and their binary form.

use bytes::Bytes;

use crate::error::ApiError;

/// A tensor of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct InputTensor {
    /// Its name.
    pub name: String,
    /// Its type as the protocol calls it, such as `FP32`.
    pub datatype: String,
    /// Its shape.
    pub shape: Vec<i64>,
    /// Its elements.
    pub data: TensorData,
}

/// Elements of a tensor as a transport has them.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// Numbers, in row-major order.
    Numbers(Vec<f64>),
    /// Elements of type `BYTES`.
    Elements(Vec<Bytes>),
    /// All elements as little-endian bytes; those of type `BYTES` with their length before each.
    Raw(Bytes),
}

/// Elements of a tensor in the type that a model takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Of type `FP32`.
    F32(Vec<f32>),
    /// Of type `UINT8`.
    U8(Vec<u8>),
    /// Of type `BYTES`.
    Bytes(Vec<Bytes>),
}

/// A tensor of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputTensor {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements.
    pub data: OutputData,
}

/// Elements of a tensor of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputData {
    /// Of type `FP32`.
    F32(Vec<f32>),
    /// Of type `BYTES`, all of them text.
    Text(Vec<String>),
}

impl OutputTensor {
    /// The type as the protocol calls it.
    pub const fn datatype(&self) -> &'static str {
        match self.data {
            OutputData::F32(_) => "FP32",
            OutputData::Text(_) => "BYTES",
        }
    }

    /// The elements as little-endian bytes, as in [`TensorData::Raw`].
    pub fn to_raw(&self) -> Vec<u8> {
        match &self.data {
            OutputData::F32(values) => values.iter().flat_map(|it| it.to_le_bytes()).collect(),
            OutputData::Text(texts) => length_prefixed(texts.iter().map(String::as_bytes)),
        }
    }
}

/// Returns elements of type `BYTES`, each after its length in four bytes, little-endian.
pub fn length_prefixed<'a>(elements: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut raw = Vec::new();
    for element in elements {
        raw.extend_from_slice(&(element.len() as u32).to_le_bytes());
        raw.extend_from_slice(element);
    }
    raw
}

/// Reads elements of type `BYTES`, each after its length.
pub fn from_raw(raw: &Bytes, tensor: &str) -> Result<Vec<Bytes>, ApiError> {
    let mut elements = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let end = raw.get(at..at + 4).and_then(|length| {
            let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
            (at + 4).checked_add(length).filter(|&end| end <= raw.len())
        });
        let Some(end) = end else {
            return Err(ApiError::bad(format!(
                "the data of input `{tensor}` ends within element {}: expected each after its length in 4 bytes",
                elements.len()
            )));
        };
        elements.push(raw.slice(at + 4..end));
        at = end;
    }
    Ok(elements)
}

impl InputTensor {
    /// Number of elements by the shape.
    ///
    /// # Errors
    ///
    /// Returns that the shape has a side below 0, or more elements than can be counted.
    pub fn elements(&self) -> Result<usize, ApiError> {
        let mut sides = self.shape.iter().map(|&side| usize::try_from(side).ok());
        let count = sides.try_fold(1_usize, |count, side| count.checked_mul(side?));
        count.ok_or_else(|| {
            ApiError::bad(format!(
                "the shape {:?} of input `{}` is not one of a tensor",
                self.shape, self.name
            ))
        })
    }

    /// Returns the elements, whose number is that of the shape.
    ///
    /// # Errors
    ///
    /// Returns another number than that of the shape, a type that no model of images takes, or a number that is not of
    /// the type.
    pub fn values(&self) -> Result<Values, ApiError> {
        let expected = self.elements()?;
        let name = &self.name;
        let count = |found: usize| {
            if found == expected {
                return Ok(());
            }
            Err(ApiError::bad(format!(
                "input `{name}` has {found} elements, but its shape {:?} takes {expected}",
                self.shape
            )))
        };
        let raw_count = |raw: &Bytes, size: usize| {
            if expected.checked_mul(size) == Some(raw.len()) {
                return Ok(());
            }
            Err(ApiError::bad(format!(
                "input `{name}` has {} bytes, but its shape {:?} of {} takes {}",
                raw.len(),
                self.shape,
                self.datatype,
                expected.saturating_mul(size)
            )))
        };
        let mismatch = || {
            ApiError::bad(format!(
                "the data of input `{name}` is not of its type {}",
                self.datatype
            ))
        };
        match (self.datatype.as_str(), &self.data) {
            ("FP32", TensorData::Raw(raw)) => {
                raw_count(raw, 4)?;
                let values = raw.chunks_exact(4).map(|bytes| {
                    let bytes: [u8; 4] = bytes.try_into().expect("chunks of four");
                    f32::from_le_bytes(bytes)
                });
                Ok(Values::F32(values.collect()))
            }
            ("FP32", TensorData::Numbers(numbers)) => {
                count(numbers.len())?;
                Ok(Values::F32(
                    numbers.iter().map(|&number| number as f32).collect(),
                ))
            }
            ("UINT8", TensorData::Raw(raw)) => {
                raw_count(raw, 1)?;
                Ok(Values::U8(raw.to_vec()))
            }
            ("UINT8", TensorData::Numbers(numbers)) => {
                count(numbers.len())?;
                let byte = |&number: &f64| {
                    let byte = number as u8;
                    (f64::from(byte) - number == 0.0)
                        .then_some(byte)
                        .ok_or_else(mismatch)
                };
                Ok(Values::U8(
                    numbers.iter().map(byte).collect::<Result<_, _>>()?,
                ))
            }
            ("BYTES", TensorData::Raw(raw)) => {
                let elements = from_raw(raw, name)?;
                count(elements.len())?;
                Ok(Values::Bytes(elements))
            }
            ("BYTES", TensorData::Elements(elements)) => {
                count(elements.len())?;
                Ok(Values::Bytes(elements.clone()))
            }
            ("FP32" | "UINT8", TensorData::Elements(_)) | ("BYTES", TensorData::Numbers(_)) => {
                Err(mismatch())
            }
            _ => Err(ApiError::bad(format!(
                "input `{name}` is of type {}: expected FP32, UINT8 or BYTES",
                kiln_util::printable(&self.datatype)
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(datatype: &str, shape: &[i64], data: TensorData) -> InputTensor {
        InputTensor {
            name: "x".into(),
            datatype: datatype.into(),
            shape: shape.into(),
            data,
        }
    }

    fn error(datatype: &str, shape: &[i64], data: TensorData) -> String {
        tensor(datatype, shape, data).values().unwrap_err().message
    }

    #[test]
    fn elements_are_as_many_as_the_shape_says() {
        let numbers = |count| TensorData::Numbers(vec![1.0; count]);
        let values = tensor("FP32", &[2, 3], numbers(6)).values();
        assert_eq!(values, Ok(Values::F32(vec![1.0; 6])));
        assert!(error("FP32", &[2, 3], numbers(5)).contains("has 5 elements"));
        assert!(error("FP32", &[2, -3], numbers(6)).contains("not one of a tensor"));
        let huge = [i64::MAX, i64::MAX];
        assert!(error("FP32", &huge, numbers(6)).contains("not one of a tensor"));
        let raw = |bytes| TensorData::Raw(Bytes::from(vec![0; bytes]));
        assert!(error("FP32", &[2], raw(7)).contains("7 bytes"));
        assert!(error("FP32", &[i64::MAX], raw(7)).contains("takes"));
        let values = tensor("UINT8", &[1, 7], raw(7)).values();
        assert_eq!(values, Ok(Values::U8(vec![0; 7])));
    }

    #[test]
    fn numbers_are_of_their_type() {
        for number in [256.0, -1.0, 0.5, f64::NAN, f64::INFINITY] {
            let data = TensorData::Numbers(vec![number]);
            assert!(
                error("UINT8", &[1], data).contains("not of its type UINT8"),
                "{number}"
            );
        }
        let data = TensorData::Elements(vec![Bytes::new()]);
        assert!(error("FP32", &[1], data.clone()).contains("not of its type"));
        assert!(error("INT64", &[1], data).contains("expected FP32, UINT8 or BYTES"));
    }

    #[test]
    fn bytes_have_their_length_before_them() {
        let raw = Bytes::from(length_prefixed([&b"ab"[..], b"", b"c"]));
        let elements = from_raw(&raw, "x").unwrap();
        assert_eq!(elements, [&b"ab"[..], b"", b"c"]);
        for cut in [1, 3, 5, raw.len() - 1] {
            assert!(from_raw(&raw.slice(..cut), "x").is_err(), "{cut}");
        }
        let huge = Bytes::from_static(&[255; 8]);
        assert!(from_raw(&huge, "x").is_err());
    }
}
