use super::*;
use crate::{Channels, Model, ParamRole, Preprocessing, Recipe, Shape};

/// The parameters of torchvision's networks of 1,000 classes, and of TensorFlow's Lite0.
const COUNTS: [(NetworkName, usize); 9] = [
    (NetworkName::Resnet18, 11_689_512),
    (NetworkName::Resnet34, 21_797_672),
    (NetworkName::Resnet50, 25_557_032),
    (NetworkName::MobilenetV2, 3_504_872),
    (NetworkName::MobilenetV3Small, 2_542_856),
    (NetworkName::MobilenetV3Large, 5_483_032),
    (NetworkName::EfficientnetB0, 5_288_548),
    (NetworkName::EfficientnetLite0, 4_652_008),
    (NetworkName::ConvnextTiny, 28_589_128),
];

fn model(network: &Network, size: u32) -> Model {
    let preprocessing = Preprocessing::unit(size, size, Channels::Rgb);
    Model::new(preprocessing, &network.layers()).unwrap()
}

#[test]
fn networks_have_torchvisions_parameters() {
    for (name, expected) in COUNTS {
        let model = model(&Network::new(name, Some(1000)), 224);
        assert_eq!(model.counts().trainable, expected, "{name}");
        assert_eq!(model.classes(), 1000);
        for layer in model.layers() {
            let segment = layer.kind.segment(&layer.name, layer.input);
            assert_eq!(segment.is_some(), layer.kind.is_composite(), "{name}");
            if let Some(lowered) = segment {
                let sample = lowered.segment.sample();
                assert_eq!(sample, Some(layer.output.dims()), "{name}");
            }
        }
    }
    assert_eq!(COUNTS.map(|(name, _)| name), NetworkName::ALL);
}

/// torchvision's docs list GFLOPs of multiplications with an addition: 1.81, 4.09, 0.3, 0.39, 4.46.
#[test]
fn networks_have_torchvisions_operations() {
    for (name, expected) in [
        (NetworkName::Resnet18, 1.81),
        (NetworkName::Resnet50, 4.09),
        (NetworkName::MobilenetV2, 0.3),
        (NetworkName::EfficientnetB0, 0.39),
        (NetworkName::ConvnextTiny, 4.46),
    ] {
        let found = model(&Network::new(name, Some(1000)), 224).multiply_adds() as f64 / 1e9;
        assert!((found - expected).abs() < 0.01, "{name}: {found}");
    }
}

#[test]
fn layers_are_called_as_torchvisions_modules() {
    let names = |name| -> Vec<String> {
        let model = model(&Network::new(name, Some(10)), 64);
        model
            .params()
            .filter(|param| param.role == ParamRole::Weight)
            .map(|param| param.name.clone())
            .collect()
    };
    let resnet = names(NetworkName::Resnet18);
    assert_eq!(
        resnet[..4],
        [
            "conv1.weight",
            "bn1.weight",
            "layer1_0.conv1.weight",
            "layer1_0.bn1.weight"
        ]
    );
    for name in ["layer2_0.downsample_0.weight", "fc.weight"] {
        assert!(resnet.iter().any(|found| found == name), "{name}");
    }
    let efficientnet = names(NetworkName::EfficientnetB0);
    for name in [
        "features_0_0.weight",
        "features_1_0.block_0_0.weight",
        "features_2_1.block_2.fc1.weight",
        "features_2_1.block_3_0.weight",
        "classifier_1.weight",
    ] {
        assert!(efficientnet.iter().any(|found| found == name), "{name}");
    }
    let convnext = names(NetworkName::ConvnextTiny);
    for name in ["features_2_1.weight", "features_1_0.layer_scale.weight"] {
        assert!(convnext.iter().any(|found| found == name), "{name}");
    }
}

#[test]
fn a_small_stem_keeps_small_images() {
    for name in NetworkName::ALL
        .into_iter()
        .filter(|name| name.has_stem(Stem::Small))
    {
        let network = Network {
            stem: Stem::Small,
            ..Network::new(name, None)
        };
        let model = model(&network, 32);
        assert_eq!(model.layers()[0].output.dims()[1..], [32, 32], "{name}");
        let last = &model.layers()[model.layers().len() - 1];
        assert!(matches!(last.output, Shape::Vector(_)), "{name}");
    }
}

#[test]
fn blocks_unfold_into_their_layers() {
    let model = model(&Network::new(NetworkName::MobilenetV3Small, Some(10)), 64);
    let block = model
        .layers()
        .iter()
        .find(|layer| layer.name == "features_1")
        .unwrap();
    let inner = block.expanded();
    let found: Vec<_> = inner
        .iter()
        .map(|inner| (inner.name.as_str(), inner.type_name, inner.count))
        .collect();
    assert_eq!(
        found,
        [
            ("block_0_0", "conv2d", 144),
            ("block_0_1", "batch_norm", 64),
            ("block_0_2", "relu", 0),
            ("block_1", "squeeze_excite", 8 * 16 + 8 + 16 * 8 + 16),
            ("block_2_0", "conv2d", 256),
            ("block_2_1", "batch_norm", 64),
        ]
    );
    assert_eq!(
        inner.iter().map(|inner| inner.count).sum::<usize>(),
        block.count()
    );
    assert_eq!(inner[0].output.dims(), [16, 16, 16]);
}

fn parse(text: &str) -> Result<Recipe, String> {
    Recipe::parse(text, "r.toml", "r", &[]).map_err(|error| error.to_string())
}

#[test]
fn a_recipe_names_its_network() {
    let recipe = parse("network = \"resnet18\"").unwrap();
    assert_eq!(recipe.model().classes(), 10);
    assert_eq!(recipe.model().counts().non_trainable, 9600);
    assert!(Recipe::is_recipe("network = \"resnet18\""));
    let again = parse(&recipe.to_toml()).unwrap();
    assert_eq!(again, recipe);
    assert!(
        recipe
            .to_toml()
            .contains("[network]\nname = \"resnet18\"\nclasses = 10")
    );
    let own = "network = { name = \"mobilenet_v3_small\", stem = \"small\" }\n\
               layers = [{ type = \"dropout\", rate = 0.5 }, { type = \"dense\" }]";
    let recipe = parse(own).unwrap();
    assert_eq!(
        recipe.network.as_ref().and_then(|network| network.classes),
        None
    );
    assert_eq!(recipe.model().layers().last().unwrap().name, "dense");
    assert_eq!(recipe.model().classes(), 10);
    let frozen =
        parse("network = \"resnet18\"\ntraining.freeze = [\"conv1\", \"bn1\", \"layer1\"]")
            .unwrap();
    let names: Vec<_> = frozen
        .model()
        .layers()
        .iter()
        .filter(|layer| layer.frozen)
        .map(|layer| layer.name.as_str())
        .collect();
    assert_eq!(names, ["conv1", "bn1", "layer1_0", "layer1_1"]);
}

#[test]
fn what_is_no_network_is_refused() {
    for (text, expected) in [
        (
            "\nnetwork = \"resnet19\"",
            "r.toml:2: `network` cannot be \"resnet19\": did you mean `resnet18`?",
        ),
        (
            "[network]\nname = \"resnet18\"\nstm = 1",
            "unknown key `stm` in `network`: did you mean `stem`?",
        ),
        (
            "[network]\nname = \"convnext_tiny\"\nstem = \"small\"",
            "`convnext_tiny` has no such stem",
        ),
        (
            "[network]\nname = \"resnet18\"\nclasses = 11",
            "11 scores, but `mnist` has 10 classes: set `network.classes = 10`",
        ),
        (
            "network = \"resnet18\"\ndata.folder = \"nowhere\"",
            "give `network.classes`",
        ),
        (
            "layers = [{ type = \"dense\" }]\n[network]\nname = \"resnet18\"\nclasses = 10",
            "`classes` is of a network without layers after it",
        ),
        (
            "network = \"resnet18\"\nlayers = [{ type = \"dense\" }]\nbackbone = { name = \"vgg16\" }\n\
             input = { channels = \"bgr\" }",
            "`network` and `backbone` exclude each other",
        ),
        ("network = \"resnet18\"\nlayers = []", "`layers` is empty"),
        ("network = \"convnext_tiny\"", "does not fit"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(expected), "{error}\nexpected {expected}");
    }
}
