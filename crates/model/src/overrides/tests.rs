use proptest::prelude::*;

use super::*;
use crate::Resize;

fn read(text: &str, overrides: &[&str]) -> Result<ModelOverrides, String> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    let labels = |name: &str| match name {
        "labels.txt" => Ok(vec!["cat".into(), "dog".into()]),
        _ => Err(format!("cannot read {name}")),
    };
    ModelOverrides::parse(text, "model.toml", &overrides, labels).map_err(|error| error.to_string())
}

fn record(text: &str) -> Result<Preprocessing, OverridesError> {
    read(text, &[])
        .unwrap()
        .preprocessing(Some([2, 2]), Channels::Rgb)
}

#[test]
fn a_sidecar_says_everything() {
    let text = "preprocess = \"raw\"\nsize = [48, 192]\nchannels = \"bgr\"\nantialias = true\nscale = 0.5\n\
                mean = [104, 117, 123]\nstd = 2\nlabels = \"labels.txt\"\nlayout = \"nhwc\"\noutput = \"probabilities\"\noutput_name = \"scores\"\nthreshold = [0.25, 1]\n";
    let expected = ModelOverrides {
        preprocess: Some(Preprocess::Raw),
        size: Some([48, 192]),
        channels: Some(Channels::Bgr),
        steps: Steps {
            antialias: Some(true),
            ..Steps::default()
        },
        scale: Some(0.5),
        mean: Some(vec![104.0, 117.0, 123.0]),
        std: Some(vec![2.0]),
        labels: Some(vec!["cat".into(), "dog".into()]),
        layout: Some(Layout::Nhwc),
        output: Some(OutputKind::Probabilities),
        output_name: Some("scores".into()),
        threshold: Some(vec![0.25, 1.0]),
    };
    assert_eq!(read(text, &[]), Ok(expected.clone()));
    let set = [
        "preprocess=raw",
        "size=48x192",
        "channels=bgr",
        "antialias=true",
        "scale=1/2",
        "mean=104,117,123",
    ];
    let more = [
        "std=2",
        "labels=labels.txt",
        "layout=nhwc",
        "output=probabilities",
        "output_name=scores",
        "threshold=0.25,1",
    ];
    assert_eq!(read("", &[&set[..], &more].concat()), Ok(expected));
    assert_eq!(
        read("labels = [\"a\", \"b\"]", &[]).unwrap().labels,
        Some(vec!["a".into(), "b".into()])
    );
}

#[test]
fn mistakes_have_a_line_and_a_suggestion() {
    for (text, expected) in [
        (
            "size = 2\nlable = 3",
            "model.toml:2: unknown key `lable`: did you mean `labels`? Valid keys: preprocess, size,",
        ),
        (
            "layouts = \"nhwc\"",
            "model.toml:1: unknown key `layouts`: did you mean `layout`?",
        ),
        ("preprocess = \"tourch\"", "did you mean `torch`?"),
        (
            "size = \"2 by 2\"",
            "expected a size such as 224, or 48x192",
        ),
        (
            "size = 0",
            "`size` must be a whole number from 1 to 8192, found 0",
        ),
        (
            "scale = \"a lot\"",
            "expected a number, or a fraction such as 1/255, found `a lot`",
        ),
        ("mean = [1, true]", "`mean.2` must be a number, found true"),
        (
            "\nlabels = \"none.txt\"",
            "model.toml:2: cannot read none.txt",
        ),
    ] {
        let message = read(text, &[]).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
    let message = read("", &["laout=nhwc"]).unwrap_err();
    assert!(
        message.starts_with("override laout=nhwc: unknown key `laout`: did you mean `layout`?"),
        "{message}"
    );
}

#[test]
fn names_are_records_and_values_change_them() {
    assert_eq!(
        record("preprocess = \"torch\""),
        Ok(Preprocessing::torch(2, 2))
    );
    assert_eq!(
        record("preprocess = \"unit\"\nchannels = \"gray\""),
        Ok(Preprocessing::unit(2, 2, Channels::Gray))
    );
    assert_eq!(
        record("scale = \"1/255\""),
        Ok(Preprocessing::unit(2, 2, Channels::Rgb))
    );
    assert_eq!(
        record("preprocess = \"raw\"\nmean = 5").unwrap().mean,
        [5.0; 3]
    );
    assert_eq!(
        record("preprocess = \"torch\"\nsize = 4").unwrap().height,
        4
    );
}

#[test]
fn what_makes_no_record_is_an_error() {
    assert_eq!(record("size = 3"), Err(OverridesError::NoNormalization));
    let unsized_ = read("preprocess = \"raw\"", &[])
        .unwrap()
        .preprocessing(None, Channels::Rgb);
    assert_eq!(unsized_, Err(OverridesError::NoSize));
    let swapped = record("preprocess = \"caffe\"\nchannels = \"rgb\"")
        .unwrap_err()
        .to_string();
    assert!(swapped.starts_with(
        "`caffe` has a mean for each channel in the order bgr, found the channels rgb"
    ));
    assert!(matches!(
        record("mean = [1, 2]"),
        Err(OverridesError::Record(PreprocessingError::Length { .. }))
    ));
    assert!(matches!(
        record("std = 0"),
        Err(OverridesError::Record(PreprocessingError::Value { .. }))
    ));
}

#[test]
fn a_name_goes_before_all_that_it_comprises() {
    let file = ModelOverrides::from(Preprocessing {
        scale: 9.0,
        ..Preprocessing::raw(5, 6, Channels::Bgr)
    });
    let named = |text| {
        read(text, &[])
            .unwrap()
            .or(file.clone())
            .preprocessing(None, Channels::Gray)
            .unwrap()
    };
    assert_eq!(named("preprocess = \"torch\""), Preprocessing::torch(5, 6));
    assert_eq!(
        named("preprocess = \"unit\""),
        Preprocessing::unit(5, 6, Channels::Bgr)
    );
    let resize = Resize {
        antialias: true,
        ..Resize::default()
    };
    assert_eq!(
        named("antialias = true"),
        Preprocessing {
            scale: 9.0,
            resize,
            ..Preprocessing::raw(5, 6, Channels::Bgr)
        }
    );
}

proptest! {
    #[test]
    fn a_record_survives_as_a_declaration(height in 1_u32..500, width in 1_u32..500, scale in 0.001_f32..10.0) {
        for channels in Channels::ALL {
            let record = Preprocessing { scale, ..Preprocessing::tf(height, width, channels) };
            let back = ModelOverrides::from(record.clone()).preprocessing(None, Channels::Gray);
            prop_assert_eq!(back, Ok(record));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>(), value in any::<String>()) {
        let _ = read(&text, &[]);
        for key in ["size", "scale", "mean", "labels", "layout"] {
            let _ = read("", &[&format!("{key}={value}")]);
        }
    }
}

#[test]
fn the_first_name_that_comes_again_is_found() {
    let labels = |names: &str| names.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(repeated_label(&labels("a b c b a")), Some([1, 3]));
    assert_eq!(repeated_label(&labels("a A b")), None);
    assert_eq!(repeated_label(&[]), None);
}
