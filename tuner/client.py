"""The SDK: `Client` finds its server, makes studies and gives their trials out to a loop of one's own.

It is also every single call of the REST API (`tuner.calls`). The objects it hands out, a study at hand and an asked trial, are in
`tuner.handles`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from tuner import wire
from tuner.calls import Calls
from tuner.connection import Connection, find_server
from tuner.errors import InvalidValue, StudyNotRunning
from tuner.handles import AskedTrial, Renewer, StudyHandle

if TYPE_CHECKING:
    from tuner.spec import StudySpec

DEFAULT_PATIENCE = 30.0


class Client(Calls):
    """Talks to one server. Without arguments: TUNER_SERVER and TUNER_KEY, else what `tuner up` noted in its data folder."""

    def __init__(self, server: str | None = None, key: str | None = None, *, patience: float = DEFAULT_PATIENCE) -> None:
        super().__init__(Connection(*find_server(server, key)), patience=patience)
        self._renewer = Renewer(self.with_patience(0))

    def close(self) -> None:
        self._renewer.stop()
        super().close()

    def create_study(self, spec: Mapping[str, Any] | StudySpec | str | Path, *, context: str | Path | None = None) -> StudyHandle:
        """Create a study from a spec or a file of one; the same spec under the same name gives the study that is there.

        `context` is a folder of code that goes with it to the workers.
        """
        # Imported here: the spec brings the trainer's catalogue with it, which no worker needs.
        from tuner.spec import StudySpec

        if isinstance(spec, str | Path):
            spec = StudySpec.from_file(Path(spec))
        elif isinstance(spec, Mapping):
            spec = StudySpec.parse(spec)
        study, _ = self.submit_study(spec if context is None else self.ship(spec, context))
        return StudyHandle(self, study)

    def ship(self, spec: StudySpec, context: str | Path) -> StudySpec:
        """The spec with the code of a folder: packed, uploaded unless the server has it, and named by the spec.

        InvalidValue when the folder cannot be packed or does not hold the spec's entrypoint.
        """
        from tuner.packing import pack
        from tuner.spec import BUNDLED, StudySpec

        trial = spec.trial
        if trial.executor not in BUNDLED:
            raise InvalidValue(
                f"context: only an {' or a '.join(BUNDLED)} has code of its own; the study's executor is {trial.executor}"
            )
        if trial.bundle is not None:
            raise InvalidValue("context: the study names a bundle already; take out trial.bundle, or leave the context out")
        with TemporaryFile() as archive:
            packed = pack(context, archive)
            if trial.entrypoint is not None:
                top = re.split(r"[.:]", trial.entrypoint)[0]
                if not any(file == f"{top}.py" or file.startswith(f"{top}/") for file in packed.files):
                    raise InvalidValue(
                        f"context: {context} has neither {top}.py nor a folder {top}, where {trial.entrypoint} would be"
                    )
            archive.seek(0)
            self.upload_bundle(packed.sha256, archive)
        stored = spec.to_json()
        return StudySpec.parse(stored | {"trial": stored["trial"] | {"bundle": packed.sha256}})

    def study(self, study: str | int) -> StudyHandle:
        """The study of this name or id; StudyNotFound."""
        return StudyHandle(self, self.get_study(study))

    def ask(self, study: str | int | StudyHandle, *, wait: float = 60.0, ttl: float | None = None) -> AskedTrial:
        """Lease the next trial; its lease is renewed in the background until it is told.

        StudyNotRunning when the study has ended, or when no trial came within `wait` seconds.
        """
        leases = self.ask_leases(_name(study), wire.AskRequest(wait=min(wait, 60.0), ttl=ttl))
        if not leases:
            raise StudyNotRunning(
                f"no trial of the study came within {wait:g} seconds: it is paused or others hold all it may run at once"
            )
        return AskedTrial(self, leases[0], self._renewer)

    def asks(self, study: str | int | StudyHandle, count: int | None = None, *, ttl: float | None = None) -> Iterator[AskedTrial]:
        """Trials one after another, until the study has ended or `count` were given.

        A turn that leaves its trial untold after a verdict other than continue has it told here, as that verdict demands.
        When the loop is left with its trial untold (an exception, a break), that trial ends FAIL with reason exception.
        """
        given = 0
        following: AskedTrial | None = None
        while count is None or given < count:
            trial = following or self._next_trial(study, ttl)
            if trial is None:
                return
            following = None
            given += 1
            # The next lease comes with the answer to this tell; with a time to live of one's own it is asked for apart.
            trial.takes_next = ttl is None and (count is None or given < count)
            try:
                yield trial
            except GeneratorExit:
                trial.abandon()
                raise
            trial.settle()
            following = trial.following

    def _next_trial(self, study: str | int | StudyHandle, ttl: float | None) -> AskedTrial | None:
        while True:
            try:
                leases = self.ask_leases(_name(study), wire.AskRequest(wait=30, ttl=ttl))
            except StudyNotRunning:
                return None
            if leases:
                return AskedTrial(self, leases[0], self._renewer)


def _name(study: str | int | StudyHandle) -> str | int:
    return study.id if isinstance(study, StudyHandle) else study
