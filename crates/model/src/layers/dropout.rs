//! Dropout.

use serde::Serialize;

use super::def::LayerDef;
use super::nodes::Nodes;
use crate::document::{Bound, RecipeError, Section};
use crate::graph::Op;
use crate::{Shape, ShapeError};

/// Sets a share of the values to zero while training, and scales up the others by `1 / (1 - rate)`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dropout {
    /// Share of values set to zero, 0 to less than 1.
    pub rate: f64,
}

impl LayerDef for Dropout {
    const TYPE: &'static str = "dropout";
    const KEYS: &'static [&'static str] = &["type", "name", "repeat", "rate"];

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        Ok(Self {
            rate: section.need("rate")?.number(Bound::Fraction)?,
        })
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only(inputs)
    }

    fn is_random(&self) -> bool {
        true
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        let rate = self.rate as f32;
        nodes.add_to(path, Op::Dropout { rate }, input)
    }
}
