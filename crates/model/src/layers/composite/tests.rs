use proptest::prelude::*;

use crate::graph::{Input, Op, Values};
use crate::{Layer, ParamRole, Recipe, Shape};

/// The first layer of a recipe of 3×12×12 images.
fn layer(text: &str) -> Result<Layer, String> {
    let recipe = format!(
        "layers = [{text}, {{ type = \"flatten\" }}, {{ type = \"dense\", units = 10 }}]\n\
         [input]\nheight = 12\nwidth = 12\nchannels = \"rgb\""
    );
    let recipe = Recipe::parse(&recipe, "r.toml", "r", &[]).map_err(|error| error.to_string())?;
    let again = Recipe::parse(&recipe.to_toml(), "r.toml", "r", &[]);
    assert_eq!(
        again.as_ref().map(Recipe::to_toml),
        Ok(recipe.to_toml()),
        "{}",
        recipe.to_toml()
    );
    Ok(recipe.model().layers()[0].clone())
}

/// Checks that the segment has the layer's shape and parameters.
fn check(layer: &Layer) {
    let lowered = layer
        .kind
        .segment(&layer.name, layer.input)
        .expect("a composite layer has a segment");
    let segment = &lowered.segment;
    assert!(lowered.live_batch_norm);
    segment.check_typed().unwrap();
    let sample = segment.sample().unwrap();
    assert_eq!(Shape::from_dims(&sample), Some(layer.output));
    let roles = segment.roles();
    for (parameter, role) in segment.parameters.iter().zip(roles) {
        let name = format!("{}.{}", layer.name, parameter.name);
        let param = layer
            .params
            .iter()
            .find(|param| param.name == name)
            .unwrap_or_else(|| panic!("{name} is no parameter of the layer"));
        assert_eq!(param.shape, parameter.shape, "{name}");
        assert_eq!(param.role, role, "{name}");
        assert!(parameter.values == Values::File);
    }
    assert_eq!(layer.params.len(), segment.parameters.len());
    let trained = |role: ParamRole| !role.is_trained();
    assert!(layer.params.is_sorted_by_key(|param| trained(param.role)));
    for (at, node) in segment.nodes.iter().enumerate() {
        for input in &node.inputs {
            match *input {
                Input::Value(value) => assert!(value <= at, "{}", node.name),
                Input::Parameter(parameter) => assert!(parameter < segment.parameters.len()),
            }
        }
    }
    let mut names: Vec<_> = segment.nodes.iter().map(|node| &node.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), segment.nodes.len(), "{names:?}");
}

const CONV: &str = "{ type = \"conv2d\", filters = 8, kernel_size = 3, strides = 2, padding = 1, use_bias = false }";

#[test]
fn a_residual_block_has_torchvisions_nodes_and_parameters() {
    let block = format!(
        "{{ type = \"residual\", name = \"layer1_0\", activation = \"relu\", drop_rate = 0.1, layers = [\
         {CONV}, {{ type = \"batch_norm\", momentum = 0.9, epsilon = 1e-5 }}, {{ type = \"relu\" }}, \
         {{ type = \"conv2d\", filters = 8, kernel_size = 3, padding = \"same\" }}], \
         shortcut = [{{ type = \"conv2d\", filters = 8, kernel_size = 1, strides = 2 }}] }}"
    );
    let layer = layer(&block).unwrap();
    check(&layer);
    let segment = layer
        .kind
        .segment(&layer.name, layer.input)
        .unwrap()
        .segment;
    let nodes: Vec<_> = segment
        .nodes
        .iter()
        .map(|node| (node.name.as_str(), node.op.name()))
        .collect();
    assert_eq!(
        nodes,
        [
            ("layer1_0.conv2d", "Conv"),
            ("layer1_0.batch_norm", "BatchNormalization"),
            ("layer1_0.relu", "Relu"),
            ("layer1_0.conv2d_1", "Conv"),
            ("layer1_0.stochastic_depth", "StochasticDepth"),
            ("layer1_0.conv2d_2", "Conv"),
            ("layer1_0.add", "Add"),
            // There is a layer of that name inside.
            ("layer1_0.relu_1", "Relu"),
        ]
    );
    assert_eq!(
        segment.nodes[1].op,
        Op::BatchNormalization {
            epsilon: 1e-5,
            momentum: 0.9
        }
    );
    let names: Vec<_> = layer.params.iter().map(|param| &param.name).collect();
    assert_eq!(names[0], "layer1_0.conv2d.weight");
    assert_eq!(names[8], "layer1_0.batch_norm.running_var");
    assert_eq!(segment.kind(), "block");
}

#[test]
fn composites_lower_to_their_shape_and_parameters() {
    let layers = [
        "{ type = \"depthwise_conv2d\", kernel_size = 3, depth_multiplier = 2, activation = \"relu6\" }",
        "{ type = \"separable_conv2d\", filters = 5, kernel_size = [3, 2], strides = 2, padding = \"same\" }",
        "{ type = \"layer_norm\" }",
        "{ type = \"layer_scale\" }",
        "{ type = \"squeeze_excite\", units = 4 }",
        "{ type = \"squeeze_excite\", gate = \"hard_sigmoid\", activation = \"silu\" }",
        "{ type = \"sequential\", layers = [{ type = \"global_avg_pool\" }, { type = \"layer_norm\" }, \
         { type = \"dense\", units = 4, activation = \"gelu\" }, { type = \"dropout\", rate = 0.5 }, \
         { type = \"layer_scale\", init_values = 0.1 }] }",
        "{ type = \"sequential\", layers = [{ type = \"max_pool\", padding = [1, 0, 1, 1], pool_size = 3 }, \
         { type = \"avg_pool\", ceil_mode = true }, { type = \"channel_max\" }, { type = \"flatten\" }, \
         { type = \"flatten\" }, { type = \"reshape\", target_shape = [4, 1, 1] }] }",
        "{ type = \"branches\", join = \"concatenate\", branches = [[], [{ type = \"conv2d\", filters = 2, \
         kernel_size = 1 }], [{ type = \"squeeze_excite\" }]] }",
        "{ type = \"branches\", join = \"add\", branches = [[], [{ type = \"layer_norm\" }], [{ type = \"relu\" }]] }",
        "{ type = \"branches\", join = \"multiply\", branches = [[{ type = \"global_avg_pool\" }], \
         [{ type = \"global_max_pool\" }]] }",
        "{ type = \"residual\", layers = [{ type = \"residual\", layers = [{ type = \"squeeze_excite\" }] }, \
         { type = \"batch_norm\" }] }",
    ];
    for text in layers {
        check(&layer(text).unwrap_or_else(|error| panic!("{error}")));
    }
}

#[test]
fn what_does_not_fit_is_one_clear_error() {
    let errors = [
        (
            format!("{{ type = \"residual\", layers = [{CONV}] }}"),
            "r.toml:1: layer 1 (`residual`): its branch outputs [8, 6, 6], but its shortcut [3, 12, 12]",
        ),
        (
            "{ type = \"residual\", layers = [] }".into(),
            "`layers.1.layers` is empty: add a layer",
        ),
        (
            "{ type = \"residual\", layers = [{ type = \"softmax\" }] }".into(),
            "can only be the last layer",
        ),
        (
            "{ type = \"residual\", layers = [{ type = \"resize\", height = 3, width = 3 }] }".into(),
            "`resize` cannot be inside",
        ),
        (
            "{ type = \"residual\", layers = [{ type = \"conv2\", filters = 3 }] }".into(),
            "`layers.1.layers.1.type` cannot be \"conv2\": did you mean `conv2d`?",
        ),
        (
            "{ type = \"residual\", layer = [] }".into(),
            "unknown key `layer` in `layers.1`: did you mean `layers`?",
        ),
        (
            "{ type = \"sequential\", layers = [{ type = \"relu\", name = \"a\" }, { type = \"relu\", name = \"a\" }] }"
                .into(),
            "two layers inside are called `a`",
        ),
        (
            "{ type = \"sequential\", layers = [{ type = \"conv2d\", filters = 2, kernel_size = 13 }] }".into(),
            "`conv2d` inside of it: a 13x13 kernel does not fit",
        ),
        (
            "{ type = \"branches\", join = \"add\", branches = [[{ type = \"relu\" }]] }".into(),
            "two or more arrays of layers",
        ),
        (
            format!("{{ type = \"branches\", join = \"concatenate\", branches = [[], [{CONV}]] }}"),
            "its branch 2 outputs [8, 6, 6], which cannot be joined with [3, 12, 12]",
        ),
        (
            "{ type = \"squeeze_excite\", units = 2, ratio = 2 }".into(),
            "`units` and `ratio` exclude each other",
        ),
        (
            "{ type = \"max_pool\", padding = 2 }".into(),
            "padding 2 must be smaller than the 2x2 window",
        ),
        (
            "{ type = \"max_pool\", padding = [1, 2, 3] }".into(),
            "must be [height, width] or [top, left, bottom, right], found 3 numbers",
        ),
        (
            "{ type = \"avg_pool\", ceil_mode = true, count_include_pad = true }".into(),
            "exclude each other",
        ),
    ];
    for (text, expected) in errors {
        let error = layer(&text).unwrap_err();
        assert!(error.contains(expected), "{error}\nexpected {expected}");
    }
}

#[test]
fn settings_reach_layers_inside() {
    let text = "layers = [{ type = \"residual\", name = \"block\", layers = [{ type = \"conv2d\", filters = 1, \
                kernel_size = 3, padding = 1 }] }, { type = \"flatten\" }, { type = \"dense\", units = 10 }]";
    let set = ["layers.block.layers.conv2d.kernel_size=5".to_owned()];
    let error = Recipe::parse(text, "r", "r", &set).unwrap_err();
    assert!(
        error.to_string().contains("its branch outputs [1, 26, 26]"),
        "{error}"
    );
}

fn inner() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (1_usize..4, 1_usize..4, any::<bool>()).prop_map(|(filters, kernel, same)| {
            let padding = if same { "\"same\"".into() } else { format!("{}", kernel / 2) };
            format!(
                "{{ type = \"conv2d\", filters = {filters}, kernel_size = {kernel}, padding = {padding} }}"
            )
        }),
        Just("{ type = \"batch_norm\" }".to_owned()),
        Just("{ type = \"layer_norm\" }".to_owned()),
        Just("{ type = \"squeeze_excite\" }".to_owned()),
        Just("{ type = \"max_pool\", pool_size = 3, strides = 2, padding = 1, ceil_mode = true }".to_owned()),
        Just("{ type = \"dropout\", rate = 0.2 }".to_owned()),
        Just("{ type = \"activation\", activation = \"hard_swish\" }".to_owned()),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let list = prop::collection::vec(inner, 1..4).prop_map(|layers| layers.join(", "));
        prop_oneof![
            list.clone()
                .prop_map(|layers| format!("{{ type = \"sequential\", layers = [{layers}] }}")),
            list.clone()
                .prop_map(|layers| format!("{{ type = \"residual\", layers = [{layers}] }}")),
            list.prop_map(|layers| format!(
                "{{ type = \"branches\", join = \"concatenate\", branches = [[], [{layers}]] }}"
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever fits as a chain of layers fits as operators, with the same shapes and parameters.
    #[test]
    fn nested_layers_lower_if_they_fit(text in inner()) {
        if let Ok(layer) = layer(&format!("{{ type = \"sequential\", layers = [{text}] }}")) {
            check(&layer);
        }
    }
}
