//! Feature vectors of images: what a model computes up to a value of its graph, written for NumPy.
//!
//! The value is the one that the model's classifier takes, or one that is named; a model without a
//! classifier gives its own output.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use kiln_data::NpyWriter;
use kiln_exporter::cut;
use kiln_inference::{LoadError, LoadErrorKind, Model, StreamOptions, StreamSummary};
use kiln_model::graph::Graph;
use kiln_onnx::{Metadata, ModelProto, NodeProto, OutputKind};
use kiln_util::{AtomicFile, FileError, counted, shown, thousands};
use serde::Serialize;

use crate::context::Context;
use crate::engines::{EngineRequest, explain, open_with_external_data};
use crate::error::Result;
pub use crate::error::models::EmbedError;
use crate::evaluate::run_through;
use crate::event::{Event, Task};
use crate::inputs::{Input, Inputs};
use crate::overrides::Resolved;
use crate::runtime::RuntimeRecord;
use crate::segments::{find, unknown_output};

/// Which vectors are computed, and on what.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct EmbedRequest {
    /// What the graph runs on, and what is specified about the model; labels and the kind of its
    /// output do not count.
    pub engine: EngineRequest,
    /// A segment, a node or a value of the graph; where not given, what the classifier takes.
    pub output: Option<String>,
    /// Images per batch; 64, or fewer of large images, if not given.
    pub batch_size: Option<usize>,
}

impl EmbedRequest {
    /// Asks for what the classifier takes.
    pub fn new(engine: EngineRequest) -> Self {
        Self {
            engine,
            ..Self::default()
        }
    }
}

/// The value of a graph that the vectors are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FeatureValue {
    /// The segment that ends with it.
    pub segment: String,
    /// The file's name of it.
    pub value: String,
    /// Its shape, such as `[N, 1280]`.
    pub shape: String,
    /// Number of values in a vector.
    pub features: usize,
    /// Whether a vector has the mean of each channel over height and width.
    pub pooled: bool,
}

impl FeatureValue {
    /// Chooses the value of a graph.
    fn of(graph: &Graph, output: Option<&str>, file: &Path) -> Result<Self, EmbedError> {
        let until = graph.classifier.unwrap_or(graph.segments.len());
        let count = match output {
            Some(output) => find(graph, output).ok_or_else(|| EmbedError::Output {
                file: file.into(),
                problem: unknown_output(graph, output),
            })?,
            None => until,
        };
        let last = graph.segments[..count].last();
        let last = last.ok_or_else(|| EmbedError::NoFeatures { file: file.into() })?;
        let shape = last.shape().ok_or_else(|| EmbedError::UnknownShape {
            segment: last.name.clone(),
        })?;
        let (features, pooled) = match last.sample().as_deref() {
            Some(&[features] | &[features, 1, 1]) if features > 1 => (features, false),
            Some(&[channels, height, width]) if channels > 1 && height * width > 0 => {
                (channels, true)
            }
            found => {
                let mut others = graph.segments[count..]
                    .iter()
                    .take(until.saturating_sub(count));
                let instead = others.find(|segment| segment.sample().is_some_and(|s| s.len() == 1));
                return Err(EmbedError::Shape {
                    segment: last.name.clone(),
                    shape: shape.to_string(),
                    tokens: found.filter(|found| found.len() == 2).map(|found| found[0]),
                    instead: instead.map(|segment| segment.name.clone()),
                    file: file.into(),
                });
            }
        };
        Ok(Self {
            segment: last.name.clone(),
            value: last.output.clone(),
            shape: shape.to_string(),
            features,
            pooled,
        })
    }

    /// The part of a model that gives the vectors, `[batch, features]`.
    fn cut(&self, model: &ModelProto) -> Result<ModelProto, EmbedError> {
        let mut prefix = cut(model, &self.value, self.features)?;
        let graph = prefix.graph.get_or_insert_default();
        if self.pooled
            && let Some(flatten) = graph.node.pop()
        {
            // No other value has this name: it begins with the unique one of the flattened value.
            let pooled = format!("{}.pooled", flatten.name);
            graph.node.push(NodeProto {
                op_type: "GlobalAveragePool".into(),
                name: pooled.clone(),
                input: flatten.input.clone(),
                output: vec![pooled.clone()],
                ..NodeProto::default()
            });
            graph.node.push(NodeProto {
                input: vec![pooled],
                ..flatten
            });
        }
        Ok(prefix)
    }
}

/// A model up to the value that the vectors are, ready to run.
pub struct Embedder {
    model: Model,
    value: FeatureValue,
    batch_size: Option<usize>,
}

impl Embedder {
    /// Loads a model from its file, with the weights that it keeps in other files.
    ///
    /// # Errors
    ///
    /// [`EmbedError`] if there is no such value or it is no vector, or why the model cannot be loaded.
    pub fn open(path: &Path, request: &EmbedRequest, context: &Context<'_>) -> Result<Self> {
        let file = open_with_external_data(path)?;
        let path = file.path().unwrap_or(path);
        let mut resolved = Resolved::new(path, &request.engine.overrides)?;
        let is_recorded = |metadata: Metadata| metadata.preprocessing.is_some();
        if !resolved.all().specifies_normalization()
            && !file.metadata().is_some_and(is_recorded)
            && let Some(found) = resolved.find_config(path, file.proto()?)?
        {
            context.emit(&Event::ConfigFound { found });
        }
        let fail = |kind: LoadErrorKind| {
            let origin = file.to_string();
            explain(LoadError { origin, kind }, &resolved, || file.metadata())
        };
        let proto = file.proto()?;
        let Metadata {
            preprocessing,
            layout,
            ..
        } = proto.metadata().map_err(|error| fail(error.into()))?;
        let mut specified = resolved.all();
        (specified.labels, specified.output) = (None, None);
        let recorded = preprocessing.as_ref();
        let size = specified
            .size
            .or_else(|| recorded.map(|record| [record.height, record.width]));
        let pixels = |size: [u32; 2]| size.map(|side| side as usize);
        let graph =
            kiln_import::graph(proto, size.map(pixels)).map_err(|source| EmbedError::Graph {
                file: path.into(),
                source: Box::new(source),
            })?;
        let value = FeatureValue::of(&graph, request.output.as_deref(), path)?;
        let mut prefix = value.cut(proto)?;
        prefix.set_metadata(&Metadata {
            preprocessing,
            labels: None,
            layout,
            output: Some(OutputKind::Logits),
            output_name: None,
            threshold: None,
            provenance: BTreeMap::new(),
            golden: None,
        });
        let options = request.engine.options(context).with_declared(specified);
        let model = Model::from_bytes(&kiln_onnx::encode(&prefix), &options);
        Ok(Self {
            model: model.map_err(|error| fail(error.kind))?,
            value,
            batch_size: request.batch_size,
        })
    }

    /// Returns the value that the vectors are.
    pub const fn value(&self) -> &FeatureValue {
        &self.value
    }

    /// Returns the model that gives the vectors.
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// Computes the vectors of all inputs; `each` gets those of the images that can be read, in order.
    /// Returns nothing if the work was cancelled.
    ///
    /// What cannot be read is treated as by [`classify`](crate::evaluate::classify).
    pub fn embed(
        &self,
        inputs: Inputs,
        context: &Context<'_>,
        mut each: impl FnMut(&Input, &[f32]) -> Result<()>,
    ) -> Result<Option<StreamSummary>> {
        let task = context.task(Task::Features, inputs.count);
        let options = StreamOptions::default().with_batch_size(self.batch_size);
        run_through(&self.model, inputs, &options, context, |input, computed| {
            task.advance(1);
            computed.map_or(Ok(()), |computed| each(input, computed.scores))
        })
    }

    /// Writes the vectors of all inputs to a file in NumPy's format, `[images, features]`, and beside
    /// it, under the same name ending in .csv, which image each row is: its `path`, or its `index`
    /// where the images have no paths, and its `label`, where they have labels, which count
    /// `classes`. Both files are written whole or not at all; memory does not grow with the images.
    /// Returns nothing if the work was cancelled.
    pub fn write(
        &self,
        inputs: Inputs,
        classes: &[String],
        vectors: &Path,
        context: &Context<'_>,
    ) -> Result<Option<Embedded>> {
        check_name(vectors)?;
        let (has_paths, has_labels) = (inputs.has_paths, inputs.has_labels);
        let mut out = Output::create(vectors, self.value.features, has_paths, has_labels)?;
        let summary = self.embed(inputs, context, |input, vector| {
            let label = input.label.and_then(|label| classes.get(label as usize));
            Ok(out.write(input, label.map_or("", String::as_str), vector)?)
        })?;
        let Some(summary) = summary else {
            return Ok(None);
        };
        out.finish()?;
        Ok(Some(Embedded {
            vectors: vectors.into(),
            table: table_beside(vectors),
            value: self.value.clone(),
            images: summary.images,
            skipped: summary.failed,
            seconds: summary.elapsed.as_secs_f64(),
            runtime: RuntimeRecord::from(&self.model),
        }))
    }
}

/// Checks that the name of a file of vectors ends as what it is to be.
pub fn check_name(vectors: &Path) -> Result<(), EmbedError> {
    let ending = vectors.extension();
    if ending.is_some_and(|ending| ending.eq_ignore_ascii_case("npy")) {
        return Ok(());
    }
    Err(EmbedError::Ending {
        path: vectors.into(),
    })
}

/// Returns the file beside a file of vectors that has a line for each of its rows.
pub fn table_beside(vectors: &Path) -> PathBuf {
    vectors.with_extension("csv")
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Embedded {
    /// The file of vectors.
    pub vectors: PathBuf,
    /// The file with a line for each of its rows.
    pub table: PathBuf,
    /// The value that the vectors are.
    #[serde(flatten)]
    pub value: FeatureValue,
    /// Number of images, and of rows.
    pub images: u64,
    /// Number of images that could not be read.
    pub skipped: u64,
    /// From the first image to the last.
    pub seconds: f64,
    /// What the graph ran on.
    pub runtime: RuntimeRecord,
}

impl Embedded {
    /// Describes for people what the vectors are and where they were written.
    pub fn to_text(&self) -> String {
        let value = &self.value;
        let pooled = if value.pooled {
            ", the mean of each channel over height and width"
        } else {
            ""
        };
        format!(
            "Vectors: the output of `{}`, {}{pooled}; {:.1} images/s\n{} of {} to {}, with their images in {}\n",
            shown(&value.segment, usize::MAX),
            value.shape,
            self.images as f64 / self.seconds.max(f64::MIN_POSITIVE),
            counted(self.images, "vector"),
            thousands(value.features),
            self.vectors.display(),
            self.table.display(),
        )
    }
}

/// The two files under way.
struct Output {
    vectors: NpyWriter<AtomicFile>,
    table: csv::Writer<AtomicFile>,
    has_paths: bool,
    has_labels: bool,
}

impl Output {
    fn create(
        vectors: &Path,
        width: usize,
        has_paths: bool,
        has_labels: bool,
    ) -> Result<Self, FileError> {
        let file = AtomicFile::create(vectors)?;
        let table = csv::Writer::from_writer(AtomicFile::create(&table_beside(vectors))?);
        let begun = NpyWriter::new(file, width).map_err(|source| FileError::Write {
            path: vectors.into(),
            source,
        });
        let mut output = Self {
            vectors: begun?,
            table,
            has_paths,
            has_labels,
        };
        let first = if has_paths { "path" } else { "index" };
        output.line(first, "label")?;
        Ok(output)
    }

    fn write(&mut self, input: &Input, label: &str, vector: &[f32]) -> Result<(), FileError> {
        let written = self.vectors.row(vector);
        written.map_err(|source| self.vectors.get_ref().failed(source))?;
        match input.path().filter(|_| self.has_paths) {
            Some(path) => self.line(&path, label),
            None => self.line(&input.index.to_string(), label),
        }
    }

    fn line(&mut self, image: &str, label: &str) -> Result<(), FileError> {
        let label = self.has_labels.then_some(label);
        let line = std::iter::once(image).chain(label);
        let written = self.table.write_record(line);
        written.map_err(|error| self.table.get_ref().failed(io::Error::from(error)))
    }

    fn finish(mut self) -> Result<(), FileError> {
        let flushed = self.table.flush();
        flushed.map_err(|source| self.table.get_ref().failed(source))?;
        let path = self.vectors.get_ref().path().to_owned();
        let finished = self.vectors.finish();
        let vectors = finished.map_err(|source| FileError::Write { path, source })?;
        let table = self.table.into_inner().map_err(|error| {
            let path = PathBuf::from("the table of images");
            let source = error.into_error();
            FileError::Write { path, source }
        })?;
        table.commit()?;
        vectors.commit()
    }
}
