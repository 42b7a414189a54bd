//! What a model is: recipe, layers, shape inference, parameter counts, preprocessing record.
//!
//! Plain data and checks, no maths: every other crate can depend on this one. A recipe is read by [`Recipe::parse`],
//! which gives line-numbered errors; [`Recipe::model`] gives the [`Model`] that the trainer builds and the exporter
//! writes.

#![forbid(unsafe_code)]

mod backbone;
mod freeze;
mod layer;
mod model;
mod preprocessing;
mod recipe;
mod shape;

pub use backbone::{Backbone, BackboneName};
pub use freeze::Layers;
pub use layer::{Activation, BatchNorm, Conv2d, Dense, LayerKind, LayerSpec, MaxPool, Padding, Pads};
pub use model::{Counts, Init, Layer, Model, ModelError, Param};
pub use preprocessing::{Channels, Preprocessing, PreprocessingError, Resize};
pub use recipe::{
    Combination, Data, DatasetName, Export, Input, Optimizer, Phase, Preprocess, Recipe, RecipeError, Reference,
    Setting, Sweep, Training, Validation, ValidationSubset,
};
pub use shape::Shape;
