//! What is answered over HTTP, and gRPC with it: routes and what is around them.

mod body;
mod json;
mod layers;
mod page;
mod predict;
mod v2;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use tokio::runtime::{Handle, RuntimeFlavor};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::app::App;
use crate::error::ApiError;
use crate::grpc;

pub use body::read;
pub use v2::{control, on_thread};

/// Bytes from which work on a body is announced as blocking, some tenths of a millisecond.
const BLOCKING: usize = 64 << 10;

/// Returns everything that is answered. `origins` are those of other sites whose pages may ask; one `*` is for all.
pub fn router(app: &Arc<App>, origins: &[HeaderValue]) -> Router {
    let mut router = Router::new()
        .route("/", get(page::page))
        .route("/models", get(page::models))
        .route("/openapi.json", get(page::openapi))
        .route("/metrics", get(metrics))
        .route("/predict", post(predict::predict))
        .merge(v2::routes())
        .merge(grpc::routes())
        .fallback(unknown)
        .method_not_allowed_fallback(method)
        // Bodies are limited where they are read.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(app), layers::authorize))
        .layer(CatchPanicLayer::custom(panicked));
    if !origins.is_empty() {
        let allowed = if origins.iter().any(|origin| origin == "*") {
            AllowOrigin::any()
        } else {
            AllowOrigin::list(origins.to_vec())
        };
        let cors = CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods(Any)
            .allow_headers(Any);
        router = router.layer(cors);
    }
    router
        .layer(from_fn_with_state(Arc::clone(app), layers::observe))
        .with_state(Arc::clone(app))
}

async fn unknown() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "there is nothing at this path")
}

async fn method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not take the request's method",
    )
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the request failed unexpectedly",
    )
    .into_response()
}

async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let text = app
        .metrics
        .text()
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let kind =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

/// Does work on so many bytes; much of it where the thread's other tasks are taken over by others.
fn blocking<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    // A runtime of one thread has no others.
    let is_single = Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::CurrentThread);
    if bytes < BLOCKING || is_single {
        work()
    } else {
        tokio::task::block_in_place(work)
    }
}
