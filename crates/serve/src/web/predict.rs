//! `POST /predict`: images in the body, labels and probabilities in the answer.

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use image::{GrayImage, ImageFormat, RgbImage};
use kiln_inference::{Channels, Prediction, Ranked};
use kiln_util::{printable, shown};
use serde::{Deserialize, Serialize};

use super::{blocking, body, v2};
use crate::app::App;
use crate::error::{ApiError, json};
use crate::model::{Answer, Input, Served, Timings};

/// Classes in an answer by default.
const TOP: usize = 5;
/// Characters of a file's name in messages.
const LONGEST_NAME: usize = 100;

/// The query of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictQuery {
    /// The model; the only one if not given.
    model: Option<String>,
    /// Its version; the newest if not given.
    version: Option<String>,
    /// Number of classes for each image.
    top: Option<usize>,
    /// Whether the answer is to have the pixels that the model saw.
    #[serde(default)]
    show_input: bool,
}

#[derive(Serialize)]
struct Answered<'a> {
    model: &'a str,
    version: String,
    predictions: Vec<Predicted<'a>>,
    timings_ms: Total,
}

#[derive(Serialize)]
struct Predicted<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    label: &'a str,
    index: usize,
    probability: f32,
    /// The classes that the image has, where it can have several.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<&'a str>>,
    top: Vec<Class<'a>>,
    batch: usize,
    timings_ms: Stages,
    /// As a URL with a PNG in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<String>,
}

#[derive(Serialize)]
struct Class<'a> {
    label: &'a str,
    index: usize,
    probability: f32,
}

#[derive(Serialize)]
struct Stages {
    queue: f64,
    prepare: f64,
    inference: f64,
}

#[derive(Serialize)]
struct Total {
    total: f64,
}

/// An image of a request, with its name if it has one.
#[derive(Debug, PartialEq)]
struct Upload {
    name: Option<String>,
    bytes: Bytes,
}

/// Answers a request.
///
/// # Errors
///
/// Returns what is wrong with it, or why it cannot be answered.
pub async fn predict(
    State(app): State<Arc<App>>,
    query: Result<Query<PredictQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let start = Instant::now();
    let Query(query) = query.map_err(|error| ApiError::bad(error.body_text()))?;
    v2::refuse_encoding(&headers)?;
    app.repository
        .get(query.model.as_deref(), query.version.as_deref())?;
    let read = body::read(&app, &headers, body).await?;
    let uploads = uploads(&headers, read.bytes).await?;
    let inputs = |_: &Served| {
        let inputs = uploads.iter().enumerate().map(|(at, upload)| Input::File {
            bytes: upload.bytes.clone(),
            name: match &upload.name {
                Some(name) => format!("image {at} (`{}`)", shown(name, LONGEST_NAME)),
                None if uploads.len() == 1 => "the image".into(),
                None => format!("image {at}"),
            },
            keep_pixels: query.show_input,
        });
        Ok(inputs.collect())
    };
    let answered = app
        .answer(
            query.model.as_deref(),
            query.version.as_deref(),
            None,
            inputs,
        )
        .await;
    let (served, answers) = answered?;
    let has_several = served.model.spec().has_several();
    let top = query
        .top
        .unwrap_or(TOP)
        .clamp(1, served.model.labels().len());
    let seen = |answer: &Answer| {
        let pixels = answer.pixels.as_ref();
        pixels.map(|pixels| picture(&served, pixels)).transpose()
    };
    let size = served.model.preprocessor().len() * answers.len();
    let pictures = blocking(size, || {
        answers.iter().map(seen).collect::<Result<Vec<_>, _>>()
    })?;
    let predictions = uploads
        .iter()
        .zip(&answers)
        .zip(pictures)
        .map(|((upload, answer), input)| {
            let prediction = &answer.prediction;
            Predicted {
                name: upload.name.as_deref(),
                label: &prediction.label,
                index: prediction.index,
                probability: prediction.probability,
                labels: has_several.then(|| chosen(&served, prediction)),
                top: prediction.top_k(top).into_iter().map(Class::from).collect(),
                batch: answer.batch,
                timings_ms: answer.timings.into(),
                input,
            }
        })
        .collect();
    drop(read.room);
    Ok(json(&Answered {
        model: &served.name,
        version: served.version.to_string(),
        predictions,
        timings_ms: Total {
            total: milliseconds(start.elapsed()),
        },
    }))
}

fn chosen<'a>(served: &'a Served, prediction: &Prediction) -> Vec<&'a str> {
    let labels = served.model.labels();
    let chosen = prediction.chosen();
    chosen
        .iter()
        .map(|class| labels[class.index].as_str())
        .collect()
}

impl<'a> From<Ranked<'a>> for Class<'a> {
    fn from(class: Ranked<'a>) -> Self {
        Self {
            label: class.label,
            index: class.index,
            probability: class.probability,
        }
    }
}

impl From<Timings> for Stages {
    fn from(timings: Timings) -> Self {
        Self {
            queue: milliseconds(timings.queue),
            prepare: milliseconds(timings.prepare),
            inference: milliseconds(timings.inference),
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    // A thousandth of a millisecond is enough to read.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The images of a body: the files of a form, or the body itself.
async fn uploads(headers: &HeaderMap, body: Bytes) -> Result<Vec<Upload>, ApiError> {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("multipart/form-data") {
        return form(kind, body).await;
    }
    if essence.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "expected an image or a form with images, found JSON",
        ));
    }
    if body.is_empty() {
        return Err(ApiError::bad("the body is empty: expected an image"));
    }
    // Whatever else the type is: `curl --data-binary` calls everything a form, and the content says what it is.
    Ok(vec![Upload {
        name: None,
        bytes: body,
    }])
}

async fn form(kind: &str, body: Bytes) -> Result<Vec<Upload>, ApiError> {
    let malformed = |error: multer::Error| ApiError::bad(format!("the form is malformed: {error}"));
    let boundary = multer::parse_boundary(kind).map_err(malformed)?;
    let mut form = multer::Multipart::new(Body::from(body).into_data_stream(), boundary);
    let mut uploads = Vec::new();
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        let name = field.file_name().or(field.name());
        let name = name.map(printable);
        let bytes = field.bytes().await.map_err(malformed)?;
        uploads.push(Upload { name, bytes });
    }
    if uploads.is_empty() {
        return Err(ApiError::bad(
            "the form has no field: expected an image in each",
        ));
    }
    Ok(uploads)
}

/// What the model saw, as a URL with a PNG in it.
fn picture(served: &Served, pixels: &[f32]) -> Result<String, ApiError> {
    let [channels, height, width] = served.model.preprocessor().shape();
    let (columns, rows) = (width as u32, height as u32);
    let area = height * width;
    let byte = |value: f32| value.round_ties_even().clamp(0.0, 255.0) as u8;
    let order = match served.model.preprocessing().channels {
        Channels::Bgr => [2, 1, 0],
        Channels::Rgb => [0, 1, 2],
        Channels::Gray => [0, 0, 0],
    };
    let mut file = Cursor::new(Vec::new());
    let written = if channels == 1 {
        let image = GrayImage::from_raw(columns, rows, pixels.iter().map(|&it| byte(it)).collect());
        image.map(|image| image.write_to(&mut file, ImageFormat::Png))
    } else {
        let samples = (0..area)
            .flat_map(|at| order.map(|channel| byte(pixels[channel * area + at])))
            .collect();
        RgbImage::from_raw(columns, rows, samples)
            .map(|image| image.write_to(&mut file, ImageFormat::Png))
    };
    match written {
        Some(Ok(())) => Ok(format!(
            "data:image/png;base64,{}",
            BASE64_STANDARD.encode(file.into_inner())
        )),
        _ => Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the model's input cannot be written as PNG",
        )),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn found(kind: &'static str, body: &'static str) -> Result<Vec<Upload>, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let uploads = runtime.block_on(uploads(&headers, Bytes::from_static(body.as_bytes())));
        uploads.map_err(|error| error.message)
    }

    #[test]
    fn each_field_of_a_form_is_an_image() {
        let form = "--x\r\nContent-Disposition: form-data; name=\"a\"; filename=\"1.png\"\r\n\r\none\r\n\
                    --x\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n\r\n--x--\r\n";
        let kind = "multipart/form-data; boundary=x";
        let found_in = found(kind, form).unwrap();
        let pairs: Vec<_> = found_in
            .iter()
            .map(|it| (it.name.as_deref().unwrap(), &it.bytes[..]))
            .collect();
        assert_eq!(pairs, [("1.png", &b"one"[..]), ("b", b"")]);
        assert!(found(kind, "--x--\r\n").unwrap_err().contains("no field"));
        assert!(found(kind, "--x\r\n").unwrap_err().contains("malformed"));
        assert!(
            found("multipart/form-data", form)
                .unwrap_err()
                .contains("malformed")
        );
    }

    #[test]
    fn any_other_body_is_an_image() {
        for kind in ["image/png", "application/x-www-form-urlencoded", ""] {
            assert_eq!(found(kind, "x").unwrap().len(), 1);
        }
        assert!(found("image/png", "").unwrap_err().contains("empty"));
        assert!(
            found("application/json", "{}")
                .unwrap_err()
                .contains("JSON")
        );
    }
}
