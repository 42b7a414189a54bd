//! The whole of kiln through its binary, as a user runs it.
//!
//! One test program, so that it is linked once. Training is on a few hundred images: what is tested
//! is that the flow holds together; full-length figures are in `docs/results.md`.

#![forbid(unsafe_code)]

#[path = "end_to_end/bad_input.rs"]
mod bad_input;
#[path = "end_to_end/batch.rs"]
mod batch;
#[path = "end_to_end/bench.rs"]
mod bench;
#[path = "end_to_end/changed.rs"]
mod changed;
#[path = "end_to_end/compare.rs"]
mod compare;
#[path = "end_to_end/data.rs"]
mod data;
#[path = "end_to_end/describe.rs"]
mod describe;
#[path = "end_to_end/device.rs"]
mod device;
#[path = "end_to_end/doctor.rs"]
mod doctor;
#[path = "end_to_end/fetch.rs"]
mod fetch;
#[path = "end_to_end/flow.rs"]
mod flow;
#[path = "end_to_end/kiln.rs"]
mod kiln;
#[path = "end_to_end/predict.rs"]
mod predict;
#[path = "end_to_end/recipes.rs"]
mod recipes;
#[path = "end_to_end/report.rs"]
mod report;
#[path = "end_to_end/resume.rs"]
mod resume;
#[path = "end_to_end/summary.rs"]
mod summary;
#[path = "end_to_end/sweep.rs"]
mod sweep;
#[path = "end_to_end/transfer.rs"]
mod transfer;
#[path = "end_to_end/verify.rs"]
mod verify;
