//! The page to try a model, and descriptions of the interface for programs.

use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use kiln_inference::Channels;
use kiln_page::ServerPage;
use serde::Serialize;

use crate::app::App;
use crate::error::json;

const OPENAPI: &str = include_str!("openapi.json");
static PAGE: LazyLock<ServerPage> = LazyLock::new(kiln_page::of_server);
/// The page runs the script that is in it, by its digest, and talks to its own server alone. Pictures are made by the
/// page, or by the server as data.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = |inside: &str| {
        let digest = kiln_util::sha256(inside.as_bytes()).expect("bytes in memory can be read");
        BASE64_STANDARD.encode(digest)
    };
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src 'self' data: blob:; \
         media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest(PAGE.script),
        digest(PAGE.style)
    );
    HeaderValue::from_str(&policy).expect("visible characters")
});

#[derive(Serialize)]
struct Described {
    name: String,
    version: String,
    engine: &'static str,
    classes: usize,
    /// Whether images can have several classes, or none.
    has_several: bool,
    gray: bool,
    height: usize,
    width: usize,
}

/// Returns the page.
pub async fn page() -> Response {
    let mut response = PAGE.html.as_str().into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    response
}

/// Returns what the page has to know of the models.
pub async fn models(State(app): State<Arc<App>>) -> Response {
    let models = app.repository.models().into_iter();
    let described: Vec<_> = models
        .map(|served| {
            let [_, height, width] = served.model.preprocessor().shape();
            Described {
                version: served.version.to_string(),
                engine: served.engine().title(),
                classes: served.model.labels().len(),
                has_several: served.model.spec().has_several(),
                gray: served.model.preprocessing().channels == Channels::Gray,
                height,
                width,
                name: served.name.clone(),
            }
        })
        .collect();
    json(&described)
}

/// Returns the description of the interface by `OpenAPI`.
pub async fn openapi() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], OPENAPI).into_response()
}
