//! Tensors by name: where their values are, and that they are within the file.

use std::collections::BTreeMap;
use std::fmt;

use kiln_util::shown;

use crate::error::ReadError;
use crate::pickle::{Array, MAX_OPERATIONS, Object, Objects, Storage, Value, View};

/// Most axes that a tensor has.
pub(crate) const MAX_RANK: usize = 8;

/// Most tensors that are read; a `ResNet` of 152 layers has 932.
const MAX_TENSORS: usize = 1 << 14;

/// Longest name of a tensor in bytes.
const MAX_NAME: usize = 256;

/// Most dictionaries and lists around a tensor.
const MAX_DEPTH: usize = 8;

/// Type of a tensor's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of Rust")]
pub enum ElementType {
    F32,
    F16,
    F64,
    I64,
    I32,
    U8,
}

kiln_util::str_enum!(ElementType { F32 = "float32", F16 = "float16", F64 = "float64", I64 = "int64", I32 = "int32", U8 = "uint8" });

impl ElementType {
    /// Bytes of a value.
    pub const fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

/// A tensor: a view of values in a file, all of which are within the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Tensor<'a> {
    element: ElementType,
    shape: Vec<usize>,
    /// Values from one index to the next, for each axis.
    strides: Vec<usize>,
    /// From the first value on.
    bytes: &'a [u8],
}

impl fmt::Debug for Tensor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.element, self.shape)
    }
}

impl<'a> Tensor<'a> {
    /// Returns the view if all its values are in `bytes`.
    fn new(
        element: ElementType,
        shape: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
        bytes: &'a [u8],
    ) -> Option<Self> {
        let axes = || shape.iter().zip(&strides);
        let count = shape
            .iter()
            .try_fold(1_usize, |count, &size| count.checked_mul(size))?;
        let last = axes().try_fold(offset, |last, (&size, &stride)| {
            last.checked_add(size.saturating_sub(1).checked_mul(stride)?)
        })?;
        let end = if count == 0 {
            offset
        } else {
            last.checked_add(1)?
        };
        if end.checked_mul(element.size())? > bytes.len() {
            return None;
        }
        let bytes = bytes.get(offset.checked_mul(element.size())?..)?;
        Some(Self {
            element,
            shape,
            strides,
            bytes,
        })
    }

    /// Type of the values.
    pub const fn element(&self) -> ElementType {
        self.element
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the tensor with its axes in another order; `None` unless `order` has each axis once.
    #[must_use]
    pub fn permuted(&self, order: &[usize]) -> Option<Self> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        sorted.iter().copied().eq(0..self.shape.len()).then(|| {
            let pick = |values: &[usize]| order.iter().map(|&axis| values[axis]).collect();
            Self {
                element: self.element,
                shape: pick(&self.shape),
                strides: pick(&self.strides),
                bytes: self.bytes,
            }
        })
    }

    /// Returns the values in row-major order, rounded to 32 bits; `None` for integers.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        match self.element {
            ElementType::F32 => Some(self.values(f32::from_le_bytes)),
            ElementType::F16 => Some(self.values(|bytes| half(u16::from_le_bytes(bytes)))),
            ElementType::F64 => Some(self.values(|bytes| f64::from_le_bytes(bytes) as f32)),
            ElementType::I64 | ElementType::I32 | ElementType::U8 => None,
        }
    }

    fn values<T, const N: usize>(&self, value: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (values, _) = self.bytes.as_chunks::<N>();
        self.indices()
            .filter_map(|at| values.get(at).copied().map(&value))
            .collect()
    }

    /// Numbers of the values in row-major order.
    fn indices(&self) -> impl Iterator<Item = usize> {
        let mut index = vec![0; self.shape.len()];
        let mut at = 0_usize;
        (0..self.len()).map(move |_| {
            let here = at;
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                // An axis of size 1 may have any stride; wrapped sums come out right in the end.
                at = at.wrapping_add(self.strides[axis]);
                if index[axis] < self.shape[axis] {
                    break;
                }
                at = at.wrapping_sub(self.strides[axis].wrapping_mul(self.shape[axis]));
                index[axis] = 0;
            }
            here
        })
    }
}

/// A number of 16 bits (IEEE 754 binary16).
fn half(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits) & 0x3ff;
    match exponent {
        // Subnormal, in units of 2^-24: exact.
        0 => {
            let size = fraction as f32 / 16_777_216.0;
            if sign == 0 { size } else { -size }
        }
        0x1f => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// The tensors of a file by name. In nested dictionaries and lists, names are joined by points:
/// `conv1.0`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tensors<'a>(BTreeMap<String, Tensor<'a>>);

impl<'a> Tensors<'a> {
    /// Returns the tensor of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor<'a>> {
        self.0.get(name)
    }

    /// Tensors with their names, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor<'a>)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Finds the bytes of a storage.
pub(crate) type Lookup<'a, 'f> = dyn Fn(&Storage<'a>) -> Option<&'a [u8]> + 'f;

/// Collects the tensors of a pickle. `file_len` bounds the number of their values.
pub(crate) fn collect<'a>(
    root: Value<'a>,
    objects: &Objects<'a>,
    file_len: usize,
    storages: &Lookup<'a, '_>,
) -> Result<Tensors<'a>, ReadError> {
    let mut collector = Collector {
        objects,
        storages,
        values_left: file_len,
        file_len,
        visits_left: MAX_OPERATIONS,
        tensors: BTreeMap::new(),
    };
    collector.visit(root, "", 0)?;
    Ok(Tensors(collector.tensors))
}

struct Collector<'a, 'o> {
    objects: &'o Objects<'a>,
    storages: &'o Lookup<'a, 'o>,
    /// Values that tensors may have yet: a file has no fewer bytes than values, unless its tensors
    /// are views of the same ones.
    values_left: usize,
    file_len: usize,
    /// Values that may be looked at yet: a list of the same list ten times, and so on, is short to
    /// write.
    visits_left: usize,
    tensors: BTreeMap<String, Tensor<'a>>,
}

impl<'a> Collector<'a, '_> {
    fn visit(&mut self, value: Value<'a>, name: &str, depth: usize) -> Result<(), ReadError> {
        self.visits_left = self.visits_left.checked_sub(1).ok_or(ReadError::Limit {
            what: "values",
            limit: MAX_OPERATIONS,
        })?;
        if depth > MAX_DEPTH {
            return Err(ReadError::Limit {
                what: "lists and dictionaries in one another",
                limit: MAX_DEPTH,
            });
        }
        match self.objects.get(value) {
            Some(Object::Dict(items)) => {
                for &(key, item) in items {
                    let key = key.text().ok_or_else(|| {
                        wrong(name, "text as keys", self.objects.kind(key).to_owned())
                    })?;
                    self.visit(item, &join(name, key)?, depth + 1)?;
                }
            }
            Some(Object::List(items) | Object::Tuple(items)) => {
                for (at, &item) in items.iter().enumerate() {
                    self.visit(item, &join(name, &at.to_string())?, depth + 1)?;
                }
            }
            Some(Object::Tensor(view)) => {
                let tensor = self.tensor_of_view(name, view)?;
                self.add(name, tensor)?;
            }
            Some(Object::Array(Some(array))) => {
                let tensor = tensor_of_array(name, array)?;
                self.add(name, tensor)?;
            }
            _ => return Err(wrong(name, "a tensor", self.objects.kind(value).to_owned())),
        }
        Ok(())
    }

    fn add(&mut self, name: &str, tensor: Tensor<'a>) -> Result<(), ReadError> {
        self.values_left = self
            .values_left
            .checked_sub(tensor.len())
            .ok_or(ReadError::Limit {
                what: "values in all tensors",
                limit: self.file_len,
            })?;
        if self.tensors.len() == MAX_TENSORS {
            return Err(ReadError::Limit {
                what: "tensors",
                limit: MAX_TENSORS,
            });
        }
        if self.tensors.insert(name.to_owned(), tensor).is_some() {
            return Err(wrong(name, "one tensor of this name", "two".into()));
        }
        Ok(())
    }

    fn tensor_of_view(&self, name: &str, view: &View<'a>) -> Result<Tensor<'a>, ReadError> {
        let storage = &view.storage;
        let bytes = (self.storages)(storage).ok_or_else(|| {
            wrong(
                name,
                "a storage in the file",
                format!("none called `{}`", shown(storage.key, 100)),
            )
        })?;
        if storage.len.checked_mul(storage.element.size()) != Some(bytes.len()) {
            let found = format!("{} bytes for {} values", bytes.len(), storage.len);
            return Err(wrong(name, "a storage as long as the tensors say", found));
        }
        Tensor::new(
            storage.element,
            view.shape.clone(),
            view.strides.clone(),
            view.offset,
            bytes,
        )
        .ok_or_else(|| {
            let found = format!(
                "shape {:?} with strides {:?} at {} of {}",
                view.shape, view.strides, view.offset, storage.len
            );
            wrong(name, "values within their storage", found)
        })
    }
}

fn tensor_of_array<'a>(name: &str, array: &Array<'a>) -> Result<Tensor<'a>, ReadError> {
    let shape = array.shape.clone();
    let mut strides = vec![0; shape.len()];
    let mut stride = 1_usize;
    let axes: &mut dyn Iterator<Item = usize> = if array.fortran {
        &mut (0..shape.len())
    } else {
        &mut (0..shape.len()).rev()
    };
    for axis in axes {
        strides[axis] = stride;
        stride = stride.saturating_mul(shape[axis]);
    }
    if stride.checked_mul(array.element.size()) != Some(array.bytes.len()) {
        let found = format!("{} bytes for shape {shape:?}", array.bytes.len());
        return Err(wrong(name, "as many values as the shape has", found));
    }
    let found = format!("shape {shape:?}");
    Tensor::new(array.element, shape, strides, 0, array.bytes)
        .ok_or_else(|| wrong(name, "values within their array", found))
}

fn join(parent: &str, key: &str) -> Result<String, ReadError> {
    if parent.len() + key.len() >= MAX_NAME {
        return Err(ReadError::Limit {
            what: "bytes in the name of a tensor",
            limit: MAX_NAME,
        });
    }
    Ok(if parent.is_empty() {
        key.to_owned()
    } else {
        format!("{parent}.{key}")
    })
}

fn wrong(name: &str, expected: &'static str, found: String) -> ReadError {
    ReadError::Tensor {
        name: if name.is_empty() {
            "the file".into()
        } else {
            shown(name, MAX_NAME)
        },
        expected,
        found,
    }
}
