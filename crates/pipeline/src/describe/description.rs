//! What there is to know about a model's file, as it is written.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use kiln_inference::{ModelSpec, Origin, Preprocessing};
use kiln_onnx::{Dim, TensorInfo};
use kiln_report::text_table;
use kiln_util::{counted, shown, thousands};
use serde::Serialize;

use super::Described;
use super::items::{Item, values};
use super::sentence::sentence;
use crate::error::Error;
use crate::overrides::Specifier;

/// Longest piece of the file's own text that is shown.
const LONGEST: usize = 100;

/// What there is to know about a model's file.
#[derive(Debug, Serialize)]
pub struct Description<'a> {
    /// Its path.
    pub file: String,
    /// Its size.
    pub bytes: usize,
    /// Number of parameters.
    pub parameters: usize,
    /// Version of the ONNX format.
    pub ir_version: i64,
    /// Versions by domain; ONNX's own is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// The program that wrote it.
    pub producer: &'a str,
    /// Version of that program.
    pub producer_version: &'a str,
    /// Inputs of the graph.
    pub inputs: Vec<Tensor>,
    /// Outputs of the graph.
    pub outputs: Vec<Tensor>,
    /// Number of nodes by operator.
    pub operators: BTreeMap<String, usize>,
    /// Metadata of the file.
    pub metadata: BTreeMap<&'a str, &'a str>,
    /// What kiln does with an image; none where it cannot do anything.
    pub image: Option<Image<'a>>,
    /// What kiln puts right in the graph before an engine gets it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repairs: Vec<String>,
    /// Why not.
    pub problem: Option<String>,
}

/// What kiln does with an image.
#[derive(Debug, Serialize)]
pub struct Image<'a> {
    /// How an image becomes the input.
    pub preprocessing: &'a Preprocessing,
    /// The same as a sentence.
    pub steps: String,
    /// Order of the axes of the input.
    pub layout: &'static str,
    /// What the output is.
    pub output: &'static str,
    /// The graph's batch size, where it is fixed.
    pub batch: Option<usize>,
    /// Names of the classes.
    pub labels: &'a [String],
    /// Whether the labels are names; else they are the classes' numbers.
    pub labels_known: bool,
    /// What becomes of an image, and who specifies it.
    pub items: Vec<ItemRecord>,
}

/// One thing that is known about the model.
#[derive(Debug, Serialize)]
pub struct ItemRecord {
    /// What is known.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Who specifies it: an option, a sidecar, the metadata, the graph, or nobody.
    pub from: String,
}

/// An input or an output.
#[derive(Debug, Serialize)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub r#type: String,
    /// A number or a symbol for each axis, nothing where the file leaves it open; none where the
    /// rank is unknown.
    pub shape: Option<Vec<Axis>>,
}

/// One axis of a shape.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Axis {
    /// A number.
    Fixed(usize),
    /// A name.
    Symbol(String),
    /// Nothing.
    Open(Option<()>),
}

impl<'a> Description<'a> {
    /// Collects what there is to know about a file. `name` says in the program's words who specifies
    /// something, and `problem` why a model cannot classify images and what to do about it.
    pub fn new(
        path: &Path,
        described: &'a Described,
        name: &dyn Fn(&Specifier<'_>) -> String,
        problem: &dyn Fn(&Error) -> String,
    ) -> Self {
        let model = described.proto();
        let domain = |domain: &str| {
            if domain.is_empty() {
                "ai.onnx".to_owned()
            } else {
                domain.to_owned()
            }
        };
        Self {
            file: path.display().to_string(),
            bytes: described.bytes().len(),
            parameters: model.parameters(),
            ir_version: model.ir_version,
            opsets: model
                .opset_import
                .iter()
                .map(|set| (domain(&set.domain), set.version))
                .collect(),
            producer: &model.producer_name,
            producer_version: &model.producer_version,
            inputs: model.inputs().into_iter().map(Tensor::from).collect(),
            outputs: model.outputs().into_iter().map(Tensor::from).collect(),
            operators: model.operators(),
            metadata: model
                .metadata_props
                .iter()
                .map(|entry| (entry.key.as_str(), entry.value.as_str()))
                .collect(),
            image: described
                .spec
                .as_ref()
                .ok()
                .map(|spec| Image::new(spec, described, name)),
            repairs: described.repairs(),
            problem: described.spec.as_ref().err().map(problem),
        }
    }

    /// Writes all of it for people, in paragraphs; `size` is the size of the file in words.
    pub fn to_text(&self, size: &str) -> String {
        let Self {
            file,
            parameters,
            ir_version,
            opsets,
            operators,
            metadata,
            image,
            repairs,
            problem,
            ..
        } = self;
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
        let producer = format!("{} {}", self.producer, self.producer_version);
        let by = if producer.trim().is_empty() {
            String::new()
        } else {
            format!(", by {}", shown(producer.trim(), LONGEST))
        };
        let mut text = format!(
            "{file}: {}, {}, opset {}, IR version {ir_version}{by}\n\n",
            size,
            counted(*parameters as u64, "parameter"),
            opsets.join(", "),
        );
        let tensors = [("input", &self.inputs), ("output", &self.outputs)];
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
            let _ = writeln!(text, "{}.", image.steps);
            if let Some(batch) = image.batch {
                let _ = writeln!(
                    text,
                    "The graph takes exactly {batch} images at a time; kiln fills up what is missing."
                );
            }
        }
        for repair in repairs {
            let _ = writeln!(text, "Repaired: {}.", shown(repair, usize::MAX));
        }
        if let Some(problem) = problem {
            let _ = writeln!(text, "kiln cannot classify images with it yet: {problem}");
        }
        text.trim_end().to_owned() + "\n"
    }
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

impl<'a> Image<'a> {
    fn new(
        spec: &'a ModelSpec,
        described: &Described,
        name: &dyn Fn(&Specifier<'_>) -> String,
    ) -> Self {
        let record = |item: &Item<'_>| {
            let words: Vec<String> = item.specifiers.iter().map(name).collect();
            ItemRecord {
                name: item.name,
                value: item.value.clone(),
                from: words.join(", "),
            }
        };
        Self {
            preprocessing: &spec.preprocessing,
            steps: sentence(&spec.preprocessing, &values(spec)),
            layout: spec.layout.as_str(),
            output: spec.output.as_str(),
            batch: spec.batch,
            labels: &spec.labels,
            labels_known: spec.origins.labels != Origin::Default,
            items: described.items().iter().map(record).collect(),
        }
    }
}

impl From<TensorInfo> for Tensor {
    fn from(info: TensorInfo) -> Self {
        let axis = |dim| match dim {
            Dim::Fixed(size) => Axis::Fixed(size),
            Dim::Symbol(name) => Axis::Symbol(name),
            Dim::Unknown => Axis::Open(None),
        };
        Self {
            name: info.name,
            r#type: info.data_type.map_or_else(
                || "unknown".into(),
                |found| format!("{found:?}").to_lowercase(),
            ),
            shape: info
                .shape
                .map(|shape| shape.into_iter().map(axis).collect()),
        }
    }
}
