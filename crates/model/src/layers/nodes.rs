//! Layers as operators of a [`Segment`]: one way for those in a chain and those inside of others.

use super::def::ParamDef;
use super::padding::Pads;
use crate::Shape;
use crate::graph::{Dims, Input, Node, Op, Parameter, Segment, Values, Window};

/// Operators of a layer in the making. A value is 0, the layer's input, or the number of the node,
/// from 1, whose output it is.
pub(crate) struct Nodes {
    layer: String,
    operators: Vec<Node>,
    parameters: Vec<Parameter>,
    /// Of each value.
    dims: Vec<Dims>,
}

impl Nodes {
    /// No operators yet of a layer that takes samples of this shape.
    pub fn new(layer: &str, input: Shape) -> Self {
        Self {
            layer: layer.into(),
            operators: Vec::new(),
            parameters: Vec::new(),
            dims: vec![Dims::batched(input.dims())],
        }
    }

    /// Returns the shape of one sample of a value, where a layer can have it.
    pub fn shape(&self, value: usize) -> Option<Shape> {
        let sizes = self.dims.get(value)?.sample()?;
        Shape::from_dims(&sizes)
    }

    /// Adds the parameters of a layer inside of this one and returns them as inputs, in order.
    pub fn parameters(&mut self, path: &str, params: Vec<ParamDef>) -> Vec<Input> {
        let add = |param: ParamDef| {
            self.parameters.push(Parameter {
                name: join(path, &param.name),
                shape: param.shape,
                values: Values::File,
            });
            Input::Parameter(self.parameters.len() - 1)
        };
        params.into_iter().map(add).collect()
    }

    /// Adds an operator of values and parameters and returns its value; none for shapes that do
    /// not fit.
    pub fn add(&mut self, path: &str, op: Op, inputs: Vec<Input>) -> Option<usize> {
        let dims = |input: &Input| match *input {
            Input::Value(value) => self.dims.get(value).cloned(),
            Input::Parameter(at) => self.parameters.get(at).map(|it| Dims::fixed(&it.shape)),
        };
        let dims = inputs.iter().map(dims).collect::<Option<Vec<_>>>()?;
        let output = op.output(&dims.iter().collect::<Vec<_>>()).ok()?;
        let name = self.unique(if path.is_empty() {
            self.layer.clone()
        } else {
            join(&self.layer, path)
        });
        self.operators.push(Node {
            name,
            op,
            inputs,
            shape: Some(output.clone()),
            value: None,
        });
        self.dims.push(output);
        Some(self.operators.len())
    }

    /// Returns the name, with a number if another node has it: a layer inside may be called as
    /// what follows it is.
    fn unique(&self, name: String) -> String {
        let taken = |name: &str| self.operators.iter().any(|node| node.name == name);
        if !taken(&name) {
            return name;
        }
        let mut numbered = (1..=self.operators.len()).map(|number| format!("{name}_{number}"));
        let free = numbered.find(|name| !taken(name));
        // One of the nodes has the name without a number, so one of as many numbers is free.
        free.unwrap_or(name)
    }

    /// Adds an operator of one value.
    pub fn add_to(&mut self, path: &str, op: Op, value: usize) -> Option<usize> {
        self.add(path, op, vec![Input::Value(value)])
    }

    /// Adds an operator of one value and a layer's parameters.
    pub fn add_with(
        &mut self,
        path: &str,
        op: Op,
        value: usize,
        params: Vec<ParamDef>,
    ) -> Option<usize> {
        let mut inputs = vec![Input::Value(value)];
        inputs.extend(self.parameters(path, params));
        self.add(path, op, inputs)
    }

    /// Returns the segment; none without operators.
    pub fn finish(self) -> Option<Segment> {
        if self.operators.is_empty() {
            return None;
        }
        Some(Segment {
            output: self.layer.clone(),
            name: self.layer,
            nodes: self.operators,
            parameters: self.parameters,
            covers: Vec::new(),
        })
    }
}

/// The name of a part: of a layer in a layer, or of a parameter.
pub(super) fn join(path: &str, part: &str) -> String {
    if path.is_empty() {
        part.into()
    } else {
        format!("{path}.{part}")
    }
}

/// A window over an image with these pads around it.
pub(super) const fn window(
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    pads: Pads,
) -> Window {
    Window {
        kernel,
        strides,
        dilations,
        pads: [[pads.top, pads.bottom], [pads.left, pads.right]],
    }
}
