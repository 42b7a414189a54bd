//! Metadata in a file that stays as it is otherwise.

use prost::Message;

use super::{Metadata, OWN};
use crate::file::DecodeError;
use crate::proto::{ModelProto, StringStringEntryProto};
use crate::wire::next_field;

/// The number of the field `metadata_props` in `ModelProto`.
const METADATA_PROPS: u64 = 14;

/// Replaces kiln's metadata in the bytes of a file. All else is kept byte by byte, also what this
/// crate does not decode, such as quantisation annotations, which would be lost in a round trip
/// through [`ModelProto`].
pub fn replace_metadata(file: &[u8], metadata: &Metadata) -> Result<Vec<u8>, DecodeError> {
    let added = ModelProto {
        metadata_props: metadata.to_props(),
        ..Default::default()
    }
    .encode_to_vec();
    let mut out = Vec::with_capacity(file.len() + added.len());
    let mut rest = file;
    while !rest.is_empty() {
        let field = next_field(rest)
            .ok_or_else(|| DecodeError::Malformed("a field is cut short".into()))?;
        let own = field.number == METADATA_PROPS && field.value.is_some_and(is_own);
        if !own {
            out.extend_from_slice(field.bytes);
        }
        rest = &rest[field.bytes.len()..];
    }
    // A message is the fields that it has, in any order.
    out.extend(added);
    Ok(out)
}

/// Whether an entry of `metadata_props` holds one of kiln's keys.
fn is_own(entry: &[u8]) -> bool {
    let entry = StringStringEntryProto::decode(entry);
    entry.is_ok_and(|entry| OWN.contains(&entry.key.as_str()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Dim, GraphBuilder, decode, encode};

    fn model() -> ModelProto {
        let mut graph = GraphBuilder::new("g");
        graph
            .input("x", Dim::batched([2]))
            .output("y", Dim::batched([2]));
        graph.node("Relu", "relu", &["x"], "y");
        let mut model = graph.finish().unwrap();
        model.metadata_props.push(StringStringEntryProto {
            key: "author".into(),
            value: "someone".into(),
        });
        model
    }

    fn labels(name: &str) -> Metadata {
        Metadata {
            labels: Some(vec![name.into()]),
            ..Metadata::default()
        }
    }

    #[test]
    fn own_keys_are_replaced_and_the_rest_is_kept() {
        let first = replace_metadata(&encode(&model()), &labels("a")).unwrap();
        let second = replace_metadata(&first, &labels("b")).unwrap();
        let mut expected = model();
        expected.set_metadata(&labels("b"));
        assert_eq!(decode(&second).unwrap(), expected);
    }

    #[test]
    fn what_is_not_decoded_survives() {
        // Field 20 of the model is `training_info`; field 99 is nobody's.
        let mut file = encode(&model());
        let unknown = [
            0xa2, 0x01, 0x02, b'h', b'i', 0x98, 0x06, 0x07, 0x9d, 0x06, 1, 2, 3, 4,
        ];
        file.extend(unknown);
        let edited = replace_metadata(&file, &labels("a")).unwrap();
        assert!(
            edited
                .windows(unknown.len())
                .any(|window| window == unknown)
        );
        assert!(edited.starts_with(&encode(&model())));
    }

    proptest! {
        #[test]
        fn any_bytes_are_edited_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let edited = replace_metadata(&bytes, &labels("a"));
            if let (Ok(edited), Ok(_)) = (edited, ModelProto::decode(bytes.as_slice())) {
                let model = ModelProto::decode(edited.as_slice()).unwrap();
                prop_assert_eq!(model.metadata(), Ok(labels("a")));
            }
        }
    }
}
