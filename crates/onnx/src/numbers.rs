//! Values of tensors of whichever type, as floats or integers.

use crate::proto::{AttributeProto, DataType, GraphProto, ModelProto, TensorProto};
use crate::tensor::TensorError;

impl DataType {
    /// Whether it is one of floats of 16, 32 or 64 bits.
    pub const fn is_float(self) -> bool {
        matches!(
            self,
            Self::Float | Self::Float16 | Self::Bfloat16 | Self::Double
        )
    }
}

impl TensorProto {
    /// Whether the values are floats of 16, 32 or 64 bits.
    pub fn is_float(&self) -> bool {
        DataType::try_from(self.data_type).is_ok_and(DataType::is_float)
    }

    /// The values of a tensor of floats of 16, 32 or 64 bits, rounded to 32 bits, in row-major
    /// order: exactly as many as the shape asks for.
    pub fn to_floats(&self) -> Result<Vec<f32>, TensorError> {
        match DataType::try_from(self.data_type) {
            Ok(DataType::Float16) => halves(self, half),
            Ok(DataType::Bfloat16) => halves(self, |bits| f32::from_bits(u32::from(bits) << 16)),
            Ok(DataType::Double) => {
                let of = |bytes| f64::from_le_bytes(bytes) as f32;
                let typed = self.double_data.iter().map(|&value| value as f32);
                values(self, of, typed)
            }
            // Others are refused with their type.
            _ => self.to_f32(),
        }
    }

    /// The values of a tensor of integers or truth values in row-major order; none where they
    /// cannot be read.
    pub fn to_ints(&self) -> Option<Vec<i64>> {
        let narrow = || self.int32_data.iter().map(|&value| i64::from(value));
        let found = match DataType::try_from(self.data_type).ok()? {
            DataType::Int64 => return self.to_i64().ok(),
            DataType::Int32 => values(self, |b| i64::from(i32::from_le_bytes(b)), narrow()),
            DataType::Int16 => values(self, |b| i64::from(i16::from_le_bytes(b)), narrow()),
            DataType::Uint16 => values(self, |b| i64::from(u16::from_le_bytes(b)), narrow()),
            DataType::Int8 => values(self, |b| i64::from(i8::from_le_bytes(b)), narrow()),
            DataType::Uint8 => values(self, |b| i64::from(u8::from_le_bytes(b)), narrow()),
            DataType::Bool => values(self, |[b]: [u8; 1]| i64::from(b != 0), narrow()),
            _ => return None,
        };
        found.ok()
    }

    fn widen(&mut self, types: &[DataType]) -> Result<(), TensorError> {
        if types.iter().any(|&found| found as i32 == self.data_type) {
            let floats = self.to_floats()?;
            let dims = std::mem::take(&mut self.dims);
            *self = Self::from_f32(&self.name, &[floats.len()], &floats);
            self.dims = dims;
        }
        Ok(())
    }
}

impl ModelProto {
    /// The types of floats other than float32 that tensors, inputs, outputs and casts of the graph have.
    /// Those in functions are not looked at.
    pub fn other_floats(&self) -> Vec<DataType> {
        let mut found = Vec::new();
        let mut add = |data_type: i64| {
            let data_type = i32::try_from(data_type).ok();
            let data_type = data_type.and_then(|number| DataType::try_from(number).ok());
            if let Some(data_type) = data_type
                && data_type.is_float()
                && data_type != DataType::Float
                && !found.contains(&data_type)
            {
                found.push(data_type);
            }
        };
        if let Some(graph) = &self.graph {
            types(graph, &mut add);
        }
        for info in self.inputs().into_iter().chain(self.outputs()) {
            if let Some(data_type) = info.data_type {
                add(data_type as i64);
            }
        }
        found
    }

    /// Makes values of these types float32, throughout the graph: tensors, casts, inputs and outputs. What
    /// the file says about the types of values in between is dropped. Functions are left as they are.
    ///
    /// # Errors
    ///
    /// Returns that a tensor's values are in another file, or not as many as its shape asks for.
    pub fn widen(&mut self, types: &[DataType]) -> Result<(), TensorError> {
        match &mut self.graph {
            Some(graph) => widen(graph, types),
            None => Ok(()),
        }
    }
}

/// Attributes whose value is the number of a type.
const TYPE_ATTRIBUTES: [&str; 2] = ["to", "dtype"];

fn types(graph: &GraphProto, add: &mut impl FnMut(i64)) {
    for tensor in &graph.initializer {
        add(tensor.data_type.into());
    }
    for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
        for tensor in attribute.t.iter().chain(&attribute.tensors) {
            add(tensor.data_type.into());
        }
        if TYPE_ATTRIBUTES.contains(&attribute.name.as_str()) {
            attribute.i.into_iter().for_each(&mut *add);
        }
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            types(graph, add);
        }
    }
}

/// The depth of graphs in graphs is bounded: no deeper message is decoded.
fn widen(graph: &mut GraphProto, types: &[DataType]) -> Result<(), TensorError> {
    graph.value_info.clear();
    for tensor in &mut graph.initializer {
        tensor.widen(types)?;
    }
    for info in graph.input.iter_mut().chain(&mut graph.output) {
        info.widen(types);
    }
    let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    for AttributeProto {
        name,
        i,
        t,
        tensors,
        g,
        graphs,
        ..
    } in attributes
    {
        for tensor in t.iter_mut().chain(tensors) {
            tensor.widen(types)?;
        }
        if TYPE_ATTRIBUTES.contains(&name.as_str())
            && types.iter().any(|&found| *i == Some(found as i64))
        {
            *i = Some(DataType::Float as i64);
        }
        for graph in g.iter_mut().chain(graphs) {
            widen(graph, types)?;
        }
    }
    Ok(())
}

fn halves(tensor: &TensorProto, of: fn(u16) -> f32) -> Result<Vec<f32>, TensorError> {
    // Bit patterns, in the low halves of the integers.
    let typed = tensor.int32_data.iter().map(|&bits| of(bits as u16));
    values(tensor, |bytes| of(u16::from_le_bytes(bytes)), typed)
}

fn values<T: Clone, const N: usize>(
    tensor: &TensorProto,
    of: impl Fn([u8; N]) -> T,
    typed: impl Iterator<Item = T>,
) -> Result<Vec<T>, TensorError> {
    if let Some(location) = tensor.external_location() {
        return Err(TensorError::External {
            name: tensor.name.clone(),
            location: location.to_owned(),
        });
    }
    let expected = tensor.element_count()?;
    let (chunks, rest) = tensor.raw_data.as_chunks::<N>();
    let values: Vec<T> = if tensor.raw_data.is_empty() {
        typed.collect()
    } else {
        chunks.iter().map(|&chunk| of(chunk)).collect()
    };
    if values.len() == expected && rest.is_empty() {
        Ok(values)
    } else {
        Err(TensorError::Length {
            name: tensor.name.clone(),
            dims: tensor.dims.clone(),
            expected,
            found: values.len(),
        })
    }
}

/// A 16-bit float of IEEE 754.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = ((bits >> 10) & 0x1f, f32::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2_f32.powi(-24),
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        exponent => (1024.0 + fraction) * 2_f32.powi(i32::from(exponent) - 25),
    };
    sign * magnitude
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_ieees() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x0400, 6.103_515_6e-5),
            (0x8000, -0.0),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(half(bits).to_bits(), f32::to_bits(value), "{bits:x}");
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn every_type_is_read_from_both_encodings() {
        let tensor = |data_type: DataType, raw_data: Vec<u8>| TensorProto {
            dims: vec![1],
            data_type: data_type as i32,
            raw_data,
            ..TensorProto::default()
        };
        let double = tensor(DataType::Double, 0.5_f64.to_le_bytes().to_vec());
        assert_eq!(double.to_floats(), Ok(vec![0.5]));
        let half = tensor(DataType::Float16, vec![0, 0x3c]);
        assert_eq!(half.to_floats(), Ok(vec![1.0]));
        let brain = tensor(DataType::Bfloat16, vec![0x80, 0x3f]);
        assert_eq!(brain.to_floats(), Ok(vec![1.0]));
        let mut wide = half.clone();
        wide.widen(&[DataType::Bfloat16]).unwrap();
        assert_eq!(wide, half);
        wide.widen(&[DataType::Float16]).unwrap();
        assert_eq!(wide, TensorProto::from_f32("", &[1], &[1.0]));
        assert_eq!(tensor(DataType::Int8, vec![0xff]).to_ints(), Some(vec![-1]));
        assert_eq!(
            tensor(DataType::Uint8, vec![0xff]).to_ints(),
            Some(vec![255])
        );
        assert_eq!(tensor(DataType::Bool, vec![1]).to_ints(), Some(vec![1]));
        assert_eq!(tensor(DataType::Int32, vec![1]).to_ints(), None);
        let typed = TensorProto {
            int32_data: vec![0x3c00],
            ..tensor(DataType::Float16, Vec::new())
        };
        assert_eq!(typed.to_floats(), Ok(vec![1.0]));
        assert!(tensor(DataType::Int64, vec![0; 8]).to_floats().is_err());
    }
}
