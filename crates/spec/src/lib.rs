//! What a model is: recipe, layers, shape inference, parameter counts, preprocessing record.
//!
//! Plain data and checks, no maths: every other crate can depend on this one.

#![forbid(unsafe_code)]

mod preprocessing;

pub use preprocessing::{Channels, Preprocessing, PreprocessingError, Resize};
