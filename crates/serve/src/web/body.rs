//! Bodies of requests, within limits on size, memory and time.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::app::{App, Room};
use crate::error::ApiError;

/// A body that was read, and the memory that it counts for.
#[derive(Debug)]
pub struct Read {
    /// The body.
    pub bytes: Bytes,
    /// Held for as long as the body is in use.
    pub room: Room,
}

/// Reads a body.
///
/// # Errors
///
/// Returns that it is too large, takes too long to arrive, ends early, or that there is no memory for it.
pub async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Read, ApiError> {
    let limit = app.limits.max_body;
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(ApiError::too_large(limit));
    }
    let wait = app.limits.body_timeout;
    timeout(wait, collect(app, body)).await.unwrap_or_else(|_| {
        Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {} s", wait.as_secs_f64()),
        ))
    })
}

async fn collect(app: &App, mut body: Body) -> Result<Read, ApiError> {
    let limit = app.limits.max_body;
    let mut room = App::room();
    let mut bytes = BytesMut::new();
    let mut only: Option<Bytes> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::bad("the body ends before its length"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = bytes.len() + only.as_ref().map_or(0, Bytes::len) + data.len();
        if length > limit {
            return Err(ApiError::too_large(limit));
        }
        // Memory is taken for what has arrived, not for what is announced: a slow client holds little.
        app.grow(&mut room, data.len())?;
        if bytes.is_empty() && only.is_none() {
            only = Some(data);
            continue;
        }
        if let Some(first) = only.take() {
            bytes.extend_from_slice(&first);
        }
        bytes.extend_from_slice(&data);
    }
    // A body of one frame, as most images are, is not copied.
    Ok(Read {
        bytes: only.unwrap_or_else(|| bytes.freeze()),
        room,
    })
}
