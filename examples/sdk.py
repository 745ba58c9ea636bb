"""Ask, report and tell from a loop of one's own: start `tuner up` in this folder, then `python examples/sdk.py`."""

from __future__ import annotations

import math
import sys

from tuner.client import Client

SPEC = {
    "name": "own-loop",
    "objectives": [{"name": "loss", "direction": "minimize"}],
    "space": {
        "lr": {"type": "float", "low": 1e-3, "high": 1.0, "log": True},
        "decay": {"type": "float", "low": 0.0, "high": 0.5},
    },
    "sampler": {"name": "tpe", "seed": 11},
    "pruner": {"name": "median", "n_startup_trials": 5},
    "trial": {"executor": "external"},
    "limits": {"max_trials": 30},
}


def main() -> None:
    with Client() as client:
        study = client.create_study(SPEC)
        for trial in client.asks(study):
            weight = 1.0
            for step in range(15):
                weight -= trial.params["lr"] * math.exp(-trial.params["decay"] * step) * 2 * weight
                if trial.report(step, {"loss": weight * weight}) != "continue":
                    break
            trial.tell({"loss": weight * weight})  # after a verdict such as prune, the trial ends as that demands
        best = study.best_trial
        sys.stdout.write(f"best: {best.values} with {best.params}\n")


if __name__ == "__main__":
    main()
