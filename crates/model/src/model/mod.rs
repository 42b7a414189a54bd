//! A checked model: every layer with its name, its shapes and its parameters.

use crate::freeze::block;
use crate::naming::layer_names;
use crate::shape::ImageShape;
use crate::{
    GraphLayer, Init, LayerKind, LayerSpec, Layers, ParamDef, ParamRole, Preprocessing, Shape,
    ShapeError,
};

/// A sequence of layers whose shapes fit.
///
/// Built by [`Model::new`] only, which guarantees unique names, fitting shapes and a vector of class
/// scores at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    preprocessing: Preprocessing,
    layers: Vec<Layer>,
}

/// One layer of a [`Model`].
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Unique in the model; the prefix of its parameters' names.
    pub name: String,
    /// Type and settings.
    pub kind: LayerKind,
    /// The name of the pretrained base that it is part of.
    pub backbone: Option<String>,
    /// Whether training does not change it: no gradients, no change of running statistics, no
    /// dropout.
    pub frozen: bool,
    /// Shape of one sample that goes in.
    pub input: Shape,
    /// Shape of one sample that comes out.
    pub output: Shape,
    /// Parameters in the order of Keras's summary: trainable ones first.
    pub params: Vec<Param>,
}

impl Layer {
    /// Height and width in pixels of the images that go in; an error for a layer of vectors.
    pub fn image_size(&self) -> Result<[usize; 2], ShapeError> {
        Shape::only_image(self.kind.type_name(), &[self.input]).map(ImageShape::size)
    }

    /// The names by which a recipe selects it: its own, or of a graph in a file those of its segments.
    fn names(&self) -> Vec<&str> {
        match &self.kind {
            LayerKind::Graph(graph) => graph.segments.iter().map(String::as_str).collect(),
            _ => vec![&self.name],
        }
    }

    /// The parameter of this role, where the layer has one.
    pub fn param(&self, role: ParamRole) -> Option<&Param> {
        self.params.iter().find(|param| param.role == role)
    }

    /// Number of values in all parameters.
    pub fn count(&self) -> usize {
        self.params.iter().map(Param::len).sum::<usize>() + self.count_in_file()
    }

    /// Lists the layers inside of it, each before those inside of it; of a segment of a file, the
    /// normalizations of its unfolded convolutions.
    pub fn expanded(&self) -> Vec<InnerLayer> {
        let mut layers = Vec::new();
        expand(&self.kind, self.input, 1, &mut layers);
        if let LayerKind::Segment(segment) = &self.kind {
            layers.extend(segment.norms());
        }
        layers
    }

    /// Number of values in the tensors of a [`GraphLayer`](crate::GraphLayer), which stay in its file.
    fn count_in_file(&self) -> usize {
        match &self.kind {
            LayerKind::Graph(graph) => graph.parameters,
            _ => 0,
        }
    }

    /// Multiplications with an addition each for one image: of a convolution or dense layer, every
    /// weight once for each pixel that comes out; of other layers none, which hardly count beside.
    pub fn multiply_adds(&self) -> u64 {
        let pixels = match self.output {
            Shape::Image { height, width, .. } => height * width,
            Shape::Vector(_) => 1,
            Shape::Tokens { count, .. } => count,
        };
        if let Some(layer) = self.kind.segment(&self.name, self.input) {
            return layer.segment.multiply_adds();
        }
        match (&self.kind, self.param(ParamRole::Weight)) {
            (LayerKind::Graph(graph), _) => graph.multiply_adds,
            (LayerKind::Segment(layer), _) => layer.segment.multiply_adds(),
            (LayerKind::Conv2d(_) | LayerKind::Dense(_), Some(weight)) => {
                weight.len() as u64 * pixels as u64
            }
            _ => 0,
        }
    }
}

/// A layer inside of another, as a summary lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerLayer {
    /// How many layers it is in, at least 1.
    pub depth: usize,
    /// Its name in the layer that holds it.
    pub name: String,
    /// Its type in a recipe.
    pub type_name: &'static str,
    /// Shape of one sample that comes out.
    pub output: Shape,
    /// Number of values in its parameters, those of the layers inside of it included.
    pub count: usize,
}

/// Lists the layers inside of a layer, each before those inside of it.
fn expand(kind: &LayerKind, input: Shape, depth: usize, layers: &mut Vec<InnerLayer>) {
    for part in kind.parts(input) {
        let params = part.kind.params(&[part.input]).unwrap_or_default();
        layers.push(InnerLayer {
            depth,
            name: part.name,
            type_name: part.kind.type_name(),
            output: part.output,
            count: params.iter().map(ParamDef::len).sum(),
        });
        expand(&part.kind, part.input, depth + 1, layers);
    }
}

/// A layer that does not fit where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("layer {number} (`{name}`): {problem}", number = index + 1)]
pub struct ModelError {
    /// Position in the recipe, from 0.
    pub index: usize,
    /// The layer's name, or its type where it has none yet.
    pub name: String,
    /// What was expected and what was found.
    pub problem: String,
}

/// Numbers of parameters, as Keras's summary counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Changed by the optimizer.
    pub trainable: usize,
    /// Not changed by the optimizer: running statistics and frozen layers.
    pub non_trainable: usize,
}

impl Counts {
    /// Both together.
    pub const fn total(self) -> usize {
        self.trainable + self.non_trainable
    }
}

impl Model {
    /// Names the layers and infers their shapes; an error names the first layer that does not fit.
    pub fn new(preprocessing: Preprocessing, layers: &[LayerSpec]) -> Result<Self, ModelError> {
        let [channels, height, width] = preprocessing.shape();
        let layers = infer(
            Shape::Image {
                channels,
                height,
                width,
            },
            layers,
        )?;
        Ok(Self {
            preprocessing,
            layers,
        })
    }

    /// The same model, whose first `layers` layers are those of a pretrained base.
    #[must_use]
    pub fn with_backbone(mut self, name: &str, layers: usize) -> Self {
        for layer in &mut self.layers[..layers] {
            layer.backbone = Some(name.into());
        }
        self
    }

    /// The names by which a recipe selects layers: those of the layers, and of a graph in a file those
    /// of its segments.
    pub fn names(&self) -> Vec<&str> {
        self.layers.iter().flat_map(Layer::names).collect()
    }

    /// Returns a flag for each of the [`names`](Self::names). `backbone` selects all layers of the
    /// pretrained base. A pattern that matches nothing is an error.
    pub fn select(&self, layers: &Layers) -> Result<Vec<bool>, String> {
        let names = self.names();
        let base = self.layers.iter().filter(|layer| layer.backbone.is_some());
        let base: usize = base.map(|layer| layer.names().len()).sum();
        let Layers::Named(patterns) = layers else {
            return layers.select(&names);
        };
        let is_base = |pattern: &String| base > 0 && pattern == "backbone";
        let (of_base, others): (Vec<_>, Vec<_>) = patterns.iter().cloned().partition(is_base);
        let mut selected = Layers::Named(others).select(&names)?;
        if !of_base.is_empty() {
            selected[..base].fill(true);
        }
        Ok(selected)
    }

    /// Returns the layers that a pattern selects, those included of which it selects a part. A pattern
    /// that matches nothing is an error.
    pub fn selected(&self, pattern: &str) -> Result<Vec<&Layer>, String> {
        let mut flags = self
            .select(&Layers::Named(vec![pattern.into()]))?
            .into_iter();
        let layers = self.layers.iter().filter(|layer| {
            let of_layer = flags.by_ref().take(layer.names().len());
            of_layer.fold(false, |any, flag| any | flag)
        });
        Ok(layers.collect())
    }

    /// Returns for each layer how many blocks of layers with parameters are between it and the end of
    /// the model, its own included; 0 for the layers of the last block, and after a pretrained base for
    /// all of the recipe's own.
    pub fn blocks_to_end(&self) -> Vec<usize> {
        let based = self.layers.iter().any(|layer| layer.backbone.is_some());
        let mut last: Option<&str> = None;
        let mut count = 0;
        let mut counts = vec![0; self.layers.len()];
        for (to, layer) in counts.iter_mut().zip(&self.layers).rev() {
            let own = based && layer.backbone.is_none();
            if !own && layer.count() > 0 {
                let block = block(&layer.name);
                if last != Some(block) {
                    count += usize::from(based || last.is_some());
                    last = Some(block);
                }
            }
            *to = count;
        }
        counts
    }

    /// The same model with these layers frozen, one flag for each of the [`names`](Self::names), and
    /// the others not. A graph in a file is frozen where all its segments are.
    ///
    /// # Panics
    ///
    /// If there are not as many flags as names.
    #[must_use]
    pub fn frozen(mut self, frozen: &[bool]) -> Self {
        assert_eq!(frozen.len(), self.names().len(), "one flag per name");
        let mut rest = frozen;
        for layer in &mut self.layers {
            let (of_layer, others) = rest.split_at(layer.names().len());
            rest = others;
            let frozen = of_layer.iter().all(|&flag| flag);
            layer.frozen = frozen;
            for param in &mut layer.params {
                param.trainable = !frozen && param.role.is_trained();
            }
        }
        self
    }

    /// How many layers from the beginning give the same output for the same image all through the
    /// training: frozen ones, and those that have nothing to train and nothing random. Zero where
    /// no layer with parameters is among them.
    pub fn fixed_prefix(&self) -> usize {
        let fixed =
            |layer: &&Layer| layer.frozen || (layer.params.is_empty() && !layer.kind.is_random());
        let count = self.layers.iter().take_while(fixed).count();
        if self.layers[..count].iter().any(|layer| layer.count() > 0) {
            count
        } else {
            0
        }
    }

    /// How an image becomes the input.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// The layers in order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// All parameters in layer order.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        self.layers.iter().flat_map(|layer| &layer.params)
    }

    /// Number of classes: the length of the last layer's output.
    pub fn classes(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.output.len())
    }

    /// Multiplications with an addition each for one image.
    pub fn multiply_adds(&self) -> u64 {
        self.layers.iter().map(Layer::multiply_adds).sum()
    }

    /// Numbers of trainable and other parameters.
    pub fn counts(&self) -> Counts {
        let in_files = self.layers.iter().map(Layer::count_in_file).sum();
        let counts = Counts {
            trainable: 0,
            non_trainable: in_files,
        };
        self.params().fold(counts, |mut counts, param| {
            *(if param.trainable {
                &mut counts.trainable
            } else {
                &mut counts.non_trainable
            }) += param.len();
            counts
        })
    }
}

/// A tensor that belongs to a layer.
///
/// Names and layouts are PyTorch's, which are also ONNX's: `conv2d.weight` is `[filters, channels,
/// height, width]`, `dense.weight` is `[outputs, inputs]`; batch normalization has `weight`,
/// `bias`, `running_mean`, `running_var` (Keras's gamma, beta, moving mean and variance).
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// `<layer>.<parameter>`.
    pub name: String,
    /// What it is to its layer.
    pub role: ParamRole,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Whether the optimizer changes it.
    pub trainable: bool,
    /// Its values before training.
    pub init: Init,
}

impl Param {
    /// A parameter of the layer of this name, not frozen.
    fn new(layer: &str, param: ParamDef) -> Self {
        let ParamDef {
            name,
            role,
            shape,
            init,
        } = param;
        Self {
            name: format!("{layer}.{name}"),
            role,
            shape,
            trainable: role.is_trained(),
            init,
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no values; never so in a checked model.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Limit of the values of one sample or one parameter: 2³¹, far beyond any network that a CPU can
/// hold, and small enough that no product of sizes overflows.
const MAX_VALUES: usize = 1 << 31;

/// Limit of the parameters of a model: 2²⁸, 1 GiB, of which training holds four copies. VGG19 with its
/// dense layers has half.
const MAX_PARAMETERS: usize = 1 << 28;

/// Names the layers and infers their shapes.
fn infer(input: Shape, specs: &[LayerSpec]) -> Result<Vec<Layer>, ModelError> {
    if specs.is_empty() {
        return Err(ModelError {
            index: 0,
            name: "layers".into(),
            problem: "the model has no layers: add at least `flatten` and `dense`".into(),
        });
    }
    let names = names(specs)?;
    let mut shape = input;
    let mut parameters = 0;
    let mut layers = Vec::with_capacity(specs.len());
    for (index, (spec, name)) in specs.iter().zip(names).enumerate() {
        let fail = |problem: String| ModelError {
            index,
            name: name.clone(),
            problem,
        };
        if spec.kind.is_softmax() && index + 1 < specs.len() {
            return Err(fail(
                "softmax turns logits into probabilities and can only be the last layer: move it"
                    .into(),
            ));
        }
        let output = spec
            .kind
            .output(&[shape])
            .map_err(|error| fail(error.to_string()))?;
        if !fits(&output.dims()) {
            return Err(fail(format!(
                "its output {output} is over 2^31 values: make it smaller"
            )));
        }
        let params = spec
            .kind
            .params(&[shape])
            .map_err(|error| fail(error.to_string()))?;
        let params: Vec<Param> = params
            .into_iter()
            .map(|param| Param::new(&name, param))
            .collect();
        if let Some(large) = params.iter().find(|p| !fits(&p.shape)) {
            return Err(fail(format!(
                "`{}` would be {:?}, over 2^31 values: make the layer smaller",
                large.name, large.shape
            )));
        }
        parameters += params.iter().map(Param::len).sum::<usize>();
        if parameters > MAX_PARAMETERS {
            return Err(fail(format!(
                "the model has {parameters} parameters up to here, over 2^28: make it smaller"
            )));
        }
        layers.push(Layer {
            name,
            kind: spec.kind.clone(),
            frozen: false,
            backbone: None,
            input: shape,
            output,
            params,
        });
        shape = output;
    }
    match layers.last() {
        Some(last) if !matches!(last.output, Shape::Vector(_)) => Err(ModelError {
            index: layers.len() - 1,
            name: last.name.clone(),
            problem: format!(
                "the last layer must output one score per class; this one outputs {}: end with `flatten` and `dense`",
                last.output
            ),
        }),
        _ => Ok(layers),
    }
}

/// Names of all layers; they must be different.
fn names(specs: &[LayerSpec]) -> Result<Vec<String>, ModelError> {
    // Other layers do not change their names when a segment of a file becomes one.
    let in_files = specs.iter().flat_map(|spec| match &spec.kind {
        LayerKind::Graph(graph) => graph.segments.as_slice(),
        _ => &[],
    });
    let in_files: Vec<_> = in_files
        .map(|name| (GraphLayer::TYPE, Some(name.as_str())))
        .collect();
    let given = specs
        .iter()
        .map(|spec| (spec.kind.type_name(), spec.name.as_deref()));
    let given: Vec<_> = given.chain(in_files).collect();
    let mut names = layer_names(&given);
    names.truncate(specs.len());
    for (index, name) in names.iter().enumerate() {
        if let Some(first) = names[..index].iter().position(|other| other == name) {
            let problem = format!(
                "the name is taken by layer {}: layers need different names",
                first + 1
            );
            return Err(ModelError {
                index,
                name: name.clone(),
                problem,
            });
        }
    }
    Ok(names)
}

fn fits(dims: &[usize]) -> bool {
    dims.iter()
        .try_fold(1_usize, |product, &dim| product.checked_mul(dim))
        .is_some_and(|n| n <= MAX_VALUES)
}

#[cfg(test)]
mod tests;
