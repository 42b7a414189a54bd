//! IDX, the format of MNIST's files: a magic number, the length of each axis, then the values.
//!
//! The format is described on <http://yann.lecun.com/exdb/mnist/>. Only unsigned bytes are read,
//! with up to four axes.

mod error;
mod header;
mod read;

pub use error::IdxError;
pub use read::{IdxArray, is_idx, read_idx};
