//! The Open Inference Protocol over HTTP.

use serde_json::{Value, json};

use crate::images::{bits, digits, values};
use crate::server::{self, Server};

fn floats(output: &Value) -> Vec<f32> {
    let data = output["data"].as_array().unwrap();
    // As text, since a number of JSON is one of f64.
    data.iter()
        .map(|it| it.to_string().parse().unwrap())
        .collect()
}

#[test]
fn health_and_metadata() {
    let server = Server::start(&[&server::digits()]);
    // Triton's clients look at the status, KServe's at the body.
    let ready = json!({"name": "digits", "ready": true});
    for (path, expected) in [
        ("/v2/health/live", json!({"live": true})),
        ("/v2/health/ready", json!({"live": true, "ready": true})),
        ("/v2/models/digits/ready", ready.clone()),
        ("/v2/models/digits/versions/1/ready", ready),
    ] {
        assert_eq!(server.get(path).json(), expected, "{path}");
    }
    for path in ["/v2", "/v2/"] {
        let metadata = server.get(path).json();
        assert_eq!(metadata["name"], "kiln");
        let extensions = metadata["extensions"].as_array().unwrap();
        assert!(extensions.contains(&json!("binary_tensor_data")));
    }
    let metadata = server.get("/v2/models/digits/versions/1").json();
    let expected = json!({
        "name": "digits", "versions": ["1"], "platform": "onnx_tract",
        "inputs": [{"name": metadata["inputs"][0]["name"], "datatype": "FP32", "shape": [-1, 1, 28, 28]}],
        "outputs": [
            {"name": metadata["outputs"][0]["name"], "datatype": "FP32", "shape": [-1, 10]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
        ],
    });
    assert_eq!(metadata, expected);
    let error = server.get("/v2/models/x").error(404);
    assert!(
        error.contains("`x`") && error.contains("`digits`"),
        "{error}"
    );
    assert!(
        server
            .get("/v2/models/digits/versions/2/ready")
            .error(404)
            .contains("`2`")
    );
    assert!(server.get("/v3").error(404).contains("nothing"));
    assert!(server.get("/predict").error(405).contains("method"));
    let openapi = server.get("/openapi.json").json();
    assert!(openapi["paths"]["/v2/models/{model}/infer"].is_object());
}

#[test]
fn tensors_of_every_form_give_the_same_bits() {
    let server = Server::start(&[&server::digits()]);
    let metadata = server.get("/v2/models/digits").json();
    let [input, scores] = [
        &metadata["inputs"][0]["name"],
        &metadata["outputs"][0]["name"],
    ];
    let images = digits(3);
    let prepared: Vec<f32> = images.iter().flat_map(values).collect();
    let expected: Vec<f32> = images
        .iter()
        .flat_map(|it| it.expected.scores.clone())
        .collect();
    let path = "/v2/models/digits/infer";
    let shape = json!([3, 1, 28, 28]);

    let body = json!({"id": "a-1", "inputs": [{"name": input, "datatype": "FP32", "shape": shape, "data": prepared}]});
    let answer = server.post(path, &[], body.to_string().as_bytes()).json();
    assert_eq!(
        (&answer["id"], &answer["model_version"]),
        (&json!("a-1"), &json!("1"))
    );
    assert_eq!(answer["outputs"][0]["shape"], json!([3, 10]));
    assert_eq!(bits(&floats(&answer["outputs"][0])), bits(&expected));
    let labels: Vec<_> = images.iter().map(|it| it.expected.label.as_str()).collect();
    assert_eq!(answer["outputs"][2]["data"], json!(labels));
    let probabilities: Vec<f32> = images
        .iter()
        .flat_map(|it| it.expected.probabilities.clone())
        .collect();
    assert_eq!(bits(&floats(&answer["outputs"][1])), bits(&probabilities));

    // Nested arrays, one output, and no other.
    let rows: Vec<_> = prepared.chunks(28).map(|row| json!(row)).collect();
    let nested: Vec<_> = rows.chunks(28).map(|rows| json!([rows])).collect();
    let body = json!({
        "inputs": [{"name": input, "datatype": "FP32", "shape": shape, "data": nested}],
        "outputs": [{"name": scores}],
    });
    let answer = server.post(path, &[], body.to_string().as_bytes()).json();
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 1);
    assert_eq!(bits(&floats(&answer["outputs"][0])), bits(&expected));

    // Binary, in and out.
    let raw: Vec<u8> = prepared.iter().flat_map(|it| it.to_le_bytes()).collect();
    let head = json!({
        "inputs": [{"name": input, "datatype": "FP32", "shape": shape, "parameters": {"binary_data_size": raw.len()}}],
        "outputs": [
            {"name": scores, "parameters": {"binary_data": true}},
            {"name": "label", "parameters": {"binary_data": true}},
            {"name": scores, "parameters": {"classification": 2}},
        ],
    })
    .to_string();
    let length = format!("Inference-Header-Content-Length: {}", head.len());
    let body = [head.as_bytes(), &raw].concat();
    let answer = server.post(path, &[&length], &body);
    let length: usize = answer
        .header("inference-header-content-length")
        .unwrap()
        .parse()
        .unwrap();
    let head: Value = serde_json::from_slice(&answer.body[..length]).unwrap();
    let sizes: Vec<_> = head["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["parameters"]["binary_data_size"])
        .collect();
    let texts: usize = labels.iter().map(|it| it.len() + 4).sum();
    assert_eq!(sizes, [&json!(120), &json!(texts), &Value::Null]);
    let found: Vec<f32> = answer.body[length..length + 120]
        .chunks(4)
        .map(|it| f32::from_le_bytes(it.try_into().unwrap()))
        .collect();
    assert_eq!(bits(&found), bits(&expected));
    let first = head["outputs"][2]["data"][0].as_str().unwrap();
    let best = &images[0].expected;
    assert_eq!(
        first,
        format!("{}:{}:{}", best.scores[best.index], best.index, best.label)
    );

    // Binary without JSON: the input of one image.
    let answer = server.post(path, &["Inference-Header-Content-Length: 0"], &raw[..3136]);
    let length = answer.header("inference-header-content-length").unwrap();
    let length: usize = length.parse().unwrap();
    let head: Value = serde_json::from_slice(&answer.body[..length]).unwrap();
    assert_eq!(head["outputs"][0]["shape"], json!([1, 10]));
    let found: Vec<f32> = answer.body[length..length + 40]
        .chunks(4)
        .map(|it| f32::from_le_bytes(it.try_into().unwrap()))
        .collect();
    assert_eq!(bits(&found), bits(&expected[..10]));

    // Image files, which the server prepares.
    let files: Vec<u8> = images
        .iter()
        .flat_map(|it| [&(it.bytes.len() as u32).to_le_bytes()[..], &it.bytes].concat())
        .collect();
    let head = json!({
        "inputs": [{"name": input, "datatype": "BYTES", "shape": [3], "parameters": {"binary_data_size": files.len()}}],
        "outputs": [{"name": scores}],
    })
    .to_string();
    let length = format!("Inference-Header-Content-Length: {}", head.len());
    let answer = server
        .post(path, &[&length], &[head.as_bytes(), &files].concat())
        .json();
    assert_eq!(bits(&floats(&answer["outputs"][0])), bits(&expected));
}

#[test]
fn bad_requests_get_one_clear_error() {
    let server = Server::start(&[&server::digits(), "--max-images", "8"]);
    let metadata = server.get("/v2/models/digits").json();
    let name = &metadata["inputs"][0]["name"];
    let path = "/v2/models/digits/infer";
    let zeros = vec![0.0; 784];
    let input = |changes: Value| {
        let mut input =
            json!({"name": name, "datatype": "FP32", "shape": [1, 1, 28, 28], "data": zeros});
        for (key, value) in changes.as_object().unwrap() {
            input[key] = value.clone();
        }
        json!({"inputs": [input]}).to_string()
    };
    let good = server.post(path, &[], input(json!({})).as_bytes());
    assert_eq!(good.status, 200);
    let huge = i64::MAX;
    for (body, expected) in [
        (String::new(), "not an inference request"),
        ("{".into(), "not an inference request"),
        ("[]".into(), "expected an object"),
        ("{}".into(), "inputs"),
        (r#"{"inputs": []}"#.into(), "no input"),
        (input(json!({"name": "x"})), "no input `x`"),
        (
            input(json!({"datatype": "INT64"})),
            "expected FP32, UINT8 or BYTES",
        ),
        (
            input(json!({"datatype": "UINT8"})),
            "expected FP32, or image files",
        ),
        (input(json!({"datatype": "BYTES"})), "not of its type"),
        (
            input(json!({"shape": [1, 28, 28]})),
            "expected [N, 1, 28, 28]",
        ),
        (
            input(json!({"shape": [1, 28, 28, 1]})),
            "expected [N, 1, 28, 28]",
        ),
        (input(json!({"shape": [2, 1, 28, 28]})), "784 elements"),
        (
            input(json!({"shape": [0, 1, 28, 28], "data": []})),
            "N at least 1",
        ),
        (
            input(json!({"shape": [-1, 1, 28, 28]})),
            "not one of a tensor",
        ),
        (
            input(json!({"shape": [huge, huge, huge, huge]})),
            "not one of a tensor",
        ),
        (input(json!({"shape": "x"})), "not an inference request"),
        (input(json!({"data": "x"})), "not an inference request"),
        (input(json!({"data": [[true]]})), "not an inference request"),
        (input(json!({"data": vec![1e300; 784]})), "finite"),
        (
            input(json!({"datatype": "BYTES", "shape": [1], "data": ["%%"]})),
            "base64",
        ),
        (
            input(json!({"datatype": "BYTES", "shape": [1], "data": ["aGVsbG8="]})),
            "not an image",
        ),
        (
            input(json!({"datatype": "BYTES", "shape": [0], "data": []})),
            "N at least 1",
        ),
        (
            input(json!({"shape": [9, 1, 28, 28], "data": vec![0.0; 9 * 784]})),
            "at most 8 images",
        ),
        ("[".repeat(100_000), "not an inference request"),
    ] {
        let answer = server.post(path, &[], body.as_bytes());
        let error = answer.error(400);
        assert!(
            error.contains(expected),
            "{error}\n{}",
            &body[..body.len().min(200)]
        );
    }
    let outputs = json!({"inputs": [], "outputs": [{"name": "y"}]}).to_string();
    assert!(
        server
            .post(path, &[], outputs.as_bytes())
            .error(400)
            .contains("no output `y`")
    );
    for (header, expected) in [
        ("Inference-Header-Content-Length: x", "not a length"),
        ("Inference-Header-Content-Length: -1", "not a length"),
        (
            "Inference-Header-Content-Length: 99",
            "the body has 2 bytes",
        ),
    ] {
        let error = server.post(path, &[header], b"{}").error(400);
        assert!(error.contains(expected), "{error}");
    }
    let raw = "Inference-Header-Content-Length: 0";
    for bytes in [0, 3135, 2 * 3136] {
        let error = server.post(path, &[raw], &vec![0; bytes]).error(400);
        assert!(error.contains(&format!("{bytes} bytes")), "{error}");
    }
    let error = server
        .post(path, &["Content-Encoding: gzip"], b"{}")
        .error(415);
    assert!(error.contains("compressed"), "{error}");
    assert_eq!(server.get("/v2/health/ready").status, 200);
}
