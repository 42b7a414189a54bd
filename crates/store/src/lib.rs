//! Files in object stores and on web servers, listed, and read at ranges: `s3://`, `gs://`, `https://`.
//!
//! ```no_run
//! use kiln_store::{Address, Client};
//!
//! let client = Client::shared();
//! let address = Address::parse("s3://bucket/photos/")?;
//! for object in client.list(&address)? {
//!     let mut start = [0; 4];
//!     client.read(&object, &mut start, 0)?;
//! }
//! # Ok::<(), kiln_store::StoreError>(())
//! ```
//!
//! Requests go through the client that downloads do, ureq, and are signed here. The crate `object_store` (0.14, with the
//! stores of Amazon and Google) would add 77 packages to the program, an asynchronous runtime, a second HTTP client and a
//! second library of cryptography in C among them; of what it does, kiln needs two requests, GET of a range and GET of a
//! list.
//!
//! Credentials are found as the stores' own programs find them ([`credentials`]), and appear nowhere: neither in messages
//! nor in what `Debug` prints. Of a URL's query, which is a credential where the URL is presigned, the same holds.
//!
//! | to find | look in |
//! | --- | --- |
//! | what a URL names, and how it is shown | `address` |
//! | requests, again where they fail | `client` |
//! | which URL and headers a request has | `request` |
//! | signatures of Amazon's version 4 | `sign` |
//! | credentials of Amazon and Google | `credentials` |
//! | lists of objects | `list` |

#![forbid(unsafe_code)]

mod address;
mod client;
mod credentials;
mod environment;
mod error;
mod list;
mod request;
mod sign;
#[cfg(test)]
mod testing;

pub use address::{Address, is_url, shown};
pub use client::{Client, Object};
pub use environment::Environment;
pub use error::{Cure, StoreError};
