//! The whole of kiln through its binary, as a user runs it.
//!
//! One test program, so that it is linked once. Training is on a few hundred images: what is tested
//! is that the flow holds together; full-length figures are in `docs/results.md`.

#![forbid(unsafe_code)]

mod bad_input;
mod batch;
mod bench;
mod changed;
mod compare;
mod data;
mod describe;
mod device;
mod doctor;
mod embed;
mod explain;
mod exporters;
mod fetch;
mod find_lr;
mod flow;
mod folders;
mod graph_backbone;
mod halving;
mod init;
#[cfg(target_os = "linux")]
mod interrupt;
mod kiln;
mod log;
mod man;
mod networks;
mod photographs;
mod predict;
mod quantize;
mod recipes;
mod records;
mod report;
mod report_comparison;
mod resume;
mod serve;
mod several;
mod snapshots;
#[cfg(unix)]
mod stop_and_export;
mod summary;
mod sweep;
mod transfer;
mod verify;
