//! kiln's kernels in place of what tract would compute, with channels last from end to end.
//!
//! tract reads, checks and simplifies a graph; what is left are few kinds of nodes. Those that the kernels have are put together
//! to programs, each of which is one node of tract's:
//!
//! ```text
//! tract's nodes          ── convert ──▶  drafts, of which later ones join   ── finish ──▶  program: weights packed, buffers
//! Conv Add Max EinSum …     (views)      earlier ones: bias, activation, …                  shared by steps, run in phases
//! ```
//!
//! A tensor of tract's is a [`View`](view::View) of a value: moving axes, cutting and splitting them costs nothing until a step
//! needs its operand another way. Where nodes remain that the kernels do not have, tract computes them, and there are several
//! programs; a value that passes from one to the other is row-major, as tract's own.
//!
//! | to find | look in |
//! | --- | --- |
//! | which nodes make a program | here |
//! | one node as steps | `convert`; of two operands, `binary`; sums of products, `product`; layer normalization, `layer_norm` |
//! | what joins the step before it, and phases | `draft` |
//! | running steps, and their buffers | `program`; as an operation of tract's, `op` |
//! | where elements of a tensor lie | `view` |
//! | loops over operands that lie anywhere | `strided` |

mod binary;
mod convert;
mod draft;
mod layer_norm;
mod op;
mod product;
mod program;
mod strided;
mod view;

use std::collections::{BTreeMap, HashMap, HashSet};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::TractErrorContext;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::source::TypedSource;

use self::convert::{Input, Node};
use self::draft::Builder;
use self::layer_norm::LayerNorm;
use self::op::Fused;
pub use self::program::Program;
use self::program::ValueId;
use self::view::View;

/// Replaces what the kernels have, in a graph of so many images: the first axis of its tensors.
pub fn replace(model: TypedModel, batch: usize) -> TractResult<TypedModel> {
    let order = model.eval_order()?;
    let mut regions = Regions {
        model: &model,
        images: batch,
        levels: HashMap::new(),
        known: HashMap::new(),
        values: HashSet::new(),
        builders: BTreeMap::new(),
        joined: HashMap::new(),
    };
    for &id in &order {
        regions.add(id);
    }
    regions
        .builders
        .retain(|_, region| region.builder.has_products());
    if regions.builders.is_empty() {
        return Ok(model);
    }
    regions.rewrite(&order)
}

/// Multiplications with an addition each that programs of a graph compute in a run.
pub fn multiply_adds(model: &TypedModel) -> u64 {
    let programs = programs(model);
    programs.iter().map(|program| program.multiply_adds()).sum()
}

/// The programs of a graph, in its order.
pub fn programs(model: &TypedModel) -> Vec<Arc<Program>> {
    let programs = model.nodes.iter().filter_map(|node| node.op_as::<Fused>());
    programs.map(|op| Arc::clone(&op.program)).collect()
}

/// A program that is put together, and the tensors of tract's that it takes.
#[derive(Default)]
struct Region {
    builder: Builder,
    inputs: Vec<(OutletId, View)>,
}

/// A tensor that a program has.
struct Known {
    level: usize,
    view: View,
    /// Whether the value has no other user than the one of this tensor.
    is_sole: bool,
}

/// Which node goes into which program. What a program computes must not go through other nodes and come back: so nodes have
/// levels, which rise wherever a value passes between a program and other nodes, and those of one level are one program.
struct Regions<'a> {
    model: &'a TypedModel,
    images: usize,
    /// Of a node: whether a program has it, and its level.
    levels: HashMap<usize, (bool, usize)>,
    known: HashMap<OutletId, Known>,
    /// The values that these tensors are in, each with its level.
    values: HashSet<(usize, ValueId)>,
    /// By level.
    builders: BTreeMap<usize, Region>,
    /// Nodes that are computed with an earlier one, with its level.
    joined: HashMap<usize, usize>,
}

impl Regions<'_> {
    /// The axis of the images in every tensor: of a single image, tract takes it out where it can.
    fn batch(&self) -> Option<usize> {
        (self.images > 1).then_some(0)
    }

    /// Whether a tensor of this shape can be of all images.
    fn has_images(&self, shape: &[usize]) -> bool {
        self.images == 1 || shape.first() == Some(&self.images)
    }

    /// Finds out where a node is computed; those before it are known.
    fn add(&mut self, id: usize) {
        let node = self.model.node(id);
        if node.op_is::<Const>() {
            return;
        }
        if let Some(&level) = self.joined.get(&id) {
            self.levels.insert(id, (true, level));
            return;
        }
        let level = self.level(node, true);
        let has = !node.op_is::<TypedSource>() && self.convert(node, level).is_some();
        let level = if has { level } else { self.level(node, false) };
        self.levels.insert(id, (has, level));
    }

    /// The level of a node, if it is or is not in a program.
    fn level(&self, node: &TypedNode, has: bool) -> usize {
        let of = |input: &OutletId| {
            let (it_has, level) = *self.levels.get(&input.node)?;
            Some(if it_has == has { level } else { level + 1 })
        };
        node.inputs.iter().filter_map(of).max().unwrap_or(0)
    }

    /// Adds a node to the program of a level.
    fn convert(&mut self, node: &TypedNode, level: usize) -> Option<()> {
        let [output] = &node.outputs[..] else {
            return None;
        };
        let shape = output.fact.shape.as_concrete()?.to_vec();
        if output.fact.datum_type != f32::datum_type() || !self.has_images(&shape) {
            return None;
        }
        let mut region = self.builders.remove(&level).unwrap_or_default();
        let (mark, inputs) = (region.builder.mark(), region.inputs.len());
        let converted = self.convert_into(&mut region, node, level, &shape);
        if converted.is_none() {
            region.builder.back_to(mark);
            region.inputs.truncate(inputs);
        }
        if !region.inputs.is_empty() {
            self.builders.insert(level, region);
        }
        converted
    }

    fn convert_into(
        &mut self,
        region: &mut Region,
        node: &TypedNode,
        level: usize,
        shape: &[usize],
    ) -> Option<()> {
        let inputs: Option<Vec<Input>> = node
            .inputs
            .iter()
            .map(|&input| self.input(region, input, level))
            .collect();
        let inputs = inputs?;
        let norm = LayerNorm::at(self.model, node);
        if let Some(norm) = norm
            && let Some(of) = inputs[0].view()
            && let Some(view) = norm.convert(&mut region.builder, of)
        {
            let outlet = OutletId::new(norm.last, 0);
            self.joined.extend(norm.nodes.map(|node| (node, level)));
            self.joined.insert(norm.last, level);
            let is_sole = self.is_single(outlet);
            let known = Known {
                level,
                view,
                is_sole,
            };
            self.know(outlet, known);
            return Some(());
        }
        let before = inputs.iter().all(|input| match input {
            Input::Tensor { is_sole, .. } => *is_sole,
            Input::Constant(_) => true,
        });
        let view = Node {
            of: node,
            inputs,
            shape: shape.to_vec(),
            batch: self.batch(),
        };
        let view = view.convert(&mut region.builder)?;
        // The images stay the first axis, which is what tract's values and those of programs have in common.
        let fits = view.batch() == self.batch()
            && view.axes.len() == shape.len()
            && view
                .inner()
                .into_iter()
                .all(|axis| view.size(axis) == shape[axis]);
        let outlet = OutletId::new(node.id, 0);
        // Another tensor may be a part of the same value.
        let is_new = !self.values.contains(&(level, view.value));
        let is_sole = self.is_single(outlet) && (is_new || before);
        let known = Known {
            level,
            view,
            is_sole,
        };
        fits.then(|| self.know(outlet, known))
    }

    /// Takes note of a tensor of a program.
    fn know(&mut self, outlet: OutletId, known: Known) {
        self.values.insert((known.level, known.view.value));
        self.known.insert(outlet, known);
    }

    /// Whether a single node takes an output of the graph's nodes, which is no output of the graph.
    fn is_single(&self, outlet: OutletId) -> bool {
        let users = &self.model.node(outlet.node).outputs[outlet.slot].successors;
        users.len() == 1 && !self.model.outputs.contains(&outlet)
    }

    /// An input of a node of this level.
    fn input(&self, region: &mut Region, outlet: OutletId, level: usize) -> Option<Input> {
        let fact = self.model.outlet_fact(outlet).ok()?;
        if let Some(constant) = &fact.konst {
            return Some(Input::Constant(constant.clone()));
        }
        if let Some(known) = self.known.get(&outlet).filter(|known| known.level == level) {
            let (view, is_sole) = (known.view.clone(), known.is_sole);
            return Some(Input::Tensor { view, is_sole });
        }
        let is_sole = false;
        if let Some((_, view)) = region.inputs.iter().find(|(other, _)| *other == outlet) {
            let view = view.clone();
            return Some(Input::Tensor { view, is_sole });
        }
        let shape = fact.shape.as_concrete()?;
        let is_batch = fact.datum_type == f32::datum_type() && self.has_images(shape);
        let shape = is_batch.then_some(shape)?;
        let value = region
            .builder
            .input(shape.iter().product::<usize>() / self.images);
        let view = View::row_major(value, shape, self.batch());
        region.inputs.push((outlet, view.clone()));
        Some(Input::Tensor { view, is_sole })
    }

    /// Makes the graph in which programs stand for what they have.
    fn rewrite(mut self, order: &[usize]) -> TractResult<TypedModel> {
        let kept: Vec<usize> = self.builders.keys().copied().collect();
        let program_of = |levels: &HashMap<usize, (bool, usize)>, id: usize| {
            let (has, level) = levels.get(&id).copied()?;
            (has && kept.contains(&level)).then_some(level)
        };
        let mut target = TypedModel::default();
        let mut wires: HashMap<OutletId, OutletId> = HashMap::new();
        // Sources first and in their order, which is that of the graph's inputs.
        for input in &self.model.inputs {
            let node = self.model.node(input.node);
            let fact = self.model.outlet_fact(*input)?.clone();
            wires.insert(*input, target.add_source(node.name.clone(), fact)?);
        }
        let level_of = |id: usize| self.levels.get(&id).map_or(0, |(_, level)| *level);
        let mut by_level: Vec<usize> = order.to_vec();
        by_level.sort_by_key(|&id| level_of(id));
        let mut done = Vec::new();
        for id in by_level {
            let node = self.model.node(id);
            if wires.contains_key(&OutletId::new(id, 0)) {
                continue;
            }
            match program_of(&self.levels, id) {
                None => {
                    let inputs = inputs_of(node, &wires)?;
                    let outputs = target.wire_node(node.name.clone(), node.op.clone(), &inputs)?;
                    for (slot, output) in outputs.into_iter().enumerate() {
                        wires.insert(OutletId::new(id, slot), output);
                    }
                }
                Some(level) if !done.contains(&level) => {
                    done.push(level);
                    let region = self.builders.remove(&level);
                    let region = region.context("a program of this level")?;
                    self.wire(region, level, &mut target, &mut wires)?;
                }
                Some(_) => {}
            }
        }
        let outputs = self
            .model
            .outputs
            .iter()
            .map(|output| wires.get(output).copied());
        let outputs: Option<Vec<_>> = outputs.collect();
        target.select_output_outlets(&outputs.context("outputs that are computed")?)?;
        Ok(target)
    }

    /// Adds the program of a level to the graph.
    fn wire(
        &self,
        mut region: Region,
        level: usize,
        target: &mut TypedModel,
        wires: &mut HashMap<OutletId, OutletId>,
    ) -> TractResult<()> {
        let mut inputs = Vec::new();
        for (outlet, _) in &region.inputs {
            inputs.push(*wires.get(outlet).context("an input that is computed")?);
        }
        let (mut outlets, mut values, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
        let mut known: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| known.level == level)
            .collect();
        known.sort_by_key(|(outlet, _)| **outlet);
        for (outlet, known) in known {
            let users = &self.model.node(outlet.node).outputs[outlet.slot].successors;
            let is_inside = |id: usize| self.levels.get(&id) == Some(&(true, level));
            let leaves = users.iter().any(|user| !is_inside(user.node));
            if !leaves && !self.model.outputs.contains(outlet) {
                continue;
            }
            let shape = self.model.outlet_fact(*outlet)?.shape.as_concrete();
            shapes.push(shape.context("a shape that is known")?.to_vec());
            let row_major = region.builder.whole(&known.view, &known.view.inner());
            values.push(row_major.value);
            outlets.push(*outlet);
        }
        let name = outlets
            .first()
            .map_or("program", |outlet| &self.model.node(outlet.node).name);
        let name = format!("{name}.kernels");
        let program = region.builder.finish(values, self.images)?;
        let op = Fused {
            program: Arc::new(program),
            shapes,
        };
        let outputs = target.wire_node(name, op, &inputs)?;
        wires.extend(outlets.into_iter().zip(outputs));
        Ok(())
    }
}

fn inputs_of(node: &TypedNode, wires: &HashMap<OutletId, OutletId>) -> TractResult<TVec<OutletId>> {
    let wire = |input: &OutletId| {
        wires
            .get(input)
            .copied()
            .context("an input that is computed")
    };
    node.inputs.iter().map(wire).collect()
}

#[cfg(test)]
mod tests;
