//! Images in files of many: Parquet as Hugging Face writes it, tar files as webdataset has them, CIFAR's binary files and
//! IDX. Parquet and tar files may be in an object store or on a web server.
//!
//! [`RecordFiles::find`] finds the files that a path, a pattern or a folder names. Parquet and tar files are a
//! [`Collection`], whose images come [one after another](Collection::records), in memory that does not grow with
//! them; those of CIFAR and IDX are read [whole](Cifar::read). Nothing is decoded here.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use kiln_records::{Collection, RecordFiles, Share};
//!
//! let files = RecordFiles::find(Path::new("data/train-*.parquet"))?;
//! let images = Collection::open(&files)?;
//! for record in images.records(Some(Share { number: 0, of: 4 }), true) {
//!     let (index, record) = record?;
//!     println!("{index} {} {:?}", record.name, record.label);
//! }
//! # Ok::<(), kiln_records::RecordsError>(())
//! ```
//!
//! Whatever a file says, memory is bounded by its length and by a gibibyte for a page of Parquet, and nothing panics.
//!
//! | to find | look in |
//! | --- | --- |
//! | which files, and their subsets | `found` |
//! | images one after another, and shares of them | `collection` |
//! | one image | `record` |
//! | Parquet, read and written | `parquet` |
//! | tar files | `tar` |
//! | CIFAR's files | `cifar` |
//! | IDX files | `idx` |
//! | reading at any place | `source` |
//! | reading ahead over a network | `ahead` |

#![forbid(unsafe_code)]

mod ahead;
mod cifar;
mod collection;
mod error;
mod found;
mod idx;
mod parquet;
mod record;
mod source;
mod tar;
#[cfg(test)]
mod testing;

pub use cifar::Cifar;
pub use collection::{Collection, Records, Share};
pub use error::{Problem, RecordsError};
pub use found::{Format, RecordFiles};
pub use idx::{IdxArray, IdxError, is_idx, read_idx};
pub use kiln_store::{Cure, StoreError, is_url, shown};
pub use parquet::{Cell, ColumnKind, ColumnValues, ParquetTable, ParquetWriter, WriterColumn};
pub use record::{Content, Record};
pub use source::{ReadAt, Source, Span};
