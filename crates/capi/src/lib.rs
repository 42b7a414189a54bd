//! Image classifiers for C and for everything that calls C. `include/kiln.h` is made of these files by cbindgen, with the
//! comments of everything that is exported; `docs/c.md` says how to link.
//!
//! Each exported function checks its pointers, and does its work behind a [`door`](door::door), through which neither a
//! panic nor an error leaves but as a value.
//!
//! | to find | look in |
//! | --- | --- |
//! | loading a model, what is known of it, golden vectors | `model` |
//! | how a model is loaded | `options` |
//! | images to results | `classify` |
//! | results | `results` |
//! | errors | `error` |
//! | what every function does at its door; pointers of C | `door`, `pointers` |

#![allow(
    clippy::doc_markdown,
    reason = "the comments of what is exported are those of a C header"
)]
#![allow(
    unsafe_code,
    reason = "pointers of C, which are checked and followed here alone"
)]

mod door;
mod labels;
mod pointers;

// What is exported is in this order in the header.
mod options;

mod model;

mod classify;

mod results;

mod error;
