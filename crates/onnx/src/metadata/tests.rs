use kiln_model::{Channels, Preprocess};
use proptest::prelude::*;

use super::*;

fn full() -> Metadata {
    Metadata {
        preprocessing: Some(Preprocessing::unit(28, 28, Channels::Gray)),
        labels: Some(vec!["zero".into(), "é \"quoted\"".into()]),
        layout: Some(Layout::Nhwc),
        output: Some(OutputKind::Logits),
        output_name: None,
        threshold: None,
        provenance: [("seed".to_owned(), "7".to_owned())].into(),
        golden: Some(golden()),
    }
}

fn golden() -> Golden {
    let vector = GoldenVector {
        source: "made up".into(),
        height: 1,
        width: 2,
        channels: 1,
        pixels: vec![0, 255],
        scores: vec![0.1, -3.5e-7],
        label: "zero".into(),
        tolerance: 1e-4,
    };
    Golden {
        computed_by: "hand".into(),
        vectors: vec![vector],
    }
}

fn props(key: &str, value: &str) -> Vec<StringStringEntryProto> {
    vec![StringStringEntryProto {
        key: key.into(),
        value: value.into(),
    }]
}

fn message(key: &str, value: &str) -> String {
    Metadata::from_props(&props(key, value))
        .unwrap_err()
        .to_string()
}

#[test]
fn everything_survives() {
    assert_eq!(Metadata::from_props(&full().to_props()), Ok(full()));
    assert_eq!(full().to_props()[0], props("kiln.format", "1")[0]);
    let new = Metadata {
        output: Some(OutputKind::Sigmoid),
        output_name: Some("scores".into()),
        ..full()
    };
    assert_eq!(Metadata::from_props(&new.to_props()), Ok(new.clone()));
    assert_eq!(new.to_props()[0], props("kiln.format", "2")[0]);
    let new = Metadata {
        threshold: Some(vec![0.5, 0.25]),
        ..full()
    };
    assert_eq!(Metadata::from_props(&new.to_props()), Ok(new.clone()));
    assert_eq!(new.to_props()[0], props("kiln.format", "2")[0]);
}

#[test]
fn every_key_is_replaced() {
    let mut model = ModelProto::default();
    let all = Metadata {
        output_name: Some("scores".into()),
        threshold: Some(vec![0.5]),
        ..full()
    };
    model.set_metadata(&all);
    model.set_metadata(&all);
    assert_eq!(model.metadata(), Ok(all));
}

#[test]
fn a_record_is_written_as_ever_unless_it_has_new_steps() {
    let value = |metadata: &Metadata, key: &str| {
        let props = metadata.to_props();
        let entry = props.iter().find(|entry| entry.key == key);
        entry.map(|entry| entry.value.clone()).unwrap_or_default()
    };
    let mut metadata = full();
    let text = value(&metadata, "kiln.preprocessing");
    assert_eq!(
        text,
        "{\"height\":28,\"width\":28,\"channels\":\"gray\",\"resize\":{\"antialias\":false},\
         \"scale\":0.003921569,\"mean\":[0.0],\"std\":[1.0]}"
    );
    metadata.preprocessing = Some(Preprocess::Timm.record(224, 224, Channels::Rgb));
    assert_eq!(value(&metadata, "kiln.format"), "2");
    let text = value(&metadata, "kiln.preprocessing");
    assert!(
        text.starts_with(
            "{\"orientation\":true,\"height\":224,\"width\":224,\"channels\":\"rgb\",\"resize\":{\"fit\":\"shorter\",\
             \"size\":[256,256],\"filter\":\"bicubic\",\"antialias\":true,\"arithmetic\":\"pillow\"}"
        ),
        "{text}"
    );
    assert_eq!(Metadata::from_props(&metadata.to_props()), Ok(metadata));
}

#[test]
fn a_third_party_model_has_none() {
    assert_eq!(
        Metadata::from_props(&props("author", "someone")),
        Ok(Metadata::default())
    );
}

#[test]
fn setting_replaces_own_keys_and_keeps_others() {
    let mut model = ModelProto {
        metadata_props: props("author", "someone"),
        ..Default::default()
    };
    model.set_metadata(&full());
    model.set_metadata(&Metadata {
        labels: None,
        ..full()
    });
    assert_eq!(
        model.metadata(),
        Ok(Metadata {
            labels: None,
            ..full()
        })
    );
    assert_eq!(model.metadata_props[0].key, "author");
    assert_eq!(model.metadata_props.len(), 7);
}

#[test]
fn a_newer_format_is_refused_before_anything_else() {
    let mut props = props("kiln.labels", "not what it was");
    props.push(StringStringEntryProto {
        key: "kiln.format".into(),
        value: "3".into(),
    });
    assert_eq!(
        Metadata::from_props(&props).unwrap_err().to_string(),
        "the model's metadata has format 3, this kiln reads up to 2"
    );
    assert!(message("kiln.format", "one").contains("expected 1 to 2, found `one`"));
}

#[test]
fn errors_name_the_key() {
    for (key, value, reason) in [
        (
            "kiln.labels",
            "[1]",
            "invalid type: integer `1`, expected a string",
        ),
        ("kiln.labels", "[]", "there are no labels"),
        ("kiln.labels", "[\"a\"", "EOF while parsing"),
        (
            "kiln.output",
            "softmax",
            "expected one of `logits`, `probabilities`, `log_probabilities`, `sigmoid`, `sigmoid_logits`, found `softmax`",
        ),
        (
            "kiln.layout",
            "NHWC",
            "expected one of `nchw`, `nhwc`, found `NHWC`",
        ),
        ("kiln.preprocessing", "{}", "missing field `height`"),
        ("kiln.provenance", "[]", "invalid type"),
    ] {
        let message = message(key, value);
        assert!(
            message.starts_with(&format!("metadata key `{key}`: ")),
            "{message}"
        );
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn a_record_that_does_not_fit_itself_is_refused() {
    let mut record = Preprocessing::unit(28, 28, Channels::Gray);
    record.std = vec![0.0];
    let metadata = Metadata {
        preprocessing: Some(record),
        ..full()
    };
    let error = Metadata::from_props(&metadata.to_props())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("metadata key `kiln.preprocessing`: `std` is 0"),
        "{error}"
    );
}

#[test]
fn golden_vectors_that_cannot_be_replayed_are_refused() {
    let broken = |change: fn(&mut GoldenVector)| {
        let mut golden = golden();
        change(&mut golden.vectors[0]);
        Metadata::from_props(
            &Metadata {
                golden: Some(golden),
                ..full()
            }
            .to_props(),
        )
        .unwrap_err()
        .to_string()
    };
    let start = "metadata key `kiln.golden`: vector 0: ";
    for (message, reason) in [
        (
            broken(|v| v.height = 2),
            "2 bytes of pixels are no image of 2x2 with 1 channels",
        ),
        (
            broken(|v| (v.height, v.width, v.pixels) = (0, 0, Vec::new())),
            "0 bytes of pixels are no image of 0x0",
        ),
        (
            broken(|v| (v.height, v.width, v.channels) = (u32::MAX, u32::MAX, 4)),
            "are no image of 4294967295x",
        ),
        (
            broken(|v| v.scores.clear()),
            "expected one finite score per class",
        ),
        (
            broken(|v| v.tolerance = 0.0),
            "the tolerance is 0: expected a number above 0",
        ),
    ] {
        assert!(
            message.starts_with(start) && message.contains(reason),
            "{message}"
        );
    }
    let none = Metadata {
        golden: Some(Golden {
            vectors: Vec::new(),
            ..golden()
        }),
        ..full()
    };
    assert!(
        Metadata::from_props(&none.to_props())
            .unwrap_err()
            .to_string()
            .contains("there are no vectors")
    );
    let text = serde_json::to_string(&golden()).unwrap();
    assert!(text.contains("\"pixels\":\"AP8=\""), "{text}");
    assert!(message("kiln.golden", &text.replace("AP8=", "A*8=")).contains("expected base64"));
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    let twice = [
        props("kiln.output", "logits"),
        props("kiln.output", "probabilities"),
    ]
    .concat();
    assert!(
        Metadata::from_props(&twice)
            .unwrap_err()
            .to_string()
            .contains("the key is there twice")
    );
}

proptest! {
    #[test]
    fn any_labels_and_provenance_survive(
        labels in prop::collection::hash_set(any::<String>(), 1..5),
        provenance in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4),
    ) {
        let metadata = Metadata { labels: Some(labels.into_iter().collect()), provenance, ..full() };
        prop_assert_eq!(Metadata::from_props(&metadata.to_props()), Ok(metadata));
    }

    #[test]
    fn any_score_and_pixel_survives(
        scores in prop::collection::vec(any::<f32>().prop_filter("finite", |x| x.is_finite()), 1..5),
        pixels in prop::collection::vec(any::<u8>(), 1..50),
    ) {
        let mut golden = golden();
        golden.vectors[0] = GoldenVector { width: pixels.len() as u32, pixels, scores, ..golden.vectors[0].clone() };
        let metadata = Metadata { golden: Some(golden), ..full() };
        prop_assert_eq!(Metadata::from_props(&metadata.to_props()), Ok(metadata));
    }

    #[test]
    fn any_value_is_read_or_refused_without_panic(value in any::<String>()) {
        for key in OWN {
            let _ = Metadata::from_props(&props(key, &value));
        }
    }
}
