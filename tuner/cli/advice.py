"""What to try next, as `tuner study show` and `tuner study best` print it below a study's facts."""

from __future__ import annotations

import sys

from tuner.cli.output import make_visible, print_facts, show
from tuner.client import Client
from tuner.results import AdviceList, BestConfiguration, Likely


def print_advice(client: Client, study: str | int) -> None:
    """How sure the best configuration is, and one sentence a line of what the trials say; nothing where they say nothing."""
    found: AdviceList = client.advice(study)
    if found.best is not None and found.best.num_as_good > 1:
        print_facts(_describe(found.best))
    if found.items:
        sys.stdout.write("\nTo try next:\n")
        sys.stdout.writelines(f"- {make_visible(item.sentence)}\n" for item in found.items)


def _describe(best: BestConfiguration) -> dict[str, object]:
    facts: dict[str, object] = {
        "as good": f"{best.num_as_good} trials within {show(best.within)} of the best, with "
        + ", ".join(f"{name} {_range(likely)}" for name, likely in best.likely.items())
    }
    if best.repeated is not None:
        low, high = show(best.repeated.low), show(best.repeated.high)
        facts["repeated"] = f"{best.num_repeats} times, mean {show(best.repeated.value)} with 95 % interval {low} to {high}"
    return facts


def _range(likely: Likely) -> str:
    if likely.choices is not None:
        return " or ".join(show(choice) for choice in likely.choices)
    return show(likely.low) if likely.low == likely.high else f"{show(likely.low)} to {show(likely.high)}"
