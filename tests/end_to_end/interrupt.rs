//! Ctrl-C while a trained model is checked: the run can be resumed, and nothing waits for long.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::kiln::{kiln, ok, path};

/// A network that takes tract a good part of a second for an image, and hardly any training.
const RECIPE: &str = r#"
network = "resnet50"
input = { height = 224, width = 224, channels = "rgb" }
data = { folder = "tests/fixtures/digits", limit = 12 }
training = { epochs = 1, batch_size = 16, freeze = ["conv1", "bn1", "layer*"] }
"#;

/// CPU time of a process so far, of all its threads; none once it has ended.
fn cpu_time(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?;
    (fields[0] != "Z").then(|| Duration::from_millis(10 * ticks))
}

/// Starts a command, interrupts it so long after it says something, and returns what it says last and how much CPU time
/// it took from there on: the machine may have other work.
fn interrupted(args: &[&str], said: &str, later: Duration) -> (String, Duration) {
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
    let before = cpu_time(child.id()).expect("it is at work");
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    let mut after = before;
    // What it still says fits into the pipe.
    while let Some(now) = cpu_time(child.id()) {
        after = now;
        std::thread::sleep(Duration::from_millis(5));
    }
    let last = lines.last().unwrap_or_default();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{last}");
    (last, after.checked_sub(before).unwrap_or_default())
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
        ("Trained", wait(500)),
        ("Exported", wait(50)),
        ("Exported", wait(2000)),
        ("Verified", wait(500)),
    ] {
        let (last, took) = interrupted(&resume, said, later);
        assert!(
            last.contains("Stopped") && last.contains("`kiln run --resume"),
            "{said}: {last}"
        );
        // A run or two of the network on each of two threads.
        assert!(took < Duration::from_secs(6), "{said}: {took:?}");
    }
}
