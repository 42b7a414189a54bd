//! Proof that frozen layers stayed as they were.

use std::collections::BTreeMap;

use kiln_model::Model;
use kiln_run::{Tensor, Weights};
use kiln_util::Hex;
use sha2::{Digest, Sha256};

use crate::TrainError;

/// Returns the SHA-256 of every tensor of the model's frozen layers, running statistics included, by name: of
/// the shape as 64-bit and the values as 32-bit little-endian numbers.
pub fn frozen_checksums(model: &Model, weights: &Weights) -> BTreeMap<String, String> {
    frozen(model)
        .filter_map(|name| {
            Some((
                name.to_string(),
                Hex(&checksum(weights.get(name)?)).to_string(),
            ))
        })
        .collect()
}

/// Checks that the frozen tensors are the same, bit for bit.
pub fn check(model: &Model, before: &Weights, after: &Weights) -> Result<(), TrainError> {
    let same = |name: &&str| match (before.get(name), after.get(name)) {
        (Some(a), Some(b)) => checksum(a) == checksum(b),
        _ => false,
    };
    match frozen(model).find(|name| !same(name)) {
        Some(changed) => Err(TrainError::FrozenChanged(changed.to_string())),
        None => Ok(()),
    }
}

fn frozen(model: &Model) -> impl Iterator<Item = &str> {
    let layers = model.layers().iter().filter(|layer| layer.frozen);
    layers
        .flat_map(|layer| &layer.params)
        .map(|param| param.name.as_str())
}

/// Returns the checksum of a tensor's shape and values.
pub fn checksum(tensor: &Tensor) -> [u8; 32] {
    let mut hash = Sha256::new();
    for dim in &tensor.shape {
        hash.update((*dim as u64).to_le_bytes());
    }
    let mut bytes = Vec::with_capacity(1 << 16);
    for values in tensor.data.chunks(1 << 14) {
        bytes.clear();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        hash.update(&bytes);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use kiln_model::Recipe;

    use super::*;
    use crate::initial_weights;

    fn model() -> Model {
        let text = "layers = [{ type = \"flatten\" }, { type = \"batch_norm\" }, { type = \"dense\", units = 10 }]";
        Recipe::parse(text, "s.toml", "s", &["training.freeze=2".into()])
            .unwrap()
            .model()
            .clone()
    }

    #[test]
    fn every_frozen_tensor_has_a_checksum_and_no_other() {
        let weights = initial_weights(&model(), 0);
        let names: Vec<_> = frozen_checksums(&model(), &weights).into_keys().collect();
        let expected = ["bias", "running_mean", "running_var", "weight"]
            .map(|name| format!("batch_norm.{name}"));
        assert_eq!(names, expected);
    }

    #[test]
    fn a_change_of_one_bit_is_found_and_named() {
        let before = initial_weights(&model(), 0);
        let mut after = before.clone();
        after.get_mut("dense.weight").unwrap().data[0] += 1.0;
        check(&model(), &before, &after).unwrap();
        let value = &mut after.get_mut("batch_norm.running_mean").unwrap().data[783];
        *value = f32::from_bits(value.to_bits() ^ 1);
        let error = check(&model(), &before, &after).unwrap_err().to_string();
        assert!(error.contains("`batch_norm.running_mean`"), "{error}");
    }
}
