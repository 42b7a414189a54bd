//! What is known about a value before the graph is run.

use std::rc::Rc;

use crate::proto::{DataType, SparseTensorProto, TensorProto};

/// The size of an axis, where it is known.
pub type Dim = Option<u64>;

/// The most elements of a value that are kept: shapes and what they are computed from.
pub const MAX_NUMBERS: u64 = 1 << 10;

/// A value between nodes.
///
/// Elements are numbers of 64-bit floats, whatever their type: they become sizes, and a size that such
/// a number does not hold is beyond every budget.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Value {
    pub data_type: Option<DataType>,
    /// None where the rank is not known.
    pub dims: Option<Vec<Dim>>,
    /// The elements in row-major order, where all sizes are known and there are few.
    pub numbers: Option<Rc<[Option<f64>]>>,
}

impl Value {
    pub fn new(data_type: Option<DataType>, dims: Option<Vec<Dim>>) -> Self {
        Self {
            data_type,
            dims,
            numbers: None,
        }
    }

    /// A list of numbers, or a scalar.
    pub fn of_numbers(
        data_type: Option<DataType>,
        dims: Vec<Dim>,
        numbers: Vec<Option<f64>>,
    ) -> Self {
        let fits = elements(&dims) == Some(numbers.len() as u64);
        let few = numbers.len() as u64 <= MAX_NUMBERS;
        let numbers = (fits && few).then(|| numbers.into_iter().map(finite).collect());
        Self {
            data_type,
            dims: Some(dims),
            numbers,
        }
    }

    pub fn list(data_type: DataType, numbers: Vec<Option<f64>>) -> Self {
        Self::of_numbers(Some(data_type), vec![Some(numbers.len() as u64)], numbers)
    }

    pub fn of_tensor(tensor: &TensorProto) -> Self {
        let data_type = DataType::try_from(tensor.data_type).ok();
        let dims: Vec<Dim> = tensor
            .dims
            .iter()
            .map(|&dim| u64::try_from(dim).ok())
            .collect();
        let few = elements(&dims).is_some_and(|count| count <= MAX_NUMBERS);
        match few.then(|| numbers(tensor)).flatten() {
            Some(numbers) => Self::of_numbers(data_type, dims, numbers),
            None => Self::new(data_type, Some(dims)),
        }
    }

    /// The dense form of a sparse tensor.
    pub fn of_sparse(sparse: &SparseTensorProto) -> Self {
        let data_type = sparse.values.as_ref().map_or(0, |values| values.data_type);
        let dims = sparse.dims.iter().map(|&dim| u64::try_from(dim).ok());
        Self::new(DataType::try_from(data_type).ok(), Some(dims.collect()))
    }

    /// A value of the same shape whose elements are not known.
    pub fn shaped_like(&self, data_type: Option<DataType>) -> Self {
        Self::new(data_type, self.dims.clone())
    }

    pub fn rank(&self) -> Option<usize> {
        self.dims.as_ref().map(Vec::len)
    }

    /// The elements as whole numbers, where all are known.
    pub fn ints(&self) -> Option<Vec<i64>> {
        self.numbers
            .as_ref()?
            .iter()
            .map(|&number| whole(number?))
            .collect()
    }

    /// The elements, where all are known.
    pub fn floats(&self) -> Option<Vec<f64>> {
        self.numbers.as_ref()?.iter().copied().collect()
    }

    /// The only element.
    pub fn scalar(&self) -> Option<f64> {
        match *self.numbers.as_deref()? {
            [number] => number,
            _ => None,
        }
    }

    /// What is known whichever of two values it is.
    pub fn join(&self, other: &Self) -> Self {
        let dims = match (&self.dims, &other.dims) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                let both = a.iter().zip(b);
                Some(both.map(|(a, b)| if a == b { *a } else { None }).collect())
            }
            _ => None,
        };
        let same = self.numbers == other.numbers;
        Self {
            data_type: self.data_type.filter(|_| self.data_type == other.data_type),
            dims,
            numbers: self.numbers.clone().filter(|_| same),
        }
    }

    pub fn is_float(&self) -> bool {
        matches!(
            self.data_type,
            Some(DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16)
        )
    }
}

/// Bits of an element; a byte where the type is not known, which is less than most.
pub fn element_bits(data_type: i32) -> u64 {
    let data_type = DataType::try_from(data_type).ok();
    data_type.and_then(DataType::bits).unwrap_or(8)
}

/// The bytes of a value whose open axes have one element each, and so have empty ones: engines compute
/// an axis after the other, and may come to the empty one last.
pub fn bytes(dims: &[Dim], bits: u64) -> u128 {
    let sizes = dims.iter().map(|dim| u128::from(dim.unwrap_or(1).max(1)));
    let count = sizes.fold(1, u128::saturating_mul);
    count.saturating_mul(u128::from(bits)) / 8
}

/// A shape for a message.
pub fn describe(dims: &[Dim]) -> String {
    let sizes = dims
        .iter()
        .map(|dim| dim.map_or_else(|| "?".to_owned(), |size| size.to_string()));
    format!("[{}]", sizes.collect::<Vec<_>>().join(", "))
}

/// The number of elements, where it is known.
pub fn elements(dims: &[Dim]) -> Option<u64> {
    dims.iter()
        .try_fold(1_u64, |product, &dim| product.checked_mul(dim?))
}

/// A number as a whole one; those beyond 64 bits, as sentinels for the end of an axis, are cut.
fn whole(number: f64) -> Option<i64> {
    (!number.is_nan()).then_some(number as i64)
}

/// An integer that left 64 bits would be another one for an engine.
fn finite(number: Option<f64>) -> Option<f64> {
    number.filter(|number| number.abs() <= 9.3e18)
}

/// The elements of a tensor of the types that sizes are computed in.
fn numbers(tensor: &TensorProto) -> Option<Vec<Option<f64>>> {
    fn read<T: Copy, const N: usize>(
        raw: &[u8],
        typed: &[T],
        value: fn([u8; N]) -> T,
        number: fn(T) -> f64,
    ) -> Vec<Option<f64>> {
        if raw.is_empty() {
            return typed.iter().map(|&it| Some(number(it))).collect();
        }
        let (chunks, _) = raw.as_chunks::<N>();
        chunks.iter().map(|&it| Some(number(value(it)))).collect()
    }
    let raw = tensor.raw_data.as_slice();
    let ints = tensor.int32_data.as_slice();
    Some(match DataType::try_from(tensor.data_type).ok()? {
        DataType::Float => read(raw, &tensor.float_data, f32::from_le_bytes, f64::from),
        DataType::Double => read(raw, &tensor.double_data, f64::from_le_bytes, |it| it),
        DataType::Int64 => read(raw, &tensor.int64_data, i64::from_le_bytes, |it| it as f64),
        DataType::Uint64 => read(raw, &tensor.uint64_data, u64::from_le_bytes, |it| it as f64),
        DataType::Int32 => read(raw, ints, i32::from_le_bytes, f64::from),
        DataType::Uint32 => {
            let value = |bytes| u64::from(u32::from_le_bytes(bytes));
            read(raw, &tensor.uint64_data, value, |it| it as f64)
        }
        DataType::Int16 => {
            let value = |bytes| i32::from(i16::from_le_bytes(bytes));
            read(raw, ints, value, f64::from)
        }
        DataType::Uint16 => {
            let value = |bytes| i32::from(u16::from_le_bytes(bytes));
            read(raw, ints, value, f64::from)
        }
        DataType::Int8 => read(raw, ints, |[byte]| i32::from(byte as i8), f64::from),
        DataType::Uint8 | DataType::Bool => read(raw, ints, |[byte]| i32::from(byte), f64::from),
        DataType::Undefined
        | DataType::String
        | DataType::Float16
        | DataType::Bfloat16
        | DataType::Complex64
        | DataType::Complex128
        | DataType::Float8e4m3fn
        | DataType::Float8e4m3fnuz
        | DataType::Float8e5m2
        | DataType::Float8e5m2fnuz
        | DataType::Float8e8m0
        | DataType::Uint4
        | DataType::Int4
        | DataType::Float4e2m1
        | DataType::Uint2
        | DataType::Int2 => return None,
    })
}
