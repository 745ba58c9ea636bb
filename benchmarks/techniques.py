"""Every technique of the catalogue measured through the real service: server, search, a worker, a study for each.

    python -m benchmarks.techniques [--only optimizers/adam ...] [--render]

The record of the run goes to `techniques.json`, the page made of it to docs/techniques.md. `--only` measures some rows anew and keeps
the figures of the others, `--render` only writes the page. About fifteen minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import technique_files
from benchmarks.machine import Service, describe, running_service
from benchmarks.technique_page import PAGE, RECORD, read_record, render
from benchmarks.technique_studies import SEED, Plan, plans
from tuner.client import Client
from tuner.handles import StudyHandle

Key = tuple[str, str]


def main(arguments: list[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="KIND/NAME", help="measure these rows only")
    parser.add_argument("--render", action="store_true", help="write the page from the last measurement")
    options = parser.parse_args(arguments)
    if not options.render:
        record = measure(options.only)
        if options.only:
            record = {"head": record["head"], "rows": read_record()["rows"] | record["rows"]}
        RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    page = render(read_record())
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page)
    return f"{PAGE} is written"


def measure(only: Collection[str] | None) -> dict[str, Any]:
    """Run a study for each row, or for those named; the record of all."""
    import torch

    rows: dict[str, Any] = {}
    with running_service() as service:
        data = service.folder / "data"
        technique_files.write(data)
        with running_worker(service, data), Client(service.server, service.key) as client:
            wanted = {key: plan for key, plan in plans(data).items() if not only or "/".join(key) in only}
            submitted = {key: submit(client, key, plan) for key, plan in wanted.items()}
            for key, (plan, study) in submitted.items():
                study.wait(timeout=3600)
                rows["/".join(key)] = result(plan, study)
                print("/".join(key), rows["/".join(key)], flush=True)
    head = {"machine": describe().partition(", ")[2], "device": "cpu", "torch": torch.__version__, "seed": SEED}
    return {"head": head, "rows": rows}


def submit(client: Client, key: Key, plan: Plan) -> tuple[Plan, StudyHandle]:
    """The study, its first trial the one with the defaults."""
    study = client.create_study(plan.spec("-".join(key)))
    study.enqueue(plan.defaults)
    return plan, study


def result(plan: Plan, study: StudyHandle) -> dict[str, Any]:
    """The best value, that of the defaults, and how the trials ended."""
    trials = list(study.trials())
    complete = [(trial.values[plan.metric], trial) for trial in trials if trial.state == "COMPLETE" and trial.values]
    value, best = max(complete, key=lambda pair: (pair[0], -pair[1].number), default=(None, None))
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "metric": plan.metric,
        "dataset": plan.trainer["dataset"]["name"],
        "note": plan.note,
        "trials": plan.trials,
        "best": value,
        "default": next((found for found, trial in complete if trial.origin == "enqueued"), None),
        "params": {} if best is None else best.params,
        "seconds": round(sum(trial.duration or 0.0 for trial in trials) / len(trials), 1),
        "states": Counter(
            str(trial.state) if trial.state == "COMPLETE" else str(trial.reason or trial.state) for trial in trials
        ),
        "errors": sorted({trial.error for trial in trials if trial.error}),
    }


@contextmanager
def running_worker(service: Service, data: Path) -> Iterator[None]:
    """A worker with a slot for each core, which reads files below `data`."""
    environment = {**os.environ, "TUNER_SERVER": service.server, "TUNER_KEY": service.key, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tuner.cli.main", "worker", "--gpus", "none", "--slots", str(os.cpu_count())]
    command += ["--data-root", str(data)]
    with (service.folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


if __name__ == "__main__":
    print(main())
