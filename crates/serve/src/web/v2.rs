//! The Open Inference Protocol over HTTP, and Triton's requests to load and unload models.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::blocking;
use super::body;
use super::json::{self, HEADER_LENGTH};
use crate::app::App;
use crate::error::{self, ApiError};
use crate::protocol::{infer, model_input, model_metadata, server_metadata};

type Shared = State<Arc<App>>;

/// Returns the protocol's routes.
pub fn routes() -> Router<Arc<App>> {
    let mut router = Router::new()
        .route("/v2", get(server))
        .route("/v2/", get(server))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/repository/index", post(index))
        .route("/v2/repository/models/{model}/load", post(load))
        .route("/v2/repository/models/{model}/unload", post(unload));
    for model in [
        "/v2/models/{model}",
        "/v2/models/{model}/versions/{version}",
    ] {
        router = router
            .route(model, get(metadata))
            .route(&format!("{model}/ready"), get(model_ready))
            .route(&format!("{model}/infer"), post(inference));
    }
    router
}

/// The model that a path names, and its version if it names one.
#[derive(Debug, Deserialize)]
struct Named {
    model: String,
    version: Option<String>,
}

/// Health as the text of the protocol and the clients of `KServe` have it; the status says the same.
#[derive(Serialize)]
struct Live {
    live: bool,
}

/// The protocol's text calls it `live`, `KServe`'s clients and server `ready`.
#[derive(Serialize)]
struct Ready {
    live: bool,
    ready: bool,
}

#[derive(Serialize)]
struct ModelReady {
    name: String,
    ready: bool,
}

async fn live() -> Response {
    error::json(&Live { live: true })
}

async fn ready(State(app): Shared) -> Result<Response, ApiError> {
    if app.is_ready() {
        Ok(error::json(&Ready {
            live: true,
            ready: true,
        }))
    } else {
        Err(ApiError::busy("the server is not ready"))
    }
}

async fn server() -> Response {
    error::json(&server_metadata())
}

async fn metadata(State(app): Shared, Path(named): Path<Named>) -> Result<Response, ApiError> {
    let served = app
        .repository
        .get(Some(&named.model), named.version.as_deref())?;
    let versions = app.repository.versions(&named.model);
    Ok(error::json(&model_metadata(&served, versions)))
}

async fn model_ready(State(app): Shared, Path(named): Path<Named>) -> Result<Response, ApiError> {
    let version = named.version.as_deref();
    app.repository.get(Some(&named.model), version)?;
    Ok(error::json(&ModelReady {
        name: named.model,
        ready: true,
    }))
}

async fn inference(
    State(app): Shared,
    Path(named): Path<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    refuse_encoding(&headers)?;
    let header = header_length(&headers)?;
    // Before the body, so that a wrong name is told at once.
    let served = app
        .repository
        .get(Some(&named.model), named.version.as_deref())?;
    let input = (header == Some(0)).then(|| model_input(&served));
    drop(served);
    let mut read = body::read(&app, &headers, body).await?;
    // A number takes two characters or more as JSON, eight bytes when it is read and four as a model's input; in
    // binary it takes four bytes, which are copied.
    let binary = read
        .bytes
        .len()
        .saturating_sub(header.unwrap_or(usize::MAX));
    let text = read.bytes.len() - binary;
    app.grow_for_work(
        &mut read.room,
        text.saturating_mul(7).saturating_add(2 * binary),
    )?;
    let version = named.version.as_deref();
    let mut parsed = match input {
        Some(input) => json::parse_raw(&named.model, version, &read.bytes, input),
        None => blocking(read.bytes.len(), || {
            json::parse(&named.model, version, &read.bytes, header)
        })?,
    };
    let request = parsed.take_request();
    let response = infer(&app, request).await?;
    let written = json::write(&parsed, &response)
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    drop(read.room);
    let mut response = Response::new(Body::from(written.body));
    let kind = if written.header.is_some() {
        "application/octet-stream"
    } else {
        "application/json"
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(length) = written.header {
        headers.insert(HEADER_LENGTH, HeaderValue::from(length));
    }
    Ok(response)
}

/// Compressed bodies could be much larger than they are.
pub fn refuse_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body is compressed: send it as it is",
        )),
        _ => Ok(()),
    }
}

fn header_length(headers: &HeaderMap) -> Result<Option<usize>, ApiError> {
    let Some(length) = headers.get(HEADER_LENGTH) else {
        return Ok(None);
    };
    let length = length.to_str().ok().and_then(|length| length.parse().ok());
    length
        .map(Some)
        .ok_or_else(|| ApiError::bad(format!("the header {HEADER_LENGTH} is not a length")))
}

#[derive(Serialize)]
struct IndexEntry {
    name: String,
    version: String,
    state: &'static str,
    reason: String,
}

async fn index(State(app): Shared) -> Response {
    let status = app.repository.index().into_iter();
    let entries: Vec<_> = status
        .map(|it| IndexEntry {
            name: it.name,
            version: it.version.to_string(),
            state: if it.is_ready { "READY" } else { "UNAVAILABLE" },
            reason: it.reason,
        })
        .collect();
    error::json(&entries)
}

async fn load(State(app): Shared, Path(named): Path<Named>) -> Result<(), ApiError> {
    control(&app)?;
    let repository = Arc::clone(&app.repository);
    on_thread(move || repository.load(&named.model).map_err(ApiError::from)).await
}

async fn unload(State(app): Shared, Path(named): Path<Named>) -> Result<(), ApiError> {
    control(&app)?;
    let repository = Arc::clone(&app.repository);
    on_thread(move || repository.unload(&named.model).map_err(ApiError::from)).await
}

/// Refuses requests that change which models are in service, unless they are allowed.
pub fn control(app: &App) -> Result<(), ApiError> {
    if app.allows_control {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "this server does not load or unload models by request: it takes the option --control",
    ))
}

/// Does work of seconds where no other request waits for it.
pub async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
        ))
    })
}
