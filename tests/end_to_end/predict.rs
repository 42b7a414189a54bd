//! `kiln predict`.

use std::fs;
use std::io::Write;
#[cfg(unix)]
use std::io::{BufRead, BufReader};
use std::process::Stdio;
#[cfg(unix)]
use std::time::Duration;

use crate::kiln::{error, kiln, mnist, ok, online, path, run, succeed, trained};

/// Copies a test image of each of the first classes and gives the folder.
fn digits(n: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..n {
        let copy = folder.path().join(format!("{at:03}.png"));
        fs::copy(&crate::kiln::digits("test", at)[0], copy).unwrap();
    }
    folder
}

/// Writes the first test images of MNIST as PNG files and gives the folder.
fn of_mnist(n: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let idx = fs::read(mnist().join("t10k-images-idx3-ubyte")).unwrap();
    for (at, pixels) in idx[16..].chunks_exact(28 * 28).take(n).enumerate() {
        let image = image::GrayImage::from_raw(28, 28, pixels.to_vec()).unwrap();
        image
            .save(folder.path().join(format!("{at:03}.png")))
            .unwrap();
    }
    folder
}

#[test]
#[ignore = "downloads MNIST"]
fn files_give_what_the_data_set_gives() {
    let folder = of_mnist(20);
    let model = path(trained(), "model.onnx");
    let csv = path(folder.path(), "predictions.csv");
    succeed(&mut online(&[
        "eval",
        &model,
        "--data",
        "mnist:test",
        "--predictions",
        &csv,
    ]));
    let expected: Vec<String> = fs::read_to_string(csv)
        .unwrap()
        .lines()
        .skip(1)
        .take(20)
        .map(|line| line.split(',').nth(2).unwrap().to_string())
        .collect();
    let ended = ok(&["predict", &model, folder.path().to_str().unwrap(), "--json"]);
    let mut lines: Vec<serde_json::Value> = ended
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    // What it ran on comes first.
    assert_eq!(lines.remove(0)["runtime"]["engine"], "tract");
    let found: Vec<&str> = lines
        .iter()
        .map(|line| line["label"].as_str().unwrap())
        .collect();
    assert_eq!(found, expected);
    assert!(lines[3]["image"].as_str().unwrap().ends_with("003.png"));
}

#[test]
fn an_image_may_come_from_standard_input() {
    let folder = digits(1);
    let model = path(trained(), "model.onnx");
    let mut child = kiln(&["predict", &model, "-", "--top-k", "3"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&fs::read(folder.path().join("000.png")).unwrap())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let from_stdin = String::from_utf8(output.stdout).unwrap();
    let from_file = ok(&[
        "predict",
        &model,
        &path(folder.path(), "000.png"),
        "--top-k",
        "3",
    ])
    .stdout;
    let classes = |line: &str| line.split_once(": ").unwrap().1.to_string();
    assert!(from_stdin.starts_with("-: "), "{from_stdin}");
    assert_eq!(classes(&from_stdin), classes(&from_file));
    assert_eq!(from_file.matches('%').count(), 3);
}

/// A line of standard output, which comes soon.
#[cfg(unix)]
fn next_line(lines: &std::sync::mpsc::Receiver<String>) -> String {
    lines
        .recv_timeout(Duration::from_mins(1))
        .expect("a result without waiting for more images")
}

#[cfg(unix)]
#[test]
fn a_slow_list_has_its_results_at_once_and_ctrl_c_ends_it() {
    let folder = digits(3);
    let model = path(trained(), "model.onnx");
    let image = |at: usize| path(folder.path(), &format!("{at:03}.png"));
    for more in [&[][..], &["--predictions", "-"]] {
        let args = [
            &["predict", &model, "--list", "-", "--batch-size", "1"],
            more,
        ]
        .concat();
        let mut child = kiln(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        let reading = std::thread::spawn(move || {
            stdout
                .lines()
                .try_for_each(|line| sender.send(line.unwrap()))
        });
        let mut stdin = child.stdin.take().unwrap();
        for at in 0..3 {
            writeln!(stdin, "{}", image(at)).unwrap();
            if at == 0 && !more.is_empty() {
                assert!(next_line(&lines).starts_with("index,path,"));
            }
            let line = next_line(&lines);
            assert!(line.contains(&image(at)), "{line}");
        }
        // Half a path is not taken for one, and standard input stays open.
        write!(stdin, "{}/0", folder.path().display()).unwrap();
        stdin.flush().unwrap();
        let killed = std::process::Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        let (ended, has_ended) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || ended.send(child.wait_with_output().unwrap()));
        let output = has_ended.recv_timeout(Duration::from_mins(1));
        drop(stdin);
        let output = output.expect("the first Ctrl-C ends it");
        waiting.join().unwrap().unwrap();
        assert_eq!(
            output.status.code(),
            Some(130),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        reading.join().unwrap().unwrap();
        assert!(
            lines.try_recv().is_err(),
            "a line of an image that was not there"
        );
    }
}

#[test]
fn an_image_that_is_none_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let model = path(trained(), "model.onnx");
    let text = path(folder.path(), "letter.png");
    fs::write(&text, "Dear reader, this is no picture.").unwrap();
    let message = error(&mut kiln(&["predict", &model, &text]));
    assert!(
        message.contains("letter.png") && message.contains("PNG, JPEG, BMP, WebP, TIFF"),
        "{message}"
    );
    let message = error(&mut kiln(&[
        "predict",
        &model,
        &path(folder.path(), "nothing.png"),
    ]));
    assert!(
        message.starts_with("error: cannot read `") && message.contains("nothing.png`: "),
        "{message}"
    );
    assert_eq!(message.matches("nothing.png").count(), 1, "{message}");
}

#[test]
fn a_reader_that_stops_early_is_no_error() {
    let folder = digits(2);
    let model = path(trained(), "model.onnx");
    let mut child = kiln(&["predict", &model, folder.path().to_str().unwrap()]);
    let mut child = child
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(output.status.success());
    assert_eq!(
        run(&mut kiln(&["predict", &model])).code,
        Some(2),
        "no image is wrong usage"
    );
}

/// Runs a command with this on standard input.
fn piped(args: &[&str], input: &[u8]) -> crate::kiln::Ended {
    let mut command = kiln(args);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    crate::kiln::Ended {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

#[test]
fn json_is_printed_beside_a_file_of_predictions() {
    let folder = digits(3);
    let (model, images) = (
        path(trained(), "model.onnx"),
        folder.path().to_str().unwrap().to_owned(),
    );
    let csv = path(folder.path(), "p.csv");
    let both = ok(&["predict", &model, &images, "--json", "--predictions", &csv]).stdout;
    assert_eq!(both, ok(&["predict", &model, &images, "--json"]).stdout);
    let alone = path(folder.path(), "alone.csv");
    assert_eq!(
        ok(&["predict", &model, &images, "--predictions", &alone]).stdout,
        ""
    );
    let rows = fs::read_to_string(&csv).unwrap();
    assert_eq!(
        (rows.lines().count(), &rows),
        (4, &fs::read_to_string(&alone).unwrap())
    );
    assert!(rows.starts_with("index,path,predicted,"), "{rows}");
}

#[test]
fn a_file_of_predictions_is_what_its_ending_says() {
    let folder = digits(1);
    let (model, file) = (path(trained(), "model.onnx"), path(folder.path(), "z.json"));
    let message = error(&mut kiln(&[
        "predict",
        &model,
        folder.path().to_str().unwrap(),
        "--predictions",
        &file,
    ]));
    assert!(
        message.contains("z.json") && message.contains("none of .csv, .jsonl and .parquet"),
        "{message}"
    );
    assert!(!std::path::Path::new(&file).exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    let folder = digits(1);
    let (model, file) = (path(trained(), "model.onnx"), path(folder.path(), "p.csv"));
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let message = error(&mut kiln(&[
        "predict",
        &model,
        &path(folder.path(), "000.png"),
        "--predictions",
        &file,
    ]));
    assert!(
        message.contains(&format!("cannot write {file}: ")) && message.contains("make room"),
        "{message}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_printed_are_an_error_that_says_so() {
    let folder = digits(1);
    let (model, image) = (
        path(trained(), "model.onnx"),
        path(folder.path(), "000.png"),
    );
    for args in [
        &["predict", &model, &image][..],
        &["predict", &model, &image, "--csv"],
        &["describe", &model],
    ] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = kiln(args)
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(
            message.contains("error: cannot write standard output: No space left"),
            "{args:?}: {message}"
        );
    }
}

#[test]
fn nothing_to_classify_is_said() {
    let folder = digits(2);
    let model = path(trained(), "model.onnx");
    let ended = piped(&["predict", &model, "--list", "-", "--quiet"], b"\n\n");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    assert!(
        ended
            .stderr
            .contains("there is no image in `standard input`"),
        "{}",
        ended.stderr
    );
    let images = folder.path().to_str().unwrap();
    let ended = ok(&["predict", &model, images, "--shard", "3/3"]);
    assert!(
        ended.stderr.contains("there is no image in shard 3/3 of `"),
        "{}",
        ended.stderr
    );
    let csv = path(folder.path(), "p.csv");
    for _ in 0..2 {
        // The second time every image has its line already.
        let ended = ok(&["predict", &model, images, "--predictions", &csv, "--resume"]);
        assert!(
            !ended.stderr.contains("there is no image"),
            "{}",
            ended.stderr
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_of_files_need_not_be_utf8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = digits(2);
    let model = path(trained(), "model.onnx");
    let odd = folder.path().join(OsStr::from_bytes(b"\xff.png"));
    fs::rename(folder.path().join("001.png"), &odd).unwrap();
    let whole = path(folder.path(), "000.png");
    let list = [whole.as_bytes(), b"\r\n", odd.as_os_str().as_bytes(), b"\n"].concat();
    let ended = piped(&["predict", &model, "--list", "-"], &list);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(
        lines.len() == 2 && lines[1].contains("/\u{fffd}.png: "),
        "{lines:?}"
    );
    assert!(
        ended.stderr.contains("1 path not in UTF-8"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_run_directory_stands_for_its_model() {
    let folder = digits(1);
    let image = path(folder.path(), "000.png");
    let run = trained().to_str().unwrap();
    let by_file = ok(&["predict", &path(trained(), "model.onnx"), &image]);
    assert_eq!(ok(&["predict", run, &image]).stdout, by_file.stdout);
    ok(&["verify", run, "--engine", "tract"]);
    let message = error(&mut kiln(&[
        "predict",
        folder.path().to_str().unwrap(),
        &image,
    ]));
    assert!(
        message.contains("expected a model's file or a run directory"),
        "{message}"
    );
    // Without --data, a run is evaluated on its own test images.
    let own = ok(&["eval", run, "--json", "-"]).stdout;
    let own: serde_json::Value = serde_json::from_str(&own).unwrap();
    let of_run = std::fs::read(trained().join("eval.json")).unwrap();
    let of_run: serde_json::Value = serde_json::from_slice(&of_run).unwrap();
    for key in ["data", "images", "accuracy", "confusion"] {
        assert_eq!(own[key], of_run[0][key], "{key}");
    }
    let message = error(&mut kiln(&["eval", &path(trained(), "model.onnx")]));
    assert!(message.contains("--data, which is missing"), "{message}");
}

#[test]
fn what_is_no_list_is_named_as_what_it_is() {
    let model = path(trained(), "model.onnx");
    let recipe = path(trained(), "recipe.toml");
    for (data, found) in [(&recipe, "is a TOML file"), (&model, "is an ONNX model")] {
        let message = error(&mut kiln(&["eval", &model, "--data", data]));
        assert!(
            message.contains(found) && message.contains("expected a CSV file"),
            "{message}"
        );
    }
}
