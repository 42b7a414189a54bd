//! The workflow as a library: recipe to trained, exported, verified, evaluated and reported model.
//!
//! ```text
//!     cli  asks and shows          your program
//!       │ requests      ▲ events     │      ▲
//!  ┌────▼───────────────┴────────────▼──────┴────────────────────────┐
//!  │ recipe                                                          │
//!  │   │ model                                                       │
//!  │   ▼          1                    2                  3          │
//!  │ images ──▶ dataset ──subsets──▶ train ──run dir──▶ export       │
//!  │                                                      │          │
//!  │                                  ┌────model.onnx─────┤          │
//!  │                                  ▼ 4                 ▼ 5        │
//!  │           agreement ◀───────── parity             evaluate      │
//!  │           of Burn and engines                        │ figures, │
//!  │                                                6     ▼ scores   │
//!  │           HTML page ◀─────────────────────── report ◀┘          │
//!  └─────────────────────────────────────────────────────────────────┘
//! ```
//!
//! | phase | module | takes | gives |
//! | --- | --- | --- | --- |
//! | 1 | [`dataset`] | recipe | training, validation and test images |
//! | 2 | [`train`] | recipe, images | run directory with the best weights |
//! | 3 | [`export`](mod@export) | run directory | `model.onnx` with [golden vectors](golden) |
//! | 4 | [`parity`] | model file, images | agreement of Burn and every engine |
//! | 5 | [`evaluate`] | model, [images](inputs) | figures, [predictions] |
//! | 6 | [`report`] | run directory | HTML page |
//!
//! [`init`] makes a recipe for a folder of images, [`probe`] that of a linear probe. [`run`] goes through all six, [`sweep`] does so for every combination of a recipe's `[sweep]`, [`plan`](mod@plan) says what it would do.
//! [`web`] writes a page that runs a model in the browser, [`quantize`] makes a model smaller, [`embed`] writes feature vectors, [`explain`] finds where a model looks, [`bench`](mod@bench) times models, [`compare`] decides whether one may replace another,
//! [`overrides`] specifies what a file leaves open.
//!
//! Every phase takes a [`Context`]: where assets come from, an [`Observer`] that receives [`Event`]s,
//! and a [`CancelToken`]. Phases print nothing, read no command line and end no process; a program that opens files of unknown origin sets
//! [`limits`]. Without the
//! feature `training`, phases 2 to 4 and 6, [`recipe`], [`init`], [`plan`](mod@plan), [`run`] and [`sweep`] are left out, and Burn
//! with them. `docs/embedding.md` shows how a program trains and evaluates.
//!
//! | to find | look in |
//! | --- | --- |
//! | what a program is told while work goes on | `event` |
//! | errors: one enum, and those of the phases by theme | `error` |
//! | what to do about an error | `hint` |
//! | where the subsets of a folder are drawn | `dataset` |

#![forbid(unsafe_code)]

/// The examples in the guide are tests.
#[cfg(all(doctest, feature = "training"))]
#[doc = include_str!("../../../docs/embedding.md")]
struct EmbeddingGuide;

pub mod agreement;
pub mod bench;
pub mod compare;
pub mod dataset;
pub mod describe;
pub mod embed;
pub mod engines;
pub mod evaluate;
pub mod explain;
pub mod inputs;
pub mod limits;
pub mod overrides;
pub mod predictions;
pub mod provenance;
pub mod quantize;
pub mod runtime;

#[cfg(feature = "training")]
pub mod backbone;
#[cfg(feature = "training")]
pub mod export;
#[cfg(feature = "training")]
pub mod golden;
#[cfg(feature = "training")]
pub mod init;
#[cfg(feature = "training")]
pub mod parity;
#[cfg(feature = "training")]
mod patience;
#[cfg(feature = "training")]
pub mod plan;
#[cfg(feature = "training")]
pub mod probe;
#[cfg(feature = "training")]
pub mod recipe;
#[cfg(feature = "training")]
pub mod report;
#[cfg(feature = "training")]
pub mod run;
#[cfg(feature = "training")]
pub mod run_record;
#[cfg(feature = "training")]
pub mod smaller;
#[cfg(feature = "training")]
pub mod sweep;
#[cfg(feature = "training")]
mod test_images;
#[cfg(feature = "training")]
mod thresholds;
#[cfg(feature = "training")]
mod tolerance;
#[cfg(feature = "training")]
pub mod train;
#[cfg(feature = "training")]
pub mod web;

mod assets;
mod configs;
mod context;
mod error;
mod event;
mod hint;
pub mod networks;
mod segments;

pub use assets::{AssetProvider, CachedAssets};
pub use context::Context;
pub use error::images::NotAList;
pub use error::{Error, Result};
pub use event::{Event, Observer, Task, TaskGuard};
#[cfg(feature = "training")]
pub use event::{FeaturesInfo, RangeTestInfo};
pub use hint::Hint;
pub use kiln_util::CancelToken;
