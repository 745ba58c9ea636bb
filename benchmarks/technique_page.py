"""The page of techniques, docs/techniques.md: what the catalogue says of each, and what its study measured.

Made of the catalogue as it is and of the last measurement's record, `techniques.json` beside this file: a change of the catalogue
needs no new measurement, and no figure is typed by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.technique_studies import OPTIMIZER_TRIALS, OTHER_TRIALS
from tuner import catalog
from tuner.catalog import Entry, Hyperparameter

RECORD = Path(__file__).with_name("techniques.json")
PAGE = Path(__file__).parent.parent / "docs" / "techniques.md"
Record = Mapping[str, Any]

TITLES = {
    "optimizers": "Optimizers",
    "schedules": "Learning-rate schedules",
    "initializers": "Initializers",
    "regularizers": "Regularizers",
    "losses": "Losses",
    "models": "Models",
    "augmentations": "Augmentations",
    "datasets": "Data sets",
}
INTRODUCTIONS = {
    "optimizers": "An MLP with 32 hidden units on digits. Those of the second order that say so in their first sentence take the whole "
    "training set in each step and leave batch_size aside; weight decay spares biases and norms unless decay_biases_and_norms.",
    "schedules": "The same MLP, Adam with its rate varied. `warmup` stands in front of any of them.",
    "initializers": "The same, with the activation named in the row.",
    "regularizers": "The same, with the strengths varied too. Dropout and normalization stand with the model, weight decay with the "
    "optimizer, label smoothing with the loss, clipping and early stopping with the trainer.",
    "losses": "The same MLP; on other data where the loss is not one for ten classes.",
    "models": "At a small size, Adam with its rate varied; on data made for the task where the model takes no images.",
    "augmentations": "A small convolutional network on digits.",
    "datasets": "Each with a small model of its kind. Where a file decides, `path` is as the worker sees it.",
}


def read_record() -> Record:
    found: Record = json.loads(RECORD.read_text())
    return found


def render(record: Record) -> str:
    """The whole page as Markdown."""
    return "\n".join([*_head(record), *(line for kind in TITLES for line in _section(kind, record)), *_rest()]) + "\n"


def _head(record: Record) -> Iterator[str]:
    head, rows = record["head"], record["rows"].values()
    dates = sorted({result["date"] for result in rows})
    trials = sum(result["trials"] for result in rows)
    yield "# Techniques"
    yield (
        "What a study of the trainer can choose or vary, made of the catalogue that the server validates with (`GET /v1/catalog` is the "
        "same as JSON). `make techniques` measures every row through a running service and writes this page; "
        "`python -m benchmarks.techniques --render` writes it anew from the last measurement when the catalogue has changed."
    )
    yield ""
    yield (
        f"Measured on {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}: {head['machine']}; device {head['device']}, torch "
        f"{head['torch']}; {trials} trials in {len(rows)} studies, {OPTIMIZER_TRIALS} for most optimizers and {OTHER_TRIALS} for other rows; "
        f"sampler qmc, every seed {head['seed']}; the first trial of each study has the defaults."
    )
    yield ""
    yield (
        "The last column is the best of the trials' final values of the metric on the validation set (20 % of the data, on which the "
        "best was chosen too: compare rows, do not quote them as test results), the value with the defaults, the parameters of the best, "
        "and how the trials ended. 20 epochs at batch size 32 unless the row says otherwise. A hyperparameter is listed as "
        "`name = default`: what it may be."
    )


def _section(kind: str, record: Record) -> Iterator[str]:
    yield ""
    yield f"## {TITLES[kind]}"
    yield INTRODUCTIONS[kind]
    yield ""
    yield f"`{_section_of(kind)}: {{name: ...}}`"
    yield ""
    yield "| name | what it does | when to use it | hyperparameters | source | measured |"
    yield "|---|---|---|---|---|---|"
    for entry in catalog.entries(kind):
        columns = [f"`{entry.name}`", entry.summary, entry.when_to_use, hyperparameters(entry), entry.source]
        yield row([*columns, measured(record["rows"].get(f"{kind}/{entry.name}"))])


def _rest() -> Iterator[str]:
    """The plain fields and the metrics, which are not measured by themselves."""
    yield ""
    yield "## Fields of the trainer"
    yield "Beside the components: `trainer: {epochs: 20, batch_size: 32, ...}`."
    yield ""
    yield "| field | what it is |"
    yield "|---|---|"
    for h in catalog.get("trainer", "trainer").hyperparameters:
        yield row([_stated(h), f"{h.allowed()}; {h.summary}"])
    yield ""
    yield "## Metrics"
    yield "What the trainer reports each epoch; a study's objectives are among them."
    yield ""
    yield "| name | what it is | better | reported for | source |"
    yield "|---|---|---|---|---|"
    for entry in catalog.entries("metrics"):
        better = "higher" if entry.facts.direction == "maximize" else "lower"
        yield row([f"`{entry.name}`", entry.summary, better, ", ".join(entry.facts.tasks), entry.source])


def hyperparameters(entry: Entry[Any]) -> str:
    """The cell of an entry's hyperparameters: default and legal values of each, in the words of the error messages."""
    return "<br>".join(f"{_stated(h)}: {h.allowed()}" for h in entry.hyperparameters) or "none"


def _stated(h: Hyperparameter) -> str:
    return f"`{h.name}`, required" if h.required else f"`{h.name} = {json.dumps(h.default)}`"


def measured(result: Record | None) -> str:
    """The cell of a row's figures, or why there are none."""
    if result is None:
        return "not measured yet"
    note = f" on {result['note']}" if result["dataset"] != "digits" else f" ({result['note']})" if result["note"] else ""
    ends = f"{result['states'].get('COMPLETE', 0)} of {result['trials']} complete"
    failures = [f"{count} {end}" for end, count in sorted(result["states"].items()) if end != "COMPLETE"]
    if result["best"] is None:
        return "; ".join([f"{result['metric']}: none{note}", ends, *failures])
    default = "none" if result["default"] is None else f"{result['default']:.3f}"
    params = ", ".join(f"{path.removeprefix('optimizer.')} {value:.2g}" for path, value in result["params"].items())
    found = f"{result['metric']} **{result['best']:.3f}**{note}, default {default}"
    return "; ".join([found, f"best at {params}", ends, *failures])


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _section_of(kind: str) -> str:
    return next(section for section, found in catalog.SECTIONS.items() if found == kind)
