//! Feature vectors of images.

use std::fs;
use std::path::Path;

use kiln_onnx::{Dim, GraphBuilder, ModelProto, encode};

use crate::graph_backbone::{classifier, conv, numbers};
use crate::kiln::{TEST_DIGITS, digits, error, kiln, ok, path, run, trained};

/// A folder with a model of another exporter and how its images were prepared.
fn model(proto: &ModelProto) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "theirs.onnx");
    fs::write(&file, encode(proto)).unwrap();
    fs::write(folder.path().join("theirs.toml"), "preprocess = \"unit\"\n").unwrap();
    (folder, file)
}

/// Rows of a file of NumPy's, `[rows, width]`.
fn rows(file: &str, width: usize) -> Vec<Vec<f32>> {
    let bytes = fs::read(file).unwrap();
    let (header, values) = bytes.split_at(128);
    let header = String::from_utf8_lossy(header).into_owned();
    let rows = values.len() / 4 / width;
    assert!(
        header.contains(&format!(
            "'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), "
        )),
        "{header}"
    );
    let values: Vec<f32> = values
        .chunks_exact(4)
        .map(|value| f32::from_le_bytes(value.try_into().unwrap()))
        .collect();
    values.chunks_exact(width).map(<[f32]>::to_vec).collect()
}

#[test]
fn vectors_are_what_the_classifier_takes() {
    let (folder, theirs) = model(&classifier());
    let vectors = path(folder.path(), "vectors.npy");
    let ended = ok(&["embed", &theirs, "--data", TEST_DIGITS, "-o", &vectors]);
    let last = ended.stdout.lines().last().unwrap();
    let table = path(folder.path(), "vectors.csv");
    assert_eq!(
        last,
        format!("100 vectors of 32 to {vectors}, with their images in {table}")
    );
    assert!(
        ended.stdout.contains("the output of `flatten`, [N, 32];"),
        "{}",
        ended.stdout
    );
    let found = rows(&vectors, 32);
    let lines = fs::read_to_string(table).unwrap();
    assert_eq!((found.len(), lines.lines().count()), (100, 101));
    // Row by row, the classifier on them gives the scores of `kiln predict`.
    let weights = numbers(128, 9);
    let scores = ok(&["predict", &theirs, TEST_DIGITS, "--csv"]).stdout;
    for ((vector, line), scores) in found
        .iter()
        .zip(lines.lines().skip(1))
        .zip(scores.lines().skip(1))
    {
        let (image, label) = line.split_once(',').unwrap();
        assert!(image.starts_with(&format!("{label}/")), "{line}");
        let mut fields: Vec<&str> = scores.split(',').collect();
        assert_eq!(fields[1], format!("{TEST_DIGITS}/{image}"));
        let logits = fields.split_off(fields.len() - 4);
        for (row, logit) in weights.chunks_exact(32).zip(logits) {
            let score: f32 = row.iter().zip(vector).map(|(w, x)| w * x).sum();
            assert!(
                (score - logit.parse::<f32>().unwrap()).abs() < 1e-4,
                "{line}"
            );
        }
    }
}

#[test]
fn a_feature_map_is_pooled_and_said_so() {
    let (folder, theirs) = model(&classifier());
    let vectors = path(folder.path(), "v.npy");
    let embed = |model: &str, more: &[&str]| {
        let args = [
            "embed",
            model,
            "--data",
            TEST_DIGITS,
            "-o",
            &vectors,
            "--json",
        ];
        let ended = ok(&[&args, more].concat());
        serde_json::from_str::<serde_json::Value>(&ended.stdout).unwrap()
    };
    let json = embed(&theirs, &["--output", "layer1", "--batch-size", "7"]);
    assert_eq!(
        (
            &json["segment"],
            &json["shape"],
            &json["pooled"],
            &json["features"]
        ),
        (
            &"layer1".into(),
            &"[N, 16, 14, 14]".into(),
            &true.into(),
            &16.into()
        )
    );
    let pooled = rows(&vectors, 16);
    // A model with the pooling in it gives the same; it has no classifier, so its output is taken.
    let mut whole = classifier();
    let graph = whole.graph.as_mut().unwrap();
    graph.node.truncate(4);
    let mut pool = graph.node[3].clone();
    pool.op_type = "GlobalAveragePool".into();
    (pool.name, pool.input, pool.output) =
        ("mean".into(), vec!["block".into()], vec!["mean".into()]);
    graph.node.push(pool);
    graph
        .initializer
        .retain(|tensor| tensor.name != "fc.weight" && tensor.name != "layer2.conv.weight");
    graph.output[0].name = "mean".into();
    graph.output[0].r#type = None;
    let (_folder, without) = model(&whole);
    let json = embed(&without, &[]);
    assert_eq!(
        (&json["segment"], &json["pooled"]),
        (&"mean".into(), &false.into())
    );
    for (row, expected) in rows(&vectors, 16).iter().zip(&pooled) {
        for (value, expected) in row.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-5);
        }
    }
}

#[test]
fn any_source_of_images_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let ours = path(trained(), "model.onnx");
    let vectors = path(folder.path(), "v.npy");
    let table = |data: &str| {
        ok(&["embed", &ours, "--data", data, "-o", &vectors]);
        fs::read_to_string(path(folder.path(), "v.csv")).unwrap()
    };
    // All subsets of a folder.
    let whole = table("tests/fixtures/digits");
    assert_eq!(whole.lines().count(), 501);
    assert!(
        whole
            .lines()
            .any(|line| line.starts_with("train/3/") && line.ends_with(",3"))
    );
    assert!(
        whole
            .lines()
            .any(|line| line.starts_with("test/3/") && line.ends_with(",3"))
    );
    // Images without classes.
    let seven = table(&format!("{TEST_DIGITS}/7"));
    assert_eq!(
        (seven.lines().next(), seven.lines().count()),
        (Some("path"), 11)
    );
    let pattern = table(&format!("{TEST_DIGITS}/[78]/*"));
    assert_eq!(
        pattern.lines().filter(|line| line.ends_with(",8")).count(),
        10
    );
    let list = path(folder.path(), "list.csv");
    let image = fs::canonicalize(&digits("test", 5)[0]).unwrap();
    fs::write(&list, format!("label,path\nfive,{}\n", image.display())).unwrap();
    let listed = table(&list);
    assert_eq!(listed, format!("path,label\n{},five\n", image.display()));
    assert_eq!(fs::read(&vectors).unwrap().len() % 128 % 4, 0);
}

#[test]
fn what_gives_no_vectors_is_told() {
    let (folder, theirs) = model(&classifier());
    let file = |name: &str| path(folder.path(), name);
    let vectors = file("v.npy");
    let refused = |args: &[&str]| error(&mut kiln(&[&["embed", "--quiet"], args].concat()));
    let data = ["--data", TEST_DIGITS];
    let message = refused(&[&[theirs.as_str()], &data[..], &["-o", &file("v.txt")]].concat());
    assert!(message.contains("does not end in .npy"), "{message}");
    let message = refused(
        &[
            &[theirs.as_str()],
            &data[..],
            &["-o", &vectors, "--output", "layer3"],
        ]
        .concat(),
    );
    assert!(
        message.contains("did you mean `layer1`?") && message.contains("--segments` lists"),
        "{message}"
    );
    let mut graph = GraphBuilder::new("tokens");
    graph
        .input("image", Dim::batched([1, 28, 28]))
        .output("scores", Dim::batched([4]));
    conv(&mut graph, "stem", "image", [1, 16], 2);
    graph.initializer("shape", &[3], vec![0_i64, 16, 196]);
    graph.node("Reshape", "tokens", &["stem", "shape"], "tokens");
    graph
        .node("ReduceMean", "mean", &["tokens"], "mean")
        .ints("axes", [1])
        .int("keepdims", 0);
    graph.initializer("fc.weight", &[4, 196], numbers(4 * 196, 9));
    graph
        .node("Gemm", "fc", &["mean", "fc.weight"], "scores")
        .int("transB", 1);
    graph.opset(13);
    let (_tokens, tokens) = model(&graph.finish().unwrap());
    let message = refused(
        &[
            &[tokens.as_str()],
            &data[..],
            &["-o", &vectors, "--output", "tokens"],
        ]
        .concat(),
    );
    assert!(
        message.contains("found [N, 16, 196], a vector for each of 16 tokens, at `tokens`")
            && message.contains("help: give --output mean"),
        "{message}"
    );
    // One image that cannot be read: no file is written, unless it is to be skipped.
    let images = folder.path().join("images");
    fs::create_dir(&images).unwrap();
    fs::copy(&digits("test", 7)[0], images.join("good.png")).unwrap();
    fs::write(images.join("bad.png"), "nothing").unwrap();
    let images = images.to_str().unwrap();
    let args = [theirs.as_str(), "--data", images, "-o", &vectors];
    let message = refused(&args);
    assert!(message.contains("bad.png"), "{message}");
    assert!(!Path::new(&vectors).exists() && !Path::new(&file("v.csv")).exists());
    let ended = run(&mut kiln(
        &[&["embed"], &args[..], &["--skip-bad"]].concat(),
    ));
    assert_eq!(
        (ended.code, rows(&vectors, 32).len()),
        (Some(0), 1),
        "{}",
        ended.stderr
    );
    let table = fs::read_to_string(file("v.csv")).unwrap();
    assert!(table.ends_with("good.png\n"), "{table}");
    // Without its preprocessing.
    fs::remove_file(file("theirs.toml")).unwrap();
    let message = refused(&args);
    assert!(
        message.contains("theirs.onnx` does not specify the preprocessing")
            && message.contains("--preprocess"),
        "{message}"
    );
}
