use proptest::prelude::*;

use crate::{Dropout, LayerKind, Sweep};

const RECIPE: &str = r#"description = "Small"
[[layers]]
type = "conv2d"
filters = 4
kernel_size = 3

[[layers]]
type = "dropout"
rate = 0.5

[[layers]]
type = "flatten"

[[layers]]
type = "dense"
units = 10

[sweep]
"#;

fn with(sweep: &str, overrides: &[&str]) -> Result<Sweep, String> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    Sweep::parse_with(
        &format!("{RECIPE}{sweep}"),
        "small.toml",
        "small",
        &overrides,
        &[],
    )
    .map_err(|error| error.to_string())
}

fn parse(sweep: &str) -> Sweep {
    with(sweep, &[]).unwrap()
}

fn names(sweep: &Sweep) -> Vec<&str> {
    sweep
        .combinations
        .iter()
        .map(|combination| combination.recipe.name.as_str())
        .collect()
}

fn labels(sweep: &Sweep) -> Vec<&str> {
    sweep
        .combinations
        .iter()
        .map(|combination| combination.label.as_str())
        .collect()
}

#[test]
fn a_grid_is_every_value_with_every_other() {
    let sweep =
        parse("\"layers.conv2d.kernel_size\" = [3, [5, 3]]\n\"layers.conv2d.filters\" = [4, 8]");
    let expected = [
        (
            "kernel_size 3, filters 4",
            "kernel_size-3-filters-4",
            [3, 3],
            4,
        ),
        (
            "kernel_size 3, filters 8",
            "kernel_size-3-filters-8",
            [3, 3],
            8,
        ),
        (
            "kernel_size [5, 3], filters 4",
            "kernel_size-5-3-filters-4",
            [5, 3],
            4,
        ),
        (
            "kernel_size [5, 3], filters 8",
            "kernel_size-5-3-filters-8",
            [5, 3],
            8,
        ),
    ];
    assert_eq!(
        (sweep.name.as_str(), sweep.combinations.len()),
        ("small", expected.len())
    );
    for (combination, (label, name, kernel_size, filters)) in
        sweep.combinations.iter().zip(expected)
    {
        let LayerKind::Conv2d(conv) = &combination.recipe.layers[0].kind else {
            panic!("not a conv2d")
        };
        assert_eq!((conv.kernel_size, conv.filters), (kernel_size, filters));
        assert_eq!(
            (combination.label.as_str(), combination.recipe.name.as_str()),
            (label, name)
        );
        assert_eq!(
            combination.recipe.description,
            Some(format!("Small: {label}"))
        );
    }
}

#[test]
fn keys_may_be_written_with_or_without_quotes() {
    let quoted = parse("\"layers.conv2d.filters\" = [4, 8]\n\"training.seed\" = [0, 1]");
    assert_eq!(
        parse("layers.conv2d.filters = [4, 8]\ntraining.seed = [0, 1]"),
        quoted
    );
    assert_eq!(
        parse("layers = { conv2d = { filters = [4, 8] } }\ntraining = { seed = [0, 1] }"),
        quoted
    );
}

#[test]
fn variants_are_named_changes_with_reference_figures() {
    let sweep = parse(
        "reference = \"a report\"\n\"training.seed\" = [0, 1]\n[[sweep.variants]]\nname = \"with dropout\"\n\
         reference = { test_accuracy = 0.9933 }\n[[sweep.variants]]\nname = \"without dropout!\"\n\
         set = { \"layers.dropout.rate\" = 0 }",
    );
    assert_eq!(sweep.reference.as_deref(), Some("a report"));
    assert_eq!(
        labels(&sweep),
        [
            "with dropout, seed 0",
            "with dropout, seed 1",
            "without dropout!, seed 0",
            "without dropout!, seed 1"
        ]
    );
    assert_eq!(names(&sweep)[3], "without-dropout-seed-1");
    let rates: Vec<f64> = sweep
        .combinations
        .iter()
        .map(|combination| match combination.recipe.layers[1].kind {
            LayerKind::Dropout(Dropout { rate }) => rate,
            _ => panic!("not a dropout"),
        })
        .collect();
    assert_eq!(rates, [0.5, 0.5, 0.0, 0.0]);
    let reference = sweep.combinations[1].reference.unwrap();
    assert_eq!(
        (reference.test_accuracy, reference.test_loss),
        (Some(0.9933), None)
    );
    assert_eq!(sweep.combinations[2].reference, None);
    assert_eq!(
        sweep.combinations[3]
            .settings
            .iter()
            .map(crate::Setting::is_seed)
            .collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn overrides_change_the_recipe_and_add_to_the_grid() {
    let sweep = with(
        "training.seed = [0, 1]",
        &["training.epochs=3", "sweep.layers.1.filters=[5, 6]"],
    )
    .unwrap();
    assert_eq!(
        labels(&sweep),
        [
            "seed 0, filters 5",
            "seed 0, filters 6",
            "seed 1, filters 5",
            "seed 1, filters 6"
        ]
    );
    assert!(
        sweep
            .combinations
            .iter()
            .all(|combination| combination.recipe.training.epochs() == 3)
    );
    let sweep = with("\"training.seed\" = [0, 1]", &["sweep.training.seed=[7]"]).unwrap();
    assert_eq!(labels(&sweep), ["seed 7"]);
    let variant = "[[sweep.variants]]\nname = \"a\"\nset = { training.seed = 3 }";
    assert_eq!(
        labels(&with(variant, &["sweep.training.seed=[7]"]).unwrap()),
        ["a, seed 7"]
    );
}

#[test]
fn names_are_as_long_as_tells_them_apart_and_never_the_same() {
    let sweep = parse(
        "layers.dropout.rate = [0.1]\nlayers.conv2d.filters = [2]\nlayers.dense.units = [10]",
    );
    assert_eq!(labels(&sweep), ["rate 0.1, filters 2, units 10"]);
    let rates = parse("training.learning_rates.dense = [1e30, 0.01, 1e-7]");
    assert_eq!(names(&rates), ["dense-1e30", "dense-0.01", "dense-1e-7"]);
    let two = parse("layers.2.rate = [0.1]\nlayers.dropout.rate = [0.2]");
    assert_eq!(labels(&two), ["2.rate 0.1, dropout.rate 0.2"]);
    let sweep = parse("training.unfreeze = [\"conv2d\", \"conv2d*\"]");
    assert_eq!(names(&sweep), ["unfreeze-conv2d", "unfreeze-conv2d-v2"]);
}

#[test]
fn halving_prunes_while_those_that_go_on_train_for_several_times_as_long() {
    let rungs = |sweep: &str, epochs: usize| {
        let set = format!("training.epochs={epochs}");
        with(sweep, &[&set]).unwrap().rungs()
    };
    let seeds = "training.seed = [0, 1]\n";
    assert_eq!(rungs(seeds, 10), [0; 0]);
    assert_eq!(rungs(&format!("{seeds}halving = true"), 10), [1, 3]);
    assert_eq!(rungs(&format!("{seeds}halving = {{}}"), 9), [1, 3]);
    assert_eq!(rungs(&format!("{seeds}halving = {{}}"), 8), [1]);
    assert_eq!(rungs(&format!("{seeds}halving = false"), 8), [0; 0]);
    let halving = "halving = { factor = 2, min_epochs = 3 }";
    assert_eq!(rungs(&format!("{seeds}{halving}"), 20), [3, 6]);
    // The longest training counts.
    let epochs = format!("training.epochs = [2, 12]\n{halving}");
    assert_eq!(rungs(&epochs, 1), [3, 6]);
    let halving = parse(&format!("{seeds}{halving}")).halving.unwrap();
    assert_eq!([5, 4, 3, 2, 1].map(|n| halving.kept(n)), [3, 2, 2, 1, 1]);
}

#[test]
fn combinations_are_compared_by_what_they_all_monitor() {
    use crate::Monitor::{ValAccuracy, ValLoss};
    let monitor = |sweep: &str, set: &str| with(sweep, &[set]).unwrap().monitor();
    let seeds = "training.seed = [0, 1]";
    assert_eq!(monitor(seeds, "training.epochs=1"), ValLoss);
    assert_eq!(monitor(seeds, "training.monitor=val_accuracy"), ValAccuracy);
    let both = "training.monitor = [\"val_accuracy\", \"val_macro_f1\"]";
    assert_eq!(monitor(both, "training.epochs=1"), ValLoss);
}

#[test]
fn every_mistake_names_its_line_and_what_to_do() {
    for (sweep, expected) in [
        ("", "small.toml:18: `sweep` varies nothing"),
        (
            "training.seed = 3",
            "small.toml:19: `sweep.training.seed` must be an array of the values to try",
        ),
        (
            "training.seed = []",
            "small.toml:19: `sweep.training.seed` is empty",
        ),
        (
            "training.seed = [1, 2, 1]",
            "small.toml:19: `sweep.training.seed` has 1 twice",
        ),
        (
            "training.seed = [1, -2]",
            "small.toml:19: `training.seed` must be a whole number of at least 0, found -2",
        ),
        (
            "trainin.seed = [1]",
            "small.toml:19: unknown key `trainin` in `sweep`: did you mean `training`?",
        ),
        (
            "name = [\"a\", \"b\"]",
            "small.toml:19: unknown key `name` in `sweep`",
        ),
        (
            "\"training..seed\" = [1]",
            "small.toml:19: the key has an empty part",
        ),
        (
            "layers.1.filtres = [1, 2]",
            "small.toml:19: unknown key `filtres` in `layers.1`: did you mean `filters`?",
        ),
        (
            "layers.9.units = [1]",
            "small.toml:19: `layers` has no entry `9`",
        ),
        (
            "layers.dense.units = [10, 12]",
            "small.toml:14: the last layer outputs 12 scores",
        ),
        (
            "\"training.seed\" = [1]\ntraining.seed = [2]",
            "small.toml:20: `sweep.training.seed` is given twice",
        ),
        ("variant = []", "small.toml:19: `sweep.variant` is empty"),
        (
            "variant = [1]",
            "small.toml:19: unknown key `variant` in `sweep`: did you mean `variants`?",
        ),
        (
            "variants = 3",
            "small.toml:19: `sweep.variants` must be an array, found 3",
        ),
        (
            "training.seed = [1]\nhalving = 3",
            "small.toml:20: `sweep.halving` must be a table, `true` or `false`, found 3",
        ),
        (
            "training.seed = [1]\nhalving = { factor = 1 }",
            "small.toml:20: `sweep.halving.factor` must be a whole number from 2 to 1000, found 1",
        ),
        (
            "training.seed = [1]\nhalving = { min_resources = 1 }",
            "small.toml:20: unknown key `min_resources` in `sweep.halving`",
        ),
        (
            "training.seed = [1]\nhalving = { min_epochs = 4 }",
            "small.toml:20: `sweep.halving` prunes nothing: it needs trainings of at least `factor` times \
             `min_epochs`, 12 epochs, and they have 10",
        ),
        (
            "[[sweep.variants]]\nset = {}",
            "small.toml:19: `name` is missing in `sweep.variants.1`",
        ),
        (
            "[[sweep.variants]]\nname = \"a\"\nsets = {}",
            "small.toml:21: unknown key `sets`",
        ),
        (
            "[[sweep.variants]]\nname = \"a b\"\n[[sweep.variants]]\nname = \"a, b\"",
            "small.toml:22: another variant is called",
        ),
        (
            "[[sweep.variants]]\nname = \"a\"\nset = { \"layers.dropout.rate\" = 1 }",
            "small.toml:21: `layers.2.rate` must be a number of at least 0 and below 1, found 1 (in the sweep's \
             combination `a`)",
        ),
        (
            "[[sweep.variants]]\nname = \"a\"\nreference = { test_accuracy = 99.2 }",
            "small.toml:21: `sweep.variants.1.reference.test_accuracy` must be a number from 0 to 1, found 99.2",
        ),
        (
            "training.seed = [1]\n[[sweep.variants]]\nname = \"a\"\nset = { training.seed = 3 }",
            "small.toml:19: `training.seed` is varied here and set by the variant \"a\"",
        ),
    ] {
        let error = with(sweep, &[]).unwrap_err();
        assert!(
            error.starts_with(expected),
            "\nfound    {error}\nexpected {expected}"
        );
    }
    let lbfgs = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]\nbackbone.name = \"vgg16\"\n\
                 input = { height = 64, width = 64, preprocess = \"caffe\" }\n[sweep]\nhalving = true\n\
                 training.optimizer = [\"adam\", \"lbfgs\"]";
    let error = Sweep::parse_with(lbfgs, "small.toml", "small", &[], &[crate::Base::vgg16()]);
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with(
            "small.toml:5: `sweep.halving` needs trainings of several epochs, and L-BFGS"
        ),
        "{error}"
    );
    let seeds: Vec<String> = (0..1001).map(|seed| seed.to_string()).collect();
    let error = with(&format!("training.seed = [{}]", seeds.join(", ")), &[]).unwrap_err();
    assert!(
        error.contains("makes 1001 combinations, over 1000"),
        "{error}"
    );
}

#[test]
fn a_recipe_is_either_swept_or_run() {
    let error = crate::Recipe::parse(
        &format!("{RECIPE}training.seed = [1]"),
        "small.toml",
        "small",
        &[],
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("small.toml:18: this recipe has a `[sweep]`"),
        "{error}"
    );
    let without = with("training.seed = [1]", &["sweep="]).unwrap_err();
    assert!(
        without.contains("this recipe has no `[sweep]`"),
        "{without}"
    );
}

proptest! {
    #[test]
    fn no_sweep_makes_the_parser_panic(sweep in "[\\[\\]a-z0-9 =\"{}.,\\n_-]{0,120}", set in "[a-z0-9.=\\[\\]-]{0,30}") {
        let _ = with(&sweep, &[&format!("sweep.{set}")]);
    }

    #[test]
    fn every_combination_is_there_once(
        filters in prop::collection::btree_set(1..99u32, 1..5), seeds in prop::collection::btree_set(0..99u32, 1..5),
    ) {
        let sweep = parse(&format!("layers.1.filters = {filters:?}\ntraining.seed = {seeds:?}").replace(['{', '}'], "|")
            .replace("= |", "= [").replace('|', "]"));
        let names: std::collections::BTreeSet<_> = names(&sweep).into_iter().map(str::to_string).collect();
        prop_assert_eq!(names.len(), filters.len() * seeds.len());
        prop_assert_eq!(sweep.combinations.len(), names.len());
    }
}
