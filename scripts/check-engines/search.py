"""search.py KILN WORK: runs the example for Optuna with two processes, and compares the study with what the runs' own files say."""

import csv
import json
import pathlib
import subprocess
import sys

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRIALS = 14

EPOCHS = 5
SETTINGS = ["data.dataset=", f"data.folder={ROOT / 'tests/fixtures/digits'}", f"training.epochs={EPOCHS}"]


def main() -> None:
    kiln, work = sys.argv[1], pathlib.Path(sys.argv[2])
    study_folder = work / "study"
    example = ROOT / "crates/python/examples/optuna_search.py"
    command = [sys.executable, example, ROOT / "models/quickstart.toml", study_folder, "--workers", "2", "--trials", TRIALS, "--kiln", kiln]
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    done = subprocess.run([str(part) for part in command + settings], capture_output=True, text=True, timeout=1200)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}")
    told = done.stdout.strip().splitlines()[-1]

    storage = JournalStorage(JournalFileBackend(str(study_folder / "journal.log")))
    study = optuna.load_study(study_name="kiln", storage=storage)
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    pruned = study.get_trials(states=(TrialState.PRUNED,))
    # Two workers may begin the last one together.
    assert TRIALS <= len(study.trials) <= TRIALS + 1 and len(complete) + len(pruned) == len(study.trials), study.trials
    assert pruned, "none was pruned"
    assert len({trial.user_attrs["process"] for trial in study.trials}) == 2, "one process alone took part"
    for trial in complete:
        (run,) = [path.parent for path in pathlib.Path(trial.user_attrs["folder"]).glob("*/history.csv")]
        with open(run / "history.csv") as file:
            history = {int(row["epoch"]): row for row in csv.DictReader(file)}
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        measured = {line["epoch"]: line["val_accuracy"] for line in lines if "val_accuracy" in line}
        assert trial.intermediate_values == measured and len(measured) == len(history) == EPOCHS, (trial, measured)
        best = min(history.values(), key=lambda row: float(row["val_loss"]))
        assert trial.value == float(best["val_accuracy"]), (trial, best)
        assert (run / "eval.json").exists(), run
    for trial in pruned:
        folder = pathlib.Path(trial.user_attrs["folder"])
        assert not list(folder.glob("*/eval.json")), "a pruned run goes on"
        assert 0 < len(trial.intermediate_values) < EPOCHS and not (folder / "errors.txt").read_text(), trial
    assert told.startswith(f"best of {len(study.trials)}: trial {study.best_trial.number}, "), told
    print(f"optuna_search.py: {len(complete)} complete, {len(pruned)} pruned, by two processes; each value is that of its run; {told}")


main()
