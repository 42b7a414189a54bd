//! A node whose operator is read, with what is known about its inputs.

use kiln_model::graph::{Dims, Size};
use kiln_onnx::NodeProto;

use super::affine::Affine;
use super::constant::Constant;
use super::rows::Rows;
use crate::attributes::Place;
use crate::error::GraphError;

/// What is known about an input of a node.
#[derive(Debug, Clone)]
pub enum Known<'a> {
    /// It depends on the image; its shape, where that is known.
    Live(Option<Dims>),
    /// A constant.
    Constant(Constant<'a>),
    /// A constant that is repeated for every image of the batch.
    Repeated(Dims),
    /// Indices of the values of a batch.
    Rows(Rows),
    /// It does not depend on the image, and could not be computed.
    Unknown,
}

/// A node whose operator is read.
#[derive(Debug)]
pub struct Call<'a> {
    /// The node.
    pub node: &'a NodeProto,
    /// The version of ONNX's own operator set.
    pub opset: i64,
    /// Its inputs; none for those that it leaves out.
    pub inputs: Vec<Option<Known<'a>>>,
    /// The size of the batch, where the file fixes it.
    pub file_batch: Option<usize>,
}

impl<'a> Call<'a> {
    /// The node's attributes.
    pub const fn place(&self) -> Place<'a> {
        Place(self.node)
    }

    /// The number of inputs, apart from those left out at the end.
    pub fn count(&self) -> usize {
        let last = self.inputs.iter().rposition(Option::is_some);
        last.map_or(0, |at| at + 1)
    }

    /// The shape of an input, where it is known.
    pub fn dims(&self, index: usize) -> Option<Dims> {
        match self.inputs.get(index)?.as_ref()? {
            Known::Live(dims) => dims.clone(),
            Known::Constant(constant) => Some(Dims::fixed(&constant.dims)),
            Known::Repeated(dims) => Some(dims.clone()),
            Known::Rows(rows) => Some(rows.shape()),
            Known::Unknown => None,
        }
    }

    /// The shape of an input that must be known.
    pub fn shape(&self, index: usize) -> Result<Dims, GraphError> {
        self.dims(index).ok_or_else(|| GraphError::NoShape {
            node: self.node.describe(),
        })
    }

    /// The constant that an input is; none where it is left out.
    pub fn constant(
        &self,
        index: usize,
        what: &'static str,
    ) -> Result<Option<&Constant<'a>>, GraphError> {
        match self.inputs.get(index).and_then(Option::as_ref) {
            None => Ok(None),
            Some(Known::Constant(constant)) => Ok(Some(constant)),
            Some(Known::Live(_) | Known::Repeated(_) | Known::Rows(_) | Known::Unknown) => {
                Err(self.computed(index, what))
            }
        }
    }

    /// The constant that an input is, where it is one.
    pub fn constant_at(&self, index: usize) -> Option<&Constant<'a>> {
        match self.inputs.get(index)?.as_ref()? {
            Known::Constant(constant) => Some(constant),
            Known::Live(_) | Known::Repeated(_) | Known::Rows(_) | Known::Unknown => None,
        }
    }

    /// The indices that an input is, where it is some.
    pub fn rows_at(&self, index: usize) -> Option<&Rows> {
        match self.inputs.get(index)?.as_ref()? {
            Known::Rows(rows) => Some(rows),
            Known::Live(_) | Known::Constant(_) | Known::Repeated(_) | Known::Unknown => None,
        }
    }

    /// Integers that an input holds and that may depend on the batch; none where it is left out.
    pub fn affines(
        &self,
        index: usize,
        what: &'static str,
    ) -> Result<Option<Vec<Affine>>, GraphError> {
        let Some(constant) = self.constant(index, what)? else {
            return Ok(None);
        };
        let ints = constant.ints().ok_or_else(|| self.computed(index, what))?;
        Ok(Some(ints.to_vec()))
    }

    /// Integers that an input holds; none where it is left out.
    pub fn ints(&self, index: usize, what: &'static str) -> Result<Option<Vec<i64>>, GraphError> {
        let Some(affines) = self.affines(index, what)? else {
            return Ok(None);
        };
        let ints: Option<Vec<_>> = affines.into_iter().map(Affine::known).collect();
        ints.map(Some).ok_or_else(|| self.computed(index, what))
    }

    /// Integers that are an input from opset `since` on and an attribute before.
    pub fn setting(
        &self,
        index: usize,
        what: &'static str,
        since: i64,
    ) -> Result<Option<Vec<i64>>, GraphError> {
        if self.opset >= since {
            self.ints(index, what)
        } else {
            Ok(self.place().ints(what).map(<[i64]>::to_vec))
        }
    }

    /// The float that an input holds; none where it is left out.
    pub fn float(&self, index: usize, what: &'static str) -> Result<Option<f32>, GraphError> {
        let Some(constant) = self.constant(index, what)? else {
            return Ok(None);
        };
        let found = constant.scalar().map(Some);
        found.ok_or_else(|| self.computed(index, what))
    }

    /// An axis of a value of `rank` axes; negative ones count from the last. `inclusive` also
    /// allows the place after the last.
    pub fn axis(&self, axis: i64, rank: usize, inclusive: bool) -> Result<usize, GraphError> {
        let end = rank + usize::from(inclusive);
        let from_last = if axis < 0 {
            axis.saturating_add(rank as i64)
        } else {
            axis
        };
        match usize::try_from(from_last) {
            Ok(found) if found < end => Ok(found),
            _ => self
                .place()
                .mismatch("axis", &format!("an axis of {rank}"), axis),
        }
    }

    /// Different axes of a value of `rank` axes, ascending.
    pub fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>, GraphError> {
        if axes.len() > rank {
            return self.place().mismatch("axes", "each axis once", first(axes));
        }
        let mut found = axes
            .iter()
            .map(|&axis| self.axis(axis, rank, false))
            .collect::<Result<Vec<_>, _>>()?;
        found.sort_unstable();
        if found.windows(2).any(|pair| pair[0] == pair[1]) {
            return self.place().mismatch("axes", "each axis once", axes);
        }
        Ok(found)
    }

    /// The size of an axis that does not depend on the batch.
    pub fn fixed(&self, dims: &Dims, axis: usize) -> Result<usize, GraphError> {
        match dims.sizes().get(axis) {
            Some(Size::Fixed(size)) => Ok(*size),
            _ => self.place().mismatch(
                "axis",
                "one that does not depend on the batch",
                format!("{axis} of {dims}"),
            ),
        }
    }

    /// The error about an input that should be a constant.
    fn computed(&self, index: usize, what: &'static str) -> GraphError {
        let name = self.node.input.get(index).map_or("", String::as_str);
        GraphError::NotConstant {
            node: self.node.describe(),
            what,
            found: format!("`{name}`, which is computed"),
        }
    }
}

/// The first few integers of a list that is too long.
fn first(list: &[i64]) -> &[i64] {
    list.get(..8).unwrap_or(list)
}
