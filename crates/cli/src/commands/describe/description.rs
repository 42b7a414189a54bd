//! What there is to say about a model.

use std::collections::BTreeMap;
use std::path::Path;

use kiln_inference::{ModelSpec, Origin, Preprocessing};
use kiln_onnx::{Dim, TensorInfo};
use kiln_pipeline::Error;
use kiln_pipeline::describe::{Described, Item};
use kiln_pipeline::overrides::Specifier;
use serde::Serialize;

use crate::hints;

/// What there is to say about a model.
#[derive(Debug, Serialize)]
pub struct Description<'a> {
    pub file: String,
    pub bytes: usize,
    pub parameters: usize,
    pub ir_version: i64,
    /// Versions by domain; ONNX's own is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    pub producer: &'a str,
    pub producer_version: &'a str,
    pub inputs: Vec<Tensor>,
    pub outputs: Vec<Tensor>,
    pub operators: BTreeMap<String, usize>,
    pub metadata: BTreeMap<&'a str, &'a str>,
    /// What kiln does with an image; none where it cannot do anything.
    pub image: Option<Image<'a>>,
    /// Why not.
    pub problem: Option<String>,
}

/// What kiln does with an image.
#[derive(Debug, Serialize)]
pub struct Image<'a> {
    pub preprocessing: &'a Preprocessing,
    pub layout: &'static str,
    pub output: &'static str,
    /// The graph's batch size, where it is fixed.
    pub batch: Option<usize>,
    pub labels: &'a [String],
    /// Whether the labels are names; else they are the classes' numbers.
    pub labels_known: bool,
    pub items: Vec<ItemRecord>,
}

/// One thing that is known about the model.
#[derive(Debug, Serialize)]
pub struct ItemRecord {
    pub name: &'static str,
    pub value: String,
    /// Who specifies it: an option, a sidecar, the metadata, the graph, or nobody.
    pub from: String,
}

/// An input or an output.
#[derive(Debug, Serialize)]
pub struct Tensor {
    pub name: String,
    pub r#type: String,
    /// A number or a symbol for each axis, nothing where the file leaves it open; none where the
    /// rank is unknown.
    pub shape: Option<Vec<Axis>>,
}

/// One axis of a shape.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Axis {
    Fixed(usize),
    Symbol(String),
    Open(Option<()>),
}

impl<'a> Description<'a> {
    /// Collects what there is to say about a file.
    pub fn new(path: &Path, described: &'a Described) -> Self {
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
                .map(|spec| Image::new(spec, described)),
            problem: described.spec.as_ref().err().map(problem),
        }
    }
}

/// An error with what to do about it.
fn problem(error: &Error) -> String {
    match hints::of(error) {
        Some(help) => format!("{error}: {help}"),
        None => error.to_string(),
    }
}

impl<'a> Image<'a> {
    fn new(spec: &'a ModelSpec, described: &Described) -> Self {
        Self {
            preprocessing: &spec.preprocessing,
            layout: spec.layout.as_str(),
            output: spec.output.as_str(),
            batch: spec.batch,
            labels: &spec.labels,
            labels_known: spec.origins.labels != Origin::Default,
            items: described.items().iter().map(ItemRecord::from).collect(),
        }
    }
}

impl From<&Item<'_>> for ItemRecord {
    fn from(item: &Item<'_>) -> Self {
        let words: Vec<String> = item.specifiers.iter().map(name).collect();
        Self {
            name: item.name,
            value: item.value.clone(),
            from: words.join(", "),
        }
    }
}

/// What people call one who specifies something.
fn name(specifier: &Specifier<'_>) -> String {
    match specifier {
        Specifier::Request(key) => format!("--set {key}"),
        Specifier::Sidecar(path) => path.display().to_string(),
        Specifier::Metadata => "metadata".into(),
        Specifier::Graph => "graph".into(),
        Specifier::Default => "default".into(),
        // One that is newer than this text.
        _ => "elsewhere".into(),
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
