"""A repetition held against its trial: what differs, by how much it may, and what a difference likely comes from.

On CPUs every value and the weights must be equal bit for bit. On a GPU they must only where the trial ran in deterministic mode; else the
loss curves must agree within GPU_TOLERANCE and the weights, which drift apart from the last bit on, are not compared. A cause is likely,
never proven: it is a difference between the records, in the order in which such differences usually matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tuner import catalog
from tuner.catalog.datasets import files
from tuner.wire import Attempt, ReportItem, Tell, Trial, TrialState
from workers.rerun import OF_THE_TRIAL, Repetition

GPU_TOLERANCE = 1e-3
"""Relative difference that losses may have on a GPU outside deterministic mode."""
_LOSS = "loss"
_NOT_CAUSES = ("format", "attempt", "resumed_from", "weights")
_PATHS = {f"config.dataset.{field}" for entry in catalog.entries("datasets") for field in files(entry)}
"""Where the data lies on a host says nothing about it; its digest does."""
_CAUSES = {
    "data": "other data",
    "config": "another configuration",
    "params": "other parameters",
    "seed": "another seed",
    "study": "another study file",
    "code": "other code",
    "versions.torch": "another version of torch",
    "versions.tuner": "another version of tuner",
    "device.kind": "another kind of device",
    "device.name": "another device",
    "device.capability": "another capability of the device",
    "threads": "another number of threads",
    "precision": "another precision",
    "matmul_precision": "another precision of matrix products",
    "deterministic": "another mode of determinism",
    "versions.platform": "another platform",
    "versions": "another version",
}
"""What a difference between two records is called, the likeliest cause of different results first."""


@dataclass(frozen=True, kw_only=True)
class RecordDifference:
    """A key, with dots, that two records both have and not alike."""

    key: str
    recorded: Any
    now: Any

    @property
    def rank(self) -> int:
        return list(_CAUSES).index(self._cause) if self._cause in _CAUSES else len(_CAUSES)

    @property
    def _cause(self) -> str:
        return max((name for name in _CAUSES if f"{self.key}.".startswith(f"{name}.")), key=len, default=self.key)

    def __str__(self) -> str:
        name = _CAUSES.get(self._cause, "another entry of the record")
        rest = self.key.removeprefix(self._cause).removeprefix(".") or (self.key if self._cause not in _CAUSES else "")
        return f"{name}{f' ({rest})' if rest else ''}: {_shorten(self.recorded)} then, {_shorten(self.now)} now"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """`differences` and `causes` are for people to read; equal where there is no difference."""

    tolerance: float | None
    num_steps: int
    weights: str
    differences: tuple[str, ...]
    records: tuple[RecordDifference, ...]
    causes: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        return not self.differences

    @property
    def standard(self) -> str:
        """By what the values were compared."""
        return "bit for bit" if self.tolerance is None else f"losses within {self.tolerance:g} relative, on a GPU"


class Verifier:
    """Compares a repetition with what the server knows of the trial; `ignore` are patterns of names that are not compared."""

    def __init__(
        self, trial: Trial, reports: Sequence[ReportItem], attempts: Sequence[Attempt], *, ignore: Iterable[str] = ()
    ) -> None:
        self._trial = trial
        self._reports = {report.step: report.values for report in reports}
        self._attempts = attempts
        self._ignore = tuple(ignore)

    @property
    def record(self) -> dict[str, Any] | None:
        """What the last attempt that could say anything has recorded."""
        return next((attempt.record for attempt in reversed(self._attempts) if attempt.record is not None), None)

    def differing(self, step: int, values: Mapping[str, float], tolerance: float | None) -> dict[str, float]:
        """The trial's values at a step of which the repetition has others or none. What it has besides, a later version's say, is no difference."""
        recorded = self._reports.get(step, {})
        return {
            name: recorded[name]
            for name in self._judged(recorded, tolerance)
            if not _agree(recorded[name], values.get(name), tolerance)
        }

    def tolerance(self, device: str) -> float | None:
        """By how much losses may differ when the trial is repeated on `device`, a kind; None: not at all."""
        records = [attempt.record for attempt in self._attempts if attempt.record is not None]
        kinds = {device, *(_look(record, "device", "kind") for record in records)} - {None}
        is_exact = kinds <= {"cpu"} or (len(kinds) == 1 and all(record.get("deterministic") is True for record in records))
        return None if is_exact else GPU_TOLERANCE

    def verify(self, repetition: Repetition, device: str) -> Verification:
        tolerance = self.tolerance(device)
        weights, weights_differ = self._compare_weights(repetition.tell, tolerance)
        differences = [
            *self._report_differences(repetition.reports, tolerance),
            *self._outcome_differences(repetition, tolerance),
            *weights_differ,
        ]
        now = repetition.tell.record or {}
        records = self._record_differences(now)
        return Verification(
            tolerance=tolerance,
            num_steps=len(self._reports.keys() & repetition.reports.keys()),
            weights=weights,
            differences=tuple(differences),
            records=tuple(records),
            causes=tuple(self._causes(records, now)) if differences else (),
        )

    def _report_differences(self, reports: Mapping[int, Mapping[str, float]], tolerance: float | None) -> Iterator[str]:
        found = {step: names for step in sorted(reports) if (names := self.differing(step, reports[step], tolerance))}
        if found:
            step, names = next(iter(found.items()))
            shown = "; ".join(f"{name} {reports[step].get(name)!r}, was {was!r}" for name, was in sorted(names.items()))
            count = f" and in {len(found) - 1} later steps" if len(found) > 1 else ""
            yield f"the reports differ in step {step} ({shown}){count}"
        missing = sorted(self._reports.keys() - reports.keys())
        if missing:
            yield f"step {missing[0]} was not reported again" + (f", nor {len(missing) - 1} others" if len(missing) > 1 else "")
        more = sorted(reports.keys() - self._reports.keys())
        if more:
            yield f"step {more[0]} was reported, which the trial had not" + (
                f", and {len(more) - 1} others" if len(more) > 1 else ""
            )

    def _outcome_differences(self, repetition: Repetition, tolerance: float | None) -> Iterator[str]:
        trial, tell = self._trial, repetition.tell
        failed = trial.state == TrialState.FAIL and trial.reason in OF_THE_TRIAL
        expected = "COMPLETE" if trial.state == TrialState.COMPLETE else f"FAIL ({trial.reason})" if failed else None
        ended = tell.state + (f" ({tell.reason})" if tell.state == "FAIL" else "")
        if expected is None:
            # It was ended from outside, and so was its repetition: only a failure is news.
            if tell.state == "FAIL":
                yield f"it ended {ended}, the trial was {trial.state.value} ({trial.reason})"
        elif ended != expected:
            yield f"it ended {ended}, the trial was {expected}"
        elif trial.state == TrialState.COMPLETE:
            values, now = trial.values or {}, tell.values or {}
            for name in self._judged(values.keys() & now.keys(), tolerance):
                if not _agree(values[name], now[name], tolerance):
                    yield f"the final {name} is {now[name]!r}, was {values[name]!r}"

    def _compare_weights(self, tell: Tell, tolerance: float | None) -> tuple[str, list[str]]:
        """What became of comparing the weights, and the difference if there is one."""
        recorded, now = (self.record or {}).get("weights"), (tell.record or {}).get("weights")
        if recorded is None or now is None:
            return "the weights are not recorded", []
        if tolerance is not None:
            return "the weights are not compared", []
        if recorded == now:
            return "the weights are equal", []
        steps = [_look({"weights": weights}, "weights", "step") for weights in (recorded, now)]
        if steps[0] != steps[1]:
            return f"the weights are not compared: they were recorded after step {steps[0]}, and now after {steps[1]}", []
        digests = [weights["sha256"] if isinstance(weights, Mapping) else weights for weights in (recorded, now)]
        return "the weights differ", [f"the weights differ (SHA-256 {_shorten(digests[1])}, was {_shorten(digests[0])})"]

    def _record_differences(self, now: Mapping[str, Any]) -> list[RecordDifference]:
        """Of all attempts, for each has done a part of the trial; the likeliest cause first."""
        found: dict[str, RecordDifference] = {}
        after = dict(_flatten(now))
        for attempt in self._attempts:
            for key, recorded in _flatten(attempt.record or {}):
                if key.partition(".")[0] in _NOT_CAUSES or key in _PATHS or key not in after:
                    continue
                if after[key] != recorded:
                    found[key] = RecordDifference(key=key, recorded=recorded, now=after[key])
        return sorted(found.values(), key=lambda difference: difference.rank)

    def _causes(self, records: Sequence[RecordDifference], now: Mapping[str, Any]) -> Iterator[str]:
        yield from map(str, records)
        # Modes that let a trial differ from itself, the same then and now.
        modes = [now, *(attempt.record for attempt in self._attempts if attempt.record is not None)]
        if any(mode.get("deterministic") is False for mode in modes):
            yield "torch was not in deterministic mode"
        lost = [str(attempt.epoch) for attempt in self._attempts if attempt.record is None]
        if lost:
            yield f"unknown: attempt {', '.join(lost)} ended without leaving a record"
        if not records and not lost:
            yield "no difference in what is recorded"

    def _judged(self, names: Iterable[str], tolerance: float | None) -> list[str]:
        """Names that are compared: none that a clock or a meter decides; within a tolerance the losses only, where there are any."""
        found = [
            name for name in names if not is_measured(name) and not any(fnmatchcase(name, pattern) for pattern in self._ignore)
        ]
        losses = [name for name in found if name.endswith(_LOSS)]
        return losses if tolerance is not None and losses else found


def is_measured(name: str) -> bool:
    """Whether the built-in trainer takes a value of this name from a clock or a meter: no repetition gives it again."""
    return name in catalog.names("metrics") and bool(catalog.get("metrics", name).facts.measured)


def _agree(was: float, now: float | None, tolerance: float | None) -> bool:
    if now is None:
        return False
    if math.isnan(was) or math.isnan(now):
        return math.isnan(was) and math.isnan(now)
    return was == now or (tolerance is not None and math.isclose(was, now, rel_tol=tolerance))


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flatten(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _look(record: Mapping[str, Any], *keys: str) -> Any:
    """What stands under nested keys; None where something else than a mapping is on the way: users' code writes here too."""
    found: Any = record
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _shorten(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 and not set(text) - set("0123456789abcdef") else text[:200]
