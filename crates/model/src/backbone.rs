//! Pretrained convolution bases that a recipe can name.

use serde::{Deserialize, Serialize, Serializer};

use crate::{
    Activation, Conv2d, GraphLayer, LayerKind, LayerSpec, Layout, MaxPool, Padding, Pool,
    Preprocessing,
};

/// `[backbone]`: a pretrained base before the recipe's own layers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backbone {
    /// The network; a recipe has only the name of one that is compiled in.
    #[serde(
        rename = "name",
        serialize_with = "name_only",
        skip_serializing_if = "Base::is_file"
    )]
    pub base: Base,
    /// An asset's name or the path of an ONNX file.
    pub weights: String,
    /// Of a file: the node, value or layer that the recipe's own layers come after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// A convolutional network without its classifier, compiled into the program, whose weights come
/// from a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Base {
    /// As written in a recipe.
    pub name: String,
    /// Number of channels of its input images.
    pub channels: usize,
    /// The asset that holds its weights, where there is one: the default in a recipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Its layers, each with a name.
    pub layers: Vec<LayerSpec>,
    /// Of a network that is read from its file and run by an inference engine: what it takes.
    #[serde(skip)]
    pub file: Option<FileBase>,
}

/// What is known of a base that is read from a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileBase {
    /// Number of channels of its input images.
    pub channels: usize,
    /// The order of the axes of its images.
    pub layout: Layout,
    /// Height and width of its images in pixels, where they are known.
    pub size: Option<[u32; 2]>,
    /// How it expects its images to be prepared, if the file or its sidecar says so.
    pub preprocessing: Option<Preprocessing>,
    /// The graph up to the value that the recipe's own layers come after.
    pub graph: GraphLayer,
}

impl Base {
    /// The base that a file holds: one layer, called `backbone`.
    pub fn of_file(name: &str, file: FileBase) -> Self {
        Self {
            name: name.into(),
            channels: file.channels,
            weights: None,
            layers: vec![LayerSpec {
                name: Some("backbone".into()),
                kind: LayerKind::Graph(file.graph.clone()),
            }],
            file: Some(file),
        }
    }

    /// Whether it is read from a file and run by an inference engine.
    pub fn is_file(&self) -> bool {
        self.file.is_some()
    }

    /// VGG16 without its dense layers: 13 convolutions in 5 blocks, called as in Keras:
    /// `block1_conv1`, …, `block5_pool`. Simonyan and Zisserman (2015), configuration D.
    pub fn vgg16() -> Self {
        let mut layers = Vec::new();
        for (block, filters) in (1..).zip(VGG16) {
            layers.extend((1..).zip(filters).map(|(number, &filters)| LayerSpec {
                name: Some(format!("block{block}_conv{number}")),
                kind: LayerKind::Conv2d(Conv2d {
                    padding: Padding::Same,
                    activation: Some(Activation::Relu),
                    ..Conv2d::of_size(filters, [3, 3])
                }),
            }));
            layers.push(LayerSpec {
                name: Some(format!("block{block}_pool")),
                kind: LayerKind::MaxPool(MaxPool(Pool::of_size([2, 2]))),
            });
        }
        Self {
            name: "vgg16".into(),
            channels: 3,
            weights: Some("vgg16".into()),
            layers,
            file: None,
        }
    }

    /// The base as TOML: `name`, `channels` and, as in a recipe, `[[layers]]`.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a base has no value that TOML lacks")
    }
}

/// Filters of the convolutions of each block.
const VGG16: [&[usize]; 5] = [
    &[64, 64],
    &[128, 128],
    &[256, 256, 256],
    &[512, 512, 512],
    &[512, 512, 512],
];

fn name_only<S: Serializer>(base: &Base, serializer: S) -> Result<S::Ok, S::Error> {
    base.name.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_reads_back_as_itself() {
        let vgg16 = Base::vgg16();
        assert_eq!(Base::parse(&vgg16.to_toml(), "vgg16.toml").unwrap(), vgg16);
    }

    #[test]
    fn what_is_no_base_is_refused() {
        let layer = |name: &str| format!("[[layers]]\ntype = \"relu\"\n{name}");
        for (text, message) in [
            ("channels = 3\nlayers = []".to_string(), "`name` is missing"),
            (
                "name = \"a b\"\nchannels = 3\nlayers = []".into(),
                "`name` names a folder",
            ),
            (
                "name = \"a\"\nchannels = 0\nlayers = []".into(),
                "`channels` must be a whole number from 1",
            ),
            (
                format!("name = \"a\"\nchannels = 1\n{}", layer("")),
                "a base's layers have names: add `name`",
            ),
            (
                format!("name = \"a\"\nchannels = 1\n{}", layer("name = \"1\"")),
                "a layer's name is letters",
            ),
        ] {
            let error = Base::parse(&text, "a.toml").unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
