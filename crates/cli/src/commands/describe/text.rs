//! A description for people.

use std::fmt::Write;

use kiln_pipeline::describe::{Axis, Description, Tensor};
use kiln_report::text_table;
use kiln_util::{counted, shown, thousands};

use crate::terminal::bytes;

/// Longest piece of the file's own text that is shown.
const LONGEST: usize = 100;

/// Writes all of it, in paragraphs.
pub fn text(description: &Description<'_>) -> String {
    let Description {
        file,
        parameters,
        ir_version,
        opsets,
        operators,
        metadata,
        image,
        problem,
        ..
    } = description;
    let opsets: Vec<String> = opsets
        .iter()
        .map(|(domain, version)| {
            if domain == "ai.onnx" {
                version.to_string()
            } else {
                format!("{} {version}", shown(domain, LONGEST))
            }
        })
        .collect();
    let producer = format!("{} {}", description.producer, description.producer_version);
    let by = if producer.trim().is_empty() {
        String::new()
    } else {
        format!(", by {}", shown(producer.trim(), LONGEST))
    };
    let mut text = format!(
        "{file}: {}, {}, opset {}, IR version {ir_version}{by}\n\n",
        bytes(description.bytes as u64),
        counted(*parameters as u64, "parameter"),
        opsets.join(", "),
    );
    let tensors = [
        ("input", &description.inputs),
        ("output", &description.outputs),
    ];
    let rows = tensors
        .iter()
        .flat_map(|(kind, tensors)| tensors.iter().map(|tensor| row(kind, tensor)));
    paragraph(
        &mut text,
        &text_table(["", "name", "type", "shape"], rows, 4),
    );
    let rows = operators
        .iter()
        .map(|(name, count)| [shown(name, LONGEST), thousands(*count)]);
    paragraph(&mut text, &text_table(["operator", "nodes"], rows, 1));
    if !metadata.is_empty() {
        let rows = metadata
            .iter()
            .map(|(key, value)| [shown(key, LONGEST), shown(value, LONGEST)]);
        paragraph(&mut text, &text_table(["metadata", "value"], rows, 2));
    }
    if let Some(image) = image {
        let rows = image.items.iter().map(|item| {
            [
                item.name.to_owned(),
                item.value.clone(),
                shown(&item.from, LONGEST),
            ]
        });
        paragraph(
            &mut text,
            &text_table(["setting", "value", "source"], rows, 3),
        );
        if let Some(batch) = image.batch {
            let _ = writeln!(
                text,
                "The graph takes exactly {batch} images at a time; kiln fills up what is missing."
            );
        }
    }
    if let Some(problem) = problem {
        let _ = writeln!(text, "kiln cannot classify images with it yet: {problem}");
    }
    text.trim_end().to_owned() + "\n"
}

fn paragraph(text: &mut String, table: &str) {
    text.push_str(table);
    text.push_str("\n\n");
}

fn row(kind: &str, tensor: &Tensor) -> [String; 4] {
    let axis = |axis: &Axis| match axis {
        Axis::Fixed(size) => size.to_string(),
        Axis::Symbol(name) => shown(name, LONGEST),
        Axis::Open(_) => "?".to_owned(),
    };
    let shape = tensor.shape.as_ref().map_or_else(
        || "unknown".to_owned(),
        |shape| {
            format!(
                "[{}]",
                shape.iter().map(axis).collect::<Vec<_>>().join(", ")
            )
        },
    );
    [
        kind.to_owned(),
        shown(&tensor.name, LONGEST),
        tensor.r#type.clone(),
        shape,
    ]
}
