"""The tables, their indexes and their naming convention, and nothing else.

Every row of a tenant carries its project. Parameters, distributions and attributes are JSON *text*: Optuna stores NaN and infinity
in them, which jsonb cannot hold; reports encode those as strings and may be jsonb. Time is the database's clock. `revision` is the id of the
transaction that last wrote the row, set by a trigger (first migration): "changed since r" is `revision >= r`, without a lock and without a gap.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_NOW = func.clock_timestamp()

HELD = "timestamptz '9999-01-01 00:00:00+00'"
"""`trials.not_before`, in SQL, of a trial paused at a rung. Not infinity, which the driver refuses to read."""


def _time(name: str, *, now: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=not now, server_default=_NOW if now else None)


def _project() -> Column[str]:
    return Column("project", Text, ForeignKey("projects.name", ondelete="RESTRICT"), nullable=False)


def _study() -> Column[int]:
    return Column("study_id", BigInteger, ForeignKey("studies.id", ondelete="CASCADE"), nullable=False)


def _trial() -> Column[int]:
    return Column("trial_id", BigInteger, ForeignKey("trials.id", ondelete="CASCADE"), nullable=False)


def _json_text(name: str, default: str = "{}") -> Column[str]:
    return Column(name, Text, nullable=False, server_default=default)


def _revision() -> Column[int]:
    return Column("revision", BigInteger, nullable=False, server_default=text("0"))


projects = Table("projects", metadata, Column("name", Text, primary_key=True), _time("created_at", now=True))

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    _project(),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),  # SHA-256: the secret has 256 bits, a slow hash would add nothing
    _time("created_at", now=True),
    _time("expires_at"),
    _time("revoked_at"),
    _time("last_used_at"),
    CheckConstraint("scope in ('admin', 'submitter', 'worker', 'viewer')", name="scope"),
)

# One-time login codes and the browser sessions they open; both act as the key they were made for.
sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("key_id", Text, ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False, index=True),
    _time("created_at", now=True),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("kind in ('code', 'session')", name="kind"),
)

# Code shipped with a study: a file among the artifacts, named by its hash.
bundles = Table(
    "bundles",
    metadata,
    _project(),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    _time("created_at", now=True),
    PrimaryKeyConstraint("project", "sha256"),
)

studies = Table(
    "studies",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    _project(),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="RUNNING"),
    Column("reason", Text),
    Column("spec", Text),  # as submitted, its space as edited since; NULL for a study made through Optuna's storage contract
    Column("spec_digest", Text),
    Column("objectives", JSONB, nullable=False, server_default="[]"),  # [{name, direction: minimize|maximize|not_set}]
    Column("executor", Text, nullable=False, server_default="external"),
    Column("gpus", Float, nullable=False, server_default="0"),
    Column("cpus", Float, nullable=False, server_default="0"),
    Column("limits", JSONB, nullable=False, server_default="{}"),  # as in the spec, then as patched
    Column("pruned_by_search", Integer, nullable=False, server_default="0"),  # 1: reports are judged by a pruner
    Column("next_number", Integer, nullable=False, server_default="0"),
    Column("tags", JSONB, nullable=False, server_default="[]"),
    Column("notes", Text, nullable=False, server_default=""),
    Column("archived", Boolean, nullable=False, server_default=text("false")),  # the dashboard lists it on request only
    _json_text("user_attrs"),
    _json_text("system_attrs"),
    Column("created_by", Text),
    Column("bundle", Text),
    Column("space_edits", JSONB, nullable=False, server_default="[]"),  # oldest first; the space's version is their number + 1
    Column("strategy", JSONB),  # what the search decided for this study, and why
    _time("created_at", now=True),
    _time("deadline"),  # created_at + limits.timeout; paused time is given back on resume
    _time("paused_at"),
    _time("finished_at"),
    _revision(),
    UniqueConstraint("project", "name"),
    ForeignKeyConstraint(["project", "bundle"], ["bundles.project", "bundles.sha256"], ondelete="RESTRICT"),
    CheckConstraint("state in ('RUNNING', 'PAUSED', 'STOPPING', 'COMPLETE', 'STOPPED', 'FAIL')", name="state"),
    Index("ix_studies_state", "state"),
)

trials = Table(
    "trials",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    _project(),
    _study(),
    Column("number", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("error", Text),
    _json_text("params"),
    _json_text("distributions"),
    Column("objective_values", Text),  # JSON list in the order of studies.objectives
    Column("value", Float),  # the first of them where the trial is COMPLETE and feasible: what best and sort look up
    Column("constraint_values", Text),  # JSON {outcome constraint: violation}, above 0 where it is broken
    Column(
        "violation", Float
    ),  # those above 0 added up: 0 is feasible; NULL where there are no constraints or they were not judged
    _json_text("user_attrs"),
    _json_text("system_attrs"),
    Column("origin", Text, nullable=False, server_default="suggested"),
    Column("parent", Integer),  # number of the trial this one repeats, or goes on from
    Column("source", Uuid),  # the parent's checkpoint from which it goes on while it has none of its own
    Column("priority", Integer, nullable=False, server_default="0"),  # enqueued trials go first
    Column("epoch", Integer, nullable=False, server_default="0"),  # the fence: rises at each lease
    Column("attempts", Integer, nullable=False, server_default="0"),  # leases that count against max_attempts
    Column("verdict", Text, nullable=False, server_default="continue"),
    Column("judged_step", BigInteger),  # the pruner has looked at reports up to this step
    Column("worker", Text),
    Column("gpu_seconds", Float, nullable=False, server_default="0"),
    Column("finish_hash", LargeBinary),  # of the accepted tell, so that its repetition is told from a contradiction
    Column("request_key", Text),
    Column("notes", Text, nullable=False, server_default=""),  # of people, for people
    _time("not_before"),
    _time("created_at", now=True),
    _time("started_at"),
    _time("finished_at"),
    _revision(),
    UniqueConstraint("study_id", "number"),
    UniqueConstraint("study_id", "request_key"),
    CheckConstraint("state in ('WAITING', 'RUNNING', 'COMPLETE', 'PRUNED', 'FAIL')", name="state"),
    CheckConstraint("verdict in ('continue', 'prune', 'pause', 'stop')", name="verdict"),
    CheckConstraint("origin in ('suggested', 'enqueued', 'added', 'portfolio', 'repeat', 'population')", name="origin"),
)
Index(
    "ix_trials_waiting",
    trials.c.study_id,
    trials.c.priority.desc(),
    trials.c.number,
    postgresql_where=trials.c.state == "WAITING",
)
Index("ix_trials_running", trials.c.study_id, postgresql_where=trials.c.state == "RUNNING")
Index("ix_trials_state", trials.c.study_id, trials.c.state)
Index("ix_trials_value", trials.c.study_id, trials.c.value, postgresql_where=trials.c.state == "COMPLETE")
Index("ix_trials_revision", trials.c.study_id, trials.c.revision)
Index("ix_trials_finished_at", trials.c.study_id, trials.c.finished_at, postgresql_where=trials.c.finished_at.is_not(None))
Index("ix_trials_repeats", trials.c.study_id, postgresql_where=trials.c.origin == "repeat")
Index("ix_trials_source", trials.c.source, postgresql_where=trials.c.source.is_not(None))

# One row a lease; its id is the lease's id. Rows lie in the order of their start, so a BRIN index finds the latest and costs nothing to keep.
attempts = Table(
    "attempts",
    metadata,
    Column("id", Uuid, primary_key=True),
    _project(),
    _study(),
    _trial(),
    Column("epoch", Integer, nullable=False),
    Column("worker", Text),
    Column("gpus", Float, nullable=False, server_default="0"),
    Column("devices", ARRAY(Integer)),  # indices of the worker's GPUs; null: not told
    Column("ttl", Float, nullable=False),
    Column("resumed_from", BigInteger),
    Column("request_key", Text, index=True),  # the same request again gets the same leases
    _time("started_at", now=True),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    _time("ended_at"),
    Column("reason", Text),
    Column("error", Text),
    Column("record", Text),  # JSON: everything that decided what the trial computed, so that it can be repeated
    UniqueConstraint("trial_id", "epoch"),
)
Index("uq_attempts_open", attempts.c.trial_id, unique=True, postgresql_where=attempts.c.ended_at.is_(None))
Index("ix_attempts_started_at", attempts.c.started_at, postgresql_using="brin")
Index("ix_attempts_expiry", attempts.c.expires_at, postgresql_where=attempts.c.ended_at.is_(None))

reports = Table(
    "reports",
    metadata,
    _trial(),
    Column("step", BigInteger, nullable=False),
    _study(),
    Column("epoch", Integer, nullable=False),
    Column("metrics", JSONB, nullable=False),  # {name: number or "NaN" | "Infinity" | "-Infinity"}
    _time("created_at", now=True),
    _revision(),
    PrimaryKeyConstraint("trial_id", "step"),
    Index("ix_reports_revision", "study_id", "revision"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", Uuid, primary_key=True),
    _project(),
    _trial(),
    Column("step", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    _time("created_at", now=True),
    UniqueConstraint("trial_id", "step", "epoch"),
)

logs = Table(
    "logs",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    _trial(),
    Column("epoch", Integer, nullable=False),
    Column("stream", Text, nullable=False),
    Column("text", Text, nullable=False),
    _time("created_at", now=True),
    Index("ix_logs_trial", "trial_id", "id"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    _project(),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False, server_default=""),
    Column("version", Text, nullable=False, server_default=""),
    Column("slots", Integer, nullable=False, server_default="0"),
    Column("gpus", JSONB, nullable=False, server_default="[]"),
    Column("cpus", Float, nullable=False, server_default="0"),
    Column("memory", BigInteger, nullable=False, server_default="0"),
    Column("usage", JSONB, nullable=False, server_default="[]"),  # tuner.workers: the latest samples, oldest first
    _time("registered_at", now=True),
    _time("seen_at", now=True),
    UniqueConstraint("project", "name"),
)

# What happened, for people to read; the machines follow revisions.
events = Table(
    "events",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    _project(),
    Column("study_id", BigInteger, ForeignKey("studies.id", ondelete="CASCADE"), index=True),
    Column("trial_number", Integer),
    Column("kind", Text, nullable=False),
    Column("data", JSONB, nullable=False, server_default="{}"),
    _time("created_at", now=True),
)

# Lease requests that wait for a trial. Unlogged: after a crash of the database nobody is waiting any more.
demands = Table(
    "demands",
    metadata,
    Column("id", Uuid, primary_key=True),
    _study(),
    Column("count", Integer, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Index("ix_demands_study", "study_id"),
    prefixes=["UNLOGGED"],
)

idempotency = Table(
    "idempotency",
    metadata,
    _project(),
    Column("key", Text, nullable=False),
    Column("body_hash", LargeBinary, nullable=False),
    Column("status", Integer),  # NULL while the first request runs
    Column("response", LargeBinary),
    _time("created_at", now=True),
    PrimaryKeyConstraint("project", "key"),
)
