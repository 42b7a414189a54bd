//! Weights by name: the hand-over from the trainer to the exporter.

use std::collections::{BTreeMap, btree_map};

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

/// The parameters of a model by name (`conv2d.weight`), laid out as [`kiln_model::Param`] specifies.
///
/// ```
/// use kiln_run::{Tensor, Weights};
///
/// let bias = Tensor { shape: vec![2], data: vec![0.5, -0.5] };
/// let mut weights = Weights::default();
/// weights.insert("dense.bias", bias.clone());
/// assert_eq!(Weights::from_bytes(&weights.to_bytes())?.get("dense.bias"), Some(&bias));
/// # Ok::<(), kiln_run::WeightsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weights(BTreeMap<String, Tensor>);

/// Weights that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The bytes are not safetensors.
    #[error("not a safetensors file, or a truncated one ({0})")]
    Format(String),
    /// A tensor of another type than f32.
    #[error("tensor `{name}` has type {found}, expected F32")]
    Type {
        /// Name of the tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// A parameter of the model that is not there.
    #[error("tensor `{0}` is missing: the weights belong to another recipe")]
    Missing(String),
    /// A parameter of another shape.
    #[error(
        "tensor `{name}` has shape {found:?}, expected {expected:?}: the weights belong to another recipe"
    )]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Shape in the model.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A tensor that the model does not have.
    #[error("tensor `{0}` is not in the model: the weights belong to another recipe")]
    Unknown(String),
}

/// What [`Weights::encode`] writes beside the weights.
#[derive(Default)]
pub(crate) struct Extras<'a> {
    /// Tensors of bytes with their names.
    pub bytes: Vec<(&'a str, &'a [u8])>,
    /// An entry of the metadata.
    pub note: Option<(&'a str, String)>,
}

impl Weights {
    /// Returns the tensor of a name, if there is one.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Returns the tensor of a name to be changed, if there is one.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Tensor> {
        self.0.get_mut(name)
    }

    /// Returns the tensor of a name that must be there.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Missing`] if it is not.
    pub fn require(&self, name: &str) -> Result<&Tensor, WeightsError> {
        self.get(name)
            .ok_or_else(|| WeightsError::Missing(name.into()))
    }

    /// Returns the tensor of a name that must be there, to change its values.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Missing`] if it is not.
    pub fn require_mut(&mut self, name: &str) -> Result<&mut Tensor, WeightsError> {
        self.get_mut(name)
            .ok_or_else(|| WeightsError::Missing(name.into()))
    }

    /// Adds a tensor; returns the one that had the name before.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) -> Option<Tensor> {
        self.0.insert(name.into(), tensor)
    }

    /// Removes the tensor of a name and returns it.
    pub fn remove(&mut self, name: &str) -> Option<Tensor> {
        self.0.remove(name)
    }

    /// Returns the tensors with their names, in the order of the names.
    pub fn iter(&self) -> btree_map::Iter<'_, String, Tensor> {
        self.0.iter()
    }

    /// Returns the tensors to be changed with their names, in the order of the names.
    pub fn iter_mut(&mut self) -> btree_map::IterMut<'_, String, Tensor> {
        self.0.iter_mut()
    }

    /// Returns the number of tensors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Encodes them as safetensors. The same weights give the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode(Extras::default())
    }

    /// Encodes them as safetensors with more beside them.
    pub(crate) fn encode(&self, extras: Extras<'_>) -> Vec<u8> {
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
        let Extras { bytes, note } = extras;
        let bytes = bytes
            .into_iter()
            .map(|(name, bytes)| (name, view(Dtype::U8, vec![bytes.len()], bytes)));
        let note = note.map(|(key, text)| [(key.to_string(), text)].into());
        safetensors::serialize(weights.chain(bytes), note)
            .expect("tensors of numbers can be serialized")
    }

    /// Reads safetensors; all tensors must be f32.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Format`] or [`WeightsError::Type`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        let file = SafeTensors::deserialize(bytes).map_err(format)?;
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
            let tensor = Tensor {
                shape: view.shape().to_vec(),
                data: values
                    .iter()
                    .map(|bytes| f32::from_le_bytes(*bytes))
                    .collect(),
            };
            Ok((name.to_string(), tensor))
        });
        tensors.collect::<Result<_, _>>().map(Self)
    }

    /// Checks that they are the parameters of a model: all of them, of the right shapes, and no
    /// others.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Missing`], [`WeightsError::Shape`] or [`WeightsError::Unknown`].
    pub fn check(&self, model: &Model) -> Result<(), WeightsError> {
        for param in model.params() {
            let found = self.require(&param.name)?;
            if found.shape != param.shape {
                return Err(WeightsError::Shape {
                    name: param.name.clone(),
                    expected: param.shape.clone(),
                    found: found.shape.clone(),
                });
            }
        }
        let known = |name: &str| model.params().any(|param| param.name == name);
        match self.0.keys().find(|name| !known(name)) {
            Some(unknown) => Err(WeightsError::Unknown(unknown.clone())),
            None => Ok(()),
        }
    }
}

/// An error of the format.
pub(crate) fn format(error: impl std::fmt::Display) -> WeightsError {
    WeightsError::Format(error.to_string())
}

impl FromIterator<(String, Tensor)> for Weights {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(tensors: I) -> Self {
        Self(tensors.into_iter().collect())
    }
}

/// Tensors that are there already are replaced.
impl Extend<(String, Tensor)> for Weights {
    fn extend<I: IntoIterator<Item = (String, Tensor)>>(&mut self, tensors: I) {
        self.0.extend(tensors);
    }
}

impl IntoIterator for Weights {
    type Item = (String, Tensor);
    type IntoIter = btree_map::IntoIter<String, Tensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Weights {
    type Item = (&'a String, &'a Tensor);
    type IntoIter = btree_map::Iter<'a, String, Tensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Weights {
    type Item = (&'a String, &'a mut Tensor);
    type IntoIter = btree_map::IterMut<'a, String, Tensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use kiln_model::Recipe;
    use proptest::prelude::*;

    use super::*;

    fn tensor(data: &[f32]) -> Tensor {
        Tensor {
            shape: vec![data.len()],
            data: data.to_vec(),
        }
    }

    fn small() -> (Model, Weights) {
        let recipe = Recipe::parse(
            "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]",
            "small.toml",
            "small",
            &["input.height=2".into(), "input.width=2".into()],
        );
        let model = recipe.unwrap().model().clone();
        let zeros = |param: &kiln_model::Param| {
            let tensor = Tensor {
                shape: param.shape.clone(),
                data: vec![0.0; param.len()],
            };
            (param.name.clone(), tensor)
        };
        let weights = model.params().map(zeros).collect();
        (model, weights)
    }

    #[test]
    fn weights_of_the_model_pass() {
        let (model, weights) = small();
        assert_eq!(weights.check(&model), Ok(()));
        assert_eq!(weights.len(), 2);
    }

    #[test]
    fn weights_of_another_model_are_refused_by_name() {
        let (model, weights) = small();
        let mut missing = weights.clone();
        missing.remove("dense.bias");
        assert_eq!(
            missing.check(&model),
            Err(WeightsError::Missing("dense.bias".into()))
        );
        let mut shape = weights.clone();
        shape.get_mut("dense.bias").unwrap().shape = vec![9];
        assert!(
            matches!(shape.check(&model), Err(WeightsError::Shape { name, .. }) if name == "dense.bias")
        );
        let mut unknown = weights;
        unknown.insert("extra", tensor(&[]));
        assert_eq!(
            unknown.check(&model),
            Err(WeightsError::Unknown("extra".into()))
        );
    }

    #[test]
    fn what_extends_weights_replaces_what_was_there() {
        let mut weights = Weights::default();
        assert!(weights.is_empty());
        weights.insert("a", tensor(&[1.0]));
        weights.insert("b", tensor(&[2.0]));
        let other: Weights = [("b".to_string(), tensor(&[3.0]))].into_iter().collect();
        weights.extend(other);
        let values: Vec<f32> = weights.iter().map(|(_, tensor)| tensor.data[0]).collect();
        assert_eq!(values, [1.0, 3.0]);
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
            weights.insert("b", tensor(&data));
            weights.insert("a", Tensor { shape: vec![1, 2], data: vec![1.0, -0.0] });
            let bytes = weights.to_bytes();
            prop_assert_eq!(&Weights::from_bytes(&bytes).unwrap().to_bytes(), &bytes);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Weights::from_bytes(&bytes);
        }
    }
}
