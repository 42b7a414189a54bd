use proptest::prelude::*;

use crate::{LayerKind, Optimizer, Recipe, Sweep, Validation};

const SMALL: &str = r#"[data]
dataset = "mnist"

[[layers]]
type = "conv2d"
filters = 4
kernel_size = 3

[[layers]]
type = "flatten"

[[layers]]
type = "dense"
units = 10
"#;

fn parse(text: &str) -> Result<Recipe, String> {
    with(text, &[])
}

fn with(text: &str, overrides: &[&str]) -> Result<Recipe, String> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    Recipe::parse(text, "small.toml", "small", &overrides).map_err(|error| error.to_string())
}

#[test]
fn defaults_are_keras_s() {
    let recipe = parse(SMALL).unwrap();
    assert_eq!(recipe.name, "small");
    assert_eq!(recipe.data.validation, Validation::Split(0.1));
    let adam = Optimizer::Adam { learning_rate: 1e-3, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7 };
    assert_eq!(recipe.training.phases[0].optimizer, adam);
    let LayerKind::Conv2d(conv) = &recipe.layers[0].kind else { panic!("not a conv2d") };
    assert_eq!((conv.kernel_size, conv.strides, conv.use_bias), ([3, 3], [1, 1], true));
}

#[test]
fn a_resolved_recipe_reads_back_as_itself() {
    let recipe = with(
        SMALL,
        &[
            "training.epochs=3",
            "data.validation=test",
            "layers.2.name=flat",
            "data.limit=100",
            "layers.conv2d.activation=relu",
        ],
    )
    .unwrap();
    let again = Recipe::parse(&recipe.to_toml(), "again.toml", "other", &[]).unwrap();
    assert_eq!(again, recipe);
}

#[test]
fn every_mistake_names_its_line_and_what_to_do() {
    for (from, to, expected) in [
        ("filters = 4", "filtres = 4", "small.toml:6: unknown key `filtres` in `layers.1`: did you mean `filters`?"),
        ("[data]", "[dta]", "small.toml:1: unknown key `dta`: did you mean `data`?"),
        ("\"conv2d\"", "\"resnet\"", "small.toml:5: `layers.1.type` cannot be \"resnet\". Valid values: conv2d"),
        ("\"conv2d\"", "\"con2d\"", "small.toml:5: `layers.1.type` cannot be \"con2d\": did you mean `conv2d`?"),
        ("filters = 4", "filters = 0", "small.toml:6: `layers.1.filters` must be a whole number from 1 to"),
        (
            "filters = 4",
            "filters = \"4\"",
            "small.toml:6: `layers.1.filters` must be a whole number from 1 to 2147483648, found \"4\"",
        ),
        (
            "kernel_size = 3",
            "kernel_size = [3, 3, 3]",
            "small.toml:7: `layers.1.kernel_size` must be one number or [height, width], found 3",
        ),
        ("kernel_size = 3", "kernel_size = 29", "small.toml:4: layer 1 (`conv2d`): a 29x29 kernel does not fit"),
        ("filters = 4\n", "", "small.toml:4: `filters` is missing in `layers.1`: add it"),
        ("units = 10", "units = 12", "small.toml:12: the last layer gives 12 scores, but `mnist` has 10 classes"),
        ("units = 10", "units = 10\nname = \"a.b\"", "small.toml:15: a layer's name is letters"),
        ("type = \"flatten\"", "", "small.toml:9: `layers.2` has no `type`"),
        (
            "dataset = \"mnist\"",
            "dataset = \"mnits\"",
            "small.toml:2: `data.dataset` cannot be \"mnits\": did you mean `mnist`?",
        ),
        (
            "dataset = \"mnist\"",
            "validation_split = 0",
            "small.toml:2: `data.validation_split` must be a number above 0 and below 1, found 0",
        ),
        (
            "dataset = \"mnist\"",
            "validation_split = 0.1\nvalidation = \"test\"",
            "small.toml:3: `validation` and `validation_split` exclude",
        ),
        ("dataset = \"mnist\"", "dataset = ", "small.toml:2: not valid TOML"),
        (
            "[[layers]]\ntype = \"conv2d\"\nfilters = 4\nkernel_size = 3",
            "layers = []",
            "small.toml:4: unknown key `layers` in `data`",
        ),
        ("[data]", "name = \"../up\"\n[data]", "small.toml:1: `name` names a folder"),
        (
            "[data]",
            "[training]\nseed = -1\n[data]",
            "small.toml:2: `training.seed` must be a whole number of at least 0, found -1",
        ),
        (
            "[data]",
            "[training]\nepochs = 99999999999999999999\n[data]",
            "small.toml:2: 99999999999999999999 is out of range",
        ),
    ] {
        assert!(SMALL.contains(from), "{from}");
        let error = parse(&SMALL.replacen(from, to, 1)).unwrap_err();
        assert!(error.starts_with(expected), "\nfound    {error}\nexpected {expected}");
    }
}

#[test]
fn overrides_name_themselves_in_errors() {
    for (argument, expected) in [
        ("training.epoch=3", "--set training.epoch=3: unknown key `epoch` in `training`: did you mean `epochs`?"),
        ("training.epochs=0", "--set training.epochs=0: `training.epochs` must be a whole number from 1"),
        ("training.epochs", "--set training.epochs: expected KEY=VALUE"),
        ("layers.9.units=3", "--set layers.9.units=3: `layers` has no entry `9`: use its number, from 1 to 3"),
        ("layers.conv2d.rate=1", "--set layers.conv2d.rate=1: unknown key `rate` in `layers.1`"),
        ("data.dataset.x=1", "--set data.dataset.x=1: `data.dataset` is \"mnist\", it has no keys"),
        ("training..epochs=1", "--set training..epochs=1: the key has an empty part"),
    ] {
        let error = with(SMALL, &[argument]).unwrap_err();
        assert!(error.starts_with(expected), "\nfound    {error}\nexpected {expected}");
    }
}

#[test]
fn sizes_beyond_memory_and_nothing_to_train_are_refused() {
    for (set, expected) in [
        (
            vec![
                "layers.conv2d.filters=100",
                "layers.conv2d.kernel_size=28",
                "layers.3.units=10",
                "training.batch_size=1048576",
                "input.height=4000",
            ],
            "over 2^31",
        ),
        (vec!["training.freeze=[\"conv2d\", \"dense\"]"], "no layer has parameters that are trained"),
        (
            vec!["training.optimizer={type=\"adam\", beta_2=0.99999999999}"],
            "must be a number of at least 0 and below 1",
        ),
    ] {
        let error = with(SMALL, &set).unwrap_err();
        assert!(error.contains(expected), "\nfound    {error}\nexpected {expected}");
    }
    let many =
        SMALL.replace("type = \"flatten\"", "type = \"max_pool\"\npool_size = 26\n[[layers]]\ntype = \"flatten\"");
    let error = with(&many, &["layers.conv2d.filters=100000"]).unwrap_err();
    assert!(
        error.contains("a batch of 128 images makes layers of 67600000 values each, over 2^31 together"),
        "{error}"
    );
    let wide = SMALL.replace("units = 10", "units = 2000000\n[[layers]]\ntype = \"dense\"\nunits = 10");
    let error = with(&wide, &[]).unwrap_err();
    assert!(error.contains("layer 3 (`dense`): ") && error.contains("over 2^"), "{error}");
}

#[test]
fn an_empty_value_takes_the_key_away() {
    let text = format!("{SMALL}name = \"last\"\n");
    let recipe = with(&text, &["layers.last.name=", "data.dataset=", "layers.conv2d="]).unwrap();
    assert_eq!(recipe.layers.len(), 2);
    assert_eq!(recipe.layers[1].name, None);
    let error = with(SMALL, &["data.validation="]).unwrap_err();
    assert!(error.contains("`data.validation` is not there to be removed"), "{error}");
}

#[test]
fn automatic_names_are_those_of_the_summary() {
    let text = SMALL.replace(
        "type = \"flatten\"",
        "type = \"conv2d\"\nname = \"conv2d\"\nfilters = 3\nkernel_size = 1\n[[layers]]\ntype = \"flatten\"",
    );
    let recipe = with(&text, &["layers.conv2d_1.filters=9"]).unwrap();
    let model = recipe.model().unwrap();
    assert_eq!(model.layers()[0].name, "conv2d_1");
    assert_eq!(model.layers()[0].output.dims()[0], 9);
}

#[test]
fn a_file_name_becomes_a_folder_name() {
    let name = |stem: &str| Recipe::parse(SMALL, "x", stem, &[]).unwrap().name;
    assert_eq!(["my model", "..", "größe", "ok-1.2"].map(name), ["my-model", "recipe", "gr--e", "ok-1.2"]);
}

#[test]
fn overrides_take_toml_values_or_plain_words() {
    let recipe = with(
        SMALL,
        &["layers.conv2d.kernel_size=[5, 3]", "name=other", "training.optimizer={type=\"adam\", learning_rate=0.5}"],
    )
    .unwrap();
    let LayerKind::Conv2d(conv) = &recipe.layers[0].kind else { panic!("not a conv2d") };
    assert_eq!(conv.kernel_size, [5, 3]);
    assert_eq!(recipe.name, "other");
    assert!(matches!(recipe.training.phases[0].optimizer, Optimizer::Adam { learning_rate: 0.5, .. }));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[\\[\\]a-z0-9 =\"{}.,\\n_-]{0,200}", set in "[a-z0-9.={}\\[\\]\"-]{0,40}") {
        let _ = with(&text, &[&set]);
        let _ = with(SMALL, &[&set]);
    }

    #[test]
    fn a_mutated_recipe_never_panics(at in 0..SMALL.len(), byte in 32_u8..127) {
        let mut bytes = SMALL.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = parse(std::str::from_utf8(&bytes).unwrap());
    }
}

#[test]
fn the_recipes_that_come_with_kiln_are_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let origin = path.display().to_string();
            let mut without = Vec::new();
            if text.contains("\n[sweep]") {
                assert!(Sweep::parse(&text, &origin, "recipe", &[]).unwrap().combinations.len() > 1);
                without.push("sweep=".to_string());
            }
            Recipe::parse(&text, &origin, "recipe", &without).unwrap();
            names.push(path);
        }
    }
    assert!(names.len() >= 5, "{names:?}");
}

const VGG16: &str = r#"
layers = [
    { type = "flatten" },
    { type = "dense", units = 128, activation = "relu" },
    { type = "batch_norm" },
    { type = "dropout", rate = 0.5 },
    { type = "dense", units = 10 },
]

[input]
height = 32
width = 32
channels = "rgb"
preprocess = "raw"

[backbone]
name = "vgg16"
"#;

#[test]
fn a_frozen_vgg16_has_keras_s_counts() {
    let model = parse(VGG16).unwrap().model().unwrap();
    let counts = model.counts();
    assert_eq!((counts.total(), counts.trainable, counts.non_trainable), (14_782_154, 67_210, 14_714_944));
    // Everything up to and including flatten gives the same features in every epoch.
    assert_eq!(model.fixed_prefix(), 19);
    assert_eq!(model.layers()[18].output.to_string(), "[512]");
}

#[test]
fn phases_move_the_freezing_point() {
    let text = format!(
        "{VGG16}\n[[training.phases]]\nepochs = 2\n[[training.phases]]\nepochs = 3\nunfreeze = [\"block5\"]\n\
         learning_rates = {{ block5 = 1e-5 }}\noptimizer = {{ type = \"adam\", learning_rate = 1e-4 }}"
    );
    let recipe = parse(&text).unwrap();
    assert_eq!(recipe.training.epochs(), 5);
    assert_eq!(recipe.model_in(0).unwrap().fixed_prefix(), 19);
    let second = recipe.model_in(1).unwrap();
    assert_eq!(second.fixed_prefix(), 14);
    assert_eq!(second.counts().trainable, 67_210 + 3 * (512 * 512 * 9 + 512));
    assert_eq!(Recipe::parse(&recipe.to_toml(), "again.toml", "x", &[]).unwrap(), recipe);
}

#[test]
fn freezing_goes_by_number_and_a_model_of_ones_own_can_be_frozen() {
    let recipe = with(SMALL, &["training.freeze=1"]).unwrap();
    assert_eq!(recipe.model().unwrap().counts().trainable, 4 * 26 * 26 * 10 + 10);
    let recipe = with(VGG16, &["training.freeze=[\"block1\", \"block2_conv*\"]"]).unwrap();
    assert_eq!(recipe.model().unwrap().fixed_prefix(), 6);
}

#[test]
fn mistakes_in_freezing_name_their_line() {
    for (set, expected) in [
        ("training.unfreeze=[\"blok5\"]", "`blok5` matches no layer: did you mean `block"),
        ("training.freeze=99", "there are 23 layers, found 99"),
        ("training.learning_rates={dens=0.1}", "`dens` matches no layer: did you mean `dense`?"),
        ("training.phases=[]", "`training.phases` is empty"),
        ("backbone.name=vgg19", "`backbone.name` cannot be \"vgg19\": did you mean `vgg16`?"),
        ("input.preprocess=caffe", "this `preprocess` is for the channels bgr: leave out `channels`"),
        ("layers.1.units=3", "unknown key `units` in `layers.1`"),
    ] {
        let error = with(VGG16, &[set]).unwrap_err();
        assert!(error.contains(expected), "\nfound    {error}\nexpected {expected}");
    }
    let error = with(VGG16, &["layers.1.type=max_pool", "layers.1.pool_size=3"]).unwrap_err();
    assert!(error.contains("layer 19 (`max_pool`): a 3x3 window does not fit into the 1x1 image"), "{error}");
}
