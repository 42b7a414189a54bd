//! Downloading one file over HTTP, resuming where an earlier attempt was interrupted.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use kiln_util::CancelToken;
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::error::Failure;
use crate::install::CHUNK;
use crate::progress::Step;
use crate::{CacheError, Progress, SourceError};

/// Longest wait for a name to resolve, and for a connection to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest silence in the middle of a response. There is no limit on the whole: slow is not broken.
const STALL: Duration = Duration::from_secs(30);

/// Number of reconnections after a connection broke that had made progress.
const RETRIES: u32 = 3;

/// Creates a client whose connections all have the same limits. Proxies come from the usual environment variables.
pub(crate) fn agent() -> Agent {
    limited(CONNECT, STALL)
}

fn limited(connect: Duration, stall: Duration) -> Agent {
    Agent::config_builder()
        .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
        // What is stored as `.gz` must arrive as that, or a part of it could not be continued.
        .accept_encoding("identity")
        .http_status_as_error(false)
        .timeout_resolve(Some(connect))
        .timeout_connect(Some(connect))
        .timeout_recv_response(Some(stall))
        .timeout_per_read(Some(stall))
        .build()
        .new_agent()
}

/// One download into the file `part`.
pub(crate) struct Download<'a> {
    pub(crate) agent: &'a Agent,
    pub(crate) url: &'a str,
    /// The file's name, for messages.
    pub(crate) name: &'a str,
    /// Grows while the download runs, and is kept for the next time if that is interrupted.
    pub(crate) part: &'a Path,
    /// Size in bytes that the file cannot exceed.
    pub(crate) limit: u64,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) cancel: &'a CancelToken,
}

/// Why an attempt ended early.
enum Broken {
    /// Nothing more can be done.
    Fatal(Failure),
    /// After this many new bytes; resuming may help.
    Connection { new: u64, reason: String },
    /// `part` does not fit what the server has.
    Misfit,
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Fatal(failure)
    }
}

impl From<SourceError> for Broken {
    fn from(error: SourceError) -> Self {
        Self::Fatal(error.into())
    }
}

impl From<CacheError> for Broken {
    fn from(error: CacheError) -> Self {
        Self::Fatal(error.into())
    }
}

impl Download<'_> {
    /// Completes `part`. Returns whether it was resumed: then a wrong checksum may be the fault of
    /// an old piece.
    pub(crate) fn run(&self) -> Result<bool, Failure> {
        let (mut retries, mut afresh) = (0, false);
        loop {
            match self.attempt() {
                Ok(pieces) => return Ok(pieces),
                Err(Broken::Fatal(failure)) => return Err(failure),
                Err(Broken::Connection { new, .. }) if new > 0 && retries < RETRIES => retries += 1,
                Err(Broken::Misfit) if !afresh => {
                    afresh = true;
                    remove(self.part)?;
                }
                Err(Broken::Connection { reason, .. }) => return Err(self.broken(&reason).into()),
                Err(Broken::Misfit) => {
                    return Err(self
                        .broken("the server sent a range that was not requested")
                        .into());
                }
            }
        }
    }

    /// Returns whether `part` was resumed rather than begun.
    fn attempt(&self) -> Result<bool, Broken> {
        let present = fs::metadata(self.part).map_or(0, |metadata| metadata.len());
        let mut request = self.agent.get(self.url);
        if present > 0 {
            request = request.header(header::RANGE, format!("bytes={present}-"));
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(error) => {
                return Err(Broken::Connection {
                    new: 0,
                    reason: explain(&error),
                });
            }
        };
        let offset = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT
                if present > 0 && range_start(&response) == Some(present) =>
            {
                present
            }
            // Nothing after what is there: it is whole, if the sizes agree.
            StatusCode::RANGE_NOT_SATISFIABLE
                if present > 0 && range_total(&response) == Some(present) =>
            {
                return Ok(true);
            }
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(Broken::Misfit);
            }
            status => {
                return Err(SourceError::Status {
                    file: self.name.into(),
                    status: status.as_u16(),
                }
                .into());
            }
        };
        let length = response.body().content_length();
        let total = length.map(|length| length.saturating_add(offset));
        if total.is_some_and(|total| total > self.limit) {
            return Err(self.too_large().into());
        }
        let step = Step::begin(self.progress, self.name, total);
        step.advance(offset);
        let end = self.receive(response.into_body(), offset, &step)?;
        match total {
            Some(total) if end != total => Err(Broken::Connection {
                new: end - offset,
                reason: format!("the connection ended after {end} of {total} bytes"),
            }),
            _ => Ok(offset > 0),
        }
    }

    /// Appends the body to `part` from `offset` on; returns the size reached.
    fn receive(&self, body: Body, offset: u64, step: &Step<'_>) -> Result<u64, Broken> {
        let (path, action) = (self.part, "write");
        let mut options = File::options();
        options
            .create(true)
            .write(true)
            .append(offset > 0)
            .truncate(offset == 0);
        let mut part = options.open(path).map_err(CacheError::at(action, path))?;
        let mut body = body.into_reader();
        let mut chunk = vec![0; CHUNK];
        let mut end = offset;
        loop {
            if self.cancel.is_cancelled() {
                return Err(Failure::Cancelled.into());
            }
            let n = match body.read(&mut chunk) {
                Ok(0) => return Ok(end),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Broken::Connection {
                        new: end - offset,
                        reason: error.to_string(),
                    });
                }
            };
            if end + n as u64 > self.limit {
                drop(part);
                remove(path)?;
                return Err(self.too_large().into());
            }
            part.write_all(&chunk[..n])
                .map_err(CacheError::at(action, path))?;
            end += n as u64;
            step.advance(n as u64);
        }
    }

    fn too_large(&self) -> SourceError {
        SourceError::TooLarge {
            file: self.name.into(),
            limit: self.limit,
        }
    }

    fn broken(&self, reason: &str) -> SourceError {
        SourceError::Connection {
            file: self.name.into(),
            reason: reason.into(),
        }
    }
}

/// Formats an error without its kind, which the message repeats.
fn explain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// Removes a part that is of no use, if there is one.
pub(crate) fn remove(part: &Path) -> Result<(), CacheError> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CacheError::at("remove", part)(error))
        }
        _ => Ok(()),
    }
}

/// The first byte's number in `Content-Range: bytes 100-199/200`.
fn range_start(response: &Response<Body>) -> Option<u64> {
    content_range(response)?
        .split_once('-')?
        .0
        .trim()
        .parse()
        .ok()
}

/// The whole size in `Content-Range: bytes */200`.
fn range_total(response: &Response<Body>) -> Option<u64> {
    content_range(response)?
        .split_once('/')?
        .1
        .trim()
        .parse()
        .ok()
}

fn content_range(response: &Response<Body>) -> Option<&str> {
    response
        .headers()
        .get(header::CONTENT_RANGE)?
        .to_str()
        .ok()?
        .trim()
        .strip_prefix("bytes")
}

#[cfg(test)]
mod tests;
