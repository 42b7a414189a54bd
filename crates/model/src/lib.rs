//! What a model is: recipe, layers, shape inference, parameter counts, preprocessing record.
//!
//! Plain data and checks, no math: every other crate can depend on this one. A recipe is read by
//! [`Recipe::parse`], whose errors have line numbers; [`Recipe::model`] is the [`Model`] that the
//! trainer builds and the exporter writes. A kind of layer, [`LayerKind`], is defined in one file.

#![forbid(unsafe_code)]

mod backbone;
mod document;
mod freeze;
pub mod graph;
mod layers;
mod model;
mod naming;
pub mod networks;
mod overrides;
mod preprocessing;
mod preset;
mod recipe;
mod shape;
mod steps;

pub use backbone::{Backbone, Base, BatchNormMode, FileBase, FileSegment};
pub use document::{Hint, RecipeError};
pub use freeze::Layers;
pub use kiln_util::ParseEnumError;
// Every kind of layer with its settings, as `layers` lists them.
pub use layers::*;
pub use model::{Counts, InnerLayer, Layer, Model, ModelError, Param};
pub use networks::{Network, NetworkName, Stem};
pub use overrides::{
    Layout, ModelOverrides, OutputKind, OverridesError, check_thresholds, parse_number,
    parse_numbers, parse_threshold, repeated_label,
};
pub use preprocessing::{
    Arithmetic, Channels, CropRounding, Filter, Fit, Preprocessing, PreprocessingError, Resize,
};
pub use preset::Preprocess;
pub use recipe::{
    AdamParams, AugMix, Augmentation, ClassWeight, Classes, ColorJitter, Combination, Data,
    DataSource, DatasetName, EarlyStopping, ErasingValue, Export, FileProblem, FileRequest,
    FillMode, Halving, Input, LbfgsParams, LossFunction, Monitor, Optimizer, OptimizerKind, Phase,
    Precision, Quantize, RandAugment, RandomErasing, RandomResizedCrop, Recipe, RecipeFields,
    Reference, References, Schedule, ScheduleKind, Setting, SplitRule, Sweep, Threshold, Training,
    Validation, ValidationSubset, Values,
};
pub use shape::{Shape, ShapeError};
pub use steps::{Background, Steps, check_share, parse_color, parse_size};
