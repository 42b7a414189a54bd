//! Any values of kiln's keys are metadata or an error; metadata survive a round trip.
#![no_main]

use kiln_onnx::{Metadata, StringStringEntryProto};
use libfuzzer_sys::fuzz_target;

// One `key=value` per line, without the key's prefix.
fuzz_target!(|text: &str| {
    let entries = text.lines().filter_map(|line| line.split_once('='));
    let entry = |(key, value): (&str, &str)| StringStringEntryProto { key: format!("kiln.{key}"), value: value.into() };
    let props: Vec<_> = entries.map(entry).collect();
    if let Ok(metadata) = Metadata::from_props(&props) {
        assert_eq!(Metadata::from_props(&metadata.to_props()), Ok(metadata));
    }
});
