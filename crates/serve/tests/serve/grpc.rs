//! The Open Inference Protocol over gRPC. Messages are written down here a second time, by the numbers of the protocol's
//! interface definition.

use std::collections::HashMap;

use bytes::{Buf, BufMut, BytesMut};
use prost::Message;

use crate::images::{Image, bits, digits, values};
use crate::server::{self, Server};

#[derive(Clone, PartialEq, Message)]
struct Empty {}

#[derive(Clone, PartialEq, Message)]
struct Ready {
    #[prost(bool, tag = "1")]
    ready: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct ControlledModel {
    #[prost(string, tag = "2")]
    model_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "2")]
    versions: Vec<String>,
    #[prost(string, tag = "3")]
    platform: String,
    #[prost(message, repeated, tag = "4")]
    inputs: Vec<Tensor>,
    #[prost(message, repeated, tag = "5")]
    outputs: Vec<Tensor>,
}

/// A tensor, or what is said of one: the first three fields are the same.
#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    datatype: String,
    #[prost(int64, repeated, tag = "3")]
    shape: Vec<i64>,
    #[prost(message, optional, tag = "5")]
    contents: Option<Contents>,
}

#[derive(Clone, PartialEq, Message)]
struct Contents {
    #[prost(float, repeated, tag = "6")]
    fp32: Vec<f32>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    bytes: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(int64, optional, tag = "2")]
    int64: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Output {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(map = "string, message", tag = "2")]
    parameters: HashMap<String, Parameter>,
}

#[derive(Clone, PartialEq, Message)]
struct Infer {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(string, tag = "2")]
    model_version: String,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(message, repeated, tag = "5")]
    inputs: Vec<Tensor>,
    #[prost(message, repeated, tag = "6")]
    outputs: Vec<Output>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    raw: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Inferred {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(string, tag = "2")]
    model_version: String,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(message, repeated, tag = "5")]
    outputs: Vec<Tensor>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    raw: Vec<Vec<u8>>,
}

/// Code and message of a status other than 0.
type Status = (u16, String);

/// Calls a method on a connection of its own.
fn call<A: Message + Default>(
    server: &Server,
    method: &str,
    message: &impl Message,
) -> Result<A, Status> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(exchange(server, method, message))
}

async fn exchange<A: Message + Default>(
    server: &Server,
    method: &str,
    message: &impl Message,
) -> Result<A, Status> {
    let stream = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let uri = format!(
        "http://{}/inference.GRPCInferenceService/{method}",
        server.address
    );
    let request = http::Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let mut client = client.ready().await.unwrap();
    let (response, mut sent) = client.send_request(request, false).unwrap();
    // Not compressed, length, message.
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut body).unwrap();
    sent.send_data(body.freeze(), true).unwrap();
    let (head, mut body) = response.await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    assert_eq!(head.headers["content-type"], "application/grpc");
    let mut bytes = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    // Without a message, the status is in the head.
    let end = body.trailers().await.unwrap().unwrap_or(head.headers);
    let text = |name: &str| end.get(name).map(|it| it.to_str().unwrap().to_owned());
    match text("grpc-status").expect("a status").parse().unwrap() {
        0 => {
            let mut bytes = bytes.freeze();
            assert_eq!(bytes.get_u8(), 0);
            assert_eq!(bytes.get_u32() as usize, bytes.len());
            Ok(A::decode(bytes).unwrap())
        }
        code => {
            assert!(bytes.is_empty());
            let message = text("grpc-message").unwrap_or_default();
            Err((code, decoded(&message)))
        }
    }
}

/// Text in which characters that a header cannot have are written as %XX.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).unwrap());
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).unwrap()
}

fn tensor(name: &str, datatype: &str, shape: &[i64]) -> Tensor {
    Tensor {
        name: name.into(),
        datatype: datatype.into(),
        shape: shape.into(),
        contents: None,
    }
}

fn infer(input: Tensor) -> Infer {
    Infer {
        model_name: "digits".into(),
        inputs: vec![input],
        ..Infer::default()
    }
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|it| it.to_le_bytes()).collect()
}

fn prepared(images: &[Image]) -> Vec<f32> {
    images.iter().flat_map(values).collect()
}

#[test]
fn health_and_metadata_are_those_of_http() {
    let server = Server::start(&[&server::digits()]);
    let digits = Model {
        name: "digits".into(),
        version: String::new(),
    };
    for answer in [
        call::<Ready>(&server, "ServerLive", &Empty {}),
        call(&server, "ServerReady", &Empty {}),
        call(&server, "ModelReady", &digits),
    ] {
        assert_eq!(answer, Ok(Ready { ready: true }));
    }
    let found: Metadata = call(&server, "ModelMetadata", &digits).unwrap();
    let expected = server.get("/v2/models/digits").json();
    assert_eq!(
        (found.name, found.platform),
        ("digits".into(), "onnx_tract".into())
    );
    assert_eq!(found.versions, ["1"]);
    for (tensors, key) in [(found.inputs, "inputs"), (found.outputs, "outputs")] {
        let tensors: Vec<_> = tensors
            .iter()
            .map(|it| serde_json::json!({"name": it.name, "datatype": it.datatype, "shape": it.shape}))
            .collect();
        assert_eq!(serde_json::json!(tensors), expected[key]);
    }
}

#[test]
fn tensors_of_every_form_give_the_same_bits() {
    let server = Server::start(&[&server::digits()]);
    let images = digits(3);
    let expected: Vec<f32> = images
        .iter()
        .flat_map(|it| it.expected.scores.clone())
        .collect();
    let values = prepared(&images);
    let shape = [3, 1, 28, 28];

    let raw = Infer {
        id: "a-1".into(),
        raw: vec![little_endian(&values)],
        ..infer(tensor("input", "FP32", &shape))
    };
    let answer: Inferred = call(&server, "ModelInfer", &raw).unwrap();
    assert_eq!(
        (answer.id.as_str(), answer.model_version.as_str()),
        ("a-1", "1")
    );
    assert_eq!(answer.outputs[0], tensor("logits", "FP32", &[3, 10]));
    assert_eq!(answer.raw[0], little_endian(&expected));
    let labels: Vec<u8> = images
        .iter()
        .flat_map(|it| {
            let label = it.expected.label.as_bytes();
            [&(label.len() as u32).to_le_bytes(), label].concat()
        })
        .collect();
    assert_eq!(answer.outputs[2], tensor("label", "BYTES", &[3]));
    assert_eq!(answer.raw[2], labels);

    // Numbers within the tensor are answered so.
    let mut input = tensor("input", "FP32", &shape);
    input.contents = Some(Contents {
        fp32: values,
        bytes: Vec::new(),
    });
    let answer: Inferred = call(&server, "ModelInfer", &infer(input)).unwrap();
    let contents = answer.outputs[0].contents.as_ref().unwrap();
    assert_eq!(bits(&contents.fp32), bits(&expected));
    let contents = answer.outputs[2].contents.as_ref().unwrap();
    let labels: Vec<_> = images
        .iter()
        .map(|it| it.expected.label.clone().into_bytes())
        .collect();
    assert_eq!(contents.bytes, labels);
    assert!(answer.raw.is_empty());

    // Image files, of which two classes are wanted.
    let mut input = tensor("input", "BYTES", &[3]);
    input.contents = Some(Contents {
        fp32: Vec::new(),
        bytes: images.iter().map(|it| it.bytes.clone()).collect(),
    });
    let two = Parameter { int64: Some(2) };
    let request = Infer {
        outputs: vec![Output {
            name: "logits".into(),
            parameters: HashMap::from([("classification".into(), two)]),
        }],
        ..infer(input)
    };
    let answer: Inferred = call(&server, "ModelInfer", &request).unwrap();
    assert_eq!(answer.outputs.len(), 1);
    assert_eq!(answer.outputs[0].shape, [3, 2]);
    let contents = answer.outputs[0].contents.as_ref().unwrap();
    let best = &images[0].expected;
    let first = format!("{}:{}:{}", best.scores[best.index], best.index, best.label);
    assert_eq!(contents.bytes[0], first.as_bytes());
}

#[test]
fn errors_have_the_codes_of_grpc() {
    let server = Server::start(&[&server::digits()]);
    let error =
        |method: &str, message: &Infer| call::<Inferred>(&server, method, message).unwrap_err();
    let good = || Infer {
        raw: vec![vec![0; 3136]],
        ..infer(tensor("input", "FP32", &[1, 1, 28, 28]))
    };
    assert!(call::<Inferred>(&server, "ModelInfer", &good()).is_ok());
    let changed = |change: fn(&mut Infer)| {
        let mut request = good();
        change(&mut request);
        request
    };
    for (request, code, expected) in [
        (changed(|it| it.model_name = "x".into()), 5, "no model `x`"),
        (
            changed(|it| it.model_version = "9".into()),
            5,
            "no version `9`",
        ),
        (changed(|it| it.inputs.clear()), 3, "0 inputs and 1 raw"),
        (
            changed(|it| it.inputs[0].name = "x".into()),
            3,
            "no input `x`",
        ),
        (
            changed(|it| it.inputs[0].datatype = "FP64".into()),
            3,
            "FP64",
        ),
        (
            changed(|it| it.inputs[0].shape = vec![1, 28, 28, 1]),
            3,
            "expected [N, 1, 28, 28]",
        ),
        (changed(|it| it.raw[0].truncate(9)), 3, "9 bytes"),
        (changed(|it| it.raw[0].fill(255)), 3, "finite"),
        (
            changed(|it| it.raw.push(Vec::new())),
            3,
            "2 raw_input_contents",
        ),
        (
            changed(|it| {
                it.outputs = vec![Output {
                    name: "y".into(),
                    parameters: HashMap::new(),
                }];
            }),
            3,
            "no output `y`",
        ),
    ] {
        let (found, message) = error("ModelInfer", &request);
        assert_eq!(found, code, "{message}");
        assert!(message.contains(expected), "{message}");
    }
    let (code, _) = error("ModelStreamInfer", &good());
    assert_eq!(code, 12);
    let model = ControlledModel {
        model_name: "digits".into(),
    };
    for method in ["RepositoryModelLoad", "RepositoryModelUnload"] {
        let (code, message) = call::<Empty>(&server, method, &model).unwrap_err();
        assert!(
            code == 7 && message.contains("--control"),
            "{code} {message}"
        );
    }
    // A request that is larger than a first window of HTTP/2.
    let many = Infer {
        raw: vec![vec![0; 128 * 3136]],
        ..infer(tensor("input", "FP32", &[128, 1, 28, 28]))
    };
    let answer: Inferred = call(&server, "ModelInfer", &many).unwrap();
    assert_eq!(answer.raw[0].len(), 128 * 10 * 4);
}
