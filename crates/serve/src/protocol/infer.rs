//! An inference request: its tensor to images, the answers to tensors.

use std::sync::Arc;
use std::time::Duration;

use kiln_inference::Prediction;
use kiln_model::Layout;
use kiln_util::printable;

use super::tensor::{InputTensor, OutputData, OutputTensor, Values};
use crate::app::App;
use crate::error::ApiError;
use crate::model::{Answer, Input, Served};

/// The output with the probability of each class.
pub const PROBABILITIES: &str = "probabilities";
/// The output with the predicted class.
pub const LABEL: &str = "label";

/// A request, whatever it came by.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InferRequest {
    /// Name of the model.
    pub model: String,
    /// Version, the newest if not given.
    pub version: Option<String>,
    /// The tensors.
    pub inputs: Vec<InputTensor>,
    /// Outputs asked for; all if none is.
    pub outputs: Vec<RequestedOutput>,
    /// How long the client waits.
    pub timeout: Option<Duration>,
}

/// An output that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedOutput {
    /// Its name.
    pub name: String,
    /// How many classes are wanted as text `score:index:label` in the place of scores; 0 for scores.
    pub classes: usize,
}

/// What comes of a request.
#[derive(Debug)]
pub struct InferResponse {
    /// The model that answered.
    pub served: Arc<Served>,
    /// In the order of the outputs asked for.
    pub outputs: Vec<OutputTensor>,
}

/// Answers a request.
///
/// # Errors
///
/// Returns what is wrong with the request, or why it cannot be answered.
pub async fn infer(app: &App, request: InferRequest) -> Result<InferResponse, ApiError> {
    let InferRequest {
        model,
        version,
        inputs,
        outputs,
        timeout,
    } = request;
    // Known before any work is done for it.
    let served = app.repository.get(Some(&model), version.as_deref())?;
    check_outputs(&served, &outputs)?;
    let answered = app.answer(Some(&model), version.as_deref(), timeout, |served| {
        images(served, &inputs)
    });
    let (served, answers) = answered.await?;
    // Of a successor, whose outputs may be others.
    check_outputs(&served, &outputs)?;
    let outputs = if outputs.is_empty() {
        let scores = RequestedOutput {
            name: served.model.spec().output_name.clone(),
            classes: 0,
        };
        let others = [PROBABILITIES, LABEL]
            .into_iter()
            .filter(|&name| name != scores.name)
            .map(|name| RequestedOutput {
                name: name.into(),
                classes: 0,
            })
            .collect::<Vec<_>>();
        std::iter::once(scores).chain(others).collect()
    } else {
        outputs
    };
    let outputs = outputs
        .iter()
        .map(|requested| output(&served, requested, &answers))
        .collect();
    Ok(InferResponse { served, outputs })
}

fn check_outputs(served: &Served, outputs: &[RequestedOutput]) -> Result<(), ApiError> {
    let scores = &served.model.spec().output_name;
    let known = [scores.as_str(), PROBABILITIES, LABEL];
    for output in outputs {
        if !known.contains(&output.name.as_str()) {
            return Err(ApiError::bad(format!(
                "the model `{}` has no output `{}`: expected `{scores}`, `{PROBABILITIES}` or `{LABEL}`",
                served.name,
                printable(&output.name)
            )));
        }
        if output.classes > 0 && output.name == LABEL && scores != LABEL {
            return Err(ApiError::bad(format!(
                "the output `{LABEL}` is text already, of which no classes can be made"
            )));
        }
    }
    Ok(())
}

/// The images of a request.
fn images(served: &Served, inputs: &[InputTensor]) -> Result<Vec<Input>, ApiError> {
    let expected = &served.input_name;
    let input = match inputs {
        [input] => input,
        [] => {
            return Err(ApiError::bad(format!(
                "the request has no input: expected `{expected}`"
            )));
        }
        several => {
            return Err(ApiError::bad(format!(
                "the request has {} inputs: expected `{expected}` alone",
                several.len()
            )));
        }
    };
    if input.name != *expected {
        return Err(ApiError::bad(format!(
            "the model `{}` has no input `{}`: expected `{expected}`",
            served.name,
            printable(&input.name)
        )));
    }
    let values = input.values()?;
    if let Values::Bytes(files) = values {
        if !matches!(input.shape[..], [_] | [_, 1]) || files.is_empty() {
            return Err(ApiError::bad(format!(
                "input `{expected}` of image files has the shape {:?}: expected [N] or [N, 1], N at least 1",
                input.shape
            )));
        }
        let named = files
            .into_iter()
            .enumerate()
            .map(|(at, bytes)| Input::File {
                bytes,
                name: format!("image {at} of input `{expected}`"),
                keep_pixels: false,
            });
        return Ok(named.collect());
    }
    let shape = served.image_shape();
    let wanted = shape.map(|side| side as i64);
    match input.shape[..] {
        [images, ref image @ ..] if images > 0 && *image == wanted => {}
        _ => {
            let [a, b, c] = shape;
            return Err(ApiError::bad(format!(
                "input `{expected}` has the shape {:?}: expected [N, {a}, {b}, {c}], N at least 1",
                input.shape
            )));
        }
    }
    let values: Vec<f32> = match (values, served.takes_pixels()) {
        (Values::F32(values), false) => values,
        (Values::U8(pixels), true) => pixels.into_iter().map(f32::from).collect(),
        (_, takes_pixels) => {
            let datatype = if takes_pixels { "UINT8" } else { "FP32" };
            return Err(ApiError::bad(format!(
                "input `{expected}` is of type {}: expected {datatype}, or image files as BYTES",
                input.datatype
            )));
        }
    };
    let size = shape.iter().product::<usize>();
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        return Err(ApiError::bad(format!(
            "input `{expected}` has the value {} in image {}: expected finite values",
            values[at],
            at / size
        )));
    }
    let layout = served.model.spec().layout;
    let images = values.chunks_exact(size).map(|image| {
        Input::Values(match layout {
            Layout::Nchw => image.to_vec(),
            Layout::Nhwc => channels_first(image, shape),
        })
    });
    Ok(images.collect())
}

/// From `[height, width, channels]` to `[channels, height, width]`.
fn channels_first(image: &[f32], [_, _, channels]: [usize; 3]) -> Vec<f32> {
    (0..channels)
        .flat_map(|channel| image.iter().skip(channel).step_by(channels).copied())
        .collect()
}

fn output(served: &Served, requested: &RequestedOutput, answers: &[Answer]) -> OutputTensor {
    let spec = served.model.spec();
    let predictions = || answers.iter().map(|answer| &answer.prediction);
    let name = requested.name.clone();
    let images = answers.len();
    let is_scores = name == spec.output_name;
    if name == LABEL && !is_scores {
        let labels = predictions().map(|it| it.label.clone()).collect();
        return OutputTensor {
            name,
            shape: vec![images],
            data: OutputData::Text(labels),
        };
    }
    let row = |prediction: &Prediction| {
        if is_scores {
            prediction.scores.clone()
        } else {
            prediction.probabilities.clone()
        }
    };
    let classes = served.model.labels().len();
    if requested.classes > 0 {
        let count = requested.classes.min(classes);
        let text = predictions().flat_map(|it| {
            let row = row(it);
            let top = it.top_k(count).into_iter();
            top.map(|class| format!("{}:{}:{}", row[class.index], class.index, class.label))
                .collect::<Vec<_>>()
        });
        return OutputTensor {
            name,
            shape: vec![images, count],
            data: OutputData::Text(text.collect()),
        };
    }
    // Of one score for two classes the graph has that of the second alone.
    if is_scores && spec.scores.is_binary {
        return OutputTensor {
            name,
            shape: vec![images, 1],
            data: OutputData::F32(predictions().map(|it| it.scores[1]).collect()),
        };
    }
    OutputTensor {
        name,
        shape: vec![images, classes],
        data: OutputData::F32(predictions().flat_map(row).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_go_first() {
        let image: Vec<f32> = (0..12_u8).map(f32::from).collect();
        assert_eq!(
            channels_first(&image, [2, 2, 3]),
            [0.0, 3.0, 6.0, 9.0, 1.0, 4.0, 7.0, 10.0, 2.0, 5.0, 8.0, 11.0]
        );
    }
}
