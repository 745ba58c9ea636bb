"""A program that a worker runs for `command.yaml`: its own training loop, which knows nothing of tuner but a few variables and two files.

It writes JSON lines to TUNER_REPORT_FILE; a verdict other than "continue" stands in TUNER_VERDICT_FILE, which is not there before.
All of it is in docs/command.md.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

STEPS = 20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--kind", choices=["linear", "quadratic"], required=True)
    arguments = parser.parse_args()

    loss = weight = 1.0
    if "TUNER_RESUME_PATH" in os.environ:
        weight = json.loads(Path(os.environ["TUNER_RESUME_PATH"], "state.json").read_text())["weight"]
    for step in range(int(os.environ["TUNER_START_STEP"]), STEPS):
        gradient = 2 * weight if arguments.kind == "quadratic" else 1.0
        weight -= arguments.lr * gradient
        loss = weight * weight if arguments.kind == "quadratic" else abs(weight)
        say({"report": {"step": step, "values": {"loss": loss}}})
        if Path(os.environ["TUNER_VERDICT_FILE"]).exists():  # prune, pause or stop: save and end
            save(step, weight)
            return
    say({"user_attrs": {"weight": weight}})
    say({"tell": {"loss": loss}})


def say(message: dict[str, object]) -> None:
    with open(os.environ["TUNER_REPORT_FILE"], "w") as file:
        file.write(json.dumps(message) + "\n")


def save(step: int, weight: float) -> None:
    folder = Path(os.environ["TUNER_SCRATCH"], f"checkpoint-{step}")
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"weight": weight}))
    say({"checkpoint": {"step": step, "path": str(folder)}})


if __name__ == "__main__":
    main()
