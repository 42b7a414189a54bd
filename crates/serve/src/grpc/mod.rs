//! The Open Inference Protocol over gRPC, on the same port as HTTP.

mod messages;
mod service;

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use tonic::{Code, Status};

use crate::error::ApiError;

pub use service::routes;

/// The service's name in paths.
const SERVICE: &str = "inference.GRPCInferenceService";

/// Whether a path is one of the service.
pub fn is_path(path: &str) -> bool {
    path.strip_prefix('/')
        .is_some_and(|path| path.starts_with(SERVICE))
}

/// Returns an error as a response of gRPC.
pub fn refuse(error: &ApiError) -> Response {
    Status::from(error)
        .into_http::<axum::body::Body>()
        .into_response()
}

/// The status of a response that is one of gRPC: other than 0 it is in the head, as no message follows.
pub fn status(response: &Response) -> Option<Code> {
    let kind = response.headers().get(http::header::CONTENT_TYPE)?;
    if !kind.as_bytes().starts_with(b"application/grpc") {
        return None;
    }
    let status = response.headers().get("grpc-status");
    Some(Code::from_bytes(status.map_or(b"0", HeaderValue::as_bytes)))
}

impl From<&ApiError> for Status {
    fn from(error: &ApiError) -> Self {
        Self::new(error.code(), error.message.clone())
    }
}
