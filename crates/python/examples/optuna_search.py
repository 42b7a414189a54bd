"""Searches hyperparameters with Optuna: each trial is a `kiln run`, several processes share the study, and what falls behind is pruned.

    python optuna_search.py recipe.toml study/ --workers 2 --trials 20
    python optuna_search.py recipe.toml study/ --set data.folder=photos --set training.epochs=10

It needs kiln's program alone, not the Python package. What Optuna wants, and what goes wrong otherwise:

- Processes share the study through a journal in a file, which works on a network file system too; SQLite does not there.
- A trial has a folder of its own for its run. Intermediate values come from `metrics.jsonl` in it, which kiln replaces whole after
  each epoch.
- The value is of the validation images, as are the intermediate ones: choosing by test images would make the test figures too good.
- A pruned run gets SIGINT, and ends as by Ctrl-C: the epoch is finished off, and the run can be resumed by `kiln run --resume`.
- A worker that dies leaves a trial that seems to run for ever, since a journal has no heartbeat: the next start marks such trials as failed.
  So start a study anew only when no other process works on it.
- The number of trials is that of all workers together, with those that run.
- Give each worker its share of the cores (`--threads`), as kiln takes all otherwise.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

METRIC = "val_accuracy"
POLL = 0.05
STUDY = "kiln"


def suggest(trial: optuna.Trial) -> dict[str, object]:
    """What is searched, by the keys of `--set`."""
    return {
        "training.optimizer.learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True),
        "training.batch_size": trial.suggest_categorical("batch_size", [16, 32, 64]),
    }


def epochs(folder: pathlib.Path) -> list[dict]:
    """The epochs of the run in a folder so far."""
    return [
        line
        for path in folder.glob("*/metrics.jsonl")
        for line in map(json.loads, path.read_text().splitlines())
        if METRIC in line
    ]


def run(trial: optuna.Trial, args: argparse.Namespace) -> float:
    """Trains, reporting each epoch; returns the value of the best one."""
    folder = args.study / f"trial-{trial.number:04}"
    folder.mkdir(parents=True)
    command = [args.kiln, "--quiet", "--threads", str(args.threads), "run", args.recipe, "--runs", folder, "--json"]
    for key, value in suggest(trial).items():
        command += ["--set", f"{key}={value}"]
    for setting in args.set:
        command += ["--set", setting]
    trial.set_user_attr("process", os.getpid())
    trial.set_user_attr("folder", str(folder))
    reported = 0
    with open(folder / "result.json", "w") as result, open(folder / "errors.txt", "w") as errors:
        # A group of its own: Ctrl-C is for this process, which then stops the run.
        process = subprocess.Popen([str(part) for part in command], stdout=result, stderr=errors, start_new_session=True)
        try:
            while process.poll() is None:
                for epoch in epochs(folder)[reported:]:
                    trial.report(epoch[METRIC], epoch["epoch"])
                    reported += 1
                    if trial.should_prune():
                        raise optuna.TrialPruned(f"after epoch {epoch['epoch']}")
                time.sleep(POLL)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"kiln ended with {process.returncode}: {(folder / 'errors.txt').read_text().strip()}")
    for epoch in epochs(folder)[reported:]:
        trial.report(epoch[METRIC], epoch["epoch"])
    return json.loads((folder / "result.json").read_text())["best"][METRIC]


def work(args: argparse.Namespace, seed: int) -> None:
    """Does trials until all workers together have done as many as were asked for."""
    study = optuna.load_study(
        study_name=STUDY,
        storage=JournalStorage(JournalFileBackend(str(args.study / "journal.log"))),
        sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )
    counted = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    limit = optuna.study.MaxTrialsCallback(args.trials, states=counted)
    if len(study.get_trials(deepcopy=False, states=counted)) < args.trials:
        study.optimize(lambda trial: run(trial, args), callbacks=[limit], catch=(RuntimeError,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=pathlib.Path)
    parser.add_argument("study", type=pathlib.Path, help="folder for the study and its runs; one that is there is continued")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--trials", type=int, default=20, help="of all workers together")
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="passed on to kiln")
    parser.add_argument("--kiln", default="kiln", help="kiln's program")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()

    if args.worker is not None:
        work(args, args.worker)
        return
    args.study.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(args.study / "journal.log")))
    study = optuna.create_study(study_name=STUDY, storage=storage, direction="maximize", load_if_exists=True)
    # Trials of workers that are gone.
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    workers = [subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "--worker", str(seed)]) for seed in range(args.workers)]
    failed = [worker.wait() for worker in workers]
    if any(failed):
        sys.exit(f"workers ended with {failed}")
    best = study.best_trial
    print(f"best of {len(study.trials)}: trial {best.number}, {METRIC} {best.value}, {best.params}, {best.user_attrs['folder']}")


if __name__ == "__main__":
    main()
