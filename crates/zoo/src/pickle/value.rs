//! What a pickle's operations work on.

use crate::tensors::ElementType;

/// A value. What it refers to is in the file or in [`Objects`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// No file of weights depends on one.
    Float,
    /// An integer beyond 64 bits: little-endian, two's complement.
    Long(&'a [u8]),
    Text(&'a str),
    Bytes(&'a [u8]),
    Global(Global),
    /// Number of an object.
    Object(usize),
}

/// Functions and classes that a file of weights may name. None of them is called: the machine knows
/// what they would return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Global {
    /// `collections.OrderedDict`
    OrderedDict,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`
    RebuildParameter,
    /// `torch.FloatStorage` and the like
    Storage(ElementType),
    /// `numpy.core.multiarray._reconstruct`
    Reconstruct,
    /// `numpy.core.numeric._frombuffer`, which protocol 5 uses
    FromBuffer,
    /// `numpy.ndarray`
    NdArray,
    /// `numpy.dtype`
    DType,
}

impl Global {
    /// Returns the function or class, if a file of weights may name it.
    pub fn of(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", storage) => Self::Storage(match storage {
                "FloatStorage" => ElementType::F32,
                "HalfStorage" => ElementType::F16,
                "DoubleStorage" => ElementType::F64,
                "LongStorage" => ElementType::I64,
                "IntStorage" => ElementType::I32,
                "ByteStorage" => ElementType::U8,
                _ => return None,
            }),
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Self::Reconstruct
            }
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Self::FromBuffer,
            ("numpy", "ndarray") => Self::NdArray,
            ("numpy", "dtype") => Self::DType,
            _ => return None,
        })
    }
}

/// A value with parts.
#[derive(Debug)]
pub(crate) enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    /// Where values of a tensor are.
    Storage(Storage<'a>),
    /// A view of a storage.
    Tensor(Box<View<'a>>),
    /// Type of an array's elements.
    DType(ElementType),
    /// A `NumPy` array; empty between `_reconstruct` and its state.
    Array(Option<Box<Array<'a>>>),
}

/// A block of values in a `PyTorch` file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Storage<'a> {
    pub element: ElementType,
    pub key: &'a str,
    /// Number of values.
    pub len: usize,
}

/// A tensor in a `PyTorch` file. Offset and strides count values.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub storage: Storage<'a>,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// A `NumPy` array, its values one after the other.
#[derive(Debug)]
pub(crate) struct Array<'a> {
    pub element: ElementType,
    pub shape: Vec<usize>,
    /// Whether the first axis is the fastest.
    pub fortran: bool,
    pub bytes: &'a [u8],
}

/// The objects of a pickle. They refer to one another by number, so that neither circles nor deep
/// nesting need any care until someone walks along them.
#[derive(Debug, Default)]
pub(crate) struct Objects<'a>(Vec<Object<'a>>);

impl<'a> Objects<'a> {
    pub fn add(&mut self, object: Object<'a>) -> Value<'a> {
        self.0.push(object);
        Value::Object(self.0.len() - 1)
    }

    pub fn get(&self, value: Value<'a>) -> Option<&Object<'a>> {
        match value {
            Value::Object(at) => self.0.get(at),
            _ => None,
        }
    }

    pub fn get_mut(&mut self, value: Value<'a>) -> Option<&mut Object<'a>> {
        match value {
            Value::Object(at) => self.0.get_mut(at),
            _ => None,
        }
    }

    pub fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match self.get(value) {
            Some(Object::Tuple(parts)) => Some(parts),
            _ => None,
        }
    }

    /// Storages that the pickle refers to.
    pub fn storages(&self) -> impl Iterator<Item = Storage<'a>> {
        self.0.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(*storage),
            Object::Tuple(_)
            | Object::List(_)
            | Object::Dict(_)
            | Object::Tensor(_)
            | Object::DType(_)
            | Object::Array(_) => None,
        })
    }

    /// Names the kind of a value, for messages.
    pub fn kind(&self, value: Value<'a>) -> &'static str {
        match value {
            Value::None => "None",
            Value::Bool(_) => "a truth value",
            Value::Int(_) | Value::Long(_) => "an integer",
            Value::Float => "a float",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::Global(_) => "a function or class",
            Value::Object(_) => match self.get(value) {
                Some(Object::Tuple(_)) => "a tuple",
                Some(Object::List(_)) => "a list",
                Some(Object::Dict(_)) => "a dictionary",
                Some(Object::Storage(_)) => "a storage",
                Some(Object::Tensor(_)) => "a tensor",
                Some(Object::DType(_)) => "a type of elements",
                Some(Object::Array(_)) => "an array",
                None => "nothing",
            },
        }
    }
}

impl<'a> Value<'a> {
    /// Text, as which Python 2 wrote what Python 3 takes for bytes.
    pub fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// A size, offset or index.
    pub fn size(self) -> Option<usize> {
        match self {
            Self::Int(value) => usize::try_from(value).ok(),
            _ => None,
        }
    }
}
