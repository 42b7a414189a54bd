//! What happens to every request: an identifier, a token that is checked, a line in the log, metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use tracing::{debug, info};

use crate::app::App;
use crate::error::ApiError;
use crate::grpc;

/// The header with the identifier of a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest identifier that is taken over from a client.
const LONGEST_ID: usize = 128;

/// Gives a request an identifier, or keeps the client's, and repeats it in the answer; logs and counts the request.
pub async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = identifier(request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let is_grpc = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let protocol = if is_grpc { "grpc" } else { "http" };
    let method = request.method().clone();
    let version = request.version();
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unknown", MatchedPath::as_str)
        .to_owned();
    let mut response = next.run(request).await;
    let status = response.status();
    let grpc_status = grpc::status(&response);
    response.headers_mut().insert(REQUEST_ID, id.clone());
    // So that clients open their next connection elsewhere, before this one is closed.
    if app.is_draining() && version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    let duration = start.elapsed();
    let code = grpc_status.map_or(status.as_u16(), |code| code as u16);
    app.metrics.request(protocol, &route, code, duration);
    let id = id.to_str().unwrap_or_default();
    let milliseconds = duration.as_secs_f64() * 1e3;
    // Probes and scrapes come every few seconds, and say nothing.
    if route.starts_with("/v2/health/") || route == "/metrics" {
        debug!(id, protocol, %method, path, code, milliseconds, "request");
    } else {
        info!(id, protocol, %method, path, code, milliseconds, "request");
    }
    response
}

/// The identifier of a request: the client's, if it is short and of visible characters, or a new one.
fn identifier(headers: &HeaderMap) -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(0);

    let given = headers.get(REQUEST_ID).filter(|id| {
        id.len() <= LONGEST_ID && !id.is_empty() && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = since.map_or(0, |since| since.as_micros() as u64);
        let text = format!("{micros:x}-{:x}-{number:x}", std::process::id());
        HeaderValue::from_str(&text).expect("hexadecimal digits")
    })
}

/// Refuses a request without the server's token, where it has one. Health is for anyone: probes have no token.
pub async fn authorize(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.starts_with("/v2/health/") || path == "/" {
        return next.run(request).await;
    }
    let token = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_at_checked(7))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        .map(|(_, token)| token.trim_ascii());
    if app.accepts(token) {
        return next.run(request).await;
    }
    let error = ApiError::new(
        StatusCode::UNAUTHORIZED,
        "expected the server's token in the header Authorization: Bearer TOKEN",
    );
    if grpc::is_path(path) {
        return grpc::refuse(&error);
    }
    error.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_of_clients_are_kept_where_they_are_harmless() {
        let id = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(text));
            identifier(&headers)
        };
        assert_eq!(id("abc-1"), "abc-1");
        let long = "x".repeat(200).leak();
        for text in ["", "a b", long] {
            assert_ne!(id(text), text);
        }
        assert_ne!(identifier(&HeaderMap::new()), identifier(&HeaderMap::new()));
    }
}
