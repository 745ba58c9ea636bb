"""What to try next, as `tuner study show` and `tuner study best` print it below a study's facts."""

from __future__ import annotations

import sys

from tuner.cli.output import make_visible
from tuner.client import Client


def print_advice(client: Client, study: str | int) -> None:
    """How sure the best configuration is, and one sentence a line of what the trials say; nothing where they say nothing."""
    found = client.advice(study)
    if found.best is not None:
        sys.stdout.write(make_visible(found.best.sentence) + "\n")
    if found.items:
        sys.stdout.write("\nTo try next:\n")
        sys.stdout.writelines(f"- {make_visible(item.sentence)}\n" for item in found.items)
