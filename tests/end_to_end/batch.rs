//! Many images: every kind of source, shards, resuming, and images that cannot be read.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use crate::kiln::{TEST_DIGITS, digits, error, kiln, mnist, ok, online, path, run, trained};

/// Number of images, more than fit in one batch for each thread.
const IMAGES: usize = 300;

/// The first 30 training images of each class in every form: `digits/<class>/*.png`, `list.csv`,
/// `paths.txt`, and IDX files.
fn sources() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        let (mut images, mut numbers) = (Vec::new(), Vec::new());
        let (mut list, mut paths) = ("path,label\n".to_owned(), String::new());
        // In the order of the folder, so that all forms have the same images in the same order.
        for class in 0..10 {
            fs::create_dir_all(folder.join(format!("digits/{class}"))).unwrap();
            for image in &digits("train", class)[..IMAGES / 10] {
                let name = image.file_name().unwrap().to_str().unwrap();
                let file = format!("digits/{class}/{name}");
                fs::copy(image, folder.join(&file)).unwrap();
                writeln!(list, "{file},{class}").unwrap();
                writeln!(paths, "{}", path(&folder, &file)).unwrap();
                images.extend(image::open(image).unwrap().into_luma8().into_raw());
                numbers.push(class as u8);
            }
        }
        let count = (IMAGES as u32).to_be_bytes();
        let header = [
            &[0, 0, 8, 3][..],
            &count,
            &28_u32.to_be_bytes(),
            &28_u32.to_be_bytes(),
        ]
        .concat();
        fs::write(
            folder.join("some-images-idx3-ubyte"),
            [header, images].concat(),
        )
        .unwrap();
        fs::write(
            folder.join("some-labels-idx1-ubyte"),
            [&[0, 0, 8, 1][..], &count, &numbers].concat(),
        )
        .unwrap();
        fs::write(folder.join("list.csv"), list).unwrap();
        fs::write(folder.join("paths.txt"), paths).unwrap();
        folder
    })
}

fn model() -> String {
    path(trained(), "model.onnx")
}

/// The lines of CSV with only these columns.
fn columns(csv: &str, names: &[&str]) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers().unwrap().clone();
    let at: Vec<usize> = names
        .iter()
        .map(|name| header.iter().position(|column| column == *name).unwrap())
        .collect();
    reader
        .records()
        .map(|record| {
            at.iter()
                .map(|&at| record.as_ref().unwrap()[at].to_owned())
                .collect()
        })
        .collect()
}

#[test]
fn an_evaluation_is_drawn() {
    let (data, folder) = (path(sources(), "digits"), tempfile::tempdir().unwrap());
    let pictures = path(folder.path(), "a/b");
    let eval = |pictures: &str| kiln(&["eval", &model(), "--data", &data, "--pictures", pictures]);
    assert!(run(&mut eval(&pictures)).stderr.contains("6 pictures to"));
    for name in ["confusion", "confusion-normalized", "reliability"] {
        let image = image::open(path(pictures.as_ref(), &format!("{name}.png")))
            .unwrap()
            .into_rgb8();
        assert!(
            image.pixels().any(|pixel| pixel != image.get_pixel(0, 0)),
            "{name} is blank"
        );
        assert!(
            fs::read_to_string(path(pictures.as_ref(), &format!("{name}.svg")))
                .unwrap()
                .starts_with("<svg")
        );
    }
    // Before the images are read.
    let message = error(&mut eval(&path(pictures.as_ref(), "reliability.svg")));
    assert!(
        message.contains("cannot write") && message.contains("another folder"),
        "{message}"
    );
}

#[test]
fn every_source_gives_the_same_in_eval_and_predict() {
    let folder = sources();
    let (digits, list, idx) = (
        path(folder, "digits"),
        path(folder, "list.csv"),
        path(folder, "some-images-idx3-ubyte"),
    );
    let glob = path(folder, "digits/*/*.png");
    let eval = |data: &str| {
        let csv = path(folder, &format!("{}.predictions.csv", data.len()));
        let ended = ok(&[
            "eval",
            &model(),
            "--data",
            data,
            "--predictions",
            &csv,
            "--json",
            "-",
            "--top-k",
            "3",
        ]);
        let figures: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        (
            columns(
                &fs::read_to_string(csv).unwrap(),
                &["index", "predicted", "probability"],
            ),
            figures,
        )
    };
    let (expected, figures) = eval(&digits);
    assert_eq!(
        (expected.len(), &figures["images"]),
        (IMAGES, &IMAGES.into())
    );
    let accuracy = figures["accuracy"].as_f64().unwrap();
    let top_k = figures["top_k"]["accuracy"].as_f64().unwrap();
    assert!(
        figures["top_k"]["k"] == 3
            && accuracy < top_k
            && top_k < figures["top5_accuracy"].as_f64().unwrap() + 1e-12
    );
    let bins = figures["calibration"]["bins"].as_array().unwrap();
    assert_eq!(
        bins.iter()
            .map(|bin| bin["images"].as_u64().unwrap())
            .sum::<u64>(),
        IMAGES as u64
    );
    let mistakes = figures["mistakes"].as_array().unwrap();
    let sureness: Vec<f64> = mistakes
        .iter()
        .map(|mistake| mistake["probability"].as_f64().unwrap())
        .collect();
    assert!(
        mistakes.len() == 5 && sureness.is_sorted_by(|a, b| a >= b),
        "{mistakes:?}"
    );
    assert!(
        mistakes
            .iter()
            .all(|m| m["label"] != m["predicted"] && m["path"].as_str().unwrap().contains(".png"))
    );
    for data in [&list, &glob, &idx] {
        let (found, other) = eval(data);
        assert!(found == expected, "{data}");
        for figure in ["accuracy", "loss", "confusion", "calibration"] {
            assert_eq!(other[figure], figures[figure], "{figure} of {data}");
        }
    }
    let paths = path(folder, "paths.txt");
    for images in [
        vec![&digits],
        vec![&list],
        vec![&glob],
        vec![&idx],
        vec![&String::from("--list"), &paths],
    ] {
        let args: Vec<&str> = images.iter().map(|image| image.as_str()).collect();
        let ended = ok(&[&["predict", &model(), "--csv"], args.as_slice()].concat());
        assert!(
            columns(&ended.stdout, &["index", "predicted", "probability"]) == expected,
            "{images:?}"
        );
    }
    let lines = ok(&["predict", &model(), &digits, "--json", "--batch-size", "7"]).stdout;
    let labels: Vec<String> = lines
        .lines()
        // What it ran on comes first.
        .skip(1)
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["label"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        labels,
        expected
            .iter()
            .map(|row| row[1].clone())
            .collect::<Vec<_>>()
    );
}

#[test]
fn what_is_replaced_and_written_is_said_and_json_alone_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let csv = path(folder.path(), "p.csv");
    let args = [
        "eval",
        &model(),
        "--data",
        TEST_DIGITS,
        "--predictions",
        &csv,
        "--json",
    ];
    let wrote = format!("       Wrote 100 predictions to {csv}\n");
    let replacing = format!("   Replacing {csv}\n");
    let first = ok(&args);
    assert!(
        first.stderr.contains(&wrote) && !first.stderr.contains("Replacing"),
        "{}",
        first.stderr
    );
    let figures: serde_json::Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(figures["images"], 100);
    let second = ok(&args);
    assert!(
        second.stderr.contains(&wrote) && second.stderr.contains(&replacing),
        "{}",
        second.stderr
    );
    // What is there is kept by a resumed evaluation.
    let resumed = ok(&[&args[..], &["--resume"]].concat());
    assert!(!resumed.stderr.contains("Replacing"), "{}", resumed.stderr);
}

#[test]
fn long_names_of_classes_do_not_make_tables_wide() {
    let work = tempfile::tempdir().unwrap();
    let name = |class: &str| format!("{class} {}", "a long name of a class ".repeat(5).trim());
    let labels: Vec<String> = (0..10).map(|class| name(&class.to_string())).collect();
    let (names, list) = (
        path(work.path(), "labels.txt"),
        path(work.path(), "list.csv"),
    );
    fs::write(&names, labels.join("\n")).unwrap();
    let mut text = "path,label\n".to_owned();
    // Those that are an 8 are mistakes, at least.
    for class in ["3", "8"] {
        for image in fs::read_dir(sources().join("digits").join(class))
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            let copy = format!("{class}-{}", image.file_name().unwrap().to_str().unwrap());
            fs::copy(&image, work.path().join(&copy)).unwrap();
            writeln!(text, "{copy},{}", name("3")).unwrap();
        }
    }
    fs::write(&list, text).unwrap();
    let columns = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
    let report = ok(&["eval", &model(), "--data", &list, "--labels", &names]).stdout;
    let mistakes = report.split_once("most confident of ").unwrap().1;
    assert!(columns(mistakes) < 120, "{report}");
    let folder = work.path().join("folder");
    for class in 0..2 {
        fs::create_dir_all(folder.join(name(&class.to_string()))).unwrap();
        image::GrayImage::new(2, 2)
            .save(folder.join(name(&class.to_string())).join("1.png"))
            .unwrap();
    }
    let table = ok(&["data", folder.to_str().unwrap()]).stdout;
    assert!(columns(table.split_once('\n').unwrap().1) < 80, "{table}");
}

#[test]
fn lists_may_come_from_standard_input() {
    let folder = sources();
    let piped = |args: &[&str], from: &str| {
        let mut command = kiln(args);
        let child = command
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(&fs::read(folder.join(from)).unwrap())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let figures =
        |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["confusion"].clone();
    let from_file = ok(&[
        "eval",
        &model(),
        "--data",
        &path(folder, "list.csv"),
        "--json",
        "-",
    ])
    .stdout;
    assert_eq!(
        figures(&piped(
            &["eval", &model(), "--data", "-", "--json", "-"],
            "list.csv"
        )),
        figures(&from_file)
    );
    let lines = piped(&["predict", &model(), "--list", "-"], "paths.txt");
    assert_eq!(
        lines,
        ok(&["predict", &model(), "--list", &path(folder, "paths.txt")]).stdout
    );
    assert_eq!(lines.lines().count(), IMAGES);
}

#[test]
fn shards_together_are_the_whole() {
    let folder = sources();
    let work = tempfile::tempdir().unwrap();
    let rows = |extra: &[&str], name: &str| {
        let file = path(work.path(), name);
        let data = path(folder, "digits");
        ok(&[
            &[
                "eval",
                &model(),
                "--data",
                &data,
                "--predictions",
                &file,
                "--json",
                "-",
            ],
            extra,
        ]
        .concat());
        fs::read_to_string(file)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect::<Vec<String>>()
    };
    let whole = rows(&[], "whole.jsonl");
    let mut all: Vec<String> = Vec::new();
    for (shard, count) in [
        ("1/7", 43),
        ("2/7", 43),
        ("3/7", 43),
        ("4/7", 43),
        ("5/7", 43),
        ("6/7", 43),
        ("7/7", 42),
    ] {
        let part = rows(&["--shard", shard, "--batch-size", "5"], "part.jsonl");
        assert_eq!(part.len(), count, "{shard}");
        all.extend(part);
    }
    let index = |line: &String| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["index"]
            .as_u64()
            .unwrap()
    };
    all.sort_by_key(index);
    // Probabilities depend in the last digits on how an engine cuts a batch.
    let what = |lines: &[String]| -> Vec<[String; 3]> {
        let values = lines
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        values
            .map(|row| ["path", "label", "predicted"].map(|key| row[key].to_string()))
            .collect()
    };
    assert_eq!(what(&all), what(&whole));
    assert!(
        error(&mut kiln(&[
            "eval",
            &model(),
            "--data",
            "mnist",
            "--shard",
            "0/4"
        ]))
        .contains("i from 1 to n")
    );
}

/// What a resumed evaluation must give exactly as one that was not interrupted.
const FIGURES: [&str; 8] = [
    "images",
    "accuracy",
    "top5_accuracy",
    "top_k",
    "loss",
    "calibration",
    "confusion",
    "mistakes",
];

#[test]
fn a_resumed_evaluation_is_the_uninterrupted_one_however_sure_the_mistakes() {
    let work = tempfile::tempdir().unwrap();
    let (sure, list) = (path(work.path(), "sure.onnx"), path(sources(), "wrong.csv"));
    // Scores so far apart that probabilities of f32 cannot tell most classes from nothing, and
    // labels that are wrong.
    let mut proto = kiln_onnx::load(trained().join("model.onnx")).unwrap();
    let initializers = proto.graph.as_mut().unwrap().initializer.iter_mut();
    for tensor in initializers.filter(|tensor| tensor.name.starts_with("dense")) {
        let values: Vec<f32> = tensor
            .to_f32()
            .unwrap()
            .iter()
            .map(|value| value * 30.0)
            .collect();
        *tensor = kiln_onnx::TensorProto::from_f32(
            &tensor.name.clone(),
            &tensor.shape().unwrap(),
            &values,
        );
    }
    fs::write(&sure, kiln_onnx::encode(&proto)).unwrap();
    let lines = fs::read_to_string(sources().join("list.csv")).unwrap();
    let wrong = lines
        .lines()
        .skip(1)
        .map(|line| line.split_once(',').unwrap())
        .map(|(file, label)| {
            let label: u32 = label.parse().unwrap();
            format!("{file},{}\n", (label + 1) % 10)
        });
    fs::write(&list, format!("path,label\n{}", wrong.collect::<String>())).unwrap();
    let figures = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    for name in ["p.csv", "p.jsonl"] {
        let file = path(work.path(), name);
        let args = [
            "eval",
            &sure,
            "--data",
            &list,
            "--predictions",
            &file,
            "--json",
            "-",
            "--batch-size",
            "1",
        ];
        let resume = || figures(&ok(&[&args[..], &["--top-k", "3", "--resume"]].concat()).stdout);
        let first = resume();
        assert!(first["loss"].as_f64().unwrap() > 30.0, "{}", first["loss"]);
        let whole = fs::read(&file).unwrap();
        for length in [whole.len() / 2, whole.len()] {
            fs::write(&file, &whole[..length]).unwrap();
            let again = resume();
            assert!(again["resumed"].as_u64().unwrap() > 100);
            for figure in FIGURES {
                assert_eq!(
                    again[figure], first[figure],
                    "{figure} of {name} cut at {length}"
                );
            }
        }
    }
}

#[test]
fn predictions_that_were_cut_off_are_resumed() {
    let folder = sources();
    let work = tempfile::tempdir().unwrap();
    for name in ["p.csv", "p.jsonl"] {
        let file = path(work.path(), name);
        let list = path(folder, "list.csv");
        let args = [
            "eval",
            &model(),
            "--data",
            &list,
            "--predictions",
            &file,
            "--json",
            "-",
            "--batch-size",
            "1",
        ];
        let resume = |more: &[&str]| ok(&[&args[..], &["--resume"], more].concat());
        let figures = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        // Nothing there yet is no error: a job is given the same command every time.
        let first = figures(&resume(&[]).stdout);
        let whole = fs::read(&file).unwrap();
        for length in [
            10,
            whole.len() / 3,
            whole.len() / 2,
            whole.len() - 1,
            whole.len(),
        ] {
            fs::write(&file, &whole[..length]).unwrap();
            let ended = resume(&[]);
            assert!(fs::read(&file).unwrap() == whole, "{name} cut at {length}");
            let again = figures(&ended.stdout);
            for figure in FIGURES {
                assert_eq!(
                    again[figure], first[figure],
                    "{figure} of {name} cut at {length}"
                );
            }
            if length == whole.len() / 2 {
                let resumed = again["resumed"].as_u64().unwrap();
                assert!((100..200).contains(&resumed), "{resumed}");
                assert!(
                    ended.stderr.contains(&format!("after {resumed} images of")),
                    "{}",
                    ended.stderr
                );
            }
        }
        // Nothing was left to do: there is no speed to tell.
        let complete = ok(&[
            "eval",
            &model(),
            "--data",
            &list,
            "--predictions",
            &file,
            "--resume",
        ])
        .stdout;
        assert!(
            complete.contains(" of 300 images), loss ") && !complete.contains("images/s"),
            "{complete}"
        );
        let message = error(&mut kiln(&[
            "predict",
            &model(),
            &list,
            "--predictions",
            &file,
            "--resume",
        ]));
        assert!(message.contains("it has the columns"), "{message}");
    }
    let message = error(&mut kiln(&[
        "predict",
        &model(),
        "x.png",
        "--csv",
        "--resume",
    ]));
    assert!(message.contains("--predictions"), "{message}");
}

#[test]
fn other_images_are_not_resumed_with() {
    let folder = sources();
    let work = tempfile::tempdir().unwrap();
    let (file, list) = (path(work.path(), "p.csv"), path(work.path(), "list.txt"));
    let paths = fs::read_to_string(folder.join("paths.txt")).unwrap();
    let lines: Vec<&str> = paths.lines().take(20).collect();
    fs::write(&list, lines.join("\n")).unwrap();
    let args = [
        "predict",
        &model(),
        "--list",
        &list,
        "--predictions",
        &file,
        "--resume",
    ];
    assert_eq!(ok(&args).stdout, "");
    fs::write(
        &list,
        [&lines[..19], &["other.png", "more.png"]]
            .concat()
            .join("\n"),
    )
    .unwrap();
    let message = error(&mut kiln(&args));
    assert!(
        message.contains("image 19 is `") && message.contains("but `other.png` in `"),
        "{message}"
    );
    fs::write(&list, lines[..10].join("\n")).unwrap();
    assert!(error(&mut kiln(&args)).contains("has no image 10"));
}

/// The arguments of an evaluation that resumes a file of predictions.
fn resuming<'a>(model: &'a str, data: &'a str, file: &'a str) -> [&'a str; 10] {
    [
        "eval",
        model,
        "--data",
        data,
        "--predictions",
        file,
        "--json",
        "-",
        "--resume",
        "--quiet",
    ]
}

#[test]
#[ignore = "downloads MNIST"]
fn other_data_by_name_or_another_use_of_the_model_is_not_resumed_with() {
    let work = tempfile::tempdir().unwrap();
    mnist();
    let resume = |file: &str, data: &str, more: &[&str]| {
        online(&[&resuming(&model(), data, file)[..], more].concat())
    };
    // Every image has a line already, so that what is accepted has nothing left to do.
    let file = path(work.path(), "p.csv");
    assert_eq!(run(&mut resume(&file, "mnist:test", &[])).code, Some(0));
    let message = error(&mut resume(&file, "mnist:train", &[]));
    assert!(
        message.contains("holds images of `mnist:test`, asked for are those of `mnist:train`"),
        "{message}"
    );
    let message = error(&mut resume(&file, "mnist:test", &["--preprocess", "raw"]));
    assert!(
        message.contains("it was made with the preprocessing {"),
        "{message}"
    );
    let message = error(&mut resume(
        &file,
        "mnist:test",
        &["--output", "probabilities"],
    ));
    assert!(
        message.contains("the output logits, this one is probabilities"),
        "{message}"
    );
    assert_eq!(
        run(&mut resume(&file, "mnist", &[])).code,
        Some(0),
        "the same under another name"
    );
}

#[test]
fn other_data_is_not_resumed_with() {
    let work = tempfile::tempdir().unwrap();
    let resume = |file: &str, data: &str| kiln(&resuming(&model(), data, file));
    // Two folders with files of the same names.
    let (file, ours) = (path(work.path(), "q.csv"), sources().join("digits"));
    let theirs = work.path().join("digits");
    for class in fs::read_dir(&ours)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        let copy = theirs.join(class.file_name().unwrap());
        fs::create_dir_all(&copy).unwrap();
        for image in fs::read_dir(&class)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            fs::copy(&image, copy.join(image.file_name().unwrap())).unwrap();
        }
    }
    assert_eq!(
        run(&mut resume(&file, ours.to_str().unwrap())).code,
        Some(0)
    );
    let message = error(&mut resume(&file, theirs.to_str().unwrap()));
    assert!(
        message.contains(ours.to_str().unwrap()) && message.contains(theirs.to_str().unwrap()),
        "{message}"
    );
    let mut relative = resume(&file, "./digits");
    assert_eq!(
        run(relative.current_dir(sources())).code,
        Some(0),
        "the same by another path"
    );
    // A list whose labels were changed in the meantime.
    let (file, list) = (path(work.path(), "r.csv"), path(sources(), "corrected.csv"));
    fs::copy(sources().join("list.csv"), &list).unwrap();
    assert_eq!(run(&mut resume(&file, &list)).code, Some(0));
    let text = fs::read_to_string(&list).unwrap();
    let (at, line) = text.lines().enumerate().nth(40).unwrap();
    let (image, label) = line.split_once(',').unwrap();
    let other = if label == "5" { "6" } else { "5" };
    fs::write(&list, text.replace(line, &format!("{image},{other}"))).unwrap();
    let message = error(&mut resume(&file, &list));
    let expected = format!(
        "image {} has the label `{label}` in the predictions, but `{other}` in",
        at - 1
    );
    assert!(message.contains(&expected), "{message}");
}

#[test]
fn what_cannot_be_read_is_listed_and_fails_unless_left_out() {
    let folder = sources();
    let work = tempfile::tempdir().unwrap();
    let broken = path(work.path(), "broken.png");
    fs::write(&broken, b"\x89PNG\r\n\x1a\n, and no more").unwrap();
    let lines: Vec<String> = fs::read_to_string(folder.join("paths.txt"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let list = path(work.path(), "list.txt");
    let with_bad = [
        &lines[..100],
        std::slice::from_ref(&broken),
        &lines[100..200],
        &["missing.png".to_owned()],
    ]
    .concat();
    fs::write(&list, with_bad.join("\n")).unwrap();
    let file = path(work.path(), "p.csv");
    let args = ["predict", &model(), "--list", &list, "--predictions", &file];
    let message = error(&mut kiln(&args));
    assert!(
        message.contains("2 of 202 images")
            && message.contains("broken.png")
            && message.contains("--skip-bad")
    );
    let rows = columns(&fs::read_to_string(&file).unwrap(), &["index"]);
    assert_eq!(
        (rows.len(), rows[100][0].as_str()),
        (200, "101"),
        "all that can be read is written"
    );
    let message = error(&mut kiln(&[&args[..], &["--resume"]].concat()));
    assert!(
        message.contains("1 image of `") && message.contains("have no line in the predictions"),
        "{message}"
    );
    let resumed = ok(&[&args[..], &["--resume", "--skip-bad"]].concat());
    assert!(
        resumed
            .stderr
            .contains("Skipped 1 image that cannot be used:")
            && resumed.stderr.contains("missing.png"),
        "{}",
        resumed.stderr
    );
    let ended = ok(&[&args[..], &["--skip-bad"]].concat());
    assert_eq!(
        columns(&fs::read_to_string(&file).unwrap(), &["index"]),
        rows
    );
    assert!(
        ended.stderr.contains("Skipped 2 images") && ended.stderr.contains("missing.png"),
        "{}",
        ended.stderr
    );
    // What is missing from a result is said whoever reads it.
    let quiet = ok(&[&args[..], &["--skip-bad", "--quiet"]].concat()).stderr;
    assert!(
        quiet.contains("Skipped 2 images") && quiet.lines().count() == 3,
        "{quiet}"
    );
}

#[test]
fn what_a_command_reads_is_not_replaced_by_what_it_writes() {
    let work = tempfile::tempdir().unwrap();
    let file = |name: &str| path(work.path(), name);
    let (copy, list, paths) = (file("model.onnx"), file("list.csv"), file("paths.txt"));
    fs::copy(model(), &copy).unwrap();
    fs::write(&list, "path,label\nx.png,1\n").unwrap();
    fs::write(&paths, "x.png\n").unwrap();
    let before = [&copy, &list, &paths].map(|file| fs::read(file).unwrap());
    let around = format!(
        "{}/../{}/list.csv",
        work.path().display(),
        work.path().file_name().unwrap().display()
    );
    let eval = ["eval", &copy, "--data", &list];
    let predict = ["predict", &copy, "--list", &paths];
    let bench = ["bench", &copy, "--runs", "1"];
    let compare = ["compare", &copy, &copy, "--data", &list];
    for (command, option, taken) in [
        (&eval[..], "--predictions", &list),
        (&eval, "--predictions", &around),
        (&eval, "--predictions", &copy),
        (&eval, "--json", &copy),
        (&predict, "--predictions", &paths),
        (&predict, "--predictions", &copy),
        (&bench, "--json", &copy),
        (&compare, "--json", &list),
    ] {
        let message = error(&mut kiln(&[command, &[option, taken]].concat()));
        assert!(
            message.contains(&format!("{option} would replace `{taken}`")),
            "{message}"
        );
    }
    let message = error(&mut kiln(
        &[
            &eval[..],
            &["--json", &file("a"), "--predictions", &file("a")],
        ]
        .concat(),
    ));
    assert!(
        message.contains("--json and --predictions are the same file"),
        "{message}"
    );
    let beside = [
        "--predictions",
        &file("a"),
        "--json",
        &file("a.origin.json"),
    ];
    assert!(error(&mut kiln(&[&eval[..], &beside].concat())).contains("are the same file"));
    assert!([&copy, &list, &paths].map(|file| fs::read(file).unwrap()) == before);
}

/// A PNG of a few hundred bytes that claims to be of this size, with a valid header.
fn claiming(size: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::GrayImage::new(1, 1)
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    let mut bytes = bytes.into_inner();
    bytes[16..20].copy_from_slice(&size.to_be_bytes());
    bytes[20..24].copy_from_slice(&size.to_be_bytes());
    let crc = !bytes[12..29].iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| {
            if c & 1 == 1 {
                (c >> 1) ^ 0xEDB8_8320
            } else {
                c >> 1
            }
        })
    });
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn an_image_that_unpacks_to_gigabytes_is_an_error_and_takes_no_memory() {
    let work = tempfile::tempdir().unwrap();
    for size in [60_000, 32_768, 25_000] {
        let file = path(work.path(), "bomb.png");
        fs::write(&file, claiming(size)).unwrap();
        // Address space for the model and its threads, and not for what the image claims.
        let mut shell = std::process::Command::new("sh");
        let script = format!(
            "ulimit -v 4000000; exec {} predict {} {file}",
            env!("CARGO_BIN_EXE_kiln"),
            model()
        );
        let message = error(shell.args(["-c", &script]));
        assert!(
            message.contains("bomb.png") && message.contains("is too large"),
            "{size}: {message}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_run_that_is_killed_leaves_lines_to_go_on_with() {
    let work = tempfile::tempdir().unwrap();
    let file = path(work.path(), "p.csv");
    // The same images over and over, each time as another file, so that it takes long enough.
    let list = path(work.path(), "long.csv");
    let lines = fs::read_to_string(sources().join("list.csv")).unwrap();
    let mut long = "path,label\n".to_owned();
    for copy in 0..200 {
        fs::create_dir(work.path().join(copy.to_string())).unwrap();
        for (at, line) in lines.lines().skip(1).enumerate() {
            let (image, label) = line.split_once(',').unwrap();
            let link = format!("{copy}/{at}.png");
            fs::hard_link(sources().join(image), work.path().join(&link)).unwrap();
            writeln!(long, "{link},{label}").unwrap();
        }
    }
    fs::write(&list, long).unwrap();
    let args = [
        "eval",
        &model(),
        "--data",
        &list,
        "--predictions",
        &file,
        "--json",
        "-",
    ];
    let mut child = kiln(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while fs::metadata(&file).map_or(0, |metadata| metadata.len()) < 100_000 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it should take longer than this"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let cut = fs::read_to_string(&file).unwrap();
    let whole = &cut[..=cut.rfind('\n').unwrap()];
    let rows = columns(whole, &["index", "label", "predicted", "p_9"]);
    assert!(
        rows.iter()
            .zip(0..)
            .all(|(row, index)| row[0] == format!("{index}")),
        "every line up to there is whole"
    );
    let ended = run(kiln(&args).args(["--resume"]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let all = columns(
        &fs::read_to_string(&file).unwrap(),
        &["index", "label", "predicted", "p_9"],
    );
    assert!(all.len() == 60_000 && all[..rows.len()] == rows);
}

#[test]
fn mirror_images_count_as_much_as_the_images() {
    // Of a digit and its mirror image, both have the mean of their probabilities.
    let folder = tempfile::tempdir().unwrap();
    let digit = image::open(&digits("test", 7)[0]).unwrap();
    digit.save(folder.path().join("a.png")).unwrap();
    digit.fliph().save(folder.path().join("b.png")).unwrap();
    let images = folder.path().to_str().unwrap();
    let probabilities = |options: &[&str]| -> Vec<Vec<f64>> {
        let ended = ok(&[
            &["predict", &model(), images, "--predictions", "-"],
            options,
        ]
        .concat());
        let names: Vec<String> = (0..10).map(|class| format!("p_{class}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let rows = columns(&ended.stdout, &names);
        let numbers = |row: &Vec<String>| row.iter().map(|it| it.parse().unwrap()).collect();
        rows.iter().map(numbers).collect()
    };
    let plain = probabilities(&[]);
    assert_ne!(plain[0], plain[1]);
    for options in [&["--tta"][..], &["--tta", "--batch-size", "1"]] {
        let flipped = probabilities(options);
        for (class, (one, other)) in plain[0].iter().zip(&plain[1]).enumerate() {
            let mean = f64::midpoint(*one, *other);
            for row in &flipped {
                let close = (row[class] - mean).abs() < 1e-5;
                assert!(close, "{options:?}, class {class}: {} {mean}", row[class]);
            }
        }
    }
}

#[test]
fn predictions_with_and_without_mirror_images_are_not_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let (list, out) = (path(sources(), "list.csv"), path(folder.path(), "p.csv"));
    let eval = ["eval", &model(), "--data", &list, "--predictions", &out];
    let json: serde_json::Value =
        serde_json::from_str(&ok(&[&eval[..], &["--tta", "--json"]].concat()).stdout).unwrap();
    assert_eq!(json["runtime"]["flips"], true);
    let quiet = ["--quiet", "--resume"];
    let message = error(&mut kiln(&[&eval[..], &quiet].concat()));
    assert!(
        message.contains("it was made with --tta, asked for is without it"),
        "{message}"
    );
}
