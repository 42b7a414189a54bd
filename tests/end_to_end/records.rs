//! Images in files of many: Parquet, tar shards, CIFAR's files, pairs of IDX; predictions as Parquet; shards of a job and
//! what is merged of them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::kiln::{digits, error, kiln, ok, path, root, run, succeed, trained};

const PARQUET: &str = "tests/fixtures/records/parquet";
const TAR: &str = "tests/fixtures/records/test-000000.tar";

fn model() -> String {
    path(trained(), "model.onnx")
}

fn eval(data: &str, options: &[&str]) -> Command {
    kiln(&[&["eval", &model(), "--data", data], options].concat())
}

/// Columns `label`, `predicted` and all values from there on, line by line.
fn values(csv: &Path) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_path(csv).unwrap();
    let header = reader.headers().unwrap().clone();
    let from = header.iter().position(|column| column == "label").unwrap();
    let rows = reader.records().map(|row| row.unwrap());
    rows.map(|row| row.iter().skip(from).map(str::to_owned).collect())
        .collect()
}

fn column(csv: &Path, name: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_path(csv).unwrap();
    let header = reader.headers().unwrap().clone();
    let at = header.iter().position(|column| column == name).unwrap();
    let rows = reader.records().map(|row| row.unwrap()[at].to_owned());
    rows.collect()
}

/// The images of the fixture as files: the first three test images of each class.
fn as_files(folder: &Path) {
    for class in 0..10 {
        let to = folder.join(class.to_string());
        fs::create_dir_all(&to).unwrap();
        for image in &digits("test", class)[..3] {
            fs::copy(image, to.join(image.file_name().unwrap())).unwrap();
        }
    }
}

#[test]
fn parquet_gives_what_the_files_give() {
    let folder = tempfile::tempdir().unwrap();
    as_files(&folder.path().join("digits"));
    let predictions = |data: &str, name: &str| -> PathBuf {
        let csv = folder.path().join(name);
        succeed(&mut eval(data, &["--predictions", csv.to_str().unwrap()]));
        csv
    };
    let of_files = predictions(&path(folder.path(), "digits"), "files.csv");
    // Of a folder with subsets, the test images.
    let of_parquet = predictions(PARQUET, "parquet.csv");
    assert_eq!(values(&of_parquet), values(&of_files));
    let names = column(&of_parquet, "path");
    assert_eq!(names[0], format!("{PARQUET}/test-00000-of-00001.parquet#0"));
    assert!(names[29].ends_with("parquet#29"), "{}", names[29]);
    let pattern = format!("{PARQUET}/test-*.parquet");
    assert_eq!(
        values(&predictions(&pattern, "pattern.csv")),
        values(&of_files)
    );
    // Every third of them.
    let of_tar = predictions(TAR, "tar.csv");
    let thirds: Vec<_> = values(&of_files).into_iter().step_by(3).collect();
    assert_eq!(values(&of_tar), thirds);
    assert_eq!(column(&of_tar, "path")[1], format!("{TAR}#0003.png"));
    let braces = "tests/fixtures/records/test-{000000..000000}.tar";
    assert_eq!(values(&predictions(braces, "braces.csv")), thirds);
    // Without labels, and through the other commands.
    let lines = ok(&["predict", &model(), PARQUET, TAR]).stdout;
    assert_eq!(lines.lines().count(), 40 + 30 + 10, "{lines}");
    let vectors = path(folder.path(), "vectors.npy");
    ok(&["embed", &model(), "--data", PARQUET, "--vectors", &vectors]);
    let table = fs::read_to_string(folder.path().join("vectors.csv")).unwrap();
    assert_eq!(table.lines().count(), 1 + 70, "{table}");
    assert!(table.contains("#19,"), "{table}");
}

/// A tar file of the first five test images of each class, with their classes.
fn tar() -> Vec<u8> {
    let mut tar = Vec::new();
    let mut add = |name: String, content: &[u8]| {
        let mut header = vec![0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[156] = b'0';
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        tar.extend(header);
        tar.extend(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    };
    for class in 0..10 {
        for (at, image) in digits("test", class)[..5].iter().enumerate() {
            add(format!("{class}-{at}.cls"), class.to_string().as_bytes());
            add(format!("{class}-{at}.png"), &fs::read(image).unwrap());
        }
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// A compressed tar file gives what the file in it gives: whole, in shares, and to train on.
#[test]
fn a_compressed_tar_file_gives_what_it_gives_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let [packed, plain] = ["a.tar.gz", "a.tar"].map(|name| path(folder.path(), name));
    let tar = tar();
    fs::write(&plain, &tar).unwrap();
    let mut encoder = GzEncoder::new(fs::File::create(&packed).unwrap(), Compression::default());
    encoder.write_all(&tar).unwrap();
    encoder.finish().unwrap();
    let predictions = |data: &str, name: &str, options: &[&str]| {
        let csv = folder.path().join(name);
        succeed(&mut eval(
            data,
            &[options, &["--predictions", csv.to_str().unwrap()]].concat(),
        ));
        csv
    };
    let of_tar = predictions(&plain, "tar.csv", &[]);
    let of_packed = predictions(&packed, "packed.csv", &[]);
    assert_eq!(values(&of_packed), values(&of_tar));
    assert_eq!(column(&of_packed, "path")[1], format!("{packed}#0-1.png"));
    let shares = ["1/2", "2/2"].map(|share| {
        let csv = predictions(&packed, &share.replace('/', "-"), &["--shard", share]);
        values(&csv)
    });
    let [even, odd] = &shares;
    let whole = values(&of_tar);
    assert_eq!(even, &whole.iter().step_by(2).cloned().collect::<Vec<_>>());
    assert_eq!(
        odd,
        &whole.iter().skip(1).step_by(2).cloned().collect::<Vec<_>>()
    );

    let weights = |data: &str, runs: &str| {
        let runs = path(folder.path(), runs);
        let files = format!("data.files={data}");
        let mut args = vec!["train", "models/quickstart.toml", "--runs", &runs];
        for change in [
            "data.dataset=",
            &files,
            "data.validation_split=0.2",
            "data.test_split=0.2",
            "training.epochs=1",
            "training.batch_size=4",
        ] {
            args.extend(["--set", change]);
        }
        let run = ok(&args).stdout;
        fs::read(path(run.trim().as_ref(), "weights.safetensors")).unwrap()
    };
    assert_eq!(weights(&packed, "packed"), weights(&plain, "plain"));

    let bytes = fs::read(&packed).unwrap();
    fs::write(&packed, &bytes[..bytes.len() / 2]).unwrap();
    let message = error(&mut eval(&packed, &["--quiet"]));
    assert!(
        message.contains("the file is damaged: its compressed data end too soon"),
        "{message}"
    );
}

#[test]
fn parquet_is_a_dataset_with_subsets() {
    let table = ok(&["data", PARQUET, "--json"]).stdout;
    let counts: serde_json::Value = serde_json::from_str(&table).unwrap();
    assert_eq!(counts["totals"], serde_json::json!([40, 30]), "{table}");
    assert_eq!(counts["classes"][3]["name"], "3");
    let tar = ok(&["data", TAR]).stdout;
    assert!(tar.contains("10"), "{tar}");
    let folder = tempfile::tempdir().unwrap();
    let samples = path(folder.path(), "samples.png");
    ok(&["data", PARQUET, "--samples", &samples]);
    assert!(image::open(&samples).is_ok());
    let files = format!("data.files={PARQUET}");
    let train = |options: &[&str]| {
        let out = path(folder.path(), "runs");
        let fixed = [
            "train",
            "models/quickstart.toml",
            "--set",
            "data.dataset=",
            "--set",
            &files,
            "--set",
            "training.epochs=1",
            "--set",
            "training.batch_size=8",
            "--runs",
            &out,
        ];
        run(&mut kiln(&[&fixed[..], options].concat()))
    };
    let ended = train(&[]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    // Where the recipe names class folders, the error names the key.
    let message = error(&mut kiln(&[
        "train",
        "models/quickstart.toml",
        "--set",
        "data.dataset=",
        "--set",
        &format!("data.folder={PARQUET}"),
    ]));
    assert!(message.contains("help: write `files = …`"), "{message}");
}

#[test]
fn cifar_and_idx_files_are_datasets() {
    let folder = tempfile::tempdir().unwrap();
    let batch = |name: &str, labels: &[u8]| {
        let images = labels.iter().flat_map(|&label| {
            let pixels = (0..3072).map(move |at| (at % 251) as u8 ^ label.wrapping_mul(20));
            std::iter::once(label).chain(pixels)
        });
        fs::write(folder.path().join(name), images.collect::<Vec<u8>>()).unwrap();
    };
    batch("data_batch_1.bin", &[0, 1, 2, 3, 4]);
    batch("data_batch_2.bin", &[5, 6, 7, 8, 9]);
    batch("test_batch.bin", &[0, 9]);
    let names = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
    fs::write(folder.path().join("batches.meta.txt"), names).unwrap();
    let table = ok(&["data", folder.path().to_str().unwrap(), "--json"]).stdout;
    let counts: serde_json::Value = serde_json::from_str(&table).unwrap();
    assert_eq!(counts["totals"], serde_json::json!([10, 2]), "{table}");
    assert_eq!(
        counts["classes"][9],
        serde_json::json!({"name": "truck", "images": [1, 1]})
    );
    let lines = ok(&["predict", &model(), &path(folder.path(), "test_batch.bin")]).stdout;
    assert_eq!(lines.lines().count(), 2, "{lines}");
    // The classes are not those of the model.
    let message = error(&mut eval(folder.path().to_str().unwrap(), &[]));
    assert!(message.contains("has the class `airplane`"), "{message}");
}

#[test]
fn damaged_and_unlabeled_files_are_one_error() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(root().join(PARQUET).join("test-00000-of-00001.parquet")).unwrap();
    let cut = path(folder.path(), "cut.parquet");
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let message = error(&mut eval(&cut, &["--quiet"]));
    assert!(message.contains("cut off or not finished"), "{message}");
    let mut changed = whole;
    for byte in &mut changed[4..12] {
        *byte ^= 0x5A;
    }
    fs::write(&cut, &changed).unwrap();
    let message = error(&mut eval(&cut, &["--quiet"]));
    assert!(message.contains("damaged"), "{message}");
    let golden = "crates/records/tests/golden";
    let message = error(&mut eval(
        &format!("{golden}/unlabeled.parquet"),
        &["--quiet"],
    ));
    assert!(message.contains("#0` has no label"), "{message}");
    let message = error(&mut eval(&format!("{golden}/texts.parquet"), &["--quiet"]));
    assert!(message.contains("expected a column of images"), "{message}");
    let message = error(&mut eval("nowhere-*.parquet", &["--quiet"]));
    assert!(message.contains("found none"), "{message}");
    // A row without an image is an image that cannot be read.
    let missing = format!("{golden}/none-1.parquet");
    let predictions = path(folder.path(), "p.csv");
    let predict = [
        "predict",
        &model(),
        &missing,
        "--quiet",
        "--predictions",
        &predictions,
    ];
    let message = error(&mut kiln(&predict));
    assert!(message.contains("no bytes of an image"), "{message}");
}

/// Evaluates the fixture in shards, each in a file of this format; returns the files.
fn shards(folder: &Path, of: u64, ending: &str) -> Vec<String> {
    let file = |number: u64| path(folder, &format!("shard-{number}.{ending}"));
    let files: Vec<String> = (1..=of).map(file).collect();
    for (number, file) in (1..).zip(&files) {
        let shard = format!("{number}/{of}");
        succeed(&mut eval(
            PARQUET,
            &["--shard", &shard, "--predictions", file],
        ));
    }
    files
}

#[test]
fn merged_shards_are_the_whole_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let whole = path(folder.path(), "whole.csv");
    let options = ["--predictions", &whole, "--json", "--top-k", "3"];
    let figures = succeed(&mut eval(PARQUET, &options)).stdout;
    let figures: serde_json::Value = serde_json::from_str(&figures).unwrap();
    let expected = fs::read(&whole).unwrap();
    for (of, ending) in [(4, "csv"), (7, "parquet"), (2, "jsonl")] {
        let files = shards(folder.path(), of, ending);
        let merged = path(folder.path(), &format!("merged-{ending}.csv"));
        let mut args = vec!["merge", "-o", &merged, "--json", "--top-k", "3"];
        // In any order.
        args.extend(files.iter().rev().map(String::as_str));
        let found = ok(&args).stdout;
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        assert_eq!(fs::read(&merged).unwrap(), expected, "{ending}");
        for figure in [
            "images",
            "accuracy",
            "loss",
            "confusion",
            "calibration",
            "mistakes",
            "top_k",
        ] {
            assert_eq!(found[figure], figures[figure], "{figure} of {ending}");
            assert!(!found[figure].is_null(), "{figure}");
        }
        // What is merged is as if it had been written in one go: nothing is left to do.
        let resumed = succeed(&mut eval(PARQUET, &["--predictions", &merged, "--resume"]));
        assert!(resumed.stderr.contains("30"), "{}", resumed.stderr);
        assert_eq!(fs::read(&merged).unwrap(), expected);
    }
    let text = ok(&["merge", "-o", &path(folder.path(), "again.parquet"), &whole]).stdout;
    assert!(text.contains("accuracy"), "{text}");
    let back = path(folder.path(), "back.csv");
    ok(&["merge", "-o", &back, &path(folder.path(), "again.parquet")]);
    assert_eq!(fs::read(&back).unwrap(), expected);
}

#[test]
fn shards_that_are_no_whole_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = shards(folder.path(), 3, "csv");
    let out = path(folder.path(), "out.csv");
    let merge = |files: &[&str]| {
        error(&mut kiln(
            &[&["merge", "--quiet", "-o", &out], files].concat(),
        ))
    };
    let [first, second, third] = [0, 1, 2].map(|at| files[at].as_str());
    let message = merge(&[first, third]);
    assert!(message.contains("a shard is missing: 2/3"), "{message}");
    assert!(
        message.contains("help: name the files of these shards too"),
        "{message}"
    );
    let message = merge(&[first, second, third, second]);
    assert!(message.contains("shard 2/3 is there twice"), "{message}");
    let other = path(folder.path(), "other.csv");
    succeed(&mut eval(TAR, &["--shard", "2/3", "--predictions", &other]));
    let message = merge(&[first, &other, third]);
    assert!(message.contains("it holds images of"), "{message}");
    let message = merge(&[first, &path(folder.path(), "nowhere.csv")]);
    assert!(message.contains("nowhere.csv.origin.json"), "{message}");
    // A line that was lost after the shard was finished.
    let text = fs::read_to_string(second).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(second, lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    let message = merge(&[first, second, third]);
    assert!(message.contains("has 9 rows, expected 10"), "{message}");
    // The next run of the same command completes it.
    succeed(&mut eval(
        PARQUET,
        &["--shard", "2/3", "--predictions", second, "--resume"],
    ));
    ok(&["merge", "-o", &out, first, second, third]);
    // A shard that never ended has nothing that says so.
    let origin = format!("{second}.origin.json");
    let mut kept: serde_json::Value = serde_json::from_slice(&fs::read(&origin).unwrap()).unwrap();
    kept.as_object_mut().unwrap().remove("finished");
    fs::write(&origin, kept.to_string()).unwrap();
    let message = merge(&[first, second, third]);
    assert!(message.contains("is not finished"), "{message}");
    assert!(
        message.contains("help: complete it with --resume"),
        "{message}"
    );
    assert!(!folder.path().join(".partial-out.csv").exists());
}

#[test]
fn predictions_as_parquet_cannot_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "p.parquet");
    succeed(&mut eval(PARQUET, &["--predictions", &file]));
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    let message = error(&mut eval(PARQUET, &["--predictions", &file, "--resume"]));
    assert!(
        message.contains("can be read once it is finished"),
        "{message}"
    );
    assert!(message.contains("help: write .csv or .jsonl"), "{message}");
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn a_process_takes_its_share_from_its_job() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| path(folder.path(), name);
    let indices = |name: &str, shard: &str, variables: &[(&str, &str)]| {
        let mut command = eval(PARQUET, &["--shard", shard, "--predictions", &file(name)]);
        succeed(command.envs(variables.iter().copied()));
        column(file(name).as_ref(), "index").join(" ")
    };
    // Row groups of five.
    let array = [
        ("SLURM_ARRAY_TASK_ID", "1"),
        ("SLURM_ARRAY_TASK_MIN", "0"),
        ("SLURM_ARRAY_TASK_MAX", "5"),
        ("SLURM_ARRAY_TASK_COUNT", "6"),
    ];
    assert_eq!(indices("a.csv", "auto", &array), "5 6 7 8 9");
    let index = [("JOB_COMPLETION_INDEX", "5")];
    assert_eq!(indices("b.csv", "auto/6", &index), "25 26 27 28 29");
    let message = error(&mut eval(PARQUET, &["--shard", "auto"]));
    assert!(message.contains("give the shard as i/n"), "{message}");
    let message = error(eval(PARQUET, &["--shard", "auto"]).envs(index));
    assert!(message.contains("write auto/n"), "{message}");
}

/// The whole of a job: GNU parallel starts four processes of one command, and what they write is merged.
#[test]
fn gnu_parallel_runs_the_shards() {
    let there = Command::new("parallel").arg("--version").output();
    if !there.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("GNU parallel")) {
        println!("skipped: GNU parallel is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let whole = path(folder.path(), "whole.csv");
    succeed(&mut eval(PARQUET, &["--predictions", &whole]));
    // The command of one process, with the place for its number.
    let one = eval(
        PARQUET,
        &["--shard", "auto/4", "--resume", "--quiet", "--predictions"],
    );
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap());
    let words = std::iter::once(one.get_program()).chain(one.get_args());
    let line: Vec<String> = words.map(quoted).collect();
    let line = format!("{} {}", line.join(" "), path(folder.path(), "out-{#}.csv"));
    let mut parallel = Command::new("parallel");
    parallel
        .args([
            "--will-cite",
            "-j2",
            "-N0",
            &line,
            ":::",
            "1",
            "2",
            "3",
            "4",
        ])
        .current_dir(root());
    for (name, value) in one.get_envs() {
        match value {
            Some(value) => parallel.env(name, value),
            None => parallel.env_remove(name),
        };
    }
    succeed(&mut parallel);
    let merged = path(folder.path(), "merged.csv");
    let files: Vec<String> = (1..=4)
        .map(|number| path(folder.path(), &format!("out-{number}.csv")))
        .collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    ok(&[&["merge", "-o", &merged], &files[..]].concat());
    assert_eq!(fs::read(&merged).unwrap(), fs::read(&whole).unwrap());
}
