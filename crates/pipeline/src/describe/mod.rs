//! What a model's file says about itself, what is specified about it, and other forms of that: a
//! copy with all of it in its metadata, the files of Hugging Face and of NVIDIA Triton.

mod copy;
mod described;
mod description;
mod huggingface;
mod items;
mod triton;

pub use crate::error::models::DescribeError;
pub use copy::with_metadata;
pub use described::{ConversionNote, Converted, Described};
pub use description::{Axis, Description, Image, ItemRecord, Tensor};
pub use huggingface::huggingface;
pub use items::Item;
pub use triton::{TritonFiles, triton};
