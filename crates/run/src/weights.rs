//! Weights by name: the hand-over from the trainer to the exporter.

use std::collections::BTreeMap;

use kiln_model::Model;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// One tensor: its dimensions and its values in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// As many values as the product of the dimensions.
    pub data: Vec<f32>,
}

/// The parameters of a model by name (`conv2d.weight`), laid out as [`kiln_model::Param`] says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weights(pub BTreeMap<String, Tensor>);

/// Weights that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// The bytes are not safetensors.
    #[error("not a safetensors file, or a truncated one ({0}): train again, or restore the file")]
    Format(String),
    /// A tensor of another type than f32.
    #[error("tensor `{name}` has type {found}, expected F32")]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// A parameter that is not there.
    #[error("tensor `{0}` is missing: the weights belong to another recipe")]
    Missing(String),
    /// A parameter of another shape.
    #[error(
        "tensor `{name}` has shape {found:?}, expected {expected:?}: the weights belong to another recipe"
    )]
    Shape {
        /// The tensor.
        name: String,
        /// The model's.
        expected: Vec<usize>,
        /// The file's.
        found: Vec<usize>,
    },
    /// A tensor that the model does not have.
    #[error("tensor `{0}` is not in the model: the weights belong to another recipe")]
    Unknown(String),
}

impl Weights {
    /// As safetensors. The same weights give the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_bytes_with(None, None)
    }

    /// As safetensors with a tensor of bytes and a note beside them.
    pub(crate) fn to_bytes_with(
        &self,
        bytes: Option<(&str, &[u8])>,
        note: Option<(&str, String)>,
    ) -> Vec<u8> {
        let values: Vec<Vec<u8>> = self
            .0
            .values()
            .map(|tensor| tensor.data.iter().flat_map(|x| x.to_le_bytes()).collect())
            .collect();
        let view = |dtype, shape, bytes| {
            TensorView::new(dtype, shape, bytes)
                .expect("a tensor has as many values as its shape says")
        };
        let weights = self.0.iter().zip(&values);
        let weights = weights.map(|((name, tensor), bytes)| {
            (name.as_str(), view(Dtype::F32, tensor.shape.clone(), bytes))
        });
        let bytes = bytes.map(|(name, bytes)| (name, view(Dtype::U8, vec![bytes.len()], bytes)));
        let note = note.map(|(key, text)| [(key.to_string(), text)].into());
        safetensors::serialize(weights.chain(bytes), note)
            .expect("tensors of numbers can be serialised")
    }

    /// Reads safetensors; all tensors must be f32.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| WeightsError::Format(error.to_string()))?;
        Self::from_views(file.iter())
    }

    /// Reads tensors, all of which must be f32.
    pub(crate) fn from_views<'a>(
        views: impl Iterator<Item = (&'a str, TensorView<'a>)>,
    ) -> Result<Self, WeightsError> {
        let tensors = views.map(|(name, view)| {
            if view.dtype() != Dtype::F32 {
                return Err(WeightsError::Type {
                    name: name.into(),
                    found: format!("{:?}", view.dtype()),
                });
            }
            let (values, _) = view.data().as_chunks::<4>();
            let data = values
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect();
            Ok((
                name.to_string(),
                Tensor {
                    shape: view.shape().to_vec(),
                    data,
                },
            ))
        });
        tensors.collect::<Result<_, _>>().map(Self)
    }

    /// The values of a parameter.
    pub fn get(&self, name: &str) -> Result<&Tensor, WeightsError> {
        self.0
            .get(name)
            .ok_or_else(|| WeightsError::Missing(name.into()))
    }

    /// Whether they are the parameters of this model: all of them, of the right shapes, and no
    /// others.
    pub fn check(&self, model: &Model) -> Result<(), WeightsError> {
        for param in model.params() {
            let found = self.get(&param.name)?;
            if found.shape != param.shape {
                return Err(WeightsError::Shape {
                    name: param.name.clone(),
                    expected: param.shape.clone(),
                    found: found.shape.clone(),
                });
            }
        }
        match self
            .0
            .keys()
            .find(|name| !model.params().any(|param| param.name == **name))
        {
            Some(unknown) => Err(WeightsError::Unknown(unknown.clone())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_model::Recipe;
    use proptest::prelude::*;

    use super::*;

    fn small() -> (Model, Weights) {
        let recipe = Recipe::parse(
            "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]",
            "small.toml",
            "small",
            &["input.height=2".into(), "input.width=2".into()],
        );
        let model = recipe.unwrap().model().clone();
        let zeros = |p: &kiln_model::Param| {
            (
                p.name.clone(),
                Tensor {
                    shape: p.shape.clone(),
                    data: vec![0.0; p.len()],
                },
            )
        };
        let weights = Weights(model.params().map(zeros).collect());
        (model, weights)
    }

    #[test]
    fn weights_of_the_model_pass() {
        let (model, weights) = small();
        assert_eq!(weights.check(&model), Ok(()));
    }

    #[test]
    fn weights_of_another_model_are_refused_by_name() {
        let (model, weights) = small();
        let mut missing = weights.clone();
        missing.0.remove("dense.bias");
        assert_eq!(
            missing.check(&model),
            Err(WeightsError::Missing("dense.bias".into()))
        );
        let mut shape = weights.clone();
        shape.0.get_mut("dense.bias").unwrap().shape = vec![9];
        assert!(
            matches!(shape.check(&model), Err(WeightsError::Shape { name, .. }) if name == "dense.bias")
        );
        let mut unknown = weights;
        unknown.0.insert(
            "extra".into(),
            Tensor {
                shape: vec![0],
                data: vec![],
            },
        );
        assert_eq!(
            unknown.check(&model),
            Err(WeightsError::Unknown("extra".into()))
        );
    }

    #[test]
    fn a_truncated_file_is_refused() {
        let bytes = small().1.to_bytes();
        for length in [0, 7, 8, 20, bytes.len() - 1] {
            assert!(
                matches!(
                    Weights::from_bytes(&bytes[..length]),
                    Err(WeightsError::Format(_))
                ),
                "{length}"
            );
        }
    }

    #[test]
    fn another_number_type_is_refused() {
        let view = TensorView::new(Dtype::F64, vec![1], &[0; 8]).unwrap();
        let bytes = safetensors::serialize([("x", view)], None).unwrap();
        assert!(
            matches!(Weights::from_bytes(&bytes), Err(WeightsError::Type { name, .. }) if name == "x")
        );
    }

    proptest! {
        #[test]
        fn weights_read_back_bit_for_bit(values in proptest::collection::vec(any::<u32>(), 0..50)) {
            let data: Vec<f32> = values.iter().map(|&bits| f32::from_bits(bits)).collect();
            let mut weights = Weights::default();
            weights.0.insert("b".into(), Tensor { shape: vec![data.len()], data });
            weights.0.insert("a".into(), Tensor { shape: vec![1, 2], data: vec![1.0, -0.0] });
            let bytes = weights.to_bytes();
            prop_assert_eq!(&Weights::from_bytes(&bytes).unwrap().to_bytes(), &bytes);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Weights::from_bytes(&bytes);
        }
    }
}
