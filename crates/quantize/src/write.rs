//! A prepared model with what was observed, written in 8 bits.

use std::collections::{BTreeMap, HashMap, HashSet};

use kiln_onnx::{FreeNames, GraphProto, ModelProto, NodeProto, TensorProto};

use crate::error::QuantizeError;
use crate::graph::{Links, int_attribute, ints, node, remove_unused};
use crate::observe::{Method, Observer, Range};
use crate::plan::{Plan, Product};
use crate::prepare::Prepared;
use crate::scale::{Activations, Along, QuantizedWeights, Scale};

/// What was observed of a model's activations: their ranges, and the means of their channels.
#[derive(Debug, Clone, Default)]
pub struct Calibration {
    ranges: BTreeMap<String, Range>,
    /// Of each channel, and the sizes of the axes behind the channels'.
    means: BTreeMap<String, (Vec<f64>, Vec<usize>)>,
}

impl Calibration {
    /// Takes the ranges that a method finds, and the means.
    pub fn new(observers: &BTreeMap<String, Observer>, method: Method) -> Self {
        let ranges = observers
            .iter()
            .filter_map(|(name, observer)| Some((name.clone(), observer.range(method)?)));
        Self {
            ranges: ranges.collect(),
            means: observers
                .iter()
                .map(|(name, observer)| {
                    (name.clone(), (observer.means(), observer.inner().to_vec()))
                })
                .collect(),
        }
    }
}

impl Prepared {
    /// Writes the model in 8 bits, but for the nodes of which `keep` is true, by their labels.
    ///
    /// The bias of each product makes up for what the rounding of its weights adds to its output on average (bias
    /// correction, Nagel and others, 2019), by the means of its input's channels.
    ///
    /// # Errors
    ///
    /// [`QuantizeError::Unobserved`] if the calibration lacks a value, [`QuantizeError::Nothing`] if everything is
    /// kept.
    pub fn quantize(
        &self,
        calibration: &Calibration,
        keep: &dyn Fn(&str) -> bool,
    ) -> Result<ModelProto, QuantizeError> {
        let mut model = self.model.clone();
        let graph = model.graph.get_or_insert_default();
        let plan = Plan::new(graph, &|node| keep(node.label()));
        if plan.labels.is_empty() {
            return Err(QuantizeError::Nothing);
        }
        let mut scales = BTreeMap::new();
        for value in plan.values.keys() {
            let range = calibration.ranges.get(plan.root(value));
            let range = range.ok_or_else(|| QuantizeError::Unobserved {
                value: value.clone(),
            })?;
            scales.insert(value.clone(), Scale::of(*range, self.settings.activations));
        }
        let mut writer = Writer {
            names: FreeNames::of(graph),
            scales: &scales,
            activations: self.settings.activations,
            tensors: Vec::new(),
            weights: HashMap::new(),
        };
        writer.graph(graph, &plan, calibration)?;
        Ok(model)
    }
}

/// Nodes that come before another.
type Before = HashMap<usize, Vec<NodeProto>>;

struct Writer<'a> {
    names: FreeNames,
    scales: &'a BTreeMap<String, Scale>,
    activations: Activations,
    /// Initializers that are added.
    tensors: Vec<TensorProto>,
    /// Weights that are restored already, with the scales that they were rounded by: several nodes may have them.
    weights: HashMap<(String, usize), (String, Vec<f32>)>,
}

impl Writer<'_> {
    fn graph(
        &mut self,
        graph: &mut GraphProto,
        plan: &Plan,
        calibration: &Calibration,
    ) -> Result<(), QuantizeError> {
        let mut before = Before::new();
        let mut replaced: Vec<(usize, Vec<String>)> = Vec::new();
        {
            let links = Links::of(graph);
            for product in &plan.products {
                let added = before.entry(product.node).or_default();
                let inputs = self.product(
                    product,
                    &graph.node[product.node],
                    &links,
                    calibration,
                    added,
                )?;
                replaced.push((product.node, inputs));
            }
        }
        for (at, inputs) in replaced {
            graph.node[at].input = inputs;
        }
        let outside: HashSet<&str> = graph.input.iter().map(|it| it.name.as_str()).collect();
        let mut nodes = Vec::with_capacity(graph.node.len() * 2);
        let mut restored: HashMap<String, String> = HashMap::new();
        for value in plan
            .values
            .keys()
            .filter(|value| outside.contains(value.as_str()))
        {
            let pair = self.pair(value);
            restored.insert(value.clone(), pair[1].output[0].clone());
            nodes.extend(pair);
        }
        for (at, mut node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
            nodes.extend(before.remove(&at).unwrap_or_default());
            for input in &mut node.input {
                if let Some(name) = restored.get(input) {
                    input.clone_from(name);
                }
            }
            let outputs = node.output.clone();
            nodes.push(node);
            for value in outputs
                .into_iter()
                .filter(|it| plan.values.contains_key(it))
            {
                let pair = self.pair(&value);
                restored.insert(value, pair[1].output[0].clone());
                nodes.extend(pair);
            }
        }
        graph.node = nodes;
        // The float weights of rounded products.
        remove_unused(graph);
        graph.initializer.append(&mut self.tensors);
        Ok(())
    }

    /// The nodes that make a value an integer and a float again.
    fn pair(&mut self, value: &str) -> [NodeProto; 2] {
        let Scale { scale, zero } = self.scales[value];
        let scale_name = self.tensor(
            |name| TensorProto::from_f32(name, &[], &[scale]),
            &format!("{value}_scale"),
        );
        let activations = self.activations;
        let zero = |name: &str| match activations {
            Activations::Asymmetric => TensorProto::from_u8(name, &[], &[zero as u8]),
            Activations::Symmetric => TensorProto::from_i8(name, &[], &[zero as i8]),
        };
        let zero_name = self.tensor(zero, &format!("{value}_zero_point"));
        let quantized = self.names.take(&format!("{value}_quantized"));
        let restored = self.names.take(&format!("{value}_dequantized"));
        [
            node(
                "QuantizeLinear",
                &quantized,
                &[value, &scale_name, &zero_name],
                &quantized,
            ),
            node(
                "DequantizeLinear",
                &restored,
                &[&quantized, &scale_name, &zero_name],
                &restored,
            ),
        ]
    }

    fn tensor(&mut self, tensor: impl FnOnce(&str) -> TensorProto, name: &str) -> String {
        let name = self.names.take(name);
        self.tensors.push(tensor(&name));
        name
    }

    /// Rounds the weights and bias of a product, and returns its inputs.
    fn product(
        &mut self,
        product: &Product,
        of: &NodeProto,
        links: &Links<'_>,
        calibration: &Calibration,
        added: &mut Vec<NodeProto>,
    ) -> Result<Vec<String>, QuantizeError> {
        let tensor = links.constant(&product.weight);
        let missing = || QuantizeError::Weights {
            name: product.weight.clone(),
        };
        let shape = tensor.ok_or_else(missing)?.shape()?;
        let weights = links.floats(&product.weight).ok_or_else(missing)?;
        let along = Along::axis(&shape, product.axis);
        let input_scale = self.scales[&product.input].scale;
        let bias = product.bias.as_deref().and_then(|name| links.floats(name));
        // A bias in steps of input and weight has to fit into 32 bits, with room for what is added to it.
        let least = |channel: usize| {
            let bias = bias.as_ref().map_or(0.0, |bias| bias[channel].abs());
            bias / (input_scale * (1_u32 << 30) as f32)
        };
        let quantized = QuantizedWeights::of(&weights, along, least);
        let key = (product.weight.clone(), product.axis);
        let shared = self
            .weights
            .get(&key)
            .filter(|(_, scales)| *scales == quantized.scales);
        let restored = if let Some((restored, _)) = shared {
            restored.clone()
        } else {
            let restored = self.weights(product, &shape, &quantized, added);
            let known = (restored.clone(), quantized.scales.clone());
            self.weights.insert(key, known);
            restored
        };
        let mut inputs = vec![product.input.clone(), restored];
        if product.takes_bias {
            let correction = correction(product, of, &shape, &weights, &quantized, calibration);
            let bias = (0..along.channels).map(|channel| {
                let bias = bias.as_ref().map_or(0.0, |bias| f64::from(bias[channel]));
                bias - correction.as_ref().map_or(0.0, |by| by[channel])
            });
            let steps: Vec<f32> = quantized
                .scales
                .iter()
                .map(|scale| scale * input_scale)
                .collect();
            let rounded: Vec<i32> = bias
                .zip(&steps)
                .map(|(bias, step)| (bias / f64::from(*step)).round() as i32)
                .collect();
            let label = product
                .bias
                .clone()
                .unwrap_or_else(|| format!("{}_bias", of.output[0]));
            let [value, scale] = [format!("{label}_quantized"), format!("{label}_scale")];
            let count = rounded.len();
            let value = self.tensor(
                |name| TensorProto::from_i32(name, &[count], &rounded),
                &value,
            );
            let scale = self.tensor(|name| TensorProto::from_f32(name, &[count], &steps), &scale);
            let restored = self.names.take(&format!("{label}_dequantized"));
            let mut dequantize = node("DequantizeLinear", &restored, &[&value, &scale], &restored);
            dequantize.attribute.push(int_attribute("axis", 0));
            added.push(dequantize);
            inputs.push(restored);
        }
        Ok(inputs)
    }

    /// Adds rounded weights, and the node that restores them.
    fn weights(
        &mut self,
        product: &Product,
        shape: &[usize],
        quantized: &QuantizedWeights,
        added: &mut Vec<NodeProto>,
    ) -> String {
        let channels = quantized.scales.len();
        let label = &product.weight;
        let value = self.tensor(
            |name| TensorProto::from_i8(name, shape, &quantized.values),
            &format!("{label}_quantized"),
        );
        let scale = self.tensor(
            |name| TensorProto::from_f32(name, &[channels], &quantized.scales),
            &format!("{label}_scale"),
        );
        let zero = self.tensor(
            |name| TensorProto::from_i8(name, &[channels], &vec![0; channels]),
            &format!("{label}_zero_point"),
        );
        let restored = self.names.take(&format!("{label}_dequantized"));
        let mut dequantize = node(
            "DequantizeLinear",
            &restored,
            &[&value, &scale, &zero],
            &restored,
        );
        dequantize
            .attribute
            .push(int_attribute("axis", product.axis as i64));
        added.push(dequantize);
        restored
    }
}

/// What the rounding of a product's weights adds to each channel of its output on average, if the input's mean is that of
/// its channel everywhere.
fn correction(
    product: &Product,
    of: &NodeProto,
    shape: &[usize],
    weights: &[f32],
    quantized: &QuantizedWeights,
    calibration: &Calibration,
) -> Option<Vec<f64>> {
    let (means, size) = calibration.means.get(&product.input)?;
    let along = Along::axis(shape, product.axis);
    let filters = shape[product.axis];
    // The channels of the input that a filter takes, and how many weights come before the next of them.
    let (taken, inner) = if of.op_type == "Conv" {
        (shape[1], shape[2..].iter().product::<usize>())
    } else if product.axis == 0 {
        (shape[1], 1)
    } else {
        (shape[0], shape[1])
    };
    let groups = means.len() / taken.max(1);
    if groups == 0 || groups * taken != means.len() || !filters.is_multiple_of(groups) {
        return None;
    }
    let taps = if of.op_type == "Conv" {
        Some(inside(of, &shape[2..], size)?)
    } else {
        None
    };
    let mut sums = vec![0.0; filters];
    for (at, weight) in weights.iter().enumerate() {
        let filter = along.channel(at);
        let channel = at / inner % taken + filter / (filters / groups) * taken;
        let error = f64::from(quantized.restored(at, along)) - f64::from(*weight);
        let met = taps.as_ref().map_or(1.0, |taps| taps[at % inner]);
        sums[filter] += error * means[channel] * met;
    }
    Some(sums)
}

/// For each tap of a convolution's window, the share of the output's places at which it meets the image rather than its
/// padding, row-major; none where that is not known.
fn inside(node: &NodeProto, window: &[usize], size: &[usize]) -> Option<Vec<f64>> {
    let auto = node.attribute.iter().find(|it| it.name == "auto_pad");
    let auto = auto.and_then(|it| it.s.as_deref()).unwrap_or_default();
    let rank = window.len();
    let axis = |name: &str, at: usize, default: i64| {
        let found = ints(node, name).get(at).copied().unwrap_or(default);
        usize::try_from(found).ok()
    };
    let mut taps = vec![1.0];
    for at in 0..rank {
        let (window, size) = (window[at], *size.get(at)?);
        let (stride, dilation) = (axis("strides", at, 1)?.max(1), axis("dilations", at, 1)?);
        let extent = dilation * window.checked_sub(1)? + 1;
        let [before, after] = match auto {
            b"VALID" => [0, 0],
            b"SAME_UPPER" | b"SAME_LOWER" => {
                let padded = size.div_ceil(stride).checked_sub(1)? * stride + extent;
                let (half, all) = (padded.saturating_sub(size) / 2, padded.saturating_sub(size));
                if auto == b"SAME_UPPER" {
                    [half, all - half]
                } else {
                    [all - half, half]
                }
            }
            _ => [axis("pads", at, 0)?, axis("pads", at + rank, 0)?],
        };
        let places = (size + before + after).checked_sub(extent)? / stride + 1;
        let share = |tap: usize| {
            let meets = |place: &usize| {
                let padded = place * stride + tap * dilation;
                padded >= before && padded - before < size
            };
            (0..places).filter(meets).count() as f64 / places as f64
        };
        let shares: Vec<f64> = (0..window).map(share).collect();
        let along = taps
            .iter()
            .flat_map(|tap| shares.iter().map(move |share| tap * share));
        taps = along.collect();
    }
    Some(taps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_takes_its_share_of_a_window() {
        let mut conv = node("Conv", "conv", &["x", "w"], "y");
        let pads = |pads: [i64; 4]| kiln_onnx::AttributeProto {
            name: "pads".into(),
            r#type: kiln_onnx::AttributeType::Ints as i32,
            ints: pads.to_vec(),
            ..kiln_onnx::AttributeProto::default()
        };
        assert_eq!(inside(&conv, &[3, 1], &[3, 2]), Some(vec![1.0; 3]));
        // Two places: each meets two of three rows, and both columns as often.
        conv.attribute.push(pads([1, 0, 1, 0]));
        assert_eq!(inside(&conv, &[3, 1], &[2, 4]), Some(vec![0.5, 1.0, 0.5]));
        assert_eq!(
            inside(&conv, &[3, 2], &[2, 2]),
            Some(vec![0.5, 0.5, 1.0, 1.0, 0.5, 0.5])
        );
        conv.attribute[0] = kiln_onnx::AttributeProto {
            name: "auto_pad".into(),
            r#type: kiln_onnx::AttributeType::String as i32,
            s: Some(b"SAME_UPPER".to_vec()),
            ..kiln_onnx::AttributeProto::default()
        };
        assert_eq!(inside(&conv, &[2], &[4]), Some(vec![1.0, 0.75]));
        assert_eq!(inside(&conv, &[9], &[]), None);
    }
}
