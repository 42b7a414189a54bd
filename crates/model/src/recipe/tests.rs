use proptest::prelude::*;

use crate::graph::{self, Conv, Dims, Node, Op, Parameter, Segment, Window};
use crate::{
    AdamParams, Arithmetic, AugMix, Augmentation, Base, Classes, CropRounding, DataSource, Export,
    FileBase, FileProblem, FileRequest, FileSegment, FillMode, Filter, Fit, Hint, LayerKind,
    LayerSpec, Layout, LossFunction, Optimizer, OptimizerKind, Preprocessing, Recipe, RecipeError,
    References, Relu, Resize, ScheduleKind, Sweep, Validation, ValidationSubset,
};

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
    let betas = AdamParams {
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon: 1e-7,
    };
    let adam = Optimizer {
        kind: OptimizerKind::Adam(betas),
        learning_rate: 1e-3,
        clipnorm: None,
        clipvalue: None,
        global_clipnorm: None,
    };
    assert_eq!(recipe.training.phases[0].optimizer, adam);
    let LayerKind::Conv2d(conv) = &recipe.layers[0].kind else {
        panic!("not a conv2d")
    };
    assert_eq!(
        (conv.kernel_size, conv.strides, conv.use_bias),
        ([3, 3], [1, 1], true)
    );
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
        (
            "filters = 4",
            "filtres = 4",
            "small.toml:6: unknown key `filtres` in `layers.1`: did you mean `filters`?",
        ),
        (
            "[data]",
            "[dta]",
            "small.toml:1: unknown key `dta`: did you mean `data`?",
        ),
        (
            "\"conv2d\"",
            "\"resnet\"",
            "small.toml:5: `layers.1.type` cannot be \"resnet\". Valid values: conv2d",
        ),
        (
            "\"conv2d\"",
            "\"con2d\"",
            "small.toml:5: `layers.1.type` cannot be \"con2d\": did you mean `conv2d`?",
        ),
        (
            "filters = 4",
            "filters = 0",
            "small.toml:6: `layers.1.filters` must be a whole number from 1 to",
        ),
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
        (
            "kernel_size = 3",
            "kernel_size = 29",
            "small.toml:4: layer 1 (`conv2d`): a 29x29 kernel does not fit",
        ),
        (
            "filters = 4\n",
            "",
            "small.toml:4: `filters` is missing in `layers.1`: add it",
        ),
        (
            "units = 10",
            "units = 12",
            "small.toml:12: the last layer outputs 12 scores, but `mnist` has 10 classes",
        ),
        (
            "units = 10",
            "units = 10\nname = \"a.b\"",
            "small.toml:15: a layer's name is letters",
        ),
        (
            "type = \"flatten\"",
            "",
            "small.toml:9: `layers.2` has no `type`",
        ),
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
        (
            "dataset = \"mnist\"",
            "dataset = ",
            "small.toml:2: not valid TOML",
        ),
        (
            "[[layers]]\ntype = \"conv2d\"\nfilters = 4\nkernel_size = 3",
            "layers = []",
            "small.toml:4: unknown key `layers` in `data`",
        ),
        (
            "[data]",
            "name = \"../up\"\n[data]",
            "small.toml:1: `name` names a folder",
        ),
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
        assert!(
            error.starts_with(expected),
            "\nfound    {error}\nexpected {expected}"
        );
    }
}

#[test]
fn overrides_name_themselves_in_errors() {
    for (argument, expected) in [
        (
            "training.epoch=3",
            "override training.epoch=3: unknown key `epoch` in `training`: did you mean `epochs`?",
        ),
        (
            "training.epochs=0",
            "override training.epochs=0: `training.epochs` must be a whole number from 1",
        ),
        (
            "training.epochs",
            "override training.epochs: expected KEY=VALUE",
        ),
        (
            "layers.9.units=3",
            "override layers.9.units=3: `layers` has no entry `9`: use its number, from 1 to 3, or its name: conv2d, flatten, dense",
        ),
        (
            "layers.conv2d.rate=1",
            "override layers.conv2d.rate=1: unknown key `rate` in `layers.conv2d`",
        ),
        (
            "layers.conv2d.filters=0",
            "override layers.conv2d.filters=0: `layers.conv2d.filters` must be a whole number",
        ),
        (
            "layers.1.filters=0",
            "override layers.1.filters=0: `layers.1.filters` must be a whole number",
        ),
        (
            "layers.conv2d.kernel_size=[3, 0]",
            "override layers.conv2d.kernel_size=[3, 0]: `layers.conv2d.kernel_size.2` must",
        ),
        (
            "training.optimizer=sgdd",
            "override training.optimizer=sgdd: `training.optimizer` cannot be \"sgdd\": did you mean `sgd`?",
        ),
        (
            "training.optimizer.momentum=0.9",
            "override training.optimizer.momentum=0.9: `momentum` is not a key of `adam`, and `training.optimizer` has no `type`: \
             it is one of adam, adamw, sgd",
        ),
        (
            "training.optimizer=3",
            "override training.optimizer=3: `training.optimizer` must be a table with a `type`, found 3",
        ),
        (
            "training.optimizer={learning_rate=-1e30}",
            "override training.optimizer={learning_rate=-1e30}: `training.optimizer.learning_rate` must be a number above 0, found -1e30",
        ),
        (
            "data.dataset.x=1",
            "override data.dataset.x=1: `data.dataset` is \"mnist\", it has no keys",
        ),
        (
            "training..epochs=1",
            "override training..epochs=1: the key has an empty part",
        ),
    ] {
        let error = with(SMALL, &[argument]).unwrap_err();
        assert!(
            error.starts_with(expected),
            "\nfound    {error}\nexpected {expected}"
        );
    }
}

#[test]
fn an_optimizer_may_be_a_word_and_its_type_left_out() {
    let optimizer = |set: &[&str]| {
        with(SMALL, set).unwrap().training.phases[0]
            .optimizer
            .clone()
    };
    let table = optimizer(&["training.optimizer={type=\"sgd\"}"]);
    assert_eq!(optimizer(&["training.optimizer=sgd"]), table);
    let word = SMALL.replace("[data]", "[training]\noptimizer = \"sgd\"\n[data]");
    assert_eq!(parse(&word).unwrap().training.phases[0].optimizer, table);
    // Another key beside the word.
    let momentum = with(&word, &["training.optimizer.momentum=0.9"])
        .unwrap()
        .training
        .phases[0]
        .optimizer
        .clone();
    assert_eq!(
        momentum,
        optimizer(&["training.optimizer={type=\"sgd\", momentum=0.9}"])
    );
    let slow = optimizer(&["training.optimizer.learning_rate=1e-4"]);
    assert_eq!(
        slow,
        Optimizer {
            learning_rate: 1e-4,
            ..Optimizer::default()
        }
    );
    let schedule = with(SMALL, &["training.schedule=cosine"])
        .unwrap()
        .training
        .phases[0]
        .schedule
        .clone();
    assert_eq!(schedule.kind, ScheduleKind::Cosine { alpha: 0.0 });
    // A phase's optimizer could as well be meant to have the type of the others.
    let phases = "[training]\noptimizer = \"sgd\"\n[[training.phases]]\noptimizer.learning_rate = 0.1\n[data]";
    assert!(
        parse(&SMALL.replace("[data]", phases))
            .unwrap_err()
            .contains("has no `type`")
    );
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
        (
            vec!["training.freeze=[\"conv2d\", \"dense\"]"],
            "no layer has parameters that are trained",
        ),
        (
            vec!["training.optimizer={type=\"adam\", beta_2=0.99999999999}"],
            "must be a number of at least 0 and below 1",
        ),
    ] {
        let error = with(SMALL, &set).unwrap_err();
        assert!(
            error.contains(expected),
            "\nfound    {error}\nexpected {expected}"
        );
    }
    let many = SMALL.replace(
        "type = \"flatten\"",
        "type = \"max_pool\"\npool_size = 26\n[[layers]]\ntype = \"flatten\"",
    );
    let error = with(&many, &["layers.conv2d.filters=100000"]).unwrap_err();
    assert!(
        error.contains(
            "a batch of 128 images makes layers of 67600000 values each, over 2^31 together"
        ),
        "{error}"
    );
    let wide = SMALL.replace(
        "units = 10",
        "units = 2000000\n[[layers]]\ntype = \"dense\"\nunits = 10",
    );
    let error = with(&wide, &[]).unwrap_err();
    assert!(
        error.contains("layer 3 (`dense`): ") && error.contains("over 2^"),
        "{error}"
    );
}

#[test]
fn an_empty_value_takes_the_key_away() {
    let text = format!("{SMALL}name = \"last\"\n");
    let recipe = with(
        &text,
        &["layers.last.name=", "data.dataset=", "layers.conv2d="],
    )
    .unwrap();
    assert_eq!(recipe.layers.len(), 2);
    assert_eq!(recipe.layers[1].name, None);
    let error = with(SMALL, &["data.validation="]).unwrap_err();
    assert!(
        error.contains("`data.validation` is not there to be removed"),
        "{error}"
    );
}

/// A network of blocks, some of them repeated.
const REPEATED: &str = r#"layers = [
  { type = "conv2d", filters = 4, kernel_size = 3, padding = "same", repeat = 2 },
  { type = "conv2d", filters = 4, kernel_size = 1 },
  { type = "residual", name = "block", repeat = 3, layers = [
    { type = "batch_norm" },
    { type = "conv2d", name = "conv", filters = 4, kernel_size = 3, padding = "same", repeat = 2 },
  ] },
  { type = "sequential", name = "layer2", repeat = 2, layers = [{ type = "relu", repeat = 1 }] },
  { type = "flatten" },
  { type = "dense", units = 10 },
]
"#;

fn layer_names(recipe: &Recipe) -> Vec<&str> {
    let layers = recipe.model().layers().iter();
    layers.map(|layer| layer.name.as_str()).collect()
}

#[test]
fn layers_that_are_repeated_are_so_many_layers() {
    let recipe = parse(REPEATED).unwrap();
    let expected = [
        "conv2d", "conv2d_1", "conv2d_2", "block1", "block2", "block3", "layer2_0", "layer2_1",
        "flatten", "dense",
    ];
    assert_eq!(layer_names(&recipe), expected);
    let parameters: Vec<&str> = recipe.model().params().map(|it| it.name.as_str()).collect();
    for name in [
        "block1.conv1.weight",
        "block3.conv2.bias",
        "block2.batch_norm.weight",
    ] {
        assert!(parameters.contains(&name), "{parameters:?}");
    }
    // As if each had been written.
    let written = parse(&recipe.to_toml()).unwrap();
    assert_eq!(written, recipe);
    assert!(!recipe.to_toml().contains("repeat"));
    let frozen = with(REPEATED, &["training.freeze=[\"block1\", \"layer*\"]"]).unwrap();
    let layers = frozen.model().layers();
    assert!(layers[3].frozen && layers[6].frozen && !layers[4].frozen);
    // A number of its own makes the same names.
    let once = with(REPEATED, &["layers.block.repeat=1"]).unwrap();
    assert_eq!(layer_names(&once)[3..5], ["block1", "layer2_0"]);
}

#[test]
fn a_layer_that_is_repeated_is_changed_where_it_is_written() {
    let more = with(
        REPEATED,
        &["layers.block.repeat=5", "layers.conv2d.repeat=1"],
    )
    .unwrap();
    assert_eq!(
        layer_names(&more)[..4],
        ["conv2d", "conv2d_1", "block1", "block2"]
    );
    // The names of later layers count the repetitions of those before.
    let wider = [
        "layers.conv2d_2.filters=6",
        "layers.block.layers.conv.filters=6",
    ];
    let narrow = with(REPEATED, &wider[..1]).unwrap_err();
    assert!(
        narrow.starts_with("small.toml:4: layer 4 (`block1`): its branch outputs"),
        "{narrow}"
    );
    let wider = with(REPEATED, &wider).unwrap();
    assert_eq!(wider.model().layers()[5].output.dims()[0], 6);
    let error = with(REPEATED, &["layers.block2.activation=relu"]).unwrap_err();
    assert!(
        error.contains("`layers.block2` is a repetition of `layers.block`: a key of that one"),
        "{error}"
    );
    let error = with(REPEATED, &["layers.conv2d_1.filters=5"]).unwrap_err();
    assert!(error.contains("a repetition of `layers.conv2d`"), "{error}");
    let text = format!("{REPEATED}[sweep]\nlayers.block.repeat = [1, 2]\n");
    let sweep = Sweep::parse_with(&text, "small.toml", "small", &[], &[]).unwrap();
    let counts = sweep.combinations.iter().map(|it| it.recipe.layers.len());
    assert!(counts.eq([8, 9]));
}

#[test]
fn mistakes_in_repetitions_name_their_line() {
    let deep = |times: usize| {
        let inner = "{ type = \"relu\", repeat = 1000 }".to_owned();
        (0..times).fold(inner, |inner, _| {
            format!("{{ type = \"sequential\", repeat = 1000, layers = [{inner}] }}")
        })
    };
    for (layers, expected) in [
        (
            "{ type = \"relu\", repeat = 0 }".to_owned(),
            "small.toml:3: `layers.2.repeat` must be a whole number from 1 to 1000, found 0",
        ),
        (
            "{ type = \"relu\", repeat = true }".to_owned(),
            "small.toml:3: `layers.2.repeat` must be a whole number from 1 to 1000, found true",
        ),
        (
            "{ type = \"relu\", repeats = 2 }".to_owned(),
            "small.toml:3: unknown key `repeats` in `layers.2`: did you mean `repeat`?",
        ),
        (
            deep(1),
            "small.toml:3: `layers.2.repeat` makes 1001007 layers, those inside of others included, over 10000",
        ),
        (deep(9), "over 10000: repeat fewer"),
        (
            "{ type = \"relu\", name = \"a\", repeat = 2 }, { type = \"relu\", name = \"a1\" }"
                .to_owned(),
            "small.toml:3: layer 10 (`a1`): the name is taken by layer 8",
        ),
        (
            "{ type = \"conv2d\", filters = 2, kernel_size = 20, repeat = 2 }".to_owned(),
            "small.toml:3: layer 9 (`conv2d_1`): a 20x20 kernel",
        ),
        (
            "{ type = \"softmax\", repeat = 2 }".to_owned(),
            "small.toml:3: ",
        ),
    ] {
        let text = format!(
            "layers = [\n{{ type = \"relu\", name = \"first\", repeat = 7 }},\n{layers},\n{{ type = \"flatten\" }},\n\
             {{ type = \"dense\", units = 10 }}]"
        );
        let error = parse(&text).unwrap_err();
        assert!(
            error.contains(expected),
            "\nfound    {error}\nexpected {expected}"
        );
    }
}

#[test]
fn automatic_names_are_those_of_the_summary() {
    let text = SMALL.replace(
        "type = \"flatten\"",
        "type = \"conv2d\"\nname = \"conv2d\"\nfilters = 3\nkernel_size = 1\n[[layers]]\ntype = \"flatten\"",
    );
    let recipe = with(&text, &["layers.conv2d_1.filters=9"]).unwrap();
    let model = recipe.model();
    assert_eq!(model.layers()[0].name, "conv2d_1");
    assert_eq!(model.layers()[0].output.dims()[0], 9);
}

#[test]
fn a_file_name_becomes_a_folder_name() {
    let name = |stem: &str| Recipe::parse(SMALL, "x", stem, &[]).unwrap().name.clone();
    assert_eq!(
        ["my model", "..", "größe", "ok-1.2"].map(name),
        ["my-model", "recipe", "größe", "ok-1.2"]
    );
    // Accents apart from their letters, as macOS writes them; what turns text around is no part of
    // a name.
    assert_eq!(
        ["u\u{308}ni\u{308}", "模型", "-ünï", "a\u{202e}b"].map(name),
        ["u\u{308}ni\u{308}", "模型", "ünï", "a-b"]
    );
    // A run's own recipe, which has the name inside, is read again.
    let recipe = Recipe::parse(SMALL, "x", "ünï", &[]).unwrap();
    assert_eq!(parse(&recipe.to_toml()), Ok(recipe));
}

#[test]
fn overrides_take_toml_values_or_plain_words() {
    let recipe = with(
        SMALL,
        &[
            "layers.conv2d.kernel_size=[5, 3]",
            "name=other",
            "training.optimizer={type=\"adam\", learning_rate=0.5}",
        ],
    )
    .unwrap();
    let LayerKind::Conv2d(conv) = &recipe.layers[0].kind else {
        panic!("not a conv2d")
    };
    assert_eq!(conv.kernel_size, [5, 3]);
    assert_eq!(recipe.name, "other");
    assert!(recipe.training.phases[0].optimizer.learning_rate.to_bits() == 0.5_f64.to_bits());
}

#[test]
fn optimizers_schedules_and_the_like_are_read_and_written() {
    for set in [
        "training.optimizer={type=\"adamw\", weight_decay=0.01, clipnorm=1}",
        "training.optimizer={type=\"sgd\", momentum=0.9, nesterov=true, clipvalue=0.5}",
        "training.schedule={type=\"constant\", warmup_steps=100}",
        "training.schedule={type=\"step\", step_size=3}",
        "training.schedule={type=\"exponential\", gamma=0.9}",
        "training.schedule={type=\"cosine\", alpha=0.1, warmup_steps=5}",
        "training.optimizer={type=\"adam\", global_clipnorm=1}",
        "training.schedule={type=\"piecewise_constant\", boundaries=[2, 5], values=[0.1, 0.01, 0.001]}",
        "training.schedule={type=\"piecewise_constant\", values=[0.1, 0.01]}",
        "training.schedule={type=\"one_cycle\"}",
        "training.schedule={type=\"reduce_on_plateau\", patience=2, min_lr=1e-5}",
        "training.early_stopping={patience=3, min_delta=0.001}",
        "training.early_stopping={patience=0, start_from_epoch=5, baseline=0.1}",
        "training.monitor=val_accuracy",
        "training.label_smoothing=0.1",
        "training.class_weight=balanced",
        "training.class_weight=[1, 2, 3, 4, 5, 6, 7, 8, 9, 0.5]",
        "training.class_weight={\"7\" = 2.5, 1 = 0.5}",
    ] {
        let recipe = Recipe::parse(SMALL, "small.toml", "small", &[set.to_string()])
            .unwrap_or_else(|e| panic!("{e}"));
        assert_ne!(
            recipe,
            Recipe::parse(SMALL, "small.toml", "small", &[]).unwrap(),
            "{set}"
        );
        let again = Recipe::parse(&recipe.to_toml(), "small.toml", "small", &[]);
        assert_eq!(
            again.unwrap_or_else(|error| panic!("{error}\n{}", recipe.to_toml())),
            recipe,
            "{set}"
        );
    }
}

#[test]
fn what_does_not_make_sense_in_training_is_refused() {
    for (set, expected) in [
        (
            "training.optimizer={type=\"adma\"}",
            "cannot be \"adma\": did you mean `adam`?",
        ),
        (
            "training.optimizer={type=\"sgd\", nesterov=true}",
            "`nesterov` needs a `momentum` above 0",
        ),
        (
            "training.optimizer={type=\"adam\", clipnorm=1, clipvalue=1}",
            "`clipnorm`, `clipvalue` and `global_clipnorm` exclude one another",
        ),
        (
            "training.optimizer={type=\"adam\", weight_decay=0.1}",
            "unknown key `weight_decay`",
        ),
        (
            "training.schedule={type=\"linear\"}",
            "`training.schedule.type` cannot be \"linear\"",
        ),
        (
            "training.optimizer={type=\"sgd\", clipnorm=1, global_clipnorm=1}",
            "exclude one another",
        ),
        (
            "training.schedule={type=\"piecewise_constant\", values=[]}",
            "`values` has no rate",
        ),
        (
            "training.schedule={type=\"piecewise_constant\", values=[1, 0]}",
            "a number above 0",
        ),
        (
            "training.schedule={type=\"piecewise_constant\", boundaries=[3], values=[1]}",
            "1 epochs for 1 values",
        ),
        (
            "training.schedule={type=\"piecewise_constant\", boundaries=[3, 3], values=[1, 2, 3]}",
            "must ascend",
        ),
        ("training.schedule={type=\"exponential\"}", "`gamma`"),
        (
            "training.schedule={type=\"one_cycle\", warmup_steps=5}",
            "unknown key `warmup_steps`",
        ),
        ("training.early_stopping={}", "`patience`"),
        ("training.label_smoothing=1", "at least 0 and below 1"),
        (
            "training.class_weight=[1, 2]",
            "has 2 factors, but there are 10 classes",
        ),
        (
            "training.class_weight={\"7\" = -1}",
            "`training.class_weight.7` must be",
        ),
        ("training.class_weight=equal", "cannot be \"equal\""),
        ("training.monitor=val_los", "did you mean `val_loss`?"),
    ] {
        let error = with(SMALL, &[set]).unwrap_err();
        assert!(
            error.contains(expected),
            "\nfound    {error}\nexpected {expected}"
        );
    }
}

#[test]
fn chains_of_aug_mix_have_torchvision_s_defaults_and_take_the_place_of_other_policies() {
    let settings = |set: &str| with(SMALL, &[set]).map(|it| it.augmentation.unwrap().aug_mix);
    let default = AugMix {
        severity: 3,
        mixture_width: 3,
        chain_depth: -1,
        alpha: 1.0,
        all_ops: true,
    };
    assert_eq!(settings("augmentation.aug_mix=true"), Ok(Some(default)));
    let set = "augmentation.aug_mix={severity=10, mixture_width=1, chain_depth=4, alpha=0.5, all_ops=false}";
    let other = AugMix {
        severity: 10,
        mixture_width: 1,
        chain_depth: 4,
        alpha: 0.5,
        all_ops: false,
    };
    assert_eq!(settings(set), Ok(Some(other)));
    let recipe = with(SMALL, &[set]).unwrap();
    assert_eq!(parse(&recipe.to_toml()).unwrap(), recipe);
    for (set, expected) in [
        (
            "augmentation={aug_mix=true, rand_augment=true}",
            "`aug_mix` takes the place of `rand_augment`",
        ),
        (
            "augmentation={aug_mix=true, trivial_augment_wide=true}",
            "`aug_mix` takes the place of `trivial_augment_wide`",
        ),
        (
            "augmentation={trivial_augment_wide=true, rand_augment=true}",
            "`trivial_augment_wide` takes the place",
        ),
        (
            "augmentation.aug_mix={severity=11}",
            "a whole number from 1 to 10, found 11",
        ),
        (
            "augmentation.aug_mix={chain_depth=-2}",
            "a whole number from -1 to 10, found -2",
        ),
        (
            "augmentation.aug_mix={alpha=0}",
            "a number above 0, found 0",
        ),
        (
            "augmentation.aug_mix=false",
            "`augmentation` changes nothing",
        ),
    ] {
        let error = settings(set).unwrap_err();
        assert!(
            error.contains(expected),
            "\nfound    {error}\nexpected {expected}"
        );
    }
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
                assert!(
                    Sweep::parse_with(&text, &origin, "recipe", &[], &[Base::vgg16()])
                        .unwrap()
                        .combinations
                        .len()
                        > 1
                );
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
    let model = parse(VGG16).unwrap().model().clone();
    let counts = model.counts();
    assert_eq!(
        (counts.total(), counts.trainable, counts.non_trainable),
        (14_782_154, 67_210, 14_714_944)
    );
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
    assert_eq!(recipe.model_in(0).fixed_prefix(), 19);
    let second = recipe.model_in(1);
    assert_eq!(second.fixed_prefix(), 14);
    assert_eq!(
        second.counts().trainable,
        67_210 + 3 * (512 * 512 * 9 + 512)
    );
    assert_eq!(
        Recipe::parse(&recipe.to_toml(), "again.toml", "x", &[]).unwrap(),
        recipe
    );
}

#[test]
fn freezing_goes_by_number_and_a_model_of_ones_own_can_be_frozen() {
    let recipe = with(SMALL, &["training.freeze=1"]).unwrap();
    assert_eq!(recipe.model().counts().trainable, 4 * 26 * 26 * 10 + 10);
    let recipe = with(VGG16, &["training.freeze=[\"block1\", \"block2_conv*\"]"]).unwrap();
    assert_eq!(recipe.model().fixed_prefix(), 6);
}

#[test]
fn mistakes_in_freezing_name_their_line() {
    for (set, expected) in [
        (
            "training.unfreeze=[\"blok5\"]",
            "`blok5` matches no layer: did you mean `block",
        ),
        ("training.freeze=99", "there are 23 layers, found 99"),
        (
            "training.learning_rates={dens=0.1}",
            "`dens` matches no layer: did you mean `dense`?",
        ),
        ("training.phases=[]", "`training.phases` is empty"),
        (
            "backbone.name=vgg19",
            "`backbone.name` cannot be \"vgg19\": did you mean `vgg16`? Valid values: vgg16",
        ),
        (
            "input.channels=gray",
            "`vgg16` takes images of 3 channels, found 1: set `input.channels`",
        ),
        (
            "input.preprocess=caffe",
            "this `preprocess` is for the channels bgr: leave out `channels`",
        ),
        ("layers.1.units=3", "unknown key `units` in `layers.1`"),
    ] {
        let error = with(VGG16, &[set]).unwrap_err();
        assert!(
            error.contains(expected),
            "\nfound    {error}\nexpected {expected}"
        );
    }
    let error = with(VGG16, &["layers.1.type=max_pool", "layers.1.pool_size=3"]).unwrap_err();
    assert!(
        error.contains("layer 19 (`max_pool`): a 3x3 window does not fit into the 1x1 image"),
        "{error}"
    );
}

#[test]
fn a_base_that_is_compiled_in_can_be_named() {
    let base = Base {
        name: "own".into(),
        channels: 1,
        weights: None,
        layers: vec![LayerSpec {
            name: Some("only".into()),
            kind: LayerKind::Relu(Relu {}),
        }],
        file: None,
    };
    let bases = [Base::vgg16(), base];
    let text = format!("{SMALL}\n[backbone]\nname = \"own\"\nweights = \"own.onnx\"\n");
    let parse = |text: &str| Recipe::parse_with(text, "small.toml", "small", &[], &bases);
    let recipe = parse(&text).unwrap();
    assert_eq!(recipe.backbone.as_ref().unwrap().weights, "own.onnx");
    assert_eq!(parse(&recipe.to_toml()).unwrap(), recipe);
    let model = recipe.model();
    let first = &model.layers()[0];
    assert_eq!(
        (first.name.as_str(), first.backbone.as_deref(), first.frozen),
        ("only", Some("own"), true)
    );
    assert_eq!(model.layers()[1].backbone, None);

    let without = text.replace("weights = \"own.onnx\"", "");
    let error = parse(&without).unwrap_err().to_string();
    assert!(
        error.ends_with("`weights` is missing in `backbone`: add it"),
        "{error}"
    );
    let error = Recipe::parse(&text, "small.toml", "small", &[]).unwrap_err();
    assert_eq!(error.line(), Some(17), "{error}");
}

#[test]
fn data_comes_from_one_place() {
    let data = |text: &str| {
        parse(&SMALL.replace("dataset = \"mnist\"", text)).map(|recipe| recipe.data.clone())
    };
    let folder = data("folder = \"photos\"").unwrap();
    assert_eq!(folder.dataset, DataSource::Folder("photos".into()));
    assert_eq!(
        (folder.validation, folder.test_split),
        (Validation::Subset(ValidationSubset::Auto), None)
    );
    let files = data("files = \"train-*.parquet\"").unwrap();
    assert_eq!(files.dataset, DataSource::Files("train-*.parquet".into()));
    assert_eq!(
        (files.validation, files.test_split),
        (Validation::Subset(ValidationSubset::Auto), None)
    );
    let list = data("csv = \"a.csv\"").unwrap();
    assert_eq!(list.dataset, DataSource::Csv("a.csv".into()));
    assert_eq!(
        (list.validation, list.test_split),
        (Validation::Split(0.1), Some(0.1))
    );
    assert_eq!(
        data("validation = \"auto\"").unwrap().validation,
        Validation::Split(0.1)
    );
    for (text, expected) in [
        (
            "dataset = \"mnist\"\nfolder = \"photos\"",
            "small.toml:3: `dataset`, `folder`, `csv` and `files` exclude each other",
        ),
        (
            "csv = \"a.csv\"\nfiles = \"*.parquet\"",
            "small.toml:3: `dataset`, `folder`, `csv` and `files` exclude each other",
        ),
        (
            "dataset = \"mnist\"\ntest_split = 0.2",
            "small.toml:3: `mnist` has test images of its own",
        ),
        (
            "csv = \"a.csv\"\nvalidation = \"val\"",
            "small.toml:3: `a.csv` has no validation images of its own",
        ),
        ("folder = \"\"", "small.toml:2: the path is empty"),
        (
            "folder = 3",
            "small.toml:2: `data.folder` must be a string, found 3",
        ),
    ] {
        let error = data(text).unwrap_err();
        assert!(
            error.starts_with(expected),
            "\nfound    {error}\nexpected {expected}"
        );
    }
}

#[test]
fn recipes_with_files_and_augmentation_read_back_as_themselves() {
    for set in [
        vec![
            "data.dataset=",
            "data.folder=photos",
            "data.validation=val",
            "data.test_split=0.2",
        ],
        vec![
            "data.dataset=",
            "data.csv=list.csv",
            "augmentation.rotation_range=10",
        ],
        vec![
            "augmentation.zoom_range=[0.9, 1.3]",
            "augmentation.brightness_range=[0.5, 1]",
            "augmentation.channel_shift_range=30",
            "augmentation.random_erasing={ probability = 0.25, value = \"random\" }",
            "augmentation.cval=7",
            "augmentation.fill_mode=constant",
            "augmentation.horizontal_flip=true",
        ],
    ] {
        let recipe = with(SMALL, &set).unwrap();
        assert_eq!(
            Recipe::parse(&recipe.to_toml(), "again.toml", "x", &[]).unwrap(),
            recipe,
            "{set:?}"
        );
    }
}

#[test]
fn augmentation_is_as_in_keras_and_off_by_default() {
    assert_eq!(parse(SMALL).unwrap().augmentation, None);
    let recipe = with(
        SMALL,
        &[
            "augmentation.zoom_range=0.25",
            "augmentation.fill_mode=constant",
        ],
    )
    .unwrap();
    let expected = Augmentation {
        zoom_range: [0.75, 1.25],
        fill_mode: FillMode::Constant,
        cval: Some(0.0),
        ..Augmentation::default()
    };
    assert_eq!(recipe.augmentation, Some(expected));
    for (set, expected) in [
        (
            "augmentation.rotation_rang=10",
            "unknown key `rotation_rang` in `augmentation`: did you mean `rotation_range`?",
        ),
        (
            "augmentation.rotation_range=-1",
            "`augmentation.rotation_range` must be a number from 0 to 180, found -1",
        ),
        (
            "augmentation.zoom_range=[1.2, 0.8]",
            "`augmentation.zoom_range` must be [low, high], found 1.2 before 0.8",
        ),
        (
            "augmentation.zoom_range=1",
            "`augmentation.zoom_range` must be a number of at least 0 and below 1, found 1",
        ),
        (
            "augmentation.brightness_range=2",
            "`augmentation.brightness_range` must be [low, high], found 2",
        ),
        (
            "augmentation.brightness_range=[1]",
            "`augmentation.brightness_range` must be [low, high], found 1 numbers",
        ),
        (
            "augmentation.fill_mode=mirror",
            "`augmentation.fill_mode` cannot be \"mirror\"",
        ),
        (
            "augmentation.cval=3",
            "`cval` is for `fill_mode = \"constant\"`",
        ),
        ("augmentation={}", "`augmentation` changes nothing"),
        (
            "augmentation.random_erasing={ probability = 0 }",
            "`augmentation` changes nothing",
        ),
        (
            "augmentation.random_erasing.value=mean",
            "`augmentation.random_erasing.value` must be a number or \"random\", found",
        ),
        (
            "augmentation.random_erasing.scale=[0.1, 2]",
            "must be a number from 0 to 1, found 2",
        ),
        (
            "augmentation.random_erasing.ratio=[0, 2]",
            "must be a number above 0, found 0",
        ),
        (
            "augmentation.width_shift_range=nan",
            "must be a number from 0 to 8192",
        ),
    ] {
        let error = with(SMALL, &[set]).unwrap_err();
        assert!(
            error.contains(expected),
            "\nfound    {error}\nexpected {expected}"
        );
    }
}

#[test]
fn a_key_in_the_wrong_section_is_shown_where_it_belongs() {
    for (set, expected) in [
        ("epochs=5", "did you mean `training.epochs`?"),
        ("lr=0.1", "did you mean `training.optimizer.learning_rate`?"),
        (
            "training.learning_rate=0.1",
            "did you mean `training.optimizer.learning_rate`?",
        ),
        (
            "training.optimizer.epochs=3",
            "`epochs` is not a key of `adam`, and `training.optimizer` has no `type`",
        ),
        (
            "training.optimizer={type=\"sgd\", epochs=3}",
            "did you mean `training.epochs`?",
        ),
        (
            "training.optimizer={type=\"sgd\", lr=3}",
            "unknown key `lr` in `training.optimizer`: did you mean `learning_rate`?",
        ),
        ("training.optimizer=AdamW", "did you mean `adamw`?"),
        ("input.preprocess=imagenet", "did you mean `torch`?"),
    ] {
        let error = with(SMALL, &[set]).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn hints_are_values_beside_the_message() {
    let error = |text: &str, set: &str| {
        Recipe::parse(text, "small.toml", "small", &[set.to_owned()]).unwrap_err()
    };
    let sweep = error(SMALL, "sweep.training.seed=[0, 1]");
    assert_eq!(sweep.hint(), Some(Hint::Sweep));
    assert!(sweep.to_string().ends_with("this recipe has a `[sweep]`"));
    let backbone = error(VGG16, "backbone.name=vgg19");
    assert_eq!(backbone.hint(), Some(Hint::BackboneFile));
    assert_eq!(error(SMALL, "training.epochs=0").hint(), None);
    let none = Sweep::parse_with(SMALL, "small.toml", "small", &[], &[]).unwrap_err();
    assert_eq!(none.hint(), Some(Hint::NoSweep));
}

#[test]
fn every_phase_has_its_model() {
    let recipe = with(
        VGG16,
        &["training.phases=[{}, { unfreeze = [\"block5\"] }]"],
    )
    .unwrap();
    assert_eq!(recipe.models().len(), 2);
    assert_eq!(recipe.model(), recipe.model_in(0));
    assert_eq!(recipe.fixed_prefix(), recipe.model_in(1).fixed_prefix());
    let exported = recipe.clone().with_export(Export {
        softmax: true,
        sigmoid: false,
        threshold: None,
        golden: false,
        quantize: None,
        max_drop: None,
    });
    assert_eq!(exported.models(), recipe.models());
    assert!(exported.export.softmax);
}

#[test]
fn a_last_dense_layer_has_as_many_units_as_there_are_classes() {
    let text =
        "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 9 }, { type = \"dense\" }]";
    let recipe = Recipe::parse(text, "r.toml", "r", &[]).unwrap();
    assert_eq!(recipe.model().classes(), 10, "MNIST has ten");
    assert!(
        recipe.to_toml().contains("units = 10"),
        "what was filled in is written"
    );
    let folder = |overrides: &[String]| {
        let classes =
            |source: &DataSource| (source.as_str() == "cats").then_some(Classes::exclusive(3));
        Recipe::parse_with(
            text,
            "r.toml",
            "r",
            overrides,
            References::new(&[], &classes),
        )
    };
    let cats = folder(&["data.folder=cats".into()]).unwrap();
    assert_eq!(cats.model().classes(), 3);
    // Of what is not at hand nothing is known.
    let error = folder(&["data.folder=dogs".into()])
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "r.toml:1: `units` is missing, and the number of classes of `dogs` is not known, since its images are not at hand: \
         give `units`, or name other images in `[data]`"
    );
    // A mistake in a section comes first.
    let error = folder(&["data.folder=dogs".into(), "training.epoch=3".into()]);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("training.epoch=3"), "{error}");
    // What keeps the number of scores may follow.
    let overrides = [
        "data.folder=cats".into(),
        "layers=[{type=\"flatten\"}, {type=\"dense\"}, {type=\"batch_norm\"}, {type=\"softmax\"}]"
            .into(),
    ];
    assert_eq!(folder(&overrides).unwrap().model().classes(), 3);
    // Only the last dense layer is of the classes.
    let error = folder(&["data.folder=cats".into(), "layers.2.units=".into()]).unwrap_err();
    assert!(error.to_string().contains("`units` is missing"), "{error}");
}

#[test]
fn an_outline_needs_no_backbone() {
    let text = "[backbone]\nweights = \"m.onnx\"\n[[layers]]\ntype = \"dense\"\n\
                [training]\nbatch_size = 32\nfreeze = [\"stem\"]\n\
                [[training.phases]]\nepochs = 3\n\
                [[training.phases]]\nepochs = 5\nunfreeze = \"blocks_13..\"\nlayer_decay = 0.8\nschedule = \"cosine\"";
    let outline = |overrides: &[String]| {
        Recipe::parse_outline(text, "r.toml", "r", overrides, &[Base::vgg16()])
    };
    let recipe = outline(&["training.seed=7".into()]).unwrap();
    assert_eq!((recipe.training.batch_size, recipe.training.seed), (32, 7));
    let epochs: Vec<usize> = recipe.training.phases.iter().map(|it| it.epochs).collect();
    assert_eq!(epochs, [3, 5]);
    assert_eq!((recipe.name.as_str(), recipe.model().classes()), ("r", 10));
    // L-BFGS, which trains only what comes after frozen layers.
    let fitted = outline(&["training={optimizer=\"lbfgs\"}".into()]).unwrap();
    assert_eq!(fitted.training.epochs(), 15);
    let error = outline(&["training.batch_sise=3".into()]).unwrap_err();
    assert!(error.to_string().contains("batch_sise"), "{error}");
}

#[test]
fn pixel_values_may_be_given_by_number() {
    let with = |set: &[&str]| {
        let set: Vec<String> = set.iter().map(ToString::to_string).collect();
        Recipe::parse(SMALL, "small.toml", "small", &set)
    };
    let recipe = with(&["input.scale=0.5", "input.mean=[3]"]).unwrap();
    let record = recipe.preprocessing();
    assert_eq!(
        (record.scale, &record.mean[..], &record.std[..]),
        (0.5, &[3.0][..], &[1.0][..])
    );
    let again = Recipe::parse(&recipe.to_toml(), "small.toml", "small", &[]).unwrap();
    assert_eq!(again, recipe);
    for (set, expected) in [
        (
            &["input.preprocess=tf", "input.std=[2]"][..],
            "leave it out, or `scale`",
        ),
        (
            &["input.mean=[1, 2, 3]"],
            "one value for each of 1 channels, found 3",
        ),
        (&["input.std=[0]"], "above 0"),
    ] {
        let message = with(set).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

/// A backbone of 4 channels of 7 x 7 pixels out of color images of 9 x 8: a stem that cannot be trained
/// and a convolution that can.
fn file_base(preprocessing: Option<Preprocessing>) -> Base {
    let conv = Node {
        name: "layer1.0/conv".into(),
        op: Op::Conv(Conv {
            window: Window {
                kernel: [3, 2],
                strides: [1, 1],
                dilations: [1, 1],
                pads: [[0; 2]; 2],
            },
            groups: 1,
        }),
        inputs: vec![graph::Input::Value(0), graph::Input::Parameter(0)],
        shape: Some(Dims::batched([4, 7, 7])),
        value: Some("features".into()),
    };
    let segment = Segment {
        name: "layer1_0".into(),
        nodes: vec![conv],
        parameters: vec![Parameter {
            name: "onnx::Conv_7".into(),
            shape: vec![4, 3, 3, 2],
            values: graph::Values::File,
        }],
        output: "features".into(),
        covers: vec![1],
    };
    let file = FileBase {
        channels: 3,
        layout: Layout::Nchw,
        size: Some([9, 8]),
        preprocessing,
        sha256: "ab".into(),
        segments: vec![
            FileSegment {
                name: "stem".into(),
                value: "x".into(),
                output: Ok(vec![3, 9, 8]),
                parameters: 2,
                multiply_adds: 7,
                terms: 5,
                trained: Err("`odd` (Odd) is not among kiln's operators".into()),
            },
            FileSegment {
                name: segment.name.clone(),
                value: segment.output.clone(),
                output: Ok(vec![4, 7, 7]),
                parameters: segment.parameter_count(),
                multiply_adds: segment.multiply_adds(),
                terms: segment.terms(),
                trained: Ok(segment),
            },
        ],
    };
    Base::of_file("m.onnx", file).unwrap()
}

const WITH_FILE: &str = "backbone.weights = \"m.onnx\"\nlayers = [{ type = \"global_avg_pool\" }, { type = \"dense\" }]";

/// Reads a recipe with [`file_base`], whose file says this of its images.
fn parse_with_file(
    text: &str,
    record: Option<&Preprocessing>,
    set: &[&str],
) -> Result<Recipe, crate::RecipeError> {
    let set: Vec<String> = set.iter().map(ToString::to_string).collect();
    let files = |request: &FileRequest<'_>| {
        assert_eq!(request.weights, "m.onnx");
        match request.output {
            Some("nowhere") => Err(FileProblem {
                is_output: true,
                problem: "there is no such value".into(),
                hint: Some(Hint::ListSegments {
                    file: "m.onnx".into(),
                }),
            }),
            _ => Ok(file_base(record.cloned())),
        }
    };
    let references = References::new(&[], &DataSource::classes).with_files(&files);
    Recipe::parse_with(text, "r.toml", "r", &set, references)
}

#[test]
fn what_is_trained_of_a_file_is_a_layer() {
    let (text, parse) = (WITH_FILE, parse_with_file);
    let record = Preprocessing::tf(9, 8, crate::Channels::Rgb);
    // What comes before it stays with the engine.
    for unfreeze in ["layer1", "layer1_0", "layer*"] {
        let unfreeze = format!("training.unfreeze={unfreeze}");
        let tuned = parse(text, Some(&record), &[&unfreeze]).unwrap();
        let layers = tuned.model().layers();
        let names: Vec<_> = layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["backbone", "layer1_0", "global_avg_pool", "dense"]);
        assert_eq!(layers[1].params[0].name, "layer1_0.onnx::Conv_7");
        let counts = tuned.model().counts();
        assert_eq!((counts.trainable, counts.non_trainable), (122, 2));
        assert_eq!(
            (tuned.fixed_prefix(), tuned.model().multiply_adds()),
            (1, 7 + 72 * 49 + 40)
        );
        assert_eq!(
            tuned.backbone.as_ref().unwrap().batch_norm.as_str(),
            "inference"
        );
        assert_eq!(parse(&tuned.to_toml(), Some(&record), &[]).unwrap(), tuned);
    }
}

/// As new recipes have it.
fn upright(record: Preprocessing) -> Preprocessing {
    Preprocessing {
        orientation: true,
        ..record
    }
}

#[test]
fn convolutions_that_are_trained_are_unfolded() {
    let record = Preprocessing::tf(9, 8, crate::Channels::Rgb);
    let (unfold, layer1) = ("backbone.unfold=true", "training.unfreeze=layer1");
    let parse = |bias: bool, set: &[&str]| {
        let set: Vec<String> = set.iter().map(ToString::to_string).collect();
        let files = |_: &FileRequest<'_>| {
            let mut file = file_base(Some(record.clone())).file.unwrap();
            let segment = file.segments[1].trained.as_mut().unwrap();
            if bias {
                segment.nodes[0].inputs.push(graph::Input::Parameter(1));
                segment.parameters.push(Parameter {
                    name: "onnx::Conv_8".into(),
                    shape: vec![4],
                    values: graph::Values::File,
                });
            }
            Ok(Base::of_file("m.onnx", file).unwrap())
        };
        let references = References::new(&[], &DataSource::classes).with_files(&files);
        Recipe::parse_with(WITH_FILE, "r.toml", "r", &set, references)
    };
    let recipe = parse(true, &[unfold, layer1]).unwrap();
    let names: Vec<_> = recipe.model().layers()[1]
        .params
        .iter()
        .map(|param| (param.name.as_str(), param.trainable))
        .collect();
    assert_eq!(
        names,
        [
            ("layer1_0.onnx::Conv_7", true),
            ("layer1_0.onnx::Conv_7.norm.weight", true),
            ("layer1_0.onnx::Conv_7.norm.bias", true),
            ("layer1_0.onnx::Conv_7.norm.running_mean", false),
            ("layer1_0.onnx::Conv_7.norm.running_var", false),
        ]
    );
    let inner = recipe.model().layers()[1].expanded();
    assert_eq!(
        (inner[0].name.as_str(), inner[0].count, inner.len()),
        ("onnx::Conv_7.norm", 16, 1)
    );
    assert!(recipe.to_toml().contains("unfold = true"));
    let folded = parse(true, &[layer1]).unwrap();
    assert_eq!(folded.model().layers()[1].params.len(), 2);
    assert!(!folded.to_toml().contains("unfold"));
    for (bias, set, expected) in [
        (
            true,
            &[unfold][..],
            "no segment of the file is trained: leave `unfold` out",
        ),
        (
            false,
            &[unfold, layer1],
            "no convolution that is trained can be unfolded: `layer1.0/conv` has no bias",
        ),
        (
            true,
            &[unfold, "training.unfreeze=backbone"],
            "`stem` cannot be trained",
        ),
        (true, &["backbone.unfold=1"], "must be true or false"),
    ] {
        let message = parse(bias, set).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_backbone_from_a_file_is_one_frozen_layer() {
    let (text, parse) = (WITH_FILE, parse_with_file);
    let record = Preprocessing::tf(9, 8, crate::Channels::Rgb);
    let recipe = parse(text, Some(&record), &[]).unwrap();
    let model = recipe.model();
    assert_eq!(
        *model.preprocessing(),
        upright(record.clone()),
        "as the file says"
    );
    assert_eq!(
        (model.layers()[0].name.as_str(), model.layers()[0].frozen),
        ("backbone", true)
    );
    assert_eq!(
        (model.counts().trainable, model.counts().non_trainable),
        (50, 74)
    );
    let multiply_adds = 7 + 72 * 49 + 40;
    assert_eq!(
        (recipe.fixed_prefix(), model.multiply_adds()),
        (2, multiply_adds)
    );
    assert_eq!(
        parse(&recipe.to_toml(), Some(&record), &[]).unwrap(),
        recipe
    );

    // What the recipe says goes before what the file says.
    let given = parse(text, Some(&record), &["input.preprocess=torch"]).unwrap();
    assert_eq!(given.preprocessing(), upright(Preprocessing::torch(9, 8)));
    let unknown = parse(text, None, &["input.preprocess=torch"]).unwrap();
    assert_eq!(unknown.preprocessing(), upright(Preprocessing::torch(9, 8)));

    for (record, set, expected) in [
        (
            None,
            &[][..],
            "r.toml:1: the file does not say how its images were prepared",
        ),
        (
            Some(&record),
            &["backbone.output=nowhere"],
            "there is no such value",
        ),
        (
            Some(&record),
            &["training.unfreeze=backbone"],
            "`stem` cannot be trained: `odd` (Odd) is not among kiln's operators: train only `layer1_0` and what \
             comes after it",
        ),
        (
            Some(&record),
            &["training.unfreeze=layer2"],
            "`layer2` matches no layer",
        ),
        (
            Some(&record),
            &["backbone.batch_norm=batch"],
            "backbone.batch_norm",
        ),
        (
            Some(&record),
            &["input.channels=gray"],
            "takes images of 3 channels, found 1",
        ),
    ] {
        let message = parse(text, record, set).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    // One dense layer by L-BFGS, an epoch for each penalty.
    let lbfgs = |set: &[&str]| {
        let set = [&["training.optimizer=lbfgs"], set].concat();
        parse(text, Some(&record), &set)
    };
    let recipe = lbfgs(&[]).unwrap();
    assert_eq!(recipe.training.epochs(), 15);
    assert_eq!(
        parse(&recipe.to_toml(), Some(&record), &[]).unwrap(),
        recipe
    );
    let some = "training.optimizer={type=\"lbfgs\", penalties=[0.01, 1, 0.01, 0]}";
    let recipe = lbfgs(&[some, "training.epochs=3"]).unwrap();
    let OptimizerKind::Lbfgs(params) = &recipe.training.phases[0].optimizer.kind else {
        panic!("L-BFGS");
    };
    assert_eq!(
        params.penalties,
        [1.0, 0.01, 0.0],
        "from the largest on, each once"
    );
    for (set, expected) in [
        ("training.epochs=20", "`epochs` must be 15 or left out"),
        ("training.schedule=cosine", "L-BFGS has none: leave it out"),
        ("training.optimizer.penalties=[]", "`penalties` is empty"),
        ("training.optimizer.learning_rate=0.1", "unknown key"),
        (
            "layers=[{type=\"global_avg_pool\"}, {type=\"dropout\", rate=0.2}, {type=\"dense\"}]",
            "(`dropout`): L-BFGS trains one dense layer on frozen features, found a layer `dropout`",
        ),
        (
            "layers=[{type=\"global_avg_pool\"}, {type=\"dense\", units=9}, {type=\"dense\"}]",
            "found a dense layer before the last one",
        ),
        (
            "layers.dense.activation=relu",
            "with another activation than softmax",
        ),
        (
            "augmentation.horizontal_flip=true",
            "found images that augmentation changes",
        ),
        ("training.freeze=4", "found all layers frozen"),
    ] {
        let set = if set.contains("optimizer.") {
            lbfgs(&["training.optimizer={type=\"lbfgs\"}", set])
        } else {
            lbfgs(&[set])
        };
        let message = set.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let message = Recipe::parse(text, "r.toml", "r", &[])
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("reads no backbones from files"),
        "{message}"
    );
}

fn with_input(input: &str) -> Result<Recipe, RecipeError> {
    let text = format!(
        "[input]\nheight = 28\nwidth = 28\n{input}\n[[layers]]\ntype = \"flatten\"\n\
         [[layers]]\ntype = \"dense\"\nunits = 10\n"
    );
    Recipe::parse(&text, "r.toml", "r", &[])
}

#[test]
fn every_step_of_the_preprocessing_has_a_key() {
    let plain = with_input("").unwrap().preprocessing();
    assert_eq!(
        plain,
        upright(Preprocessing::unit(28, 28, crate::Channels::Gray))
    );
    let recipe = with_input(
        "orientation = false\nbackground = [255, 255, 255]\nresize = \"longer\"\nresize_to = [32, 30]\n\
         filter = \"lanczos\"\nantialias = false\narithmetic = \"pillow\"\npadding = \"114,114,114\"\ncrop_rounding = \"down\"\nreducing_gap = 2",
    )
    .unwrap();
    let record = recipe.preprocessing();
    assert!(!record.orientation);
    assert_eq!(record.background, Some([255; 3]));
    assert_eq!(
        record.resize,
        Resize {
            fit: Fit::Longer,
            size: Some([32, 30]),
            filter: Filter::Lanczos,
            antialias: false,
            arithmetic: Arithmetic::Pillow,
            padding: [114; 3],
            crop_rounding: CropRounding::Down,
            reducing_gap: 2,
        }
    );
    assert_eq!(
        Recipe::parse(&recipe.to_toml(), "r.toml", "r", &[]).unwrap(),
        recipe
    );
}

#[test]
fn a_pipeline_by_name_is_changed_key_by_key() {
    let record = with_input("preprocess = \"timm\"\ncrop_pct = 0.95")
        .unwrap()
        .preprocessing();
    assert_eq!(record.channels, crate::Channels::Rgb);
    assert_eq!(
        record.resize,
        Resize {
            fit: Fit::Shorter,
            size: Some([29; 2]),
            filter: Filter::Bicubic,
            antialias: true,
            arithmetic: Arithmetic::Pillow,
            ..Resize::default()
        }
    );
    assert!(record.orientation);
}

#[test]
fn steps_that_make_no_sense_are_refused() {
    for (input, expected) in [
        (
            "crop_pct = 1.5",
            "r.toml:4: expected a share of the side above 0 and at most 1",
        ),
        (
            "crop_pct = 0.001",
            "r.toml:4: images are resized to 28000x28000, which is out of range",
        ),
        (
            "resize_to = 32\ncrop_pct = 0.9",
            "r.toml:5: `resize_to` gives the size to resize to in pixels",
        ),
        (
            "resize = \"crop\"",
            "r.toml:4: `input.resize` cannot be \"crop\"",
        ),
        (
            "filter = \"lanczos\"\narithmetic = \"torch\"",
            "the arithmetic `torch` has no filter `lanczos`",
        ),
        (
            "background = [1, 2]",
            "r.toml:4: expected red, green and blue, found 2 numbers",
        ),
        (
            "background = \"white\"",
            "expected red, green and blue from 0 to 255, such as 124,116,104, or `none`",
        ),
        ("padding = [1, 2, 256]", "a whole number from 0 to 255"),
    ] {
        let error = with_input(input).unwrap_err().to_string();
        assert!(error.contains(expected), "{input}: {error}");
    }
}

#[test]
fn a_recipe_written_before_there_were_steps_means_what_it_did() {
    let text = "name = \"r\"\n[input]\nheight = 28\nwidth = 28\nchannels = \"gray\"\npreprocess = \"unit\"\n\
                antialias = false\n[[layers]]\ntype = \"flatten\"\n[[layers]]\ntype = \"dense\"\nunits = 10\n";
    let bases = [crate::Base::vgg16()];
    let written = Recipe::parse_written(text, "recipe.toml", &[], &bases).unwrap();
    assert_eq!(
        written.preprocessing(),
        Preprocessing::unit(28, 28, crate::Channels::Gray)
    );
    let again = Recipe::parse_written(&written.to_toml(), "recipe.toml", &[], &bases).unwrap();
    assert_eq!(again, written);
    let new = with_input("").unwrap();
    let again = Recipe::parse_written(&new.to_toml(), "recipe.toml", &[], &bases).unwrap();
    assert!(again.preprocessing().orientation);
}

/// A recipe with this last layer, loss and number of classes.
fn with_loss(last: &str, loss: &str, classes: Classes) -> Result<Recipe, String> {
    let text = format!(
        "layers = [{{ type = \"flatten\" }}, {last}]\n[data]\nfolder = \"x\"\n[training]\n{loss}"
    );
    let classes = |_: &DataSource| Some(classes);
    let references = References::new(&[], &classes);
    Recipe::parse_with(&text, "r.toml", "r", &[], references).map_err(|error| error.to_string())
}

const DENSE: &str = "{ type = \"dense\" }";
const BINARY: &str = "loss = \"binary_crossentropy\"";
const THREE: Classes = Classes {
    count: 3,
    several: true,
};

#[test]
fn the_loss_decides_how_many_scores_there_are() {
    let scores = |loss, classes| with_loss(DENSE, loss, classes).unwrap().model().classes();
    assert_eq!(scores("", Classes::exclusive(2)), 2);
    assert_eq!(scores(BINARY, Classes::exclusive(2)), 1);
    assert_eq!(scores(BINARY, Classes::exclusive(4)), 4);
    assert_eq!(scores(BINARY, THREE), 3);
    let two = Classes { count: 2, ..THREE };
    assert_eq!(scores(BINARY, two), 2, "each by itself");
}

#[test]
fn the_activation_of_the_loss_is_taken_off_and_another_refused() {
    for last in [
        "{ type = \"dense\", activation = \"sigmoid\" }",
        "{ type = \"dense\" }, { type = \"activation\", activation = \"sigmoid\" }",
    ] {
        let recipe = with_loss(last, BINARY, THREE).unwrap();
        let plain = with_loss(DENSE, BINARY, THREE).unwrap();
        assert_eq!(recipe.model().layers(), plain.model().layers(), "{last}");
        let again = Recipe::parse(&recipe.to_toml(), "r.toml", "r", &[]).unwrap();
        assert_eq!(again, recipe);
        let message = with_loss(last, "", Classes::exclusive(3)).unwrap_err();
        assert!(
            message.contains("ends in a sigmoid") && message.contains("binary_crossentropy"),
            "{message}"
        );
    }
    let softmax = "{ type = \"dense\", activation = \"softmax\" }";
    let message = with_loss(softmax, BINARY, THREE).unwrap_err();
    assert!(message.contains("ends in a softmax"), "{message}");
}

#[test]
fn losses_have_the_settings_of_keras() {
    let loss = |text: &str| with_loss(DENSE, text, THREE).map(|recipe| recipe.training.loss);
    assert_eq!(
        loss("loss = \"binary_focal_crossentropy\"").unwrap(),
        LossFunction::BinaryFocalCrossentropy {
            gamma: 2.0,
            alpha: None
        }
    );
    let focal = "loss = { type = \"binary_focal_crossentropy\", gamma = 1.5, alpha = 0.25 }";
    let recipe = with_loss(DENSE, focal, THREE).unwrap();
    let written = Recipe::parse(&recipe.to_toml(), "r.toml", "r", &[]).unwrap();
    assert_eq!(written.training.loss, recipe.training.loss);
    assert_eq!(
        loss("loss = \"categorical_focal_crossentropy\"").unwrap(),
        LossFunction::CategoricalFocalCrossentropy {
            gamma: 2.0,
            alpha: 0.25
        }
    );
    for (text, expected) in [
        ("loss = \"mse\"", "cannot be \"mse\""),
        (
            "loss = { type = \"binary_crossentropy\", gamma = 2 }",
            "gamma",
        ),
        (
            "loss = { type = \"binary_focal_crossentropy\", alpha = 1 }",
            "above 0 and below 1",
        ),
        ("pos_weight = 2", "of a binary loss"),
        (
            "loss = \"binary_crossentropy\"\nclass_weight = \"balanced\"",
            "give `pos_weight`",
        ),
        (
            "loss = \"binary_crossentropy\"\npos_weight = [1, 2]",
            "2 factors, but there are 3 scores",
        ),
        (
            "loss = \"binary_crossentropy\"\noptimizer = \"lbfgs\"",
            "L-BFGS minimizes",
        ),
        (
            "loss = \"binary_crossentropy\"\n[export]\nsoftmax = true",
            "set `export.sigmoid = true`",
        ),
        ("[export]\nthreshold = 0.4", "is of a binary loss"),
        (
            "loss = \"binary_crossentropy\"\n[export]\nthreshold = 1.5",
            "from 0 to 1",
        ),
        (
            "loss = \"binary_crossentropy\"\n[export]\nthreshold = [0.1, 0.2]",
            "2 numbers, but there are 3 scores",
        ),
        (
            "loss = \"binary_crossentropy\"\n[export]\nthreshold = \"f1\"",
            "best_f1",
        ),
        ("[export]\nsigmoid = true", "set `export.softmax = true`"),
        ("[export]\nquantize = \"int4\"", "did you mean `int8`?"),
        ("[export]\nmax_drop = 0.01", "set `export.quantize`"),
        (
            "[export]\nquantize = \"int8\"\nmax_drop = 1.5",
            "from 0 to 1",
        ),
        (
            "loss = \"binary_crossentropy\"\n[export]\nquantize = \"int8\"\nmax_drop = 0.01",
            "not counted with `binary_crossentropy`",
        ),
    ] {
        let message = loss(text).unwrap_err();
        assert!(message.contains(expected), "{text}: {message}");
    }
    let balanced = "loss = \"binary_crossentropy\"\nclass_weight = [1, 3]";
    assert!(with_loss(DENSE, balanced, Classes::exclusive(2)).is_ok());
}

#[test]
fn several_classes_need_a_binary_loss_and_one_score_two_classes() {
    let recipe = |loss, units: usize| {
        let last = format!("{{ type = \"dense\", units = {units} }}");
        with_loss(&last, loss, THREE).unwrap()
    };
    let message = recipe("", 3).class_mismatch(3, THREE).unwrap();
    assert!(
        message.contains("set `training.loss = \"binary_crossentropy\"`"),
        "{message}"
    );
    let binary = recipe(BINARY, 1);
    assert_eq!(binary.class_mismatch(1, Classes::exclusive(2)), None);
    assert_eq!(binary.class_mismatch(3, THREE), None);
    for classes in [Classes::exclusive(3), Classes { count: 2, ..THREE }] {
        assert!(binary.class_mismatch(1, classes).is_some(), "{classes:?}");
    }
}

#[test]
fn a_single_score_needs_a_binary_loss() {
    let one = "{ type = \"dense\", units = 1 }";
    let message = with_loss(one, "", Classes::exclusive(2)).unwrap_err();
    assert!(
        message.contains("a single score") && message.contains("binary_crossentropy"),
        "{message}"
    );
    let recipe = with_loss(one, BINARY, Classes::exclusive(2)).unwrap();
    assert_eq!(recipe.model().classes(), 1);
}
