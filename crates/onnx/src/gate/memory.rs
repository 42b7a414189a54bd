//! What a file takes in memory once it is decoded, by its bytes: an empty message takes two of them, and
//! some hundred decoded.

use std::mem::size_of;

use super::budget::GateError;
use crate::proto::{
    AttributeProto, Dimension, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto,
    SparseTensorProto, StringStringEntryProto, TensorProto, TensorShapeProto, TrainingInfoProto,
    TypeProto, ValueInfoProto,
};
use crate::wire::next_field;

/// Most bytes of messages and strings, without what is in them. A graph of a thousand nodes takes some
/// megabytes.
const MAX_BYTES: u64 = 256 << 20;

/// Messages within messages that are followed; deeper ones are not decoded.
const MAX_DEPTH: usize = 100;

/// Messages of `onnx.proto` that hold others.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    Function,
    Training,
    Value,
    Type,
    TensorType,
    Shape,
    /// One that holds none.
    Leaf,
}

/// Why a file is not decoded.
pub enum Refused {
    /// A field is cut short, or a group.
    Malformed,
    /// Its messages take too much memory.
    Large(GateError),
}

/// Checks that the messages of a file do not take much more memory than the file.
pub fn check(file: &[u8]) -> Result<(), Refused> {
    let mut room = MAX_BYTES;
    take(file, Kind::Model, MAX_DEPTH, &mut room)
}

fn take(message: &[u8], kind: Kind, depth: usize, room: &mut u64) -> Result<(), Refused> {
    let mut rest = message;
    while !rest.is_empty() {
        let field = next_field(rest).ok_or(Refused::Malformed)?;
        rest = &rest[field.bytes.len()..];
        let Some(value) = field.value else { continue };
        let (size, inner) = match inner(kind, field.number) {
            Some((size, inner)) => (size, Some(inner)),
            None => (size_of::<String>(), None),
        };
        *room = room
            .checked_sub(size as u64)
            .ok_or(Refused::Large(GateError::Messages { limit: MAX_BYTES }))?;
        match inner {
            Some(Kind::Leaf) | None => {}
            Some(_) if depth == 0 => {}
            Some(inner) => take(value, inner, depth - 1, room)?,
        }
    }
    Ok(())
}

/// The size and the kind of the message that a field holds; none of one that holds none.
fn inner(kind: Kind, field: u64) -> Option<(usize, Kind)> {
    const ENTRY: (usize, Kind) = (size_of::<StringStringEntryProto>(), Kind::Leaf);
    const TENSOR: (usize, Kind) = (size_of::<TensorProto>(), Kind::Tensor);
    const GRAPH: (usize, Kind) = (size_of::<GraphProto>(), Kind::Graph);
    const NODE: (usize, Kind) = (size_of::<NodeProto>(), Kind::Node);
    const ATTRIBUTE: (usize, Kind) = (size_of::<AttributeProto>(), Kind::Attribute);
    const VALUE: (usize, Kind) = (size_of::<ValueInfoProto>(), Kind::Value);
    const SPARSE: (usize, Kind) = (size_of::<SparseTensorProto>(), Kind::Sparse);
    const OPERATORS: (usize, Kind) = (size_of::<OperatorSetIdProto>(), Kind::Leaf);
    Some(match (kind, field) {
        (Kind::Model, 7) | (Kind::Attribute, 6 | 11) | (Kind::Training, 1 | 2) => GRAPH,
        (Kind::Model, 8) | (Kind::Function, 9) => OPERATORS,
        (Kind::Model, 20) => (size_of::<TrainingInfoProto>(), Kind::Training),
        (Kind::Model, 25) => (size_of::<FunctionProto>(), Kind::Function),
        (Kind::Graph, 1) | (Kind::Function, 7) => NODE,
        (Kind::Graph, 5) | (Kind::Attribute, 5 | 10) | (Kind::Sparse, 1 | 2) => TENSOR,
        (Kind::Graph, 11..=13) | (Kind::Function, 12) => VALUE,
        (Kind::Graph, 15) | (Kind::Attribute, 22 | 23) => SPARSE,
        (Kind::Node, 5) | (Kind::Function, 11) => ATTRIBUTE,
        (Kind::Value, 2) => (size_of::<TypeProto>(), Kind::Type),
        (Kind::Type, 1) => (0, Kind::TensorType),
        (Kind::TensorType, 2) => (size_of::<TensorShapeProto>(), Kind::Shape),
        (Kind::Shape, 1) => (size_of::<Dimension>(), Kind::Leaf),
        (Kind::Model | Kind::Function, 14)
        | (Kind::Graph, 16)
        | (Kind::Node, 9)
        | (Kind::Tensor, 13 | 16)
        | (Kind::Training, 3 | 4)
        | (Kind::Value, 4) => ENTRY,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::{DecodeError, GateError, decode};

    /// A message as a field of another.
    fn field(number: u8, message: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(u64::from(number) << 3 | 2, &mut bytes);
        prost::encode_length_delimiter(message.len(), &mut bytes).unwrap();
        bytes.extend(message);
        bytes
    }

    #[test]
    fn a_small_file_of_many_messages_is_refused_before_it_is_decoded() {
        let many = |number: u8| [(number << 3) | 2, 0].repeat(4_000_000);
        let of_nodes = field(7, &many(1));
        let of_attributes = field(7, &field(1, &many(5)));
        let of_tensors = field(7, &many(5));
        let of_functions = field(25, &field(7, &many(5)));
        let of_branches = field(7, &field(1, &field(5, &field(6, &many(1)))));
        for file in [
            of_nodes,
            of_attributes,
            of_tensors,
            of_functions,
            of_branches,
        ] {
            assert!(matches!(
                decode(&file),
                Err(DecodeError::Limits(error)) if matches!(*error, GateError::Messages { .. })
            ));
        }
    }

    #[test]
    fn a_group_is_no_way_around() {
        // A group that ends at once, before what is to be counted.
        let file = [vec![(9 << 3) | 3, (9 << 3) | 4], field(7, b"")].concat();
        assert!(matches!(decode(&file), Err(DecodeError::Malformed(_))));
    }
}
