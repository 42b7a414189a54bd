//! What the functions that a file of weights names would return.

use super::machine::Machine;
use super::value::{Array, Global, Object, Storage, Value, View};
use crate::error::ReadError;
use crate::tensors::{ElementType, MAX_RANK};

impl<'a> Machine<'a> {
    /// Returns what calling `function` with the tuple `arguments` would.
    pub(super) fn call(
        &mut self,
        function: Value<'a>,
        arguments: Value<'a>,
    ) -> Result<Value<'a>, ReadError> {
        let Value::Global(function) = function else {
            return Err(self.expected("a function", self.objects.kind(function)));
        };
        let Some(arguments) = self.objects.tuple(arguments) else {
            return Err(self.expected("a tuple of arguments", self.objects.kind(arguments)));
        };
        let object = match (function, arguments) {
            (Global::OrderedDict, []) => Object::Dict(Vec::new()),
            // `requires_grad`, hooks and metadata may follow.
            (Global::RebuildTensor, &[storage, offset, shape, strides, ..]) => {
                Object::Tensor(Box::new(self.view(storage, offset, shape, strides)?))
            }
            (Global::RebuildParameter, &[tensor, ..]) => {
                return match self.objects.get(tensor) {
                    Some(Object::Tensor(_)) => Ok(tensor),
                    _ => Err(self.expected("a tensor", self.objects.kind(tensor))),
                };
            }
            (Global::Reconstruct, &[Value::Global(Global::NdArray), ..]) => Object::Array(None),
            (Global::FromBuffer, &[values, element, shape, order]) => {
                let array = self.array(shape, element, order == Value::Text("F"), values)?;
                Object::Array(Some(Box::new(array)))
            }
            // Whether to align and to copy may follow.
            (Global::DType, &[code, ..]) => Object::DType(self.element(code)?),
            (Global::Storage(_) | Global::NdArray, _) => {
                return Err(self.expected("a function that makes a tensor", "a class"));
            }
            (
                Global::OrderedDict
                | Global::RebuildTensor
                | Global::RebuildParameter
                | Global::Reconstruct
                | Global::FromBuffer
                | Global::DType,
                _,
            ) => return Err(self.expected("the arguments of a file of weights", "others")),
        };
        Ok(self.objects.add(object))
    }

    /// Gives an object its state.
    pub(super) fn build(&mut self, target: Value<'a>, state: Value<'a>) -> Result<(), ReadError> {
        let parts = self.objects.tuple(state);
        match self.objects.get(target) {
            // `_metadata` of a state dictionary: versions of its modules.
            Some(Object::Dict(_)) => Ok(()),
            Some(Object::DType(element)) => match parts {
                Some([_, order, ..])
                    if matches!(order.text(), Some("<" | "|"))
                        || element.size() == 1 && order.text() == Some("=") =>
                {
                    Ok(())
                }
                _ => Err(self.expected("a little-endian type", "another")),
            },
            Some(Object::Array(_)) => match parts {
                Some(&[_, shape, element, Value::Bool(fortran), values]) => {
                    let array = self.array(shape, element, fortran, values)?;
                    if let Some(Object::Array(target)) = self.objects.get_mut(target) {
                        *target = Some(Box::new(array));
                    }
                    Ok(())
                }
                _ => Err(self.expected("the state of an array", self.objects.kind(state))),
            },
            _ => Err(self.expected("an object with a state", self.objects.kind(target))),
        }
    }

    /// Returns the storage that a persistent identifier describes: `('storage', type, key, device,
    /// length)`, in old files with `None` for the view that it is not.
    pub(super) fn storage(&self, id: Value<'a>) -> Result<Object<'a>, ReadError> {
        if let Some(
            [
                kind,
                Value::Global(Global::Storage(element)),
                key,
                _,
                len,
                rest @ ..,
            ],
        ) = self.objects.tuple(id)
            && kind.text() == Some("storage")
            && let (Some(key), Some(len), [] | [Value::None]) = (key.text(), len.size(), rest)
        {
            return Ok(Object::Storage(Storage {
                element: *element,
                key,
                len,
            }));
        }
        Err(self.expected("the description of a storage", self.objects.kind(id)))
    }

    fn view(
        &self,
        storage: Value<'a>,
        offset: Value<'a>,
        shape: Value<'a>,
        strides: Value<'a>,
    ) -> Result<View<'a>, ReadError> {
        let Some(Object::Storage(storage)) = self.objects.get(storage) else {
            return Err(self.expected("a storage", self.objects.kind(storage)));
        };
        let offset = offset
            .size()
            .ok_or_else(|| self.expected("an offset", self.objects.kind(offset)))?;
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() {
            return Err(self.expected("one stride for each axis", "another number"));
        }
        Ok(View {
            storage: *storage,
            offset,
            shape,
            strides,
        })
    }

    fn array(
        &self,
        shape: Value<'a>,
        element: Value<'a>,
        fortran: bool,
        values: Value<'a>,
    ) -> Result<Array<'a>, ReadError> {
        let Some(&Object::DType(element)) = self.objects.get(element) else {
            return Err(self.expected("a type of elements", self.objects.kind(element)));
        };
        let Value::Bytes(bytes) = values else {
            return Err(self.expected("bytes", self.objects.kind(values)));
        };
        Ok(Array {
            element,
            shape: self.sizes(shape)?,
            fortran,
            bytes,
        })
    }

    /// Reads the type of a `NumPy` array's elements.
    fn element(&self, code: Value<'a>) -> Result<ElementType, ReadError> {
        match code.text() {
            Some("f4") => Ok(ElementType::F32),
            Some("f2") => Ok(ElementType::F16),
            Some("f8") => Ok(ElementType::F64),
            Some("i8") => Ok(ElementType::I64),
            Some("i4") => Ok(ElementType::I32),
            Some("u1") => Ok(ElementType::U8),
            Some(_) => Err(self.expected("one of the types f2, f4, f8, i4, i8, u1", "another")),
            None => Err(self.expected("a type of elements", self.objects.kind(code))),
        }
    }

    /// Reads a tuple of sizes or strides.
    fn sizes(&self, value: Value<'a>) -> Result<Vec<usize>, ReadError> {
        let kind = self.objects.kind(value);
        let parts = self.objects.tuple(value);
        let parts = parts.ok_or_else(|| self.expected("a tuple of sizes", kind))?;
        if parts.len() > MAX_RANK {
            return Err(ReadError::Limit {
                what: "axes of a tensor",
                limit: MAX_RANK,
            });
        }
        let sizes: Option<Vec<usize>> = parts.iter().map(|size| size.size()).collect();
        sizes.ok_or_else(|| self.expected("sizes that are not negative", "others"))
    }
}
