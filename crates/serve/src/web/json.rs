//! The protocol's requests and answers as JSON, with Triton's binary tensors behind them.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::ApiError;
use crate::protocol::{
    InferRequest, InferResponse, InputTensor, OutputData, RequestedOutput, TensorData,
    TensorMetadata,
};

/// The header with the length of the JSON before binary tensors.
pub const HEADER_LENGTH: &str = "inference-header-content-length";

/// A JSON object. As it stands, an array of its values in the order of the fields would be taken for it too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// Parameters, which are left out or null where there are none.
type Parameters<T> = Option<Object<T>>;

/// Returns parameters, or those that nothing was given for.
fn given<T: Default>(parameters: Parameters<T>) -> T {
    parameters.map(|it| it.0).unwrap_or_default()
}

#[derive(Deserialize)]
struct Request {
    id: Option<String>,
    parameters: Parameters<RequestParameters>,
    inputs: Vec<Object<Input>>,
    outputs: Option<Vec<Object<Output>>>,
}

/// What is known of a request's parameters; others are ignored, as the protocol allows.
#[derive(Default, Deserialize)]
struct RequestParameters {
    binary_data_output: Option<bool>,
    /// In microseconds.
    timeout: Option<u64>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    parameters: Parameters<InputParameters>,
    data: Option<Flat>,
}

#[derive(Default, Deserialize)]
struct InputParameters {
    binary_data_size: Option<usize>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    parameters: Parameters<OutputParameters>,
}

#[derive(Default, Deserialize)]
struct OutputParameters {
    binary_data: Option<bool>,
    classification: Option<usize>,
}

/// Elements of a tensor, from an array or arrays of arrays.
#[derive(Debug, PartialEq)]
enum Flat {
    Empty,
    Numbers(Vec<f64>),
    Text(Vec<String>),
}

impl<'de> Deserialize<'de> for Flat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;

        impl<'de> Visitor<'de> for Elements {
            type Value = Flat;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of numbers or of strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Flat, A::Error> {
                let mut flat = Flat::Empty;
                while let Some(()) = elements.next_element_seed(Element(&mut flat))? {}
                Ok(flat)
            }
        }

        deserializer.deserialize_seq(Elements)
    }
}

/// An element, or an array of them, that is added to others.
struct Element<'a>(&'a mut Flat);

impl Element<'_> {
    fn number<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        match self.0 {
            Flat::Numbers(numbers) => numbers.push(number),
            Flat::Empty => *self.0 = Flat::Numbers(vec![number]),
            Flat::Text(_) => return Err(E::custom("numbers among strings")),
        }
        Ok(())
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a string or an array of them")
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        self.number(number)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.number(number as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.number(number as f64)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        match self.0 {
            Flat::Text(texts) => texts.push(text.to_owned()),
            Flat::Empty => *self.0 = Flat::Text(vec![text.to_owned()]),
            Flat::Numbers(_) => return Err(E::custom("strings among numbers")),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(()) = elements.next_element_seed(Element(&mut *self.0))? {}
        Ok(())
    }
}

/// A request that was read, and what its answer takes besides the tensors.
#[derive(Debug)]
pub struct Parsed {
    /// The request.
    pub request: InferRequest,
    /// Its identifier, which the answer repeats.
    pub id: Option<String>,
    /// Which outputs are wanted as binary tensors.
    pub binary: Vec<bool>,
    /// Whether those that are not asked for by name are.
    pub binary_others: bool,
}

impl Parsed {
    /// Takes the request, in whose place an empty one is left.
    pub fn take_request(&mut self) -> InferRequest {
        std::mem::take(&mut self.request)
    }
}

/// Reads a request. `header` is the length of the JSON where binary tensors follow.
///
/// # Errors
///
/// Returns what is malformed.
pub fn parse(
    model: &str,
    version: Option<&str>,
    body: &Bytes,
    header: Option<usize>,
) -> Result<Parsed, ApiError> {
    let length = header.unwrap_or(body.len());
    if length > body.len() {
        return Err(ApiError::bad(format!(
            "the header {HEADER_LENGTH} is {length}, but the body has {} bytes",
            body.len()
        )));
    }
    let Object(request): Object<Request> = serde_json::from_slice(&body[..length])
        .map_err(|error| ApiError::bad(format!("the body is not an inference request: {error}")))?;
    let mut binary = body.slice(length..);
    let mut inputs = Vec::with_capacity(request.inputs.len());
    for Object(input) in request.inputs {
        inputs.push(tensor(input, &mut binary)?);
    }
    if !binary.is_empty() {
        return Err(ApiError::bad(format!(
            "the body has {} bytes after the last binary tensor",
            binary.len()
        )));
    }
    let parameters = given(request.parameters);
    let binary_others = parameters.binary_data_output.unwrap_or(false);
    let mut outputs = Vec::new();
    let mut is_binary = Vec::new();
    for Object(output) in request.outputs.unwrap_or_default() {
        let parameters = given(output.parameters);
        is_binary.push(parameters.binary_data.unwrap_or(binary_others));
        outputs.push(RequestedOutput {
            name: output.name,
            classes: parameters.classification.unwrap_or(0),
        });
    }
    Ok(Parsed {
        binary: is_binary,
        binary_others,
        id: request.id,
        request: InferRequest {
            model: model.to_owned(),
            version: version.map(str::to_owned),
            inputs,
            outputs,
            timeout: parameters
                .timeout
                .filter(|&it| it > 0)
                .map(Duration::from_micros),
        },
    })
}

/// Reads a body without JSON, all of which is the input of one image: Triton's raw binary request. Its answer has binary
/// tensors.
pub fn parse_raw(
    model: &str,
    version: Option<&str>,
    body: &Bytes,
    input: TensorMetadata,
) -> Parsed {
    let images = std::iter::once(1);
    Parsed {
        request: InferRequest {
            model: model.to_owned(),
            version: version.map(str::to_owned),
            inputs: vec![InputTensor {
                name: input.name,
                datatype: input.datatype.to_owned(),
                shape: images.chain(input.shape.into_iter().skip(1)).collect(),
                data: TensorData::Raw(body.clone()),
            }],
            ..InferRequest::default()
        },
        id: None,
        binary: Vec::new(),
        binary_others: true,
    }
}

/// Reads a tensor, whose binary data is taken off the front of what is left.
fn tensor(input: Input, binary: &mut Bytes) -> Result<InputTensor, ApiError> {
    let name = input.name;
    let data = match (given(input.parameters).binary_data_size, input.data) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad(format!(
                "input `{name}` has both data and a binary_data_size"
            )));
        }
        (None, None) => {
            return Err(ApiError::bad(format!(
                "input `{name}` has neither data nor a binary_data_size"
            )));
        }
        (Some(size), None) if size > binary.len() => {
            return Err(ApiError::bad(format!(
                "input `{name}` has a binary_data_size of {size}, but {} bytes are left",
                binary.len()
            )));
        }
        (Some(size), None) => TensorData::Raw(binary.split_to(size)),
        (None, Some(Flat::Numbers(numbers))) => TensorData::Numbers(numbers),
        (None, Some(Flat::Text(texts))) => TensorData::Elements(decode(&name, &texts)?),
        (None, Some(Flat::Empty)) if input.datatype == "BYTES" => TensorData::Elements(Vec::new()),
        (None, Some(Flat::Empty)) => TensorData::Numbers(Vec::new()),
    };
    Ok(InputTensor {
        name,
        datatype: input.datatype,
        shape: input.shape,
        data,
    })
}

/// Bytes as text are base64: JSON has no other way to hold an image.
fn decode(tensor: &str, texts: &[String]) -> Result<Vec<Bytes>, ApiError> {
    let decode = |(at, text): (usize, &String)| {
        BASE64_STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(|error| {
                ApiError::bad(format!(
                    "element {at} of input `{tensor}` is not an image file in base64: {error}"
                ))
            })
    };
    texts.iter().enumerate().map(decode).collect()
}

#[derive(Serialize)]
struct Response<'a> {
    model_name: &'a str,
    model_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<ResponseOutput<'a>>,
}

#[derive(Serialize)]
struct ResponseOutput<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<ResponseParameters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

#[derive(Serialize)]
struct ResponseParameters {
    binary_data_size: usize,
}

struct Data<'a>(&'a OutputData);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            OutputData::F32(values) => {
                let mut seq = serializer.serialize_seq(Some(values.len()))?;
                values.iter().try_for_each(|it| seq.serialize_element(it))?;
                seq.end()
            }
            OutputData::Text(texts) => texts.serialize(serializer),
        }
    }
}

/// An answer: its body, and the length of the JSON where binary tensors follow.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    /// The body.
    pub body: Vec<u8>,
    /// Length of the JSON, if that is not all.
    pub header: Option<usize>,
}

/// Writes an answer.
///
/// # Errors
///
/// Returns that it cannot be written as JSON, which cannot be without a mistake in this program.
pub fn write(parsed: &Parsed, response: &InferResponse) -> Result<Written, serde_json::Error> {
    let is_binary = |at: usize| {
        parsed
            .binary
            .get(at)
            .copied()
            .unwrap_or(parsed.binary_others)
    };
    let raw: Vec<Option<Vec<u8>>> = response
        .outputs
        .iter()
        .enumerate()
        .map(|(at, output)| is_binary(at).then(|| output.to_raw()))
        .collect();
    let outputs = response
        .outputs
        .iter()
        .zip(&raw)
        .map(|(output, raw)| ResponseOutput {
            name: &output.name,
            datatype: output.datatype(),
            shape: &output.shape,
            parameters: raw.as_ref().map(|raw| ResponseParameters {
                binary_data_size: raw.len(),
            }),
            data: raw.is_none().then_some(Data(&output.data)),
        })
        .collect();
    let mut body = serde_json::to_vec(&Response {
        model_name: &response.served.name,
        model_version: response.served.version.to_string(),
        id: parsed.id.as_deref(),
        outputs,
    })?;
    let length = body.len();
    let mut has_binary = false;
    for raw in raw.into_iter().flatten() {
        has_binary = true;
        body.extend_from_slice(&raw);
    }
    Ok(Written {
        body,
        header: has_binary.then_some(length),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(json: &str) -> Result<Flat, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn arrays_of_arrays_become_flat() {
        let numbers = |it: &[f64]| Ok(Flat::Numbers(it.to_vec()));
        assert_eq!(flat("[1, -2, 0.5]"), numbers(&[1.0, -2.0, 0.5]));
        assert_eq!(flat("[[1], [[2, 3]], []]"), numbers(&[1.0, 2.0, 3.0]));
        assert_eq!(flat("[]"), Ok(Flat::Empty));
        assert_eq!(
            flat(r#"[["a"], "b"]"#),
            Ok(Flat::Text(vec!["a".into(), "b".into()]))
        );
        for wrong in [
            r#"[1, "a"]"#,
            r#"["a", 1]"#,
            "[true]",
            "[null]",
            "[{}]",
            "1",
            "[1",
        ] {
            assert!(flat(wrong).is_err(), "{wrong}");
        }
        let deep = "[".repeat(100_000);
        assert!(flat(&deep).unwrap_err().contains("recursion"));
    }

    fn parsed(json: &str, binary: &[u8]) -> Result<Parsed, String> {
        let mut body = json.as_bytes().to_vec();
        body.extend_from_slice(binary);
        parse("m", None, &body.into(), Some(json.len())).map_err(|error| error.message)
    }

    #[test]
    fn binary_tensors_follow_in_order() {
        let json = r#"{"id": "7", "inputs": [
            {"name": "a", "datatype": "UINT8", "shape": [2], "parameters": {"binary_data_size": 2}},
            {"name": "b", "datatype": "UINT8", "shape": [1], "data": [9]},
            {"name": "c", "datatype": "UINT8", "shape": [1], "parameters": {"binary_data_size": 1}}
        ], "outputs": [{"name": "y", "parameters": {"binary_data": false}}, {"name": "z"}],
        "parameters": {"binary_data_output": true, "timeout": 1500, "unknown": [1]}}"#;
        let found = parsed(json, b"abc").unwrap();
        let data: Vec<_> = found
            .request
            .inputs
            .iter()
            .map(|it| it.data.clone())
            .collect();
        let raw = |bytes: &'static [u8]| TensorData::Raw(Bytes::from_static(bytes));
        assert_eq!(
            data,
            [raw(b"ab"), TensorData::Numbers(vec![9.0]), raw(b"c")]
        );
        assert_eq!(
            (found.id.as_deref(), found.binary),
            (Some("7"), vec![false, true])
        );
        assert_eq!(found.request.timeout, Some(Duration::from_micros(1500)));
        assert!(
            parsed(json, b"ab")
                .unwrap_err()
                .contains("0 bytes are left")
        );
        assert!(parsed(json, b"abcd").unwrap_err().contains("1 bytes after"));
    }

    #[test]
    fn what_is_null_is_left_out() {
        let json = r#"{"id": null, "parameters": null, "outputs": null, "inputs": [
            {"name": "x", "datatype": "UINT8", "shape": [1], "parameters": null, "data": [9]}]}"#;
        let found = parsed(json, b"").unwrap();
        assert_eq!(found.request.inputs.len(), 1);
        assert!(found.id.is_none() && found.request.outputs.is_empty());
    }

    #[test]
    fn malformed_requests_say_what_is_wrong() {
        let input = |rest: &str| {
            let json = format!(r#"{{"inputs": [{{"name": "x", "shape": [1], {rest}}}]}}"#);
            parsed(&json, b"").unwrap_err()
        };
        assert!(input(r#""datatype": "FP32""#).contains("neither data nor"));
        let both = r#""datatype": "FP32", "data": [1], "parameters": {"binary_data_size": 0}"#;
        assert!(input(both).contains("both data and"));
        assert!(input(r#""data": [1]"#).contains("datatype"));
        assert!(input(r#""datatype": "BYTES", "data": ["\u00e9"]"#).contains("base64"));
        assert!(parsed("{}", b"").unwrap_err().contains("inputs"));
        // Arrays with an object's values are no object.
        for array in [
            r"[null, null, [], null]",
            r#"{"inputs": [["x", "FP32", [1], null, [1]]]}"#,
            r#"{"inputs": [], "parameters": []}"#,
            r#"{"inputs": [], "outputs": [["y", null]]}"#,
        ] {
            let error = parsed(array, b"").unwrap_err();
            assert!(error.contains("expected an object"), "{array}: {error}");
        }
        assert!(
            parsed("", b"")
                .unwrap_err()
                .contains("not an inference request")
        );
        let body = Bytes::from_static(b"{}");
        let error = parse("m", None, &body, Some(3)).unwrap_err();
        assert!(error.message.contains("is 3, but the body has 2"));
    }
}
