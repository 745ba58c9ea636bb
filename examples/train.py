"""A program that a worker runs for `command.yaml`. It knows nothing of tuner but two file descriptors and needs no library.

It writes JSON lines to TUNER_REPORT_FD; a verdict other than "continue" comes as a line on TUNER_VERDICT_FD.
"""

from __future__ import annotations

import argparse
import json
import os
import select

STEPS = 20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--kind", choices=["linear", "quadratic"], required=True)
    arguments = parser.parse_args()

    verdicts = int(os.environ["TUNER_VERDICT_FD"])
    loss = weight = 1.0
    for step in range(int(os.environ.get("TUNER_START_STEP", "0")), STEPS):
        gradient = 2 * weight if arguments.kind == "quadratic" else 1.0
        weight -= arguments.lr * gradient
        loss = weight * weight if arguments.kind == "quadratic" else abs(weight)
        write({"report": {"step": step, "values": {"loss": loss}}})
        if select.select([verdicts], [], [], 0)[0]:
            return  # prune, pause or stop: end early
    write({"tell": {"loss": loss}})


def write(message: dict[str, object]) -> None:
    os.write(int(os.environ["TUNER_REPORT_FD"]), (json.dumps(message) + "\n").encode())


if __name__ == "__main__":
    main()
