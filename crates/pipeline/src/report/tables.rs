//! A model's layers and a training's history, as tables and plots take them.

use kiln_model::Model;
use kiln_report::{EpochMetrics, Table};
use kiln_run::{Epoch, History};
use kiln_util::thousands;

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
