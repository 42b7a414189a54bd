//! The methods of the service, each a route.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::Full;
use prost::Message;
use tonic::Status;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::messages::{
    Choice, Empty, InferParameter, InferTensor, InferTensorContents, ModelIndex, ModelInferRequest,
    ModelInferResponse, ModelMetadataResponse, ModelRequest, ReadyResponse, RepositoryIndexRequest,
    RepositoryIndexResponse, RepositoryModelRequest, ServerLiveResponse, ServerMetadataResponse,
    TensorMetadata,
};
use super::{SERVICE, refuse};
use crate::app::App;
use crate::error::ApiError;
use crate::protocol::{
    InferRequest, InputTensor, OutputData, OutputTensor, RequestedOutput, TensorData, infer,
    model_metadata, server_metadata,
};
use crate::web::{control, on_thread, read};

/// Returns the service's routes.
pub fn routes() -> Router<Arc<App>> {
    let route = |method: &str| format!("/{SERVICE}/{method}");
    Router::new()
        .route(&route("ServerLive"), unary(server_live))
        .route(&route("ServerReady"), unary(server_ready))
        .route(&route("ModelReady"), unary(model_ready))
        .route(&route("ServerMetadata"), unary(server))
        .route(&route("ModelMetadata"), unary(model))
        .route(&route("ModelInfer"), unary(model_infer))
        .route(&route("RepositoryIndex"), unary(index))
        .route(&route("RepositoryModelLoad"), unary(load))
        .route(&route("RepositoryModelUnload"), unary(unload))
        .route(&route("{method}"), post(unknown))
}

/// What a request says besides its message.
struct Call<M> {
    app: Arc<App>,
    message: M,
    /// How long the client waits.
    timeout: Option<Duration>,
}

/// A method with one message in and one out.
fn unary<Q, A, F>(method: fn(Call<Q>) -> F) -> MethodRouter<Arc<App>>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
    F: Future<Output = Result<A, ApiError>> + Send + 'static,
{
    post(
        move |State(app): State<Arc<App>>, request: Request| async move {
            let (parts, body) = request.into_parts();
            let timeout = timeout(&parts.headers);
            // Read here, within the limits of all requests, rather than by the library.
            let mut read = match read(&app, &parts.headers, body).await {
                Ok(read) => read,
                Err(error) => return refuse(&error),
            };
            // Numbers of four bytes become some of eight on their way to a model.
            let copies = read.bytes.len().saturating_mul(3);
            if let Err(error) = app.grow_for_work(&mut read.room, copies) {
                return refuse(&error);
            }
            let _room = read.room;
            let limit = app.limits.max_body;
            let service = service_fn(move |request: tonic::Request<Q>| {
                let call = Call {
                    app: Arc::clone(&app),
                    message: request.into_inner(),
                    timeout,
                };
                let answer = method(call);
                async move {
                    let answer = answer.await;
                    answer
                        .map(tonic::Response::new)
                        .map_err(|error| Status::from(&error))
                }
            });
            let mut grpc =
                Grpc::new(ProstCodec::<A, Q>::default()).max_decoding_message_size(limit);
            let request = http::Request::from_parts(parts, Full::new(read.bytes));
            grpc.unary(service, request)
                .await
                .map(Body::new)
                .into_response()
        },
    )
}

async fn unknown() -> Response {
    let status = Status::unimplemented("the server does not have this method");
    status.into_http::<Body>().into_response()
}

/// The header `grpc-timeout`: up to eight digits and a unit.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok().filter(|&it| it < 100_000_000)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

async fn server_live(_: Call<Empty>) -> Result<ServerLiveResponse, ApiError> {
    Ok(ServerLiveResponse { live: true })
}

async fn server_ready(call: Call<Empty>) -> Result<ReadyResponse, ApiError> {
    let ready = call.app.is_ready();
    Ok(ReadyResponse { ready })
}

/// A version, of which an empty one is none.
fn given(version: &str) -> Option<&str> {
    Some(version).filter(|version| !version.is_empty())
}

async fn model_ready(call: Call<ModelRequest>) -> Result<ReadyResponse, ApiError> {
    let ModelRequest { name, version } = &call.message;
    match call.app.repository.get(Some(name), given(version)) {
        Ok(_) => Ok(ReadyResponse { ready: true }),
        Err(crate::repository::LookupError::NotReady { .. }) => Ok(ReadyResponse { ready: false }),
        Err(error) => Err(error.into()),
    }
}

async fn server(_: Call<Empty>) -> Result<ServerMetadataResponse, ApiError> {
    let metadata = server_metadata();
    Ok(ServerMetadataResponse {
        name: metadata.name.into(),
        version: metadata.version.into(),
        extensions: metadata.extensions.into_iter().map(str::to_owned).collect(),
    })
}

async fn model(call: Call<ModelRequest>) -> Result<ModelMetadataResponse, ApiError> {
    let ModelRequest { name, version } = &call.message;
    let repository = &call.app.repository;
    let served = repository.get(Some(name), given(version))?;
    let metadata = model_metadata(&served, repository.versions(name));
    let tensors = |tensors: Vec<crate::protocol::TensorMetadata>| {
        let tensors = tensors.into_iter().map(|it| TensorMetadata {
            name: it.name,
            datatype: it.datatype.into(),
            shape: it.shape,
        });
        tensors.collect()
    };
    Ok(ModelMetadataResponse {
        name: metadata.name,
        versions: metadata.versions,
        platform: metadata.platform,
        inputs: tensors(metadata.inputs),
        outputs: tensors(metadata.outputs),
    })
}

async fn model_infer(call: Call<ModelInferRequest>) -> Result<ModelInferResponse, ApiError> {
    let message = call.message;
    let is_raw = !message.raw_input_contents.is_empty();
    let inputs = tensors(message.inputs, message.raw_input_contents)?;
    let asked = integer(&message.parameters, "timeout").filter(|&micros| micros > 0);
    let asked = asked.map(Duration::from_micros);
    let request = InferRequest {
        model: message.model_name,
        version: given(&message.model_version).map(str::to_owned),
        inputs,
        outputs: message
            .outputs
            .into_iter()
            .map(|output| RequestedOutput {
                classes: integer(&output.parameters, "classification").unwrap_or(0) as usize,
                name: output.name,
            })
            .collect(),
        timeout: asked.into_iter().chain(call.timeout).min(),
    };
    let response = infer(&call.app, request).await?;
    let raw_output_contents = if is_raw {
        let raw = response.outputs.iter().map(|it| Bytes::from(it.to_raw()));
        raw.collect()
    } else {
        Vec::new()
    };
    Ok(ModelInferResponse {
        model_name: response.served.name.clone(),
        model_version: response.served.version.to_string(),
        id: message.id,
        parameters: HashMap::new(),
        outputs: response
            .outputs
            .into_iter()
            .map(|output| output_tensor(output, is_raw))
            .collect(),
        raw_output_contents,
    })
}

/// A parameter that is a number, of either type.
fn integer(parameters: &HashMap<String, InferParameter>, name: &str) -> Option<u64> {
    match parameters.get(name)?.choice.as_ref()? {
        Choice::Int64(number) => u64::try_from(*number).ok(),
        Choice::Uint64(number) => Some(*number),
        Choice::Bool(_) | Choice::String(_) | Choice::Double(_) => None,
    }
}

/// The tensors of a request, whose elements are either in them or beside them.
fn tensors(inputs: Vec<InferTensor>, raw: Vec<Bytes>) -> Result<Vec<InputTensor>, ApiError> {
    if !raw.is_empty() && raw.len() != inputs.len() {
        return Err(ApiError::bad(format!(
            "the request has {} inputs and {} raw_input_contents",
            inputs.len(),
            raw.len()
        )));
    }
    let mut raw = raw.into_iter();
    let mut tensor = |input: InferTensor| {
        let data = match (raw.next(), input.contents) {
            (Some(raw), None) => TensorData::Raw(raw),
            (Some(_), Some(_)) => {
                return Err(ApiError::bad(format!(
                    "input `{}` has both contents and raw_input_contents",
                    input.name
                )));
            }
            (None, contents) => {
                let contents = contents.unwrap_or_default();
                match input.datatype.as_str() {
                    "BYTES" => TensorData::Elements(contents.bytes),
                    "FP32" => {
                        TensorData::Numbers(contents.fp32.into_iter().map(f64::from).collect())
                    }
                    _ => TensorData::Numbers(contents.uint.into_iter().map(f64::from).collect()),
                }
            }
        };
        Ok(InputTensor {
            name: input.name,
            datatype: input.datatype,
            shape: input.shape,
            data,
        })
    };
    inputs.into_iter().map(&mut tensor).collect()
}

fn output_tensor(output: OutputTensor, is_raw: bool) -> InferTensor {
    let datatype = output.datatype().to_owned();
    let contents = match output.data {
        _ if is_raw => None,
        OutputData::F32(fp32) => Some(InferTensorContents {
            fp32,
            ..InferTensorContents::default()
        }),
        OutputData::Text(texts) => Some(InferTensorContents {
            bytes: texts.into_iter().map(Bytes::from).collect(),
            ..InferTensorContents::default()
        }),
    };
    InferTensor {
        name: output.name,
        datatype,
        shape: output.shape.iter().map(|&side| side as i64).collect(),
        parameters: HashMap::new(),
        contents,
    }
}

async fn index(call: Call<RepositoryIndexRequest>) -> Result<RepositoryIndexResponse, ApiError> {
    let status = call.app.repository.index().into_iter();
    let models = status
        .filter(|it| it.is_ready || !call.message.ready)
        .map(|it| ModelIndex {
            name: it.name,
            version: it.version.to_string(),
            state: if it.is_ready { "READY" } else { "UNAVAILABLE" }.to_owned(),
            reason: it.reason,
        });
    Ok(RepositoryIndexResponse {
        models: models.collect(),
    })
}

async fn load(call: Call<RepositoryModelRequest>) -> Result<Empty, ApiError> {
    control(&call.app)?;
    let name = call.message.model_name;
    on_thread(move || Ok(call.app.repository.load(&name)?)).await?;
    Ok(Empty {})
}

async fn unload(call: Call<RepositoryModelRequest>) -> Result<Empty, ApiError> {
    control(&call.app)?;
    let name = call.message.model_name;
    on_thread(move || Ok(call.app.repository.unload(&name)?)).await?;
    Ok(Empty {})
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn deadlines_have_a_unit() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(text));
            timeout(&headers)
        };
        assert_eq!(of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(of("2S"), Some(Duration::from_secs(2)));
        for wrong in ["", "S", "5", "5x", "-5S", "999999999S", "1e3S"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn raw_contents_are_one_for_each_input() {
        let input = |contents| InferTensor {
            name: "x".into(),
            datatype: "FP32".into(),
            contents,
            ..InferTensor::default()
        };
        let raw = || vec![Bytes::from_static(b"abcd")];
        let found = tensors(vec![input(None)], raw()).unwrap();
        assert_eq!(found[0].data, TensorData::Raw(raw().remove(0)));
        assert!(tensors(vec![input(None), input(None)], raw()).is_err());
        let contents = InferTensorContents::default();
        assert!(tensors(vec![input(Some(contents))], raw()).is_err());
    }
}
