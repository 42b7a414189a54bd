//! Pickles as far as files of weights use them: a stack machine that builds values out of a fixed set
//! of operations and of functions, and executes nothing.
//!
//! Memory is bounded whatever the file says, to some 30 MiB beside it: texts and bytes are borrowed from it, every
//! operation adds at most one object, and there is a limit to operations.

mod calls;
mod cursor;
mod machine;
mod value;

pub(crate) use cursor::Cursor;
pub(crate) use machine::{MAX_OPERATIONS, Pickle, load};
pub(crate) use value::{Array, Object, Objects, Storage, Value, View};
