//! Image classifiers on the network: the Open Inference Protocol over HTTP and gRPC, plain HTTP for people, and a page.
//!
//! A model's images wait in one queue; a worker that is free takes what waits, up to the model's batch, decodes and
//! prepares it, and runs the graph. Nobody waits for a batch to fill unless [`Settings::max_delay`] says so.
//!
//! | to find | look in |
//! | --- | --- |
//! | the command line | `args`, `run` |
//! | connections, timeouts, the end of the server | `server`, `tls` |
//! | paths, bodies, the page | `web` |
//! | gRPC | `grpc` |
//! | tensors to images and back, for both | `protocol` |
//! | names, versions, loading and unloading | `repository` |
//! | queue, batches, workers of a model | `model` |
//! | limits on a request, deadlines | `app` |
//! | metrics | `metrics` |

#![forbid(unsafe_code)]

mod app;
mod args;
mod error;
mod grpc;
mod metrics;
mod model;
mod protocol;
mod repository;
mod run;
mod server;
mod tls;
mod web;

pub use app::{App, Limits};
pub use args::Args;
pub use error::ApiError;
pub use metrics::{Metrics, Rejection};
pub use model::{Answer, Failure, Input, LoadError, Served, Settings, Timings};
pub use repository::{ChangeError, FolderError, Location, LookupError, Repository, Status};
pub use run::run;
pub use server::{ConnectionLimits, Server};
pub use tls::{TlsError, acceptor};
pub use web::router;
