"""Compares the figures that TensorBoard reads of runs with their history.csv, eval.json and recipe, and metrics.jsonl with all of them.

usage: check.py FOLDER RUN...
"""

import csv
import json
import pathlib
import re
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

# Tags, with the columns of history.csv and the keys of metrics.jsonl that have the same figures.
COLUMNS = {
    "train/loss": ("train_loss", "loss"),
    "train/accuracy": ("train_accuracy", "accuracy"),
    "validation/loss": ("val_loss", "val_loss"),
    "validation/accuracy": ("val_accuracy", "val_accuracy"),
    "validation/macro_f1": ("val_macro_f1", "val_macro_f1"),
    "optimizer/learning_rate": ("learning_rate", "learning_rate"),
    "time/seconds": ("seconds", "seconds"),
    "time/images_per_second": ("images_per_second", "images_per_second"),
}
TEST = {"test/loss": "test_loss", "test/accuracy": "test_accuracy", "test/macro_f1": "test_macro_f1"}


def read(run):
    """Returns what a run's own files say: scalars by tag, as pairs of step and value."""
    with open(run / "history.csv", newline="") as file:
        history = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    epochs, test = lines[:-1], lines[-1]
    assert [line["epoch"] for line in epochs] == [int(row["epoch"]) for row in history] == list(range(1, len(history) + 1))
    assert all(a["step"] < b["step"] and a["phase"] <= b["phase"] for a, b in zip(epochs, epochs[1:]))
    expected = {"phase": [(line["epoch"], line["phase"]) for line in epochs]}
    for tag, (column, key) in COLUMNS.items():
        expected[tag] = [(int(row["epoch"]), float(row[column])) for row in history]
        assert expected[tag] == [(line["epoch"], line[key]) for line in epochs], f"{column} and {key} differ"
    evaluation = json.loads((run / "eval.json").read_text())[0]
    figures = {"test_loss": evaluation["loss"], "test_accuracy": evaluation["accuracy"]}
    figures["test_macro_f1"] = evaluation["macro_average"]["f1"]
    assert figures == {key: test[key] for key in figures} and test["test_images"] == evaluation["images"]
    best = min(history, key=lambda row: float(row["val_loss"]))
    assert test["epoch"] == int(best["epoch"])
    expected |= {tag: [(test["epoch"], figures[key])] for tag, key in TEST.items()}
    return expected


def compare(expected, found, reader):
    """Values are f32 in event files."""
    assert set(found) == set(expected), f"{reader}: {set(found) ^ set(expected)}"
    for tag, pairs in expected.items():
        pairs = [(step, float(np.float32(value))) for step, value in pairs]
        assert found[tag] == pairs, f"{reader}: {tag}: {found[tag]}, expected {pairs}"
    return sum(map(len, found.values()))


def check_file(run):
    expected = read(run)
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    tags = events.Tags()
    found = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags["scalars"]}
    count = compare(expected, found, run.name)
    times = [event.wall_time for event in events.Scalars("train/loss")]
    assert all(a < b for a, b in zip(times, times[1:])), times
    recipe = events.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0].decode()
    assert [line[4:] for line in recipe.splitlines()] == (run / "recipe.toml").read_text().splitlines()
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    hparams = metadata.parse_session_start_info_plugin_data(content).hparams
    settings = tomllib.loads((run / "recipe.toml").read_text())
    assert hparams["training.batch_size"].number_value == settings["training"]["batch_size"]
    assert hparams["data.folder"].string_value == settings["data"]["folder"]
    assert hparams["export.softmax"].bool_value == settings["export"]["softmax"]
    print(f"{run.name}: {count} values, recipe and {len(hparams)} hyperparameters are those of the run")
    return expected


def check_server(folder, expected):
    """Asks the server, which has a reader of its own."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--port", "0", "--host", "127.0.0.1"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        address = next(match[0] for line in server.stderr if (match := re.search(r"http://[\d.]+:\d+/", line)))

        def ask(path, data=None, **query):
            url = f"{address}data/plugin/{path}?{urllib.parse.urlencode(query)}"
            body = None if data is None else json.dumps(data).encode()
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            return json.load(urllib.request.urlopen(request))

        for _ in range(100):
            tags = ask("scalars/tags")
            if all("test/loss" in tags.get(run, {}) for run in expected):
                break
            time.sleep(0.2)
        assert set(tags) == set(expected), tags
        for run, scalars in expected.items():
            found = {tag: ask("scalars/scalars", run=run, tag=tag) for tag in tags[run]}
            found = {tag: [(step, value) for _, step, value in values] for tag, values in found.items()}
            compare(scalars, found, f"server, {run}")
            assert ask("text/tags")[run] == ["recipe/text_summary"]
            texts = ask("text/text", run=run, tag="recipe/text_summary")
            assert "learning_rate = 0.001" in texts[0]["text"], texts
        # The table of hyperparameters.
        statuses = [f"STATUS_{status}" for status in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]
        request = {"experimentName": "", "allowedStatuses": statuses, "colParams": [], "startIndex": 0, "sliceSize": 10}
        groups = ask("hparams/session_groups", request)
        names = {session["name"] for group in groups["sessionGroups"] for session in group["sessions"]}
        assert names == set(expected), groups
        print(f"server: the same values, texts and hyperparameters of {', '.join(expected)}")
    finally:
        server.terminate()
        server.wait()


def main():
    folder = pathlib.Path(sys.argv[1])
    check_server(folder, {run: check_file(folder / run) for run in sys.argv[2:]})


main()
