//! Plain HTTP: images in, labels out.

use serde_json::Value;

use crate::images::{Image, digits};
use crate::server::{self, Server};

pub fn assert_is(prediction: &Value, image: &Image) {
    assert_eq!(prediction["label"], image.expected.label.as_str());
    // As text, since a number of JSON is one of f64.
    let probability: f32 = prediction["probability"].to_string().parse().unwrap();
    assert_eq!(probability.to_bits(), image.expected.probability.to_bits());
}

#[test]
fn an_image_is_answered_as_the_model_does() {
    let server = Server::start(&[&server::digits()]);
    for image in digits(10) {
        let answer = server
            .post("/predict?top=3", &["Content-Type: image/png"], &image.bytes)
            .json();
        let prediction = &answer["predictions"][0];
        assert_is(prediction, &image);
        let top = prediction["top"].as_array().unwrap();
        let expected = image.expected.top_k(3);
        for (found, expected) in top.iter().zip(&expected) {
            assert_eq!(found["label"], expected.label);
            let probability: f32 = found["probability"].to_string().parse().unwrap();
            assert_eq!(probability.to_bits(), expected.probability.to_bits());
        }
        assert_eq!((top.len(), &answer["model"]), (3, &Value::from("digits")));
        assert!(prediction["timings_ms"]["inference"].as_f64().unwrap() > 0.0);
        assert!(prediction.get("input").is_none());
    }
    let image = &digits(1)[0];
    let answer = server
        .post("/predict?show_input=true", &[], &image.bytes)
        .json();
    let input = answer["predictions"][0]["input"].as_str().unwrap();
    assert!(input.starts_with("data:image/png;base64,"), "{input}");
    assert_is(&answer["predictions"][0], image);
}

#[test]
fn a_form_has_several_images() {
    let server = Server::start(&[&server::digits()]);
    let images = digits(20);
    let form = |images: &[(&str, &[u8])]| {
        let mut form = Vec::new();
        for (name, bytes) in images {
            let head = format!(
                "--xyz\r\nContent-Disposition: form-data; name=\"image\"; filename=\"{name}\"\r\n\r\n"
            );
            form.extend([head.as_bytes(), bytes, b"\r\n"].concat());
        }
        form.extend(b"--xyz--\r\n");
        form
    };
    let kind = "Content-Type: multipart/form-data; boundary=xyz";
    let names: Vec<String> = (0..20).map(|it| format!("{it}.png")).collect();
    let parts: Vec<_> = names
        .iter()
        .zip(&images)
        .map(|(name, it)| (name.as_str(), &it.bytes[..]))
        .collect();
    let answer = server.post("/predict", &[kind], &form(&parts)).json();
    let predictions = answer["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 20);
    for ((prediction, image), name) in predictions.iter().zip(&images).zip(&names) {
        assert_is(prediction, image);
        assert_eq!(prediction["name"], name.as_str());
    }
    let broken = form(&[("a.png", &images[0].bytes), ("b.png", b"hello")]);
    let error = server.post("/predict", &[kind], &broken).error(400);
    assert!(
        error.contains("image 1 (`b.png`)") && error.contains("not an image"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_answered_is_told() {
    let args = [
        &server::digits()[..],
        "--max-megapixels",
        "1",
        "--max-body",
        "1",
    ];
    let server = Server::start(&args);
    let image = &digits(1)[0];
    for (path, expected) in [
        ("/predict?model=x", 404),
        ("/predict?version=7", 404),
        ("/predict?top=x", 400),
        ("/predict?unknown=1", 400),
        ("/predict?top=-1", 400),
    ] {
        server.post(path, &[], &image.bytes).error(expected);
    }
    assert_eq!(
        server.post("/predict?top=0", &[], &image.bytes).json()["predictions"][0]["top"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert!(
        server
            .post("/predict", &[], b"")
            .error(400)
            .contains("empty")
    );
    server
        .post("/predict", &["Content-Type: application/json"], b"{}")
        .error(415);
    let cut = &image.bytes[..image.bytes.len() / 2];
    assert!(
        server
            .post("/predict", &[], cut)
            .error(400)
            .contains("cannot be decoded")
    );
    // 2,000 x 2,000 pixels in a few bytes.
    let mut bomb = std::io::Cursor::new(Vec::new());
    let large = kiln_inference::image::GrayImage::new(2000, 2000);
    large
        .write_to(&mut bomb, kiln_inference::image::ImageFormat::Png)
        .unwrap();
    let error = server.post("/predict", &[], bomb.get_ref()).error(400);
    assert!(
        error.contains("2000x2000: expected at most 1,000,000 pixels"),
        "{error}"
    );
    server
        .post("/predict", &[], &vec![0; (1 << 20) + 1])
        .error(413);
}

#[test]
fn a_token_keeps_others_out() {
    let mut command = server::command(&[&server::digits()]);
    command.env("KILN_SERVE_TOKEN", "correct-horse-battery");
    let server = Server::spawn(command);
    let image = &digits(1)[0];
    for headers in [
        &[][..],
        &["Authorization: Bearer wrong-horse-battery"],
        &["Authorization: Basic correct-horse-battery"],
        &["Authorization: Bearer"],
    ] {
        let answer = server.post("/predict", headers, &image.bytes);
        assert!(answer.error(401).contains("token"));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        let metrics = server.request("GET", "/metrics", headers, b"");
        metrics.error(401);
    }
    let token = ["Authorization: Bearer correct-horse-battery"];
    assert_is(
        &server.post("/predict", &token, &image.bytes).json()["predictions"][0],
        image,
    );
    for path in ["/v2/health/live", "/v2/health/ready", "/"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
}

#[test]
fn the_page_is_one_file_with_a_policy() {
    let server = Server::start(&[&server::digits()]);
    let page = server.get("/");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'") && policy.contains("sha256-"),
        "{policy}"
    );
    let text = page.text();
    for outside in ["src=\"http", "href=\"http", "@import", "url("] {
        assert!(!text.contains(outside), "{outside}");
    }
    let models = server.get("/models").json();
    assert_eq!(
        (&models[0]["gray"], &models[0]["height"]),
        (&Value::from(true), &Value::from(28))
    );
}

#[test]
fn requests_are_counted_and_have_an_identifier() {
    let server = Server::start(&[&server::digits()]);
    let images = digits(5);
    for image in &images {
        let answer = server.post("/predict", &["X-Request-Id: mine-1"], &image.bytes);
        assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    }
    server.post("/predict", &[], b"hello").error(400);
    let event = server.wait_for("request");
    assert_eq!(
        (&event["id"], &event["code"]),
        (&Value::from("mine-1"), &Value::from(200))
    );
    let metrics = server.get("/metrics").text();
    for line in [
        "kiln_requests_total{protocol=\"http\",route=\"/predict\",code=\"200\"} 5",
        "kiln_requests_total{protocol=\"http\",route=\"/predict\",code=\"400\"} 1",
        "kiln_stage_duration_seconds_count{model=\"digits\",version=\"1\",stage=\"prepare\"} 5",
        "kiln_confidence_count{model=\"digits\",version=\"1\"} 5",
        "kiln_failures_total{model=\"digits\",version=\"1\",reason=\"image\"} 1",
        "kiln_model_ready{model=\"digits\",version=\"1\"} 1",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}\n{metrics}");
    }
    let counted: f64 = metrics
        .lines()
        .filter(|it| it.starts_with("kiln_predictions_total{"))
        .map(|it| it.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert!((counted - 5.0).abs() < 0.5);
    assert!(metrics.ends_with("# EOF\n"));
}
