//! Any ONNX file as a backbone: frozen, its features cached, the head grafted onto the file's graph.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kiln_onnx::{
    DataLocation, DataType, Dim, GraphBuilder, ModelProto, StringStringEntryProto, TensorProto,
    encode, load,
};

use crate::kiln::{DIGITS, TEST_DIGITS, error, kiln, ok, path, run, succeed};

/// Numbers that look random and are the same everywhere, between -0.5 and 0.5.
pub fn numbers(count: usize, mut state: u32) -> Vec<f32> {
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    std::iter::repeat_with(next).take(count).collect()
}

pub fn conv(graph: &mut GraphBuilder, name: &str, input: &str, channels: [usize; 2], stride: i64) {
    let [of, to] = channels;
    let weight = format!("{name}.weight");
    let values = numbers(to * of * 9, (name.len() + to) as u32);
    graph.initializer(&weight, &[to, of, 3, 3], values);
    let node = format!("/{}/Conv", name.replace('.', "/"));
    graph
        .node("Conv", &node, &[input, &weight], name)
        .ints("pads", [1, 1, 1, 1])
        .ints("strides", [stride, stride])
        .ints("kernel_shape", [3, 3]);
}

/// A classifier of four classes with a residual block, its nodes called as exporters call them.
pub fn classifier() -> ModelProto {
    let mut graph = GraphBuilder::new("theirs");
    graph.opset(13);
    graph
        .input("image", Dim::batched([1, 28, 28]))
        .output("scores", Dim::batched([4]));
    conv(&mut graph, "stem", "image", [1, 16], 2);
    conv(&mut graph, "layer1.conv1", "stem", [16, 16], 1);
    graph.node("Relu", "/layer1/Relu", &["layer1.conv1"], "dense");
    graph.node("Add", "/layer1/Add", &["stem", "dense"], "block");
    conv(&mut graph, "layer2.conv", "block", [16, 32], 2);
    graph.node("Relu", "/layer2/Relu", &["layer2.conv"], "layer2.relu");
    graph.node("GlobalMaxPool", "/pool", &["layer2.relu"], "pooled");
    graph
        .node("Flatten", "/flatten", &["pooled"], "flat")
        .int("axis", 1);
    graph.initializer("fc.weight", &[4, 32], numbers(128, 9));
    graph
        .node("Gemm", "/fc/Gemm", &["flat", "fc.weight"], "scores")
        .int("transB", 1);
    graph.finish().unwrap()
}

/// Writes a model as PyTorch does: the values of its tensors in one file beside it.
pub fn write_with_external_data(mut model: ModelProto, file: &Path) {
    let beside = format!("{}.data", file.file_name().unwrap().to_str().unwrap());
    let mut data = Vec::new();
    for tensor in &mut model.graph.as_mut().unwrap().initializer {
        let values: Vec<u8> = tensor
            .to_f32()
            .unwrap()
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        tensor.raw_data.clear();
        tensor.float_data.clear();
        tensor.data_location = DataLocation::External as i32;
        let entries = [
            ("location", beside.clone()),
            ("offset", data.len().to_string()),
            ("length", values.len().to_string()),
        ];
        let entry = |(key, value): (&str, String)| StringStringEntryProto {
            key: key.into(),
            value,
        };
        tensor.external_data = entries.map(entry).into();
        data.extend(values);
    }
    fs::write(file, encode(&model)).unwrap();
    fs::write(file.with_file_name(beside), data).unwrap();
}

/// A folder with the classifier, a sidecar that says how its images were prepared, and a recipe.
struct Setting {
    folder: tempfile::TempDir,
}

impl Setting {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs::write(file("theirs.onnx"), encode(&classifier())).unwrap();
        fs::write(file("theirs.toml"), "preprocess = \"unit\"\n").unwrap();
        let recipe = format!(
            "[backbone]\nweights = '{}'\n[data]\ndataset = \"mnist\"\n[training]\nepochs = 30\nbatch_size = 32\n\
             optimizer.learning_rate = 0.01\n[[layers]]\ntype = \"batch_norm\"\n[[layers]]\n\
             type = \"dense\"\n",
            file("theirs.onnx").display()
        );
        fs::write(file("recipe.toml"), recipe).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        path(self.folder.path(), name)
    }

    /// A command about the recipe, its dataset the images of `tests/fixtures`, with a cache of its own.
    fn command(&self, command: &str, more: &[&str]) -> std::process::Command {
        let recipe = self.path("recipe.toml");
        let mut command = kiln(&[&[command, recipe.as_str()], &DIGITS[..], more].concat());
        command.env("KILN_CACHE", self.folder.path().join("cache"));
        command
    }

    fn train(&self, more: &[&str]) -> (String, PathBuf) {
        let runs = self.path("runs");
        let ended = succeed(&mut self.command("run", &[&["--runs", &runs], more].concat()));
        let model = ended
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("Model: "))
            .unwrap();
        let folder = Path::new(model).parent().unwrap().to_owned();
        (ended.stderr + &ended.stdout, folder)
    }
}

#[test]
fn a_head_is_trained_on_any_file_and_grafted_onto_its_graph() {
    let setting = Setting::new();
    let (printed, run) = setting.train(&[]);
    assert!(
        printed.contains("Computed features of 400 images after backbone"),
        "{printed}"
    );
    assert!(
        printed.contains("the nearest training image has the right class for"),
        "{printed}"
    );
    assert!(
        printed.contains("Verified Burn and tract agree"),
        "{printed}"
    );
    // 32 features of random weights tell digits apart far better than chance, which is 10 %.
    let accuracy: f64 = printed
        .lines()
        .find_map(|line| {
            line.strip_prefix("recipe: ")?
                .split(" %")
                .next()?
                .parse()
                .ok()
        })
        .unwrap();
    assert!(accuracy > 25.0, "{accuracy}");

    let (theirs, ours) = (classifier(), load(run.join("model.onnx")).unwrap());
    let (before, after) = (theirs.graph.unwrap(), ours.graph.clone().unwrap());
    assert_eq!(
        after.node[..8],
        before.node[..8],
        "what leads to the features is untouched"
    );
    let kept = |name: &str| after.initializer.iter().find(|tensor| tensor.name == name);
    for tensor in before
        .initializer
        .iter()
        .filter(|tensor| tensor.name != "fc.weight")
    {
        assert_eq!(kept(&tensor.name), Some(tensor));
    }
    assert_eq!((kept("fc.weight"), after.node.len()), (None, 10));
    // Their value `dense` keeps its name, and the head's layer has another.
    assert_eq!(after.node[9].name, "dense_1");
    assert_eq!(ours.opset(), 13);
    let metadata = ours.metadata().unwrap();
    assert_eq!(metadata.labels.unwrap().len(), 10);
    assert_eq!(metadata.golden.unwrap().vectors.len(), 10);

    let run = run.to_str().unwrap();
    assert!(ok(&["verify", run]).stdout.contains("10 golden vectors"));
    let frozen = fs::read_to_string(path(run.as_ref(), "frozen.json")).unwrap();
    assert!(
        frozen.contains("backbone.nodes") && frozen.contains("backbone.stem.weight"),
        "{frozen}"
    );

    // The second run finds the features, and gives the same weights.
    let (printed, again) = setting.train(&[]);
    assert!(
        printed.contains("Reusing features of 400 images"),
        "{printed}"
    );
    let weights = |run: &Path| fs::read(run.join("weights.safetensors")).unwrap();
    assert_eq!(weights(run.as_ref()), weights(&again));
}

/// The tensors of a model that differ from those of the same name in another one.
fn changed(before: &ModelProto, after: &ModelProto) -> Vec<String> {
    let tensors = |model: &ModelProto| model.graph.clone().unwrap().initializer;
    let (before, after) = (tensors(before), tensors(after));
    let differs = before.into_iter().filter(|tensor| {
        let same = |other: &&kiln_onnx::TensorProto| other.name == tensor.name;
        after.iter().find(same).is_some_and(|other| other != tensor)
    });
    differs.map(|tensor| tensor.name).collect()
}

#[test]
fn trained_layers_of_a_file_are_written_back_into_its_graph() {
    let setting = Setting::new();
    let phases = "training.phases=[{epochs=2, optimizer={type=\"adam\", learning_rate=0.01}}, \
                  {epochs=3, unfreeze=[\"layer2\"], optimizer={type=\"adam\", learning_rate=0.003}, layer_decay=0.5}]";
    let more = ["--set", "training={batch_size=32}", "--set", phases];
    let summary = succeed(&mut setting.command("summary", &more)).stdout;
    for line in [
        "backbone (graph)          frozen   [batch, 16, 14, 14]",
        "layer2_conv (segment)     frozen   [batch, 32, 7, 7]",
    ] {
        assert!(summary.contains(line), "{summary}");
    }
    let (printed, run) = setting.train(&more);
    assert!(
        printed.contains("Verified Burn and tract agree"),
        "{printed}"
    );
    // Features in front of the first trained layer, and from there behind the last.
    for layer in ["backbone", "flatten"] {
        let computed = format!("Computed features of 400 images after {layer}");
        assert!(printed.contains(&computed), "{printed}");
    }
    let (theirs, ours) = (classifier(), load(run.join("model.onnx")).unwrap());
    assert_eq!(changed(&theirs, &ours), ["layer2.conv.weight"]);
    let nodes = |model: &ModelProto| model.graph.clone().unwrap().node[..8].to_vec();
    assert_eq!(nodes(&theirs), nodes(&ours));
    let frozen = fs::read_to_string(run.join("frozen.json")).unwrap();
    assert!(
        frozen.contains("backbone.layer1.conv1.weight") && !frozen.contains("layer2.conv.weight"),
        "{frozen}"
    );
    let run = run.to_str().unwrap();
    assert!(ok(&["verify", run]).stdout.contains("10 golden vectors"));

    // The best epoch is one of the second phase: fine-tuning helps where features are random.
    let history = fs::read_to_string(path(run.as_ref(), "history.csv")).unwrap();
    let losses: Vec<f64> = history
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(3).unwrap().parse().unwrap())
        .collect();
    assert!(losses[4] < losses[1], "{history}");

    // A run that was interrupted ends with the same bits.
    let (_, again) = setting.train(&more);
    let weights = |run: &Path| fs::read(run.join("weights.safetensors")).unwrap();
    assert_eq!(weights(run.as_ref()), weights(&again));
}

/// The classifier with biases, as convolutions have that a batch normalization was folded into.
fn folded_classifier() -> ModelProto {
    let mut model = classifier();
    let graph = model.graph.as_mut().unwrap();
    for (node, channels) in graph
        .node
        .iter_mut()
        .filter(|node| node.op_type == "Conv")
        .zip([16, 16, 32])
    {
        let bias = node.input[1].replace(".weight", ".bias");
        node.input.push(bias.clone());
        let values = numbers(channels, channels as u32);
        graph.initializer.push(TensorProto {
            name: bias,
            dims: vec![channels as i64],
            data_type: DataType::Float as i32,
            raw_data: values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            ..Default::default()
        });
    }
    model
}

#[test]
fn trained_convolutions_are_unfolded_and_folded_back() {
    let setting = Setting::new();
    fs::write(setting.path("theirs.onnx"), encode(&folded_classifier())).unwrap();
    let phases = "training.phases=[{epochs=2, optimizer={type=\"adam\", learning_rate=0.01}}, \
                  {epochs=3, unfreeze=[\"layer2\"], optimizer={type=\"adamw\", learning_rate=0.003, \
                  decay_biases_and_norms=false}}]";
    let base = ["--set", "training={batch_size=32}", "--set", phases];
    let unfold = [&base[..], &["--set", "backbone.unfold=true"]].concat();
    let summary = succeed(&mut setting.command("summary", &[&unfold[..], &["--expand"]].concat()));
    // Weights, and four numbers for each channel in place of the bias.
    for (name, count) in [
        ("layer2_conv (segment)", "4,736"),
        ("layer2.conv.weight.norm (batch_norm)", "128"),
    ] {
        let line = summary.stdout.lines().find(|line| line.contains(name));
        assert!(
            line.is_some_and(|line| line.trim_end().ends_with(count)),
            "{}",
            summary.stdout
        );
    }
    let plan = succeed(&mut setting.command("summary", &[&unfold[..], &["--plan"]].concat()));
    assert!(
        plan.stdout.contains("fused    layer2_conv + layer2_relu"),
        "{}",
        plan.stdout
    );

    let (printed, run) = setting.train(&unfold);
    for line in [
        "Unfolded 1 convolution by their outputs for",
        "Verified Burn and tract agree",
    ] {
        assert!(printed.contains(line), "{printed}");
    }
    let (theirs, ours) = (folded_classifier(), load(run.join("model.onnx")).unwrap());
    assert_eq!(
        changed(&theirs, &ours),
        ["layer2.conv.weight", "layer2.conv.bias"]
    );
    let nodes = |model: &ModelProto| model.graph.clone().unwrap().node[..8].to_vec();
    assert_eq!(nodes(&theirs), nodes(&ours));
    let frozen = fs::read_to_string(run.join("frozen.json")).unwrap();
    assert!(
        frozen.contains("backbone.layer1.conv1.bias") && !frozen.contains("layer2.conv"),
        "{frozen}"
    );
    let folder = run.to_str().unwrap();
    assert!(ok(&["verify", folder]).stdout.contains("10 golden vectors"));
    // A second export is the same.
    let written = fs::read(run.join("model.onnx")).unwrap();
    ok(&["export", folder]);
    assert!(written == fs::read(run.join("model.onnx")).unwrap());

    // Before the layer is trained nothing differs but rounding.
    let scores = |run: &Path| -> Vec<f64> {
        let history = fs::read_to_string(run.join("history.csv")).unwrap();
        let losses = history.lines().skip(1);
        losses
            .map(|line| line.split(',').nth(3).unwrap().parse().unwrap())
            .collect()
    };
    let (_, without) = setting.train(&base);
    let (with, without) = (scores(&run), scores(&without));
    assert!((with[1] - without[1]).abs() < 1e-3, "{with:?} {without:?}");
    assert!((with[4] - without[4]).abs() > 1e-4, "{with:?} {without:?}");

    // The statistics may follow the batches.
    let live = [&unfold[..], &["--set", "backbone.batch_norm=live"]].concat();
    let (printed, run) = setting.train(&live);
    assert!(
        printed.contains("Verified Burn and tract agree"),
        "{printed}"
    );
    let ours = load(run.join("model.onnx")).unwrap();
    assert_eq!(
        changed(&theirs, &ours),
        ["layer2.conv.weight", "layer2.conv.bias"]
    );
}

#[test]
fn a_layer_that_only_a_phase_in_between_trains_is_not_called_frozen() {
    let setting = Setting::new();
    let phases = "training.phases=[{epochs=1}, {epochs=1, unfreeze=[\"layer2\"]}, {epochs=1}]";
    let (_, run) = setting.train(&["--set", "training={batch_size=32}", "--set", phases]);
    let exported = load(run.join("model.onnx")).unwrap();
    assert_eq!(changed(&classifier(), &exported), ["layer2.conv.weight"]);
    let frozen = fs::read_to_string(run.join("frozen.json")).unwrap();
    assert!(
        frozen.contains("layer1.conv1.weight") && !frozen.contains("layer2.conv.weight"),
        "{frozen}"
    );
}

#[test]
fn a_training_with_unfolded_convolutions_is_resumed_and_exported() {
    let setting = Setting::new();
    fs::write(setting.path("theirs.onnx"), encode(&folded_classifier())).unwrap();
    let runs = setting.path("runs");
    let phases = "training.phases=[{epochs=1}, {epochs=6, unfreeze=\"layer1..\"}]";
    let set = ["training={batch_size=32}", phases, "backbone.unfold=true"];
    let set: Vec<&str> = set.iter().flat_map(|it| ["--set", it]).collect();
    let more = [&["--runs", &runs, "--threads", "2", "--quiet"], &set[..]].concat();
    let command = || setting.command("train", &more);
    let whole = PathBuf::from(succeed(&mut command()).stdout.trim());
    // As if it had been killed after some epoch.
    let mut child = command().spawn().unwrap();
    let cut = Path::new(&runs).join("recipe-2");
    let last = cut.join("checkpoints/last.safetensors");
    let start = Instant::now();
    while !last.exists() {
        assert!(
            start.elapsed() < Duration::from_mins(2),
            "no epoch was done"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let folder = cut.to_str().unwrap();
    // What there is of it can be exported.
    ok(&["export", folder, "--no-golden"]);
    let resume = ["train", "--resume", folder, "--threads", "2", "--quiet"];
    let mut resumed = kiln(&resume);
    resumed.env("KILN_CACHE", setting.folder.path().join("cache"));
    succeed(&mut resumed);
    let weights = |run: &Path| fs::read(run.join("weights.safetensors")).unwrap();
    assert!(weights(&whole) == weights(&cut), "other weights");

    fs::remove_file(cut.join("unfolded.safetensors")).unwrap();
    let message = error(&mut kiln(&resume));
    assert!(
        message.contains("lacks `unfolded.safetensors`"),
        "{message}"
    );
}

#[test]
fn a_whole_file_can_be_trained_and_with_augmentation() {
    let setting = Setting::new();
    let more = [
        "--set",
        "training={batch_size=32, epochs=1, unfreeze=\"backbone\", optimizer=\"adamw\"}",
        "--set",
        "augmentation.rotation_range=10",
    ];
    let summary = succeed(&mut setting.command("summary", &more)).stdout;
    assert!(
        summary.contains("stem (segment)") && summary.contains("Non-trainable params: 64"),
        "{summary}"
    );
    let (printed, run) = setting.train(&more);
    assert!(
        printed.contains("Verified Burn and tract agree"),
        "{printed}"
    );
    let ours = load(run.join("model.onnx")).unwrap();
    assert_eq!(
        changed(&classifier(), &ours),
        ["stem.weight", "layer1.conv1.weight", "layer2.conv.weight"]
    );
}

#[test]
fn features_of_several_views_are_kept() {
    let setting = Setting::new();
    let more = [
        "--set",
        "training.epochs=3",
        "--set",
        "augmentation={rotation_range=10, views=2}",
    ];
    let (printed, _) = setting.train(&more);
    // All images as they are, and the training images in two views.
    let computed = printed.matches("Computed features of").count();
    assert_eq!(computed, 3, "{printed}");
    let (printed, _) = setting.train(&more);
    assert_eq!(
        printed.matches("Reusing features of").count(),
        3,
        "{printed}"
    );
}

#[test]
fn layers_of_images_may_follow_a_value_before_the_classifier() {
    let setting = Setting::new();
    let layers = "layers=[{type=\"conv2d\", filters=4, kernel_size=3, activation=\"relu\"}, {type=\"flatten\"}, \
                  {type=\"dense\"}]";
    let output = "backbone.output=layer1";
    let more = [
        "--set",
        layers,
        "--set",
        output,
        "--set",
        "training.epochs=2",
    ];
    let summary = succeed(&mut setting.command("summary", &more[..4])).stdout;
    assert!(
        summary.contains("backbone (graph)    frozen   [batch, 16, 14, 14]"),
        "{summary}"
    );
    let (printed, _) = setting.train(&more);
    assert!(
        printed.contains("Verified Burn and tract agree"),
        "{printed}"
    );
}

/// An engine runs the frozen graph, which ends in a vector: the segments after its last feature maps become layers.
#[test]
fn gradients_go_through_a_frozen_graph_to_its_last_feature_maps() {
    let setting = Setting::new();
    let (_, run) = setting.train(&["--set", "training.epochs=3"]);
    let run = run.to_str().unwrap();
    let explained = |more: &[&str]| -> Vec<serde_json::Value> {
        let args = [
            "explain",
            run,
            TEST_DIGITS,
            "--json",
            "--method",
            "grad-cam",
        ];
        let ended = ok(&[&args, more].concat());
        let lines = ended.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let found = explained(&[]);
    let (header, found) = found.split_first().unwrap();
    assert_eq!(header["layer"], "layer2_relu", "{header}");
    assert_eq!([&header["rows"], &header["columns"]], [7, 7]);
    assert_eq!(found.len(), 100);
    let speaks = found
        .iter()
        .filter(|image| image["largest"]["value"].as_f64().unwrap() > 0.0);
    assert!(speaks.count() > 50);
}

#[test]
fn the_segments_of_a_file_are_listed() {
    let setting = Setting::new();
    let list = ok(&["describe", &setting.path("theirs.onnx"), "--segments"]).stdout;
    let names: Vec<&str> = list
        .lines()
        .skip(2)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        names,
        [
            "stem",
            "layer1",
            "layer2_conv",
            "layer2_relu",
            "pool",
            "flatten",
            "fc"
        ],
        "{list}"
    );
    assert!(
        list.contains("residual") && list.contains("classifier"),
        "{list}"
    );
}

#[test]
fn a_file_with_external_data_is_described_and_copied_into_one_file() {
    let setting = Setting::new();
    let whole = setting.path("theirs.onnx");
    let split = setting.path("split.onnx");
    write_with_external_data(classifier(), split.as_ref());
    fs::write(setting.path("split.toml"), "preprocess = \"unit\"\n").unwrap();
    let listed = ok(&["describe", &split, "--segments"]);
    assert_eq!(
        listed.stdout,
        ok(&["describe", &whole, "--segments"]).stdout
    );
    assert!(
        listed.stderr.contains("keeps weights in other files"),
        "{}",
        listed.stderr
    );
    let described = ok(&["describe", &split]).stdout;
    let parameters = |text: &str| text.split(", ").nth(1).unwrap().to_owned();
    assert_eq!(
        parameters(&described),
        parameters(&ok(&["describe", &whole]).stdout)
    );
    let digit = "tests/fixtures/digits/test/3";
    assert_eq!(
        ok(&["predict", &split, digit]).stdout,
        ok(&["predict", &whole, digit]).stdout
    );
    // For vectors too, as they are for a backbone.
    let vectors = |model: &str, name: &str| {
        let file = setting.path(name);
        ok(&["embed", model, "--data", digit, "-o", &file]);
        fs::read(file).unwrap()
    };
    assert_eq!(vectors(&split, "split.npy"), vectors(&whole, "whole.npy"));
    let copy = setting.path("copy.onnx");
    ok(&["describe", &split, "-o", &copy]);
    assert_eq!(
        ok(&["predict", &copy, digit]).stdout,
        ok(&["predict", &whole, digit]).stdout
    );
    // What is described is what the tensors hold, so a file that lacks them is refused.
    fs::remove_file(setting.path("split.onnx.data")).unwrap();
    let message = error(&mut kiln(&["describe", &split, "--segments"]));
    assert!(message.contains("split.onnx.data"), "{message}");
}

#[test]
fn a_probe_is_a_logistic_regression_with_the_best_penalty() {
    let setting = Setting::new();
    let (theirs, runs) = (setting.path("theirs.onnx"), setting.path("runs"));
    let copy = setting.path("copy.onnx");
    let data = "tests/fixtures/digits";
    let args = ["probe", &theirs, "--data", data, "--runs", &runs, "--json"];
    let probe = |more: &[&str]| {
        let mut command = kiln(&[&args, more].concat());
        command.env("KILN_CACHE", setting.folder.path().join("cache"));
        let ended = succeed(&mut command);
        let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        (json, ended.stderr)
    };
    let (json, printed) = probe(&["-o", &copy]);
    assert_eq!(json["parity"]["passed"], true);
    let penalty = json["best"]["penalty"].as_f64().unwrap();
    let neighbor = json["nearest_neighbor"].as_f64().unwrap();
    assert!(penalty > 0.0 && (0.1..1.0).contains(&neighbor), "{json}");
    // Features of random weights: far better than chance, which is 10 %.
    let accuracy = json["evaluations"][0]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.25, "{json}");
    assert!(
        printed.contains(&format!("best is penalty {penalty:e}")),
        "{printed}"
    );
    let run = Path::new(json["run"].as_str().unwrap());
    assert!(run.ends_with("theirs-probe"));
    assert_eq!(
        fs::read(&copy).unwrap(),
        fs::read(run.join("model.onnx")).unwrap()
    );
    // The page and the history have every penalty that was tried.
    let history = fs::read_to_string(run.join("history.csv")).unwrap();
    assert_eq!(history.lines().count(), 16);
    assert!(
        history.lines().nth(1).unwrap().contains(",0.0,10.0,"),
        "{history}"
    );
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains(&format!(
        "Penalty {penalty:e} of 15 has the lowest validation loss"
    )));
    assert!(page.contains("<td>1e1</td>") || page.contains(">1e1<"));
    assert!(!page.contains("Loss (mean cross-entropy) by epoch") && !page.contains("Batch size"));

    // The same again, bit for bit, in a run that is interrupted and resumed as any other.
    let (again, _) = probe(&["--name", "again"]);
    let weights = |run: &serde_json::Value| {
        let run = Path::new(run["run"].as_str().unwrap());
        fs::read(run.join("weights.safetensors")).unwrap()
    };
    assert_eq!(weights(&json), weights(&again));

    // A feature map is pooled, and a penalty alone is one fit.
    let one = "training.optimizer={type=\"lbfgs\", penalties=[0.1], max_iterations=2}";
    let (pooled, printed) = probe(&["--output", "layer1", "--set", one, "--name", "pooled"]);
    assert_eq!(pooled["best"]["penalty"], 0.1);
    assert!(
        printed.contains("the fit with penalty 1e-1 has not converged after 2 iterations"),
        "{printed}"
    );
    let message = error(&mut kiln(&[
        "probe", &theirs, "--data", data, "--output", "layer3",
    ]));
    assert!(message.contains("did you mean `layer1`?"), "{message}");
}

#[test]
fn what_cannot_be_a_backbone_is_told() {
    let setting = Setting::new();
    let refused = |more: &[&str]| error(&mut setting.command("train", more));
    for (set, expected) in [
        (
            "backbone.output=layer3",
            "has no value `layer3` that all paths pass; did you mean `layer1`?",
        ),
        (
            "backbone.output=/layer1/Relu",
            "`/layer1/Relu` is inside of `layer1`",
        ),
        (
            "backbone.weights=nowhere.onnx",
            "cannot read `nowhere.onnx`",
        ),
        ("input.height=32", "takes images of height 28, found 32"),
        ("input.channels=rgb", "takes images of 1 channels, found 3"),
        (
            "training.unfreeze=layer4",
            "`layer4` matches no layer: did you mean `layer2`?",
        ),
        ("backbone.unfold=true", "no segment of the file is trained"),
        ("backbone.name=vgg16", "takes images of 3 channels, found 1"),
    ] {
        let more: &[&str] = if set.starts_with("input.height") {
            &["--set", set, "--set", "input.width=32"]
        } else {
            &["--set", set]
        };
        let message = refused(more);
        assert!(message.contains(expected), "{set}: {message}");
    }
    fs::remove_file(setting.path("theirs.toml")).unwrap();
    let message = refused(&[]);
    assert!(
        message.contains("does not say how its images were prepared"),
        "{message}"
    );
    let given = [
        "--set",
        "input.scale=0.5",
        "--set",
        "input.mean=[1]",
        "--set",
        "input.std=[2.5]",
    ];
    succeed(&mut setting.command("summary", &given));
    assert!(refused(&["--set", "input.mean=[1, 2]"]).contains("one value for each of 1 channels"));
}

#[test]
fn a_file_that_changed_is_not_grafted_onto() {
    let setting = Setting::new();
    let (_, folder) = setting.train(&["--set", "training.epochs=1"]);
    let mut other = classifier();
    other.graph.as_mut().unwrap().doc_string = "another".into();
    fs::write(setting.path("theirs.onnx"), encode(&other)).unwrap();
    let mut export = kiln(&["export", folder.to_str().unwrap()]);
    let message = error(&mut export);
    assert!(
        message.contains("has changed since the recipe was read"),
        "{message}"
    );
    fs::remove_file(setting.path("theirs.onnx")).unwrap();
    // What was written stands by itself.
    let evaluated = run(&mut kiln(&[
        "predict",
        folder.to_str().unwrap(),
        "tests/fixtures/digits/test/3",
    ]));
    assert_eq!(evaluated.code, Some(0), "{}", evaluated.stderr);
}
