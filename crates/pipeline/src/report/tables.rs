//! A model's layers and a training's history, as tables and plots take them.

use kiln_model::{Model, Shape};
use kiln_report::{EpochMetrics, Table};
use kiln_run::{Epoch, History};
use kiln_util::thousands;
use serde::Serialize;

/// Makes the table of a model's layers, as Keras's `model.summary()`. Frozen layers are marked in a
/// column of its own, if there are any.
///
/// With `expand`, the layers inside of each layer follow it, indented by how deep they are.
pub fn layer_table(model: &Model, expand: bool) -> Table {
    // As with Keras's `show_trainable`, but only where it says something.
    let any_frozen = model.layers().iter().any(|layer| layer.frozen);
    let row = |name: String, is_frozen: bool, output: Shape, count: usize| {
        let dims: Vec<String> = output.dims().iter().map(ToString::to_string).collect();
        let frozen = any_frozen.then(|| {
            if is_frozen {
                "frozen".into()
            } else {
                String::new()
            }
        });
        let numbers = [format!("[batch, {}]", dims.join(", ")), thousands(count)];
        std::iter::once(name)
            .chain(frozen)
            .chain(numbers)
            .collect::<Vec<_>>()
    };
    let rows = model.layers().iter().flat_map(|layer| {
        let name = format!("{} ({})", layer.name, layer.kind.type_name());
        let mut rows = vec![row(name, layer.frozen, layer.output, layer.count())];
        if expand {
            rows.extend(layer.expanded().into_iter().map(|inner| {
                let indent = "  ".repeat(inner.depth);
                let name = format!("{indent}{} ({})", inner.name, inner.type_name);
                row(name, false, inner.output, inner.count)
            }));
        }
        rows
    });
    let header = ["Layer (type)"]
        .into_iter()
        .chain(any_frozen.then_some("Frozen"))
        .chain(["Output shape", "Param #"]);
    Table::new(header, rows, if any_frozen { 3 } else { 2 })
}

/// What `model.summary()` says, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelSummary<'a> {
    /// The layers in order.
    pub layers: Vec<LayerSummary<'a>>,
    /// Number of values in all parameters.
    pub total_parameters: usize,
    /// Number of those that training changes.
    pub trainable_parameters: usize,
    /// Number of the others: of frozen layers and running statistics.
    pub non_trainable_parameters: usize,
}

/// A layer in a [`ModelSummary`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerSummary<'a> {
    /// The layer's name.
    pub name: &'a str,
    /// Its `type` in a recipe.
    pub r#type: &'a str,
    /// Dimensions of one sample: channels, height and width, or features.
    pub output_shape: Vec<usize>,
    /// Number of values in its parameters.
    pub parameters: usize,
    /// Whether training leaves it as it is.
    pub frozen: bool,
}

impl<'a> ModelSummary<'a> {
    /// Sums up a model.
    pub fn new(model: &'a Model) -> Self {
        let counts = model.counts();
        let layers = model.layers().iter().map(|layer| LayerSummary {
            name: &layer.name,
            r#type: layer.kind.type_name(),
            output_shape: layer.output.dims(),
            parameters: layer.count(),
            frozen: layer.frozen,
        });
        Self {
            layers: layers.collect(),
            total_parameters: counts.total(),
            trainable_parameters: counts.trainable,
            non_trainable_parameters: counts.non_trainable,
        }
    }
}

/// Converts a history to what plots take, with its best epoch.
pub fn curves(history: &History) -> (Vec<EpochMetrics>, Option<u32>) {
    (
        history.epochs.iter().map(epoch_metrics).collect(),
        history.best().map(|epoch| epoch.epoch as u32),
    )
}

/// Converts an epoch to what plots take.
pub fn epoch_metrics(epoch: &Epoch) -> EpochMetrics {
    EpochMetrics {
        epoch: epoch.epoch as u32,
        train_loss: epoch.train_loss,
        train_accuracy: epoch.train_accuracy,
        val_loss: Some(epoch.val_loss),
        val_accuracy: Some(epoch.val_accuracy),
    }
}
