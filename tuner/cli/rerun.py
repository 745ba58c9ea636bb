"""`tuner trial rerun`: a trial once more on this machine, and whether it comes out the same."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.cli.options import AllowBundles, AsJson, DataRoot, Key, Server, TrialArgument, check_folders, connect, find_trial
from tuner.cli.output import make_visible, print_json, say, show
from tuner.client import Client
from tuner.errors import InvalidValue
from tuner.wire import Attempt, ReportItem, Study, Trial, TrialState, encode_numbers

if TYPE_CHECKING:
    from workers.rerun import Permissions, Repetition
    from workers.verification import Verification, Verifier

NEEDED = {"trainer": ("psutil", "torch", "safetensors"), "entrypoint": ("psutil",), "command": ("psutil",)}
"""Packages without which this machine cannot run trials of an executor."""


def rerun(
    trial: TrialArgument,
    verify: Annotated[bool, typer.Option("--verify", help="Compare the curve and the weights with the trial's.")] = False,
    device: Annotated[
        str | None, typer.Option("--device", metavar="cpu|cuda:0", help="Where to run; else a device of the trial's kind.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow", metavar="PATTERN", help="Entrypoints ('package.module:*') and commands ('command:python') to run."
        ),
    ] = None,
    allow_bundles: AllowBundles = False,
    data_root: DataRoot = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="PATTERN", help="Reported names to leave out of the comparison.")
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Repeat a trial on this machine, from its first step; the study does not hear of it."""
    check_folders(data_root or ())
    with connect(server, key) as client:
        found = find_trial(client, trial)
        study = client.get_study(found.study_id)
        attempts, reports = client.list_attempts(found.id), client.list_reports(found.id)
        _check(found, study, attempts)
        from workers.rerun import Permissions

        permissions = Permissions(allow=tuple(allow or ()), allow_bundles=allow_bundles, data_roots=tuple(data_root or ()))
        with tempfile.TemporaryDirectory(prefix="tuner-rerun-") as scratch:
            repeated = _Rerun(found, study, attempts, reports, tuple(ignore or ()), verify=verify, as_json=as_json)
            is_fine = repeated.run(client, Path(scratch).absolute(), device, permissions)
    if not is_fine:
        raise typer.Exit(1)


def _check(trial: Trial, study: Study, attempts: list[Attempt]) -> None:
    """InvalidValue when there is nothing that could be repeated, or not here."""
    name = f"trial {trial.number} of study {trial.study}"
    executor = str(study.spec["trial"]["executor"])
    if executor not in NEEDED:
        raise InvalidValue(
            f"{name} ran in a loop outside of workers (executor {executor}): run that loop again with its parameters"
        )
    if trial.origin == "population":
        raise InvalidValue(
            f"{name} went on from a checkpoint of trial {trial.parent}, so from its first step there is nothing to repeat"
        )
    if trial.state == TrialState.RUNNING:
        raise InvalidValue(f"{name} is running: wait until it has ended")
    if not attempts:
        raise InvalidValue(f"{name} never ran, so there is nothing to repeat")
    if all(attempt.record is None or "seed" not in attempt.record for attempt in attempts):
        raise InvalidValue(
            f"{name} left no record of how it ran, which every attempt does that ends on its worker; try the trial again"
        )
    missing = [package for package in NEEDED[executor] if not _is_installed(package)]
    if missing:
        raise InvalidValue(f"this machine lacks {missing[0]}, which the trial needs: pip install 'tuner[worker]'")


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:
        return False


class _Rerun:
    """One repetition and what is printed of it."""

    def __init__(
        self,
        trial: Trial,
        study: Study,
        attempts: list[Attempt],
        reports: list[ReportItem],
        ignore: tuple[str, ...],
        *,
        verify: bool,
        as_json: bool,
    ) -> None:
        from workers.verification import Verifier

        self._trial = trial
        self._study = study
        self._reports = reports
        self._verifier: Verifier = Verifier(trial, reports, attempts, ignore=ignore)
        self._verify = verify
        self._as_json = as_json
        self._tolerance: float | None = None

    def run(
        self,
        client: Client,
        scratch: Path,
        device: str | None,
        permissions: Permissions,
    ) -> bool:
        """Whether the repetition did what was asked for: came out equal, or without --verify did not fail."""
        from workers import rerun
        from workers.engines.local import LocalPlace

        record = self._verifier.record or {}
        slot = rerun.choose_slot(device, record)
        kind = slot.device.partition(":")[0]
        self._tolerance = self._verifier.tolerance(kind)
        assignment = rerun.make_assignment(
            self._trial,
            self._study,
            record,
            slot=slot,
            scratch=scratch,
            until=rerun.last_step(self._trial, self._reports),
            permissions=permissions,
            client=client,
        )
        say(f"trial {self._trial.number} of study {self._trial.study} once more, on {slot.device}")
        place = LocalPlace(slot)
        try:
            repetition = rerun.repeat(place, assignment, self._print_step)
        finally:
            place.close()
        verification = self._verifier.verify(repetition, kind) if self._verify else None
        self._print_outcome(repetition, verification, slot.device)
        return verification.is_equal if verification is not None else repetition.tell.state != "FAIL"

    def _print_step(self, step: int, values: Mapping[str, float]) -> None:
        if self._as_json:
            return
        mark = ""
        if self._verify:
            differing = self._verifier.differing(step, values, self._tolerance)
            mark = "different  " if differing else "equal      "
        sys.stdout.write(f"step {step:>5}  {mark}{show(values)}\n")
        sys.stdout.flush()

    def _print_outcome(self, repetition: Repetition, verification: Verification | None, device: str) -> None:
        tell = repetition.tell
        if self._as_json:
            print_json(_as_json(self._trial, repetition, verification, device))
            return
        if tell.values:
            sys.stdout.write(f"values  {show(tell.values)}\n")
        if tell.state == "FAIL":
            lines = [make_visible(line) for line in (tell.error or "").strip().splitlines()] or [""]
            say(f"the repeated trial failed ({tell.reason}): {lines[-1]}")
            for line in lines if len(lines) > 1 else ():
                say(line)
        if verification is None:
            return
        compared = f"{verification.num_steps} steps, {verification.standard}; {verification.weights}"
        if verification.is_equal:
            sys.stdout.write(f"equal: {compared}\n")
            for difference in verification.records:
                sys.stdout.write(f"although: {make_visible(str(difference))}\n")
            return
        sys.stdout.write(f"different: {make_visible('; '.join(verification.differences))} (compared {compared})\n")
        for cause in verification.causes:
            sys.stdout.write(f"likely cause: {make_visible(cause)}\n")


def _as_json(trial: Trial, repetition: Repetition, verification: Verification | None, device: str) -> dict[str, Any]:
    tell = repetition.tell
    answer: dict[str, Any] = {
        "trial": trial.id,
        "study": trial.study,
        "number": trial.number,
        "device": device,
        "state": tell.state,
        "reason": tell.reason,
        "error": tell.error,
        "values": encode_numbers(tell.values),
        "reports": [{"step": step, "values": encode_numbers(values)} for step, values in sorted(repetition.reports.items())],
        "record": tell.record,
    }
    if verification is not None:
        answer["verification"] = {
            "equal": verification.is_equal,
            "standard": verification.standard,
            "tolerance": verification.tolerance,
            "num_steps": verification.num_steps,
            "weights": verification.weights,
            "differences": list(verification.differences),
            "records": [{"key": each.key, "recorded": each.recorded, "now": each.now} for each in verification.records],
            "causes": list(verification.causes),
        }
    return answer
