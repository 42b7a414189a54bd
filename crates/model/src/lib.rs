//! What a model is: recipe, layers, shape inference, parameter counts, preprocessing record.
//!
//! Plain data and checks, no maths: every other crate can depend on this one. A recipe is read by
//! [`Recipe::parse`], which gives line-numbered errors; [`Recipe::model`] gives the [`Model`] that
//! the trainer builds and the exporter writes.

#![forbid(unsafe_code)]

mod augmentation;
mod backbone;
mod declaration;
mod document;
mod freeze;
mod interface;
mod labels;
mod layer;
mod model;
mod preprocessing;
mod recipe;
mod shape;

pub use augmentation::{Augmentation, FillMode};
pub use backbone::{Backbone, Base};
pub use declaration::{Declaration, DeclarationError, parse_number, parse_numbers, parse_size};
pub use document::RecipeError;
pub use freeze::Layers;
pub use interface::{Layout, OutputKind};
pub use kiln_util::ParseEnumError;
pub use labels::repeated_label;
pub use layer::{
    Activation, BatchNorm, Conv2d, Dense, Interpolation, LayerKind, LayerSpec, Padding, Pads, Pool,
    Resize2d,
};
pub use model::{Counts, Init, Layer, Model, ModelError, Param, layer_names};
pub use preprocessing::{Channels, Preprocess, Preprocessing, PreprocessingError, Resize};
pub use recipe::{
    Betas, ClassWeight, Combination, Data, DataSource, DatasetName, EarlyStopping, Export, Input,
    Monitor, Optimizer, OptimizerKind, Phase, Recipe, Reference, Schedule, ScheduleKind, Setting,
    Sweep, Training, Validation, ValidationSubset,
};
pub use shape::Shape;
