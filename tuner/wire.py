"""Bodies of the REST API, shared by `api` and `tuner.client`: pydantic models and the encoding of non-finite numbers.

JSON has no NaN and no infinity: they travel as the strings "NaN", "Infinity", "-Infinity" (`Number`). Study specs are not here
(`tuner.spec`); the shapes of trainer configurations neither (`tuner.catalog`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def encode_number(value: float) -> float | str:
    """A finite float as it is; NaN and infinities as their JSON-safe strings."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def decode_number(value: object) -> object:
    """Inverse of `encode_number`; leaves anything else to pydantic's float validation."""
    if isinstance(value, bool):
        raise ValueError("a number is expected, not a boolean")
    if isinstance(value, str):
        if value in NON_FINITE:
            return NON_FINITE[value]
        raise ValueError('a number is expected, or one of "NaN", "Infinity", "-Infinity"')
    return value


def encode_numbers(value: Any) -> Any:
    """`encode_number` for every float inside lists and mappings."""
    if isinstance(value, float):
        return encode_number(value)
    if isinstance(value, Mapping):
        return {key: encode_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode_numbers(item) for item in value]
    return value


Number = Annotated[float, BeforeValidator(decode_number), PlainSerializer(encode_number, return_type=Any, when_used="always")]
MAX_DEPTH = 16


def check_json(value: object, depth: int = 0) -> object:
    """Refuse what PostgreSQL or JSON cannot hold: nesting beyond MAX_DEPTH, NUL characters, lone surrogates."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("a text may not contain the NUL character")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("a text may not contain lone surrogates") from None
    elif isinstance(value, Mapping):
        for key, item in value.items():
            check_json(key, depth + 1)
            check_json(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            check_json(item, depth + 1)
    return value


Text = Annotated[str, AfterValidator(check_json)]
UserAttrs = Annotated[dict[str, Any], Field(max_length=100), AfterValidator(check_json)]
MAX_RECORD_CHARACTERS = 100_000


def check_record(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what is no JSON object of at most MAX_RECORD_CHARACTERS."""
    check_json(value)
    try:
        length = len(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"only JSON values can be recorded: {error}") from None
    if length > MAX_RECORD_CHARACTERS:
        raise ValueError(f"{length:,} characters of JSON; at most {MAX_RECORD_CHARACTERS:,} are kept")
    return value


Record = Annotated[dict[str, Any], AfterValidator(check_record)]
"""What decided a trial. Keys of the built-in executors: `workers.record`; users' code adds its own."""
MetricName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f]+$")]
ShortText = Annotated[str, Field(max_length=500), AfterValidator(check_json)]
Scalar = None | bool | int | float | Text


class TrialState(StrEnum):
    """Optuna's five states and no others."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"

    @property
    def is_finished(self) -> bool:
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class StudyState(StrEnum):
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    STOPPING = "STOPPING"
    COMPLETE = "COMPLETE"
    STOPPED = "STOPPED"
    FAIL = "FAIL"

    @property
    def is_finished(self) -> bool:
        return self in (StudyState.COMPLETE, StudyState.STOPPED, StudyState.FAIL)


class Verdict(StrEnum):
    """What a worker is told at each report and renewal.

    PRUNE: tell PRUNED. PAUSE: save a checkpoint, tell WAITING (reason paused). STOP: cancelled, tell FAIL (reason cancelled).
    """

    CONTINUE = "continue"
    PRUNE = "prune"
    PAUSE = "pause"
    STOP = "stop"


class Reason(StrEnum):
    """Why a trial or an attempt ended as it did, where the state alone does not say."""

    LOST = "lost"
    PREEMPTED = "preempted"
    PAUSED = "paused"
    PAUSED_AT_RUNG = "paused_at_rung"
    OOM_CUDA = "oom_cuda"
    OOM_HOST = "oom_host"
    NAN = "nan"
    EXCEPTION = "exception"
    CRASH = "crash"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    PRUNED = "pruned"
    REFUSED = "refused"
    MISSING_OBJECTIVE = "missing_objective"
    INFEASIBLE = "infeasible"


class Scope(StrEnum):
    ADMIN = "admin"
    SUBMITTER = "submitter"
    WORKER = "worker"
    VIEWER = "viewer"


class Body(BaseModel):
    """Base of request bodies: unknown keys are refused, so that a typing error never passes unnoticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """Base of responses: a client of an older version ignores what it does not know."""

    model_config = ConfigDict(extra="ignore", frozen=True)


# --- studies -------------------------------------------------------------------------------------------------------------


class TrialCounts(Answer):
    waiting: int = 0
    running: int = 0
    complete: int = 0
    pruned: int = 0
    fail: int = 0
    infeasible: int = Field(default=0, description="of the complete ones, how many break an outcome constraint")

    @property
    def total(self) -> int:
        return self.waiting + self.running + self.complete + self.pruned + self.fail

    @property
    def finished(self) -> int:
        return self.complete + self.pruned + self.fail


class Lent(Answer):
    """A trial whose configuration comes from a finished study."""

    trial: int = Field(description="number of the trial in this study")
    study: str = Field(description="name of the study that lent the configuration")
    study_id: int
    source_trial: int = Field(description="number of the trial in that study")


class Strategy(Answer):
    """What the search does in a study, with `auto` decided, and why."""

    sampler: dict[str, Any] = Field(description="name and options")
    pruner: dict[str, Any] = Field(description="name and options")
    portfolio: list[Lent] | None = Field(default=None, description="what finished studies lend; null: not looked for yet")
    reasons: list[str] = Field(default=[], description="sentences for people to read")


class SpaceEdit(Answer):
    """What one edit has made of the search space."""

    version: int = Field(description="of the space since; it was submitted as 1")
    at: datetime
    by: str | None = None
    first_number: int = Field(description="number of the first trial that was made of this version")
    changes: dict[str, dict[str, Any]] = Field(description="by parameter: low, high, append, freeze or unfreeze")
    was: dict[str, dict[str, Any]] = Field(description="by parameter: what stood there before")


class Repeated(Answer):
    """What the trials of one configuration say of its value, each with a seed of its own."""

    mean: Number
    num_seeds: int
    low: Number | None = Field(default=None, description="of the mean's 95 % interval, by Student's t; null for a single seed")
    high: Number | None = None

    def show(self) -> str:
        """Such as 0.932 ± 0.004 over 5 seeds."""
        if self.low is None or self.high is None:
            return f"{self.mean:.4g} over {self.num_seeds} {'seed' if self.num_seeds == 1 else 'seeds'}"
        return f"{self.mean:.4g} ± {(self.high - self.low) / 2:.2g} over {self.num_seeds} seeds"


class Study(Answer):
    id: int
    name: str
    state: StudyState
    reason: str | None = None
    spec: dict[str, Any]
    notes: str = ""
    archived: bool = Field(default=False, description="put away: the dashboard lists it on request only")
    tags: list[str] = []
    user_attrs: dict[str, Any] = {}
    counts: TrialCounts = TrialCounts()
    best_value: Number | None = Field(default=None, description="best of the first objective so far; with `repeat` a mean")
    best_trial: int | None = Field(default=None, description="number of the trial with best_value, or the first of those")
    best_repeats: Repeated | None = Field(
        default=None, description="with `repeat`: of the best configuration, that with the most seeds, and of those the best mean"
    )
    revision: int = 0
    created_at: datetime
    finished_at: datetime | None = None
    created_by: str | None = None
    digest: str | None = Field(default=None, description="SHA-256 of the spec as submitted, without the name")
    strategy: Strategy | None = Field(default=None, description="null: made before decisions were kept, or by Optuna")
    space_version: int = 1
    space_edits: list[SpaceEdit] = Field(default=[], description="oldest first")


class StudyPatch(Body):
    """Limits are given as a mapping of those to change, e.g. {"max_trials": 200}; null takes a limit away.

    The space likewise, e.g. {"lr": {"high": 1.0}, "optimizer": {"append": ["lion"]}, "batch_size": {"freeze": 64}}.
    """

    limits: UserAttrs | None = None
    space: UserAttrs | None = None
    space_version: int | None = Field(
        default=None, strict=True, ge=1, le=10**6, description="the version this edits; a conflict when it is another by now"
    )
    tags: list[ShortText] | None = Field(default=None, max_length=50)
    notes: Text | None = Field(default=None, max_length=20_000)
    archived: bool | None = Field(default=None, description="true: the dashboard lists it on request only")


class StudyPage(Answer):
    items: list[Study]
    next_cursor: str | None = None


class StudyProgress(Answer):
    """How a study has come along, for a line in a list."""

    study_id: int
    best: list[tuple[int, Number]] = Field(description="[number of a trial, best value of the first objective so far]")
    trials_per_hour: float | None = Field(default=None, description="of the trials that ended last; null: too few have")


# --- trials --------------------------------------------------------------------------------------------------------------


class Trial(Answer):
    id: int
    number: int
    study: str = Field(description="name of the study")
    study_id: int
    state: TrialState
    reason: str | None = None
    error: str | None = None
    notes: str = ""
    params: dict[str, Scalar] = {}
    values: dict[str, Number] | None = Field(default=None, description="one value an objective, once finished")
    feasible: bool | None = Field(
        default=None, description="whether it meets the outcome constraints; null: there are none, or it was not judged"
    )
    constraints: dict[str, Number] | None = Field(
        default=None,
        description="by outcome constraint: above 0 by how much it is broken, in the metric's unit; Infinity without a number",
    )
    user_attrs: dict[str, Any] = {}
    origin: str = Field(default="suggested", description="suggested, enqueued, added, portfolio, repeat or population")
    parent: int | None = Field(default=None, description="number of the trial it repeats, or goes on from")
    repeats: Repeated | None = Field(default=None, description="of the best trial, where the study repeats trials: all its seeds")
    attempt: int = Field(default=0, description="how often it has been leased")
    worker: str | None = None
    last_step: int | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration: float | None = Field(default=None, description="seconds from first start to end")
    revision: int = 0


class TrialPatch(Body):
    notes: Text | None = Field(
        default=None, max_length=20_000, description="of people, for people; the search does not read them"
    )


class TrialPage(Answer):
    items: list[Trial]
    next_cursor: str | None = None


class TrialCreate(Body):
    """Enqueue `params`; with a final `state` (and `values`) a trial finished elsewhere is added instead."""

    params: dict[str, Scalar] = Field(max_length=500)
    state: TrialState | None = None
    values: dict[MetricName, Number] | None = Field(
        default=None, max_length=200, description="of each objective, and of metrics under outcome constraints"
    )
    user_attrs: UserAttrs = {}


class Attempt(Answer):
    """One lease of a trial."""

    id: str
    epoch: int
    worker: str | None = None
    started_at: datetime
    expires_at: datetime
    heard_at: datetime | None = Field(default=None, description="when its holder last renewed it, or took it")
    ended_at: datetime | None = None
    reason: str | None = None
    error: str | None = None
    resumed_from: int | None = None
    record: dict[str, Any] | None = Field(
        default=None, description="what decided what it computed; null: it told nothing of that"
    )


class Checkpoint(Answer):
    step: int
    epoch: int
    size: int
    sha256: str
    created_at: datetime


class Bundle(Answer):
    """Code that comes with studies."""

    sha256: str
    size: int
    created_at: datetime


class LogLine(Answer):
    id: int
    epoch: int
    stream: str
    text: str
    created_at: datetime


class LogPage(Answer):
    items: list[LogLine]
    next_cursor: str | None = None


class ReportItem(Answer):
    step: int
    epoch: int = 0
    values: dict[str, Number]
    at: float | None = Field(default=None, description="when it came, in seconds since 1970")


class CellNames(Answer):
    """Columns beyond the usual ones that trials of a study have."""

    metrics: list[str]
    attributes: list[str]
    facts: list[str]


class Cells(Answer):
    """One such column: the trials that have it, and beside each its cells."""

    numbers: list[int]
    columns: dict[str, list[Any]] = Field(description="last, min and max of a metric's reports, else value")


class Usage(Answer):
    gpu_seconds: float = Field(description="of all leases, the running ones until now")
    running_gpus: float = Field(description="GPUs held at this moment")


# --- leases --------------------------------------------------------------------------------------------------------------


class Resources(Body):
    gpus: float = Field(default=0, ge=0, le=1024)
    cpus: float = Field(default=1, ge=0, le=4096)


Devices = Annotated[
    list[Annotated[int, Field(ge=0, le=1023)]] | None,
    Field(max_length=64, description="GPUs that the trials get, by their index on the worker; null: not told"),
]


class LeaseRequest(Body):
    worker: str | None = Field(default=None, max_length=200, description="name under which the worker registered")
    count: int = Field(default=1, ge=1, le=256)
    wait: float = Field(default=0, ge=0, le=60, description="seconds to wait for a trial when none is there")
    ttl: float | None = Field(default=None, ge=1, le=3600, description="seconds the lease lives without renewal")
    resources: Resources | None = Field(default=None, description="what the asking slot has; null: anything goes")
    studies: list[int | str] | None = Field(default=None, max_length=100)
    executors: list[Literal["trainer", "entrypoint", "command"]] | None = Field(
        default=None, description="executors this worker offers; null: all but external"
    )
    bundles: bool = Field(default=False, description="this worker also runs code that comes with a study")
    devices: Devices = None


class AskRequest(Body):
    count: int = Field(default=1, ge=1, le=256)
    ttl: float | None = Field(default=None, ge=1, le=3600)
    wait: float = Field(default=10, ge=0, le=60)
    worker: str | None = Field(default=None, max_length=200)
    devices: Devices = None


class Resume(Answer):
    step: int
    checkpoint: str = Field(description="path of the checkpoint below the server's address")
    sha256: str
    inherited: bool = Field(default=False, description="it is the parent's: hyperparameters are this trial's, not those in it")


class LeasedTrial(Answer):
    id: int
    number: int
    study: str
    study_id: int
    params: dict[str, Scalar]
    seed: int = Field(description="derived from the study's seed and the trial's number")
    executor: str
    config: dict[str, Any] = Field(description="the study's `trial` mapping as submitted, with defaults")
    objectives: list[str]
    constrained: list[str] = Field(
        default=[], description="metrics under outcome constraints: report them, or tell them with the outcome"
    )
    judged: bool = Field(default=False, description="a pruner judges the reports of this study")
    study_digest: str | None = Field(default=None, description="SHA-256 of the study's spec as submitted, without the name")
    resume: Resume | None = None
    pause_at: int | None = Field(
        default=None, description="pause at the report of this step, as at the verdict pause: a population is compared there"
    )


class Lease(Answer):
    id: str
    expires_at: datetime
    ttl: float
    attempt: int
    trial: LeasedTrial


class Leases(Answer):
    leases: list[Lease]


class Report(Body):
    step: int = Field(ge=0, le=2**53)
    values: dict[MetricName, Number] = Field(min_length=1, max_length=200)


class Reports(Body):
    reports: list[Report] = Field(min_length=1, max_length=10_000)
    wait: float = Field(default=0, ge=0, le=60, description="seconds to wait for the search's judgement")


class VerdictAnswer(Answer):
    verdict: Verdict
    expires_at: datetime


class Tell(Body):
    """COMPLETE needs a value for each objective, and for each metric under an outcome constraint that was not reported. WAITING hands the trial back unfinished (reason preempted or paused)."""

    state: Literal["COMPLETE", "PRUNED", "FAIL", "WAITING"]
    values: dict[MetricName, Number] | None = Field(default=None, max_length=200)
    reason: str | None = Field(default=None, max_length=100, pattern=r"^[a-z][a-z0-9_]*$")
    error: Text | None = Field(default=None, max_length=20_000)
    user_attrs: UserAttrs = {}
    record: Record | None = Field(
        default=None, description="what decided what this attempt computed: versions, digests, settings"
    )
    reports: list[Report] = Field(default=[], max_length=10_000, description="last reports, stored with the outcome")
    lease_next: LeaseRequest | AskRequest | bool = Field(
        default=False, description="true: also take the next trial of the same study; or a lease request"
    )


class TellAnswer(Answer):
    trial: Trial
    leases: list[Lease] = []


class LogText(Body):
    stream: Literal["stdout", "stderr", "tuner"] = "stdout"
    text: Text = Field(max_length=10_000)


class LogLines(Body):
    lines: list[LogText] = Field(min_length=1, max_length=1_000)


# --- workers, keys, errors, events ---------------------------------------------------------------------------------------


class GpuUsage(Body):
    utilization: float | None = Field(default=None, ge=0, le=1, description="share of the time in which it computed")
    memory: int | None = Field(default=None, ge=0, description="bytes in use")
    memory_total: int | None = Field(default=None, ge=0, description="bytes there are")
    temperature: float | None = Field(default=None, ge=-100, le=300, description="degrees Celsius")


class MachineUsage(Body):
    """What a machine is doing now."""

    cpu: float | None = Field(default=None, ge=0, le=1, description="share of all CPUs in use")
    memory: int | None = Field(default=None, ge=0, description="bytes of host memory in use")
    gpus: list[GpuUsage] = Field(default=[], max_length=64)


class UsageSample(MachineUsage):
    """What a machine was doing; of its GPUs one by one only the latest sample tells, so that a fleet can be asked for often."""

    at: datetime
    gpu: float | None = Field(default=None, ge=0, le=1, description="mean utilization of the GPUs")
    gpu_memory: int | None = Field(default=None, ge=0, description="bytes in use on all GPUs together")
    temperature: float | None = Field(default=None, description="degrees Celsius of the hottest GPU")


class WorkerRegistration(Body):
    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")
    host: str = Field(default="", max_length=200)
    version: str = Field(default="", max_length=50)
    slots: int = Field(default=1, ge=0, le=4096)
    gpus: list[ShortText] = Field(default=[], max_length=64, description="names of the GPUs")
    cpus: float = Field(default=1, ge=0)
    memory: int = Field(default=0, ge=0, description="bytes of host memory")
    usage: MachineUsage | None = Field(default=None, description="null: not measured")


class Worker(Answer):
    id: int
    name: str
    host: str = ""
    version: str = ""
    slots: int = 0
    gpus: list[str] = []
    cpus: float = 0
    memory: int = 0
    usage: list[UsageSample] = Field(default=[], description="the latest samples, oldest first")
    running: int = Field(default=0, description="trials it holds a live lease on")
    registered_at: datetime
    seen_at: datetime


class LaneAttempt(Answer):
    """One attempt on the time line of a worker."""

    worker: str
    study_id: int
    study: str
    number: int
    epoch: int
    started_at: datetime
    ended_at: datetime | None
    reason: str | None
    gpus: float
    devices: list[int] | None = Field(default=None, description="GPUs it had, by their index on the worker; null: not told")
    resumed_from: int | None


class KeyCreate(Body):
    name: str = Field(min_length=1, max_length=200)
    scope: Scope
    project: str = Field(default="default", min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    expires_in: float | None = Field(default=None, gt=0, le=10 * 366 * 86400, description="seconds")


class Key(Answer):
    id: str
    name: str
    scope: Scope
    project: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class Project(Answer):
    name: str
    keys: int = Field(description="that are neither revoked nor expired")
    studies: int
    created_at: datetime


class CreatedKey(Key):
    key: str = Field(description="the secret; shown this once")


class ProblemField(Answer):
    loc: str
    msg: str


class Problem(Answer):
    """RFC 9457 problem+json."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemField] | None = None


class Event(Answer):
    """Something that happened to a study, for people to read: created, paused, took over a lost trial, ended."""

    id: int
    kind: str
    study_id: int | None = None
    trial_number: int | None = None
    data: dict[str, Any] = {}
    created_at: datetime


class TrialReports(Answer):
    trial: int = Field(description="number of the trial")
    reports: list[ReportItem]
    thinned: bool = Field(default=False, description="some reports were left out, as was asked")


class Change(Answer):
    """Data of one server-sent event: the study's summary and the trials that changed since the last one."""

    study: Study
    trials: list[Trial]
    reports: list[TrialReports] = []
    revision: int
    more: bool = Field(default=False, description="too many trials changed: fetch the columns instead")
