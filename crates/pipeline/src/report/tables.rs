//! A model's layers and a training's history, as tables and plots take them.

use kiln_model::Model;
use kiln_report::{EpochMetrics, Table};
use kiln_run::{Epoch, History};
use kiln_util::thousands;
use serde::Serialize;

/// Makes the table of a model's layers, as Keras's `model.summary()`. Frozen layers are marked in a
/// column of its own, if there are any.
pub fn layer_table(model: &Model) -> Table {
    // As with Keras's `show_trainable`, but only where it says something.
    let any_frozen = model.layers().iter().any(|layer| layer.frozen);
    let rows = model.layers().iter().map(|layer| {
        let dims: Vec<String> = layer
            .output
            .dims()
            .iter()
            .map(ToString::to_string)
            .collect();
        let name = format!("{} ({})", layer.name, layer.kind.type_name());
        let frozen = any_frozen.then(|| {
            if layer.frozen {
                "frozen".into()
            } else {
                String::new()
            }
        });
        let numbers = [
            format!("[batch, {}]", dims.join(", ")),
            thousands(layer.count()),
        ];
        std::iter::once(name)
            .chain(frozen)
            .chain(numbers)
            .collect::<Vec<_>>()
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
    let metrics = |epoch: &Epoch| EpochMetrics {
        epoch: epoch.epoch as u32,
        train_loss: epoch.train_loss,
        train_accuracy: epoch.train_accuracy,
        val_loss: Some(epoch.val_loss),
        val_accuracy: Some(epoch.val_accuracy),
    };
    (
        history.epochs.iter().map(metrics).collect(),
        history.best().map(|epoch| epoch.epoch as u32),
    )
}
