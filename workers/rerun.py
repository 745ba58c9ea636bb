"""A trial once more: on this machine, in a process as a worker's, from its first step, without a lease; the study does not hear of it.

What the repetition is held against, and what a difference may come from, is `workers.verification`. Weakness: a trial's time limit is not
watched here, for whoever repeats a trial is there to interrupt it.
"""

from __future__ import annotations

import queue
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.client import Client
from tuner.errors import InvalidValue
from tuner.wire import LeasedTrial, Reason, ReportItem, Study, Tell, Trial, TrialState
from workers import bundles, executors
from workers.engines import Place
from workers.errors import Refused
from workers.holding import crashed
from workers.pipe import Assignment, Message
from workers.roots import DataRoots
from workers.slots import Slot, find_host

OF_THE_TRIAL = (Reason.NAN, Reason.EXCEPTION, Reason.MISSING_OBJECTIVE)
"""Reasons of a failure that its own code, data and parameters bring about: it must come again."""

OnReport = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """What a repeated trial reported, by step, and how it ended."""

    reports: dict[int, dict[str, float]]
    tell: Tell


def last_step(trial: Trial, reports: list[ReportItem]) -> int | None:
    """The step whose report ends the repetition: the trial's last, or the one after, where its failure should have come; None: its own end."""
    if trial.state == TrialState.COMPLETE:
        return None
    last = max((report.step for report in reports), default=-1)
    return last + 1 if trial.state == TrialState.FAIL and trial.reason in OF_THE_TRIAL else max(last, 0)


def choose_slot(device: str | None, record: Mapping[str, Any]) -> Slot:
    """A slot on this machine: the device asked for, else one of the kind that the trial had, if there is one, else the CPU.

    It has as many threads as the trial had. InvalidValue for a device that is not here.
    """
    threads = record.get("threads")
    cpus = float(threads) if isinstance(threads, int) and threads > 0 else 1.0
    had = record.get("device")
    wanted = device or (str(had.get("kind")) if isinstance(had, Mapping) else "cpu")
    if wanted == "cpu":
        return Slot(index=0, cpus=cpus)
    there = [str(index) for index in range(len(find_host("all").gpu_names))]
    kind, _, index = wanted.partition(":")
    if kind == "cuda" and (index or "0") in there:
        return Slot(index=0, gpu=index or "0", gpu_share=1.0, cpus=cpus)
    if device is None:
        return Slot(index=0, cpus=cpus)
    devices = ", ".join(["cpu", *(f"cuda:{index}" for index in there)])
    raise InvalidValue(f"--device: {device!r} is not on this machine; there: {devices}")


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """What whoever repeats a trial allows it on this machine, as a worker's operator does. No `data_roots`: any file that is not hidden."""

    allow: tuple[str, ...] = ()
    allow_bundles: bool = False
    data_roots: tuple[Path, ...] = ()


def make_assignment(
    trial: Trial,
    study: Study,
    record: Mapping[str, Any],
    *,
    slot: Slot,
    scratch: Path,
    until: int | None,
    permissions: Permissions,
    client: Client,
) -> Assignment:
    """The trial as a lease would give it, from its first step; the seed, which no listing shows, comes from the record.

    A bundle of the study is unpacked into `scratch`. InvalidValue for code that is not allowed.
    """
    leased = LeasedTrial(
        id=trial.id,
        number=trial.number,
        study=trial.study,
        study_id=trial.study_id,
        params=trial.params,
        seed=record["seed"],
        executor=study.spec["trial"]["executor"],
        config=study.spec["trial"],
        objectives=[objective["name"] for objective in study.spec["objectives"]],
        study_digest=study.digest,
    )
    _check_allowed(leased, permissions)
    return Assignment(
        lease="rerun",
        trial=leased,
        device=slot.device,
        scratch=scratch,
        until=until,
        allow=permissions.allow,
        bundle=_fetch_bundle(leased, scratch, client),
        data=DataRoots(folders=permissions.data_roots or (Path.cwd(), Path("/"))),
    )


def repeat(place: Place, assignment: Assignment, on_report: OnReport) -> Repetition:
    """Run the trial to its end; `on_report` hears of each step. Checkpoints are thrown away."""
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
    reports: dict[int, dict[str, float]] = {}
    place.assign(assignment, messages.put)
    while True:
        message = messages.get()
        match message["kind"]:
            case "report" if assignment.until is not None and message["step"] > assignment.until:
                continue  # code hears of its end when it asks, or later
            case "report":
                reports.setdefault(message["step"], {}).update(message["values"])
                on_report(message["step"], message["values"])
            case "checkpoint":
                shutil.rmtree(message["folder"], ignore_errors=True)
            case "end":
                return Repetition(reports=reports, tell=Tell.model_validate_json(message["tell"]))
            case "exit":
                return Repetition(reports=reports, tell=crashed(message))


def _check_allowed(leased: LeasedTrial, permissions: Permissions) -> None:
    """A study's author decides what it runs; on one's own machine one decides oneself."""
    config = leased.config
    try:
        executors.check_allowed(leased, permissions.allow)
    except Refused:
        if leased.executor == "command":
            what = pattern = f"command:{config['command'][0]}"
        else:
            what = str(config["entrypoint"])
            pattern = f"{what.partition(':')[0]}:*"
        raise InvalidValue(f"the trial runs {what} with your rights; if you trust it, give --allow {pattern!r}") from None
    if config.get("bundle") is not None and not permissions.allow_bundles:
        raise InvalidValue(
            "the trial runs code that came with its study, with your rights; if you trust it, give --allow-bundles"
        )


def _fetch_bundle(leased: LeasedTrial, scratch: Path, client: Client) -> Path | None:
    sha256 = leased.config.get("bundle")
    if sha256 is None:
        return None
    with tempfile.TemporaryFile(dir=scratch) as packed:
        client.download_bundle(sha256, packed)
        packed.seek(0)
        bundles.unpack(packed, scratch / "bundle")
    return scratch / "bundle"
