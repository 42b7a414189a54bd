//! Ctrl-C while a trained model is checked: the run can be resumed, and nothing waits for long.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::kiln::{kiln, ok, path};

/// A network that takes tract a good part of a second for an image, and hardly any training.
const RECIPE: &str = r#"
network = "resnet50"
input = { height = 224, width = 224, channels = "rgb" }
data = { folder = "tests/fixtures/digits", limit = 12 }
training = { epochs = 1, batch_size = 16, freeze = ["conv1", "bn1", "layer*"] }
"#;

/// Starts a command, interrupts it so long after it says something, and returns what it says from there on and how long
/// it took to end.
fn interrupted(args: &[&str], said: &str, later: Duration) -> (Vec<String>, Duration) {
    let mut child = kiln(args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(
        lines.any(|line| line.contains(said)),
        "{said} was never said"
    );
    std::thread::sleep(later);
    let start = Instant::now();
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    let rest: Vec<String> = lines.collect();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{rest:?}");
    (rest, start.elapsed())
}

#[test]
fn checking_a_trained_model_can_be_interrupted_at_any_point() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = path(folder.path(), "slow.toml");
    fs::write(&recipe, RECIPE).unwrap();
    let runs = path(folder.path(), "runs");
    ok(&["train", &recipe, "--runs", &runs, "--quiet"]);
    let run = path(runs.as_ref(), "slow");
    let resume = ["run", "--resume", &run];
    let wait = Duration::from_millis;
    // Golden vectors, loading, the gate, the test images.
    for (said, later) in [
        ("Resuming", wait(300)),
        ("Exported", wait(50)),
        ("Exported", wait(2000)),
        ("Verified", wait(500)),
    ] {
        let (rest, took) = interrupted(&resume, said, later);
        assert!(
            rest.last().is_some_and(|line| line.contains("Stopped")
                && line.contains("`kiln run --resume")),
            "{said}: {rest:?}"
        );
        // A run of the network, on a machine that has other work.
        assert!(took < Duration::from_secs(10), "{said}: {took:?}");
    }
}
