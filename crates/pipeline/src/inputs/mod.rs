//! What a model is run on: images with their place in the order, and their labels where they have
//! any. Nothing is read before its turn.
//!
//! [`labeled`], [`unlabeled`] and [`known`] open what people name, [`Inputs::from_images`] takes a program's
//! own images, [`Inputs::of_view`] those of a dataset that is loaded.

mod calibration;
mod findings;
mod idx;
mod input;
mod job;
mod known;
mod labeled;
mod pattern;
mod records;
mod shard;
mod source;
mod stdin;
mod unlabeled;

pub use crate::error::images::InputsError;
pub use calibration::calibration;
pub(crate) use findings::AllFindings;
pub use input::{Input, Inputs, MemoryImage, SEPARATOR};
pub use known::known;
pub use labeled::labeled;
pub use shard::Shard;
pub use source::Source;
pub(crate) use source::quoted;
pub use stdin::Stdin;
pub use unlabeled::unlabeled;
