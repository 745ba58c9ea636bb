"""Every error of the system, told apart by what the caller can do about it.

    TunerError
      NotFound          ask for something else          StudyNotFound TrialNotFound WorkerNotFound CheckpointNotFound KeyNotFound
                                                        BundleNotFound
      Conflict          look again, then decide         StudyExists StudyNotRunning TrialFinished LeaseLost IdempotencyConflict
      Invalid           correct the input               InvalidSpec InvalidSpace InvalidValue
      Denied            get other credentials           Unauthenticated Forbidden
      Unavailable       try again later                 DatabaseUnavailable ArtifactsUnavailable StorageFull
                                                        ServerUnreachable

The domain knows no HTTP: `api/errors.py` maps class to status, `tuner.client` maps the code back to the same class, so local and
remote callers write the same `except`. A failed trial is data (`state=FAIL`, `reason`), never an exception of the service.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with one field of an input: its dotted path and a sentence that says what is allowed."""

    loc: str
    msg: str

    def __str__(self) -> str:
        return f"{self.loc}: {self.msg}" if self.loc else self.msg


class TunerError(Exception):
    """Base of all errors; `code` is stable and travels over HTTP."""

    code: ClassVar[str] = "tuner_error"

    def __init__(self, message: str = "", *, errors: Iterable[FieldError] = ()) -> None:
        self.errors = tuple(errors)
        self.message = message or "; ".join(str(error) for error in self.errors) or self.code
        super().__init__(self.message)


class NotFound(TunerError):
    code = "not_found"


class StudyNotFound(NotFound):
    code = "study_not_found"


class TrialNotFound(NotFound):
    code = "trial_not_found"


class WorkerNotFound(NotFound):
    code = "worker_not_found"


class CheckpointNotFound(NotFound):
    code = "checkpoint_not_found"


class BundleNotFound(NotFound):
    code = "bundle_not_found"


class KeyNotFound(NotFound):
    code = "key_not_found"


class Conflict(TunerError):
    code = "conflict"


class StudyExists(Conflict):
    """The name is taken by a study with another spec."""

    code = "study_exists"


class StudyNotRunning(Conflict):
    """The study's state does not allow this."""

    code = "study_not_running"


class TrialFinished(Conflict):
    """The trial is in a final state, and final states are final."""

    code = "trial_finished"


class LeaseLost(Conflict):
    """The trial has been handed on (or ended): whoever holds this lease must stop working on it."""

    code = "lease_lost"


class IdempotencyConflict(Conflict):
    """The same Idempotency-Key came with another body, or its first request is still running."""

    code = "idempotency_conflict"


class Invalid(TunerError):
    code = "invalid"


class InvalidSpec(Invalid):
    code = "invalid_spec"


class InvalidSpace(InvalidSpec):
    code = "invalid_space"


class InvalidValue(Invalid):
    code = "invalid_value"


class Denied(TunerError):
    code = "denied"


class Unauthenticated(Denied):
    code = "unauthenticated"


class Forbidden(Denied):
    code = "forbidden"


class Unavailable(TunerError):
    code = "unavailable"


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"


class ArtifactsUnavailable(Unavailable):
    """The folder or bucket of checkpoints and bundles fails; nothing of an upload was kept."""

    code = "artifacts_unavailable"


class StorageFull(Unavailable):
    """No room for an upload; nothing of it was kept."""

    code = "storage_full"


class ServerUnreachable(Unavailable):
    """No answer from the server's address (client side only)."""

    code = "server_unreachable"


def error_classes() -> dict[str, type[TunerError]]:
    """Map each code to its class, for the client that rebuilds errors."""
    found: dict[str, type[TunerError]] = {}
    pending: list[type[TunerError]] = [TunerError]
    while pending:
        cls = pending.pop()
        found[cls.code] = cls
        pending.extend(cls.__subclasses__())
    return found
