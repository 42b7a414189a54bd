//! Networks made of files with the published names and shapes.

use std::collections::BTreeMap;

use kiln_model::{Channels, OutputKind, Preprocess};
use kiln_onnx::ModelProto;
use kiln_zoo::{ConvertError, Network};

use crate::json;
use crate::pickles::{Entry, legacy};

/// Tensors of the published file, all values alike; a variance of 0 would be no mistake.
fn entries(network: Network) -> Vec<Entry> {
    let networks = json("networks.json");
    let tensors = networks[network.as_str()].as_object().unwrap();
    let entry = |(name, described): (&String, &serde_json::Value)| {
        let shape: Vec<usize> = described.as_array().unwrap()[1..]
            .iter()
            .map(|size| size.as_u64().unwrap() as usize)
            .collect();
        let count = shape.iter().product();
        let (class, values) = match described[0].as_str().unwrap() {
            "float32" => ("FloatStorage", 0.25_f32.to_le_bytes().repeat(count)),
            "int64" => ("LongStorage", 7_i64.to_le_bytes().repeat(count)),
            other => panic!("{other}"),
        };
        (name.clone(), class, shape, values)
    };
    tensors.iter().map(entry).collect()
}

fn labels(network: Network) -> Vec<String> {
    let numbers = 0..network.classes().unwrap_or(0);
    numbers.map(|number| format!("class {number}")).collect()
}

fn convert(network: Network, entries: &[Entry]) -> Result<ModelProto, ConvertError> {
    let provenance = BTreeMap::from([("weights".to_owned(), "a test".to_owned())]);
    network.convert(&legacy(entries), labels(network), provenance)
}

#[test]
fn every_network_becomes_a_graph_with_all_its_tensors() {
    for (network, nodes, parameters) in [
        (Network::EfficientNetLite0, 143, 4_694_024),
        (Network::MobileNetV2, 151, 2_257_984),
        (Network::SqueezeNet, 64, 1_235_496),
    ] {
        let entries = entries(network);
        let model = convert(network, &entries).unwrap();
        assert_eq!(model.graph.as_ref().unwrap().node.len(), nodes, "{network}");
        // Those of the file, and the two bounds of `ReLU6`.
        let floats = entries
            .iter()
            .filter(|(_, class, ..)| *class == "FloatStorage");
        let values: usize = floats
            .map(|(.., shape, _)| shape.iter().product::<usize>())
            .sum();
        let bounds = if network == Network::SqueezeNet { 0 } else { 2 };
        assert_eq!(model.parameters(), values + bounds, "{network}");
        assert_eq!(values, parameters, "{network}");

        let metadata = model.metadata().unwrap();
        let record = metadata.preprocessing.unwrap();
        let size = if network == Network::SqueezeNet {
            227
        } else {
            224
        };
        assert_eq!(record.shape(), [3, size, size]);
        assert!(record.resize.antialias);
        assert_eq!(metadata.provenance["weights"], "a test");
        let output = &model.outputs()[0];
        if network == Network::MobileNetV2 {
            assert_eq!((metadata.labels, metadata.output), (None, None));
            assert_eq!(output.name, "features");
        } else {
            assert_eq!(metadata.labels.unwrap(), labels(network));
            assert_eq!(metadata.output, Some(OutputKind::Logits));
            assert_eq!(output.name, "logits");
        }
    }
}

#[test]
fn nodes_are_named_by_their_modules() {
    let names = |network| {
        let model = convert(network, &entries(network)).unwrap();
        let nodes = model.graph.unwrap().node.into_iter();
        nodes.map(|node| node.name).collect::<Vec<_>>()
    };
    let lite = names(Network::EfficientNetLite0);
    assert_eq!(
        lite[..5],
        [
            "conv_stem",
            "bn0",
            "relu0",
            "blocks_0_depthwise_conv",
            "blocks_0_bn1"
        ]
    );
    assert_eq!(lite[lite.len() - 3..], ["avgpool", "flatten", "fc"]);
    let mobile = names(Network::MobileNetV2);
    assert_eq!(
        mobile[..4],
        [
            "features_0_0",
            "features_0_1",
            "features_0_2",
            "features_1_conv_0"
        ]
    );
    let squeeze = names(Network::SqueezeNet);
    assert_eq!(
        squeeze[..4],
        ["conv1", "conv1_relu", "pool1", "fire2_squeeze1x1"]
    );
}

#[test]
fn the_first_tensor_that_does_not_fit_is_named() {
    let network = Network::MobileNetV2;
    let with = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut entries = entries(network);
        change(&mut entries);
        convert(network, &entries).unwrap_err().to_string()
    };
    let at = |entries: &[Entry], name: &str| entries.iter().position(|e| e.0 == name).unwrap();
    let name = "features.3.conv.1.running_var";

    let missing = with(&|entries| drop(entries.remove(at(entries, name))));
    assert_eq!(
        missing,
        format!("expected the tensor `{name}`, found none of this name")
    );
    let extra = with(&|entries| {
        let copy = entries[0].clone();
        entries.push(("classifier.1.weight".into(), copy.1, copy.2, copy.3));
    });
    assert_eq!(
        extra,
        "expected only tensors of the network, found `classifier.1.weight` too"
    );
    let misshapen = with(&|entries| {
        let at = at(entries, name);
        entries[at].2 = vec![entries[at].2[0], 1];
    });
    assert_eq!(
        misshapen,
        format!("expected shape [144] for tensor `{name}`, found [144, 1]")
    );
    let integers = with(&|entries| {
        let at = at(entries, name);
        entries[at].1 = "IntStorage";
    });
    assert_eq!(
        integers,
        format!("expected floats in tensor `{name}`, found int32")
    );
    let infinite = with(&|entries| {
        let at = at(entries, name);
        entries[at].3[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    assert_eq!(
        infinite,
        format!("expected finite values in tensor `{name}`, found others")
    );

    let weights = legacy(&entries(network));
    let labels = network.convert(&weights, vec!["cat".into()], BTreeMap::new());
    assert_eq!(
        labels.unwrap_err().to_string(),
        "expected 0 labels, found 1"
    );
    let read = network.convert(b"cos\nsystem\n.", Vec::new(), BTreeMap::new());
    assert!(read.unwrap_err().to_string().contains("`os.system`"));
}

#[test]
fn counters_of_batches_may_be_missing() {
    let network = Network::MobileNetV2;
    let mut entries = entries(network);
    entries.retain(|(name, ..)| !name.ends_with(".num_batches_tracked"));
    assert!(convert(network, &entries).is_ok());
}

#[test]
fn records_are_those_the_networks_were_trained_with() {
    let lite = Network::EfficientNetLite0.preprocessing();
    assert_eq!(
        (lite.channels, lite.scale, &lite.mean[..], &lite.std[..]),
        (Channels::Rgb, 1.0, &[127.0; 3][..], &[128.0; 3][..])
    );
    let timm = Preprocess::Timm.record(224, 224, Channels::Rgb);
    assert_eq!((lite.resize, lite.orientation), (timm.resize, true));
    assert_eq!(Network::SqueezeNet.preprocessing().channels, Channels::Bgr);
    for network in Network::ALL {
        assert_eq!(network.preprocessing().check(), Ok(()));
        assert_eq!(network.as_str().parse(), Ok(network));
    }
}
