//! What becomes of an image, and who specifies it.

use kiln_inference::{ModelOverrides, ModelSpec, Origin, Preprocess};

use super::sentence::{filter, rgb};
use crate::overrides::{Key, Resolved, Specifier};

/// One thing that is known about the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item<'a> {
    /// Its name.
    pub name: &'static str,
    /// In words.
    pub value: String,
    /// Who specifies it.
    pub specifiers: Vec<Specifier<'a>>,
}

const PREPROCESS: Key = ("preprocess", |said| said.preprocess.is_some());

/// Lists all of them.
pub fn items<'a>(spec: &ModelSpec, resolved: &'a Resolved) -> Vec<Item<'a>> {
    let record = &spec.preprocessing;
    let origins = &spec.origins;
    let item = |name, value, origin: Origin, keys: &[Key]| Item {
        name,
        value,
        specifiers: resolved.specifiers(origin, keys),
    };
    let preset_channels: Key = ("preprocess", |said| {
        said.preprocess.and_then(Preprocess::channels).is_some()
    });
    let pipeline: Key = ("preprocess", ModelOverrides::names_steps);
    let orientation = if record.orientation {
        "turned upright by Exif"
    } else {
        "as stored"
    };
    let background = record.background.map_or_else(
        || "alpha dropped".to_owned(),
        |color| format!("on {}", rgb(color)),
    );
    let mut items = vec![
        item(
            "size",
            format!("{}x{}", record.height, record.width),
            origins.size,
            &[("size", |said| said.size.is_some())],
        ),
        item(
            "orientation",
            orientation.into(),
            origins.orientation,
            &[
                ("orientation", |said| said.steps.orientation.is_some()),
                pipeline,
            ],
        ),
        item(
            "transparency",
            background,
            origins.background,
            &[("background", |said| said.steps.background.is_some())],
        ),
        item(
            "resize",
            filter(&record.resize),
            origins.resize,
            &[
                ("resize", |said| said.steps.resize.is_some()),
                ("resize_to", |said| said.steps.resize_to.is_some()),
                ("crop_pct", |said| said.steps.crop_pct.is_some()),
                ("filter", |said| said.steps.filter.is_some()),
                ("antialias", |said| said.steps.antialias.is_some()),
                ("arithmetic", |said| said.steps.arithmetic.is_some()),
                ("padding", |said| said.steps.padding.is_some()),
                ("crop_rounding", |said| said.steps.crop_rounding.is_some()),
                ("reducing_gap", |said| said.steps.reducing_gap.is_some()),
                pipeline,
            ],
        ),
        item(
            "channels",
            record.channels.to_string(),
            origins.channels,
            &[
                ("channels", |said| said.channels.is_some()),
                preset_channels,
            ],
        ),
        item(
            "values",
            values(spec),
            origins.normalization,
            &[
                PREPROCESS,
                ("scale", |said| said.scale.is_some()),
                ("mean", |said| said.mean.is_some()),
                ("std", |said| said.std.is_some()),
            ],
        ),
        item(
            "layout",
            spec.layout.to_string(),
            origins.layout,
            &[("layout", |said| said.layout.is_some())],
        ),
        item(
            "output",
            output(spec),
            origins.output,
            &[("output", |said| said.output.is_some())],
        ),
        item(
            "labels",
            labels(spec),
            origins.labels,
            &[("labels", |said| said.labels.is_some())],
        ),
    ];
    if !spec.thresholds.is_empty() {
        items.push(item(
            "threshold",
            threshold(&spec.thresholds),
            origins.threshold,
            &[("threshold", |said| said.threshold.is_some())],
        ));
    }
    // Where it is not simply the first.
    if origins.output_name != Origin::Default {
        items.push(item(
            "scores",
            format!("output `{}`", kiln_util::shown(&spec.output_name, 40)),
            origins.output_name,
            &[("output_name", |said| said.output_name.is_some())],
        ));
    }
    items
}

/// Writes what probabilities have to exceed: one number where it is the same for all classes.
fn threshold(thresholds: &[f32]) -> String {
    let numbers: Vec<String> = thresholds.iter().map(f32::to_string).collect();
    match numbers.len() {
        _ if numbers.iter().all(|number| *number == numbers[0]) => {
            format!("more than {}", numbers[0])
        }
        count if count <= 8 => format!("more than {}", numbers.join(", ")),
        count => format!("more than {}, ... ({count})", numbers[..8].join(", ")),
    }
}

/// Writes what a pixel value `p` becomes as a formula.
pub fn values(spec: &ModelSpec) -> String {
    let record = &spec.preprocessing;
    let list = |values: &[f32]| {
        let same = values
            .windows(2)
            .all(|pair| pair[0].to_bits() == pair[1].to_bits());
        let shown = if same { &values[..1] } else { values };
        let words: Vec<String> = shown.iter().map(ToString::to_string).collect();
        if same {
            words.concat()
        } else {
            format!("[{}]", words.join(", "))
        }
    };
    let mut text = match (record.scale, divisor(record.scale)) {
        (1.0, _) => "p".to_owned(),
        (_, Some(divisor)) => format!("p / {divisor}"),
        (scale, None) => format!("p * {scale}"),
    };
    let all = |values: &[f32], neutral: f32| {
        values
            .iter()
            .all(|value| value.to_bits() == neutral.to_bits())
    };
    if !all(&record.mean, 0.0) {
        text = format!("{text} - {}", list(&record.mean));
    }
    if !all(&record.std, 1.0) {
        text = if text.contains(" - ") {
            format!("({text})")
        } else {
            text
        };
        text = format!("{text} / {}", list(&record.std));
    }
    text
}

/// Returns the whole number that a scale divides by, where it is one: 255 for 0.003921569.
pub fn divisor(scale: f32) -> Option<f32> {
    let inverse = (1.0 / scale).round();
    ((1.0 / inverse).to_bits() == scale.to_bits()).then_some(inverse)
}

fn output(spec: &ModelSpec) -> String {
    let guess = if spec.origins.output == Origin::Default {
        ", a guess: nobody specifies it"
    } else {
        ""
    };
    format!("{}{guess}", spec.output)
}

fn labels(spec: &ModelSpec) -> String {
    const SHOWN: usize = 8;
    let labels = &spec.labels;
    let known = if spec.origins.labels == Origin::Default {
        "not named, numbers from 0: "
    } else {
        ""
    };
    let more = if labels.len() > SHOWN { ", …" } else { "" };
    let first: Vec<String> = labels
        .iter()
        .take(SHOWN)
        .map(|label| kiln_util::shown(label, 32))
        .collect();
    format!("{} {known}{}{more}", labels.len(), first.join(", "))
}

#[cfg(test)]
mod tests {
    use kiln_inference::{Channels, Preprocessing};
    use kiln_onnx::{Dim, GraphBuilder};

    use super::*;

    fn values_of(record: Preprocessing) -> String {
        let mut graph = GraphBuilder::new("g");
        graph
            .input("x", Dim::batched(record.shape()))
            .output("y", Dim::batched([2]));
        graph.node("Identity", "n", &["x"], "y");
        values(&ModelSpec::new(&graph.finish().unwrap(), &record.into()).unwrap())
    }

    #[test]
    fn values_are_a_formula() {
        assert_eq!(values_of(Preprocessing::raw(1, 1, Channels::Rgb)), "p");
        assert_eq!(
            values_of(Preprocessing::unit(1, 1, Channels::Rgb)),
            "p / 255"
        );
        assert_eq!(
            values_of(Preprocessing::tf(1, 1, Channels::Rgb)),
            "p * 0.007843138 - 1"
        );
        assert_eq!(
            values_of(Preprocessing::caffe(1, 1)),
            "p - [103.939, 116.779, 123.68]"
        );
        assert_eq!(
            values_of(Preprocessing::torch(1, 1)),
            "(p / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]"
        );
    }
}
