//! Layers that hold layers: in order, beside a shortcut, beside one another.

use serde::Serialize;

use super::activation::Activation;
use super::def::{LayerDef, ParamDef};
use super::nodes::{Nodes, join};
use super::{LayerKind, LayerSpec, parse_list};
use crate::document::{Bound, Field, RecipeError, Section};
use crate::graph::{Binary, Input, Op};
use crate::naming::layer_names;
use crate::{Shape, ShapeError};

/// A layer inside of another.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its name in the layer that holds it, unique there.
    pub name: String,
    /// Type and settings.
    pub kind: LayerKind,
    /// Shape of one sample that goes in.
    pub input: Shape,
    /// Shape of one sample that comes out.
    pub output: Shape,
}

impl LayerKind {
    /// Lists the layers inside of it, in the order of their parameters; none of a layer that holds
    /// no others.
    pub fn parts(&self, input: Shape) -> Vec<Part> {
        let chains = if let Self::Sequential(sequential) = self {
            vec![sequential.chain()]
        } else if let Self::Residual(residual) = self {
            residual.chains().into()
        } else if let Self::Branches(branches) = self {
            branches.chains()
        } else {
            Vec::new()
        };
        chains.iter().flat_map(|chain| chain.parts(input)).collect()
    }

    /// Number of layers that it is: itself and those inside of it, at any depth.
    pub(super) fn size(&self) -> usize {
        let inside = if let Self::Sequential(sequential) = self {
            vec![&sequential.layers]
        } else if let Self::Residual(residual) = self {
            vec![&residual.layers, &residual.shortcut]
        } else if let Self::Branches(branches) = self {
            branches.branches.iter().collect()
        } else {
            Vec::new()
        };
        let sizes = inside.into_iter().flatten().map(|spec| spec.kind.size());
        sizes.fold(1, usize::saturating_add)
    }
}

/// Layers in order, each with its name in the layer that holds them.
struct Chain<'a>(Vec<(String, &'a LayerKind)>);

impl<'a> Chain<'a> {
    /// Names the layers of all lists: names are unique in the layer that holds them.
    fn of_each(lists: &[&'a [LayerSpec]]) -> Vec<Self> {
        let mut names = names(lists.iter().copied().flatten()).into_iter();
        let chain = |list: &&'a [LayerSpec]| {
            let kinds = list.iter().map(|spec| &spec.kind);
            Self(names.by_ref().take(list.len()).zip(kinds).collect())
        };
        lists.iter().map(chain).collect()
    }

    /// Computes the shape of one output sample.
    fn output(&self, input: Shape) -> Result<Shape, ShapeError> {
        self.0.iter().try_fold(input, |shape, (name, kind)| {
            kind.output(&[shape]).map_err(|problem| ShapeError::Inner {
                name: name.clone(),
                problem: Box::new(problem),
            })
        })
    }

    /// Lists the layers with the shapes of their inputs.
    fn parts(&self, input: Shape) -> Vec<Part> {
        let mut shape = input;
        let mut parts = Vec::with_capacity(self.0.len());
        for (name, kind) in &self.0 {
            let Ok(output) = kind.output(&[shape]) else {
                break;
            };
            parts.push(Part {
                name: name.clone(),
                kind: (*kind).clone(),
                input: shape,
                output,
            });
            shape = output;
        }
        parts
    }

    /// Lists the parameters.
    fn params(&self, input: Shape) -> Result<Vec<ParamDef>, ShapeError> {
        let mut params = Vec::new();
        for part in self.parts(input) {
            let inner = part.kind.params(&[part.input])?;
            params.extend(inner.into_iter().map(|param| param.inside(&part.name)));
        }
        Ok(params)
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        self.0.iter().try_fold(input, |value, (name, kind)| {
            kind.lower(nodes, &join(path, name), value)
        })
    }
}

fn names<'a>(specs: impl Iterator<Item = &'a LayerSpec>) -> Vec<String> {
    let given: Vec<_> = specs
        .map(|spec| (spec.kind.type_name(), spec.name.as_deref()))
        .collect();
    layer_names(&given)
}

/// Trainable ones first.
fn sorted(mut params: Vec<ParamDef>) -> Vec<ParamDef> {
    params.sort_by_key(|param| !param.role.is_trained());
    params
}

/// Reads the layers that a layer holds.
fn parse_layers(field: &Field<'_>) -> Result<Vec<LayerSpec>, RecipeError> {
    let check = |field: &Field<'_>, spec: &LayerSpec| {
        let problem = if spec.kind.is_softmax() {
            "softmax turns logits into probabilities and can only be the last layer of the model"
        } else if matches!(spec.kind, LayerKind::Resize(_)) {
            "`resize` cannot be inside of another layer: put it before"
        } else {
            return Ok(());
        };
        Err(field.error(problem))
    };
    let layers = parse_list(&field.array()?, check)?;
    Ok(layers.into_iter().map(|(_, spec)| spec).collect())
}

/// As [`parse_layers`], and at least one.
fn parse_some_layers(section: &Section<'_>) -> Result<Vec<LayerSpec>, RecipeError> {
    let field = section.need("layers")?;
    let layers = parse_layers(&field)?;
    if layers.is_empty() {
        return Err(field.error(format!("`{}` is empty: add a layer", field.path())));
    }
    Ok(layers)
}

/// Checks that no two layers have the same name.
fn check_names<'a>(
    section: &Section<'_>,
    specs: impl Iterator<Item = &'a LayerSpec>,
) -> Result<(), RecipeError> {
    let names = names(specs);
    let twice = (1..names.len()).find(|&at| names[..at].contains(&names[at]));
    match twice {
        Some(at) => Err(section.error(format!(
            "two layers inside are called `{}`: layers need different names",
            names[at]
        ))),
        None => Ok(()),
    }
}

/// Layers in order, as one layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sequential {
    /// At least one.
    pub layers: Vec<LayerSpec>,
}

impl Sequential {
    fn chain(&self) -> Chain<'_> {
        Chain::of_each(&[&self.layers]).remove(0)
    }
}

impl LayerDef for Sequential {
    const TYPE: &'static str = "sequential";
    const KEYS: &'static [&'static str] = &["type", "name", "repeat", "layers"];
    const HAS_PARAMS: bool = true;
    const IS_COMPOSITE: bool = true;

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        let layers = parse_some_layers(section)?;
        check_names(section, layers.iter())?;
        Ok(Self { layers })
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        self.chain().output(Shape::only(inputs)?)
    }

    fn params(&self, inputs: &[Shape]) -> Result<Vec<ParamDef>, ShapeError> {
        self.chain().params(Shape::only(inputs)?).map(sorted)
    }

    fn is_random(&self) -> bool {
        self.layers.iter().any(|spec| spec.kind.is_random())
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        self.chain().lower(nodes, path, input)
    }
}

/// A branch whose output is added to its input: `activation(layers(x) + shortcut(x))`. He et al.
/// (2016).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Residual {
    /// Function applied to the sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
    /// Stochastic depth: share of the samples for which training leaves the branch out, 0 to less
    /// than 1; what the branch gives for others is scaled up by `1 / (1 - drop_rate)`. Huang et
    /// al. (2016), as torchvision's mode `row`.
    #[serde(skip_serializing_if = "is_zero")]
    pub drop_rate: f64,
    /// The branch, at least one layer.
    pub layers: Vec<LayerSpec>,
    /// What the input passes on the other way; nothing changes it if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shortcut: Vec<LayerSpec>,
}

impl Residual {
    /// The branch and the shortcut.
    fn chains(&self) -> [Chain<'_>; 2] {
        let mut chains = Chain::of_each(&[&self.layers, &self.shortcut]).into_iter();
        let mut next = || chains.next().unwrap_or(Chain(Vec::new()));
        [next(), next()]
    }
}

impl LayerDef for Residual {
    const TYPE: &'static str = "residual";
    const KEYS: &'static [&'static str] = &[
        "type",
        "name",
        "repeat",
        "layers",
        "shortcut",
        "activation",
        "drop_rate",
    ];
    const HAS_PARAMS: bool = true;
    const IS_COMPOSITE: bool = true;

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        let shortcut = section.get("shortcut");
        let residual = Self {
            layers: parse_some_layers(section)?,
            shortcut: shortcut.map_or(Ok(Vec::new()), |field| parse_layers(&field))?,
            activation: Activation::parse_inner(section)?,
            drop_rate: section.number_or("drop_rate", 0.0, Bound::Fraction)?,
        };
        check_names(section, residual.layers.iter().chain(&residual.shortcut))?;
        Ok(residual)
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let input = Shape::only(inputs)?;
        let [branch, shortcut] = self.chains();
        let branch = branch.output(input)?;
        let shortcut = shortcut.output(input)?;
        if branch == shortcut {
            Ok(branch)
        } else {
            Err(ShapeError::Residual { branch, shortcut })
        }
    }

    fn params(&self, inputs: &[Shape]) -> Result<Vec<ParamDef>, ShapeError> {
        let input = Shape::only(inputs)?;
        let [branch, shortcut] = self.chains();
        let mut params = branch.params(input)?;
        params.extend(shortcut.params(input)?);
        Ok(sorted(params))
    }

    fn is_random(&self) -> bool {
        let mut inner = self.layers.iter().chain(&self.shortcut);
        self.drop_rate > 0.0 || inner.any(|spec| spec.kind.is_random())
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        let [branch, shortcut] = self.chains();
        let mut value = branch.lower(nodes, path, input)?;
        if self.drop_rate > 0.0 {
            let rate = self.drop_rate as f32;
            value = nodes.add_to(
                &join(path, "stochastic_depth"),
                Op::StochasticDepth { rate },
                value,
            )?;
        }
        let shortcut = shortcut.lower(nodes, path, input)?;
        let both = vec![Input::Value(value), Input::Value(shortcut)];
        let sum = nodes.add(&join(path, "add"), Op::Binary(Binary::Add), both)?;
        Activation::lower(self.activation, nodes, path, sum)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_zero(number: &f64) -> bool {
    *number <= 0.0
}

/// How the outputs of branches become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Their sum.
    Add,
    /// Channels, or features, of one after those of another.
    Concatenate,
    /// Their product.
    Multiply,
}

kiln_util::str_enum!(Join: Serialize {
    Add = "add",
    Concatenate = "concatenate",
    Multiply = "multiply",
});

/// Branches that take the same input, and whose outputs are joined.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Branches {
    /// How their outputs become one.
    pub join: Join,
    /// At least two; one without layers gives the input as it is.
    pub branches: Vec<Vec<LayerSpec>>,
}

impl Branches {
    fn chains(&self) -> Vec<Chain<'_>> {
        let lists: Vec<&[LayerSpec]> = self.branches.iter().map(Vec::as_slice).collect();
        Chain::of_each(&lists)
    }
}

impl LayerDef for Branches {
    const TYPE: &'static str = "branches";
    const KEYS: &'static [&'static str] = &["type", "name", "repeat", "branches", "join"];
    const HAS_PARAMS: bool = true;
    const IS_COMPOSITE: bool = true;

    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        let field = section.need("branches")?;
        let branches = field
            .array()?
            .iter()
            .map(parse_layers)
            .collect::<Result<Vec<_>, _>>()?;
        if branches.len() < 2 || branches.iter().all(Vec::is_empty) {
            return Err(field.error(
                "branches are two or more arrays of layers, of which one may be empty: use `sequential` for one",
            ));
        }
        let join = section.need("join")?.choice(&Join::WORDS)?;
        check_names(section, branches.iter().flatten())?;
        Ok(Self { join, branches })
    }

    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let input = Shape::only(inputs)?;
        let outputs = self
            .chains()
            .iter()
            .map(|chain| chain.output(input))
            .collect::<Result<Vec<_>, _>>()?;
        let mut joined = outputs.first().copied().unwrap_or(input);
        for (at, &output) in outputs.iter().enumerate().skip(1) {
            joined = join_shapes(self.join, joined, output).ok_or(ShapeError::Branch {
                number: at + 1,
                found: output,
                expected: joined,
            })?;
        }
        Ok(joined)
    }

    fn params(&self, inputs: &[Shape]) -> Result<Vec<ParamDef>, ShapeError> {
        let input = Shape::only(inputs)?;
        let mut params = Vec::new();
        for chain in self.chains() {
            params.extend(chain.params(input)?);
        }
        Ok(sorted(params))
    }

    fn is_random(&self) -> bool {
        self.branches
            .iter()
            .flatten()
            .any(|spec| spec.kind.is_random())
    }

    fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
        let mut values = Vec::with_capacity(self.branches.len());
        for chain in self.chains() {
            values.push(Input::Value(chain.lower(nodes, path, input)?));
        }
        let (name, binary) = match self.join {
            Join::Concatenate => {
                return nodes.add(&join(path, "concat"), Op::Concat { axis: 1 }, values);
            }
            Join::Add => ("add", Binary::Add),
            Join::Multiply => ("mul", Binary::Mul),
        };
        let mut values = values.into_iter();
        let mut joined = values.next()?;
        for (at, value) in (1..).zip(values) {
            let name = if at == 1 {
                join(path, name)
            } else {
                join(path, &format!("{name}_{at}"))
            };
            joined = Input::Value(nodes.add(&name, Op::Binary(binary), vec![joined, value])?);
        }
        match joined {
            Input::Value(value) => Some(value),
            Input::Parameter(_) => None,
        }
    }
}

/// Returns the shape of what is joined, if the shapes fit.
fn join_shapes(join: Join, left: Shape, right: Shape) -> Option<Shape> {
    match join {
        Join::Add | Join::Multiply => (left == right).then_some(left),
        Join::Concatenate => match (left, right) {
            (
                Shape::Image {
                    channels,
                    height,
                    width,
                },
                Shape::Image {
                    channels: more,
                    height: rows,
                    width: columns,
                },
            ) => ([height, width] == [rows, columns]).then_some(Shape::Image {
                channels: channels.checked_add(more)?,
                height,
                width,
            }),
            (Shape::Vector(features), Shape::Vector(more)) => {
                Some(Shape::Vector(features.checked_add(more)?))
            }
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests;
