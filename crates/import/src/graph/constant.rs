//! Values that do not depend on the image.

use std::rc::Rc;
use std::sync::Arc;

use kiln_model::graph::{Dims, Parameter, Values};
use kiln_onnx::{DataType, TensorProto};

use super::affine::Affine;

/// The most integers of a tensor that are looked at.
const MAX_INTS: usize = 1 << 16;

/// A tensor that does not depend on the image.
#[derive(Debug, Clone)]
pub struct Constant<'a> {
    /// The file's name of the tensor.
    pub name: &'a str,
    /// Its shape.
    pub dims: Vec<usize>,
    /// Its values.
    pub data: Data<'a>,
}

/// The values of a constant.
#[derive(Debug, Clone)]
pub enum Data<'a> {
    /// In the file, not read yet.
    File(&'a TensorProto),
    /// Integers or truth values, computed.
    Ints(Rc<[Affine]>),
    /// Floats, computed.
    Floats(Arc<[f32]>),
    /// The same float everywhere.
    Fill(f32),
    /// Not to be had; why not, as a sentence.
    Missing(Rc<str>),
}

impl<'a> Constant<'a> {
    /// A tensor of the file; none if its shape is impossible.
    pub fn of(name: &'a str, tensor: &'a TensorProto) -> Option<Self> {
        let dims = tensor.shape().ok()?;
        Dims::fixed(&dims).count()?;
        Some(Self {
            name,
            dims,
            data: Data::File(tensor),
        })
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.dims
            .iter()
            .fold(1, |count: usize, &size| count.saturating_mul(size))
    }

    /// Returns whether it has integers or truth values.
    pub fn is_integer(&self) -> bool {
        match &self.data {
            Data::File(tensor) => !tensor.is_float(),
            Data::Ints(_) => true,
            Data::Floats(_) | Data::Fill(_) | Data::Missing(_) => false,
        }
    }

    /// Returns the integers, where there are few.
    pub fn ints(&self) -> Option<Rc<[Affine]>> {
        match &self.data {
            Data::Ints(ints) => Some(Rc::clone(ints)),
            Data::File(tensor) if self.len() <= MAX_INTS => {
                let ints = tensor.to_ints()?;
                Some(ints.into_iter().map(Affine::from).collect())
            }
            Data::File(_) | Data::Floats(_) | Data::Fill(_) | Data::Missing(_) => None,
        }
    }

    /// Returns the floats, or why they cannot be had. `budget` is how many may be copied.
    pub fn floats(&self, budget: &mut Budget) -> Result<Arc<[f32]>, Rc<str>> {
        match &self.data {
            Data::Floats(floats) => Ok(Arc::clone(floats)),
            Data::Missing(reason) => Err(Rc::clone(reason)),
            Data::Ints(_) => Err(self.complaint("has integers, expected floats")),
            Data::Fill(value) => {
                self.spend(budget)?;
                Ok(vec![*value; self.len()].into())
            }
            Data::File(tensor) => {
                self.spend(budget)?;
                match tensor.to_floats() {
                    Ok(floats) => Ok(floats.into()),
                    Err(error) => Err(error.to_string().into()),
                }
            }
        }
    }

    /// Returns its one float.
    pub fn scalar(&self) -> Option<f32> {
        if self.len() != 1 {
            return None;
        }
        self.floats(&mut Budget::of(1)).ok()?.first().copied()
    }

    /// Returns it as a parameter.
    pub fn parameter(&self) -> Parameter {
        let values = match &self.data {
            Data::File(_) => Values::File,
            Data::Floats(floats) => Values::Computed(Arc::clone(floats)),
            Data::Fill(value) => Values::Filled(*value),
            Data::Missing(reason) => Values::Missing(reason.to_string()),
            Data::Ints(_) => {
                Values::Missing(self.complaint("has integers, expected floats").to_string())
            }
        };
        Parameter {
            name: self.name.to_owned(),
            shape: self.dims.clone(),
            values,
        }
    }

    fn spend(&self, budget: &mut Budget) -> Result<(), Rc<str>> {
        if budget.take(self.len()) {
            Ok(())
        } else {
            Err(self.complaint("is too large to be computed"))
        }
    }

    fn complaint(&self, what: &str) -> Rc<str> {
        format!("the constant `{}` {what}", self.name).into()
    }
}

/// How many values of constants may still be computed: a small file may ask for any number.
#[derive(Debug)]
pub struct Budget(usize);

impl Budget {
    /// As many values.
    pub const fn of(values: usize) -> Self {
        Self(values)
    }

    /// Takes as many values, if there are so many left.
    pub const fn take(&mut self, values: usize) -> bool {
        match self.0.checked_sub(values) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }
}

/// How many values may be computed in one graph.
#[derive(Debug)]
pub struct Budgets {
    /// Integers.
    pub ints: Budget,
    /// Floats.
    pub floats: Budget,
}
impl Default for Budgets {
    fn default() -> Self {
        Self {
            ints: Budget::of(1 << 22),
            floats: Budget::of(1 << 27),
        }
    }
}

/// Whether an element type is of floats.
pub fn is_float(data_type: i64) -> bool {
    i32::try_from(data_type)
        .ok()
        .and_then(|number| DataType::try_from(number).ok())
        .is_some_and(DataType::is_float)
}
