"""Initial schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The statements that SQLAlchemy cannot express.
TRIGGERS = (
    """
    CREATE FUNCTION tuner_touch() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.revision := pg_current_xact_id()::text::bigint;
        RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER tuner_touch BEFORE INSERT OR UPDATE ON studies FOR EACH ROW EXECUTE FUNCTION tuner_touch()",
    "CREATE TRIGGER tuner_touch BEFORE INSERT OR UPDATE ON trials FOR EACH ROW EXECUTE FUNCTION tuner_touch()",
    "CREATE TRIGGER tuner_touch BEFORE INSERT OR UPDATE ON reports FOR EACH ROW EXECUTE FUNCTION tuner_touch()",
    """
    CREATE FUNCTION tuner_final() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'trial % is %, and a final state is final', OLD.id, OLD.state USING ERRCODE = 'TN001';
    END $$
    """,
    # A second lock, independent of the code above it: no statement takes a trial out of a final state.
    """
    CREATE TRIGGER tuner_final BEFORE UPDATE OF state ON trials FOR EACH ROW
    WHEN (OLD.state IN ('COMPLETE', 'PRUNED', 'FAIL') AND NEW.state IS DISTINCT FROM OLD.state) EXECUTE FUNCTION tuner_final()
    """,
)


def upgrade() -> None:
    op.create_table(
        "projects",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_projects")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("scope in ('admin', 'submitter', 'worker', 'viewer')", name=op.f("ck_api_keys_scope")),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name=op.f("fk_api_keys_project_projects"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_table(
        "idempotency",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("response", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name=op.f("fk_idempotency_project_projects"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("project", "key", name=op.f("pk_idempotency")),
    )
    op.create_table(
        "studies",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="RUNNING", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("spec", sa.Text(), nullable=True),
        sa.Column("spec_digest", sa.Text(), nullable=True),
        sa.Column("objectives", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("executor", sa.Text(), server_default="external", nullable=False),
        sa.Column("gpus", sa.Float(), server_default="0", nullable=False),
        sa.Column("cpus", sa.Float(), server_default="0", nullable=False),
        sa.Column("limits", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("pruned_by_search", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_number", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tags", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("notes", sa.Text(), server_default="", nullable=False),
        sa.Column("user_attrs", sa.Text(), server_default="{}", nullable=False),
        sa.Column("system_attrs", sa.Text(), server_default="{}", nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "state in ('RUNNING', 'PAUSED', 'STOPPING', 'COMPLETE', 'STOPPED', 'FAIL')", name=op.f("ck_studies_state")
        ),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name=op.f("fk_studies_project_projects"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("project", "name", name=op.f("uq_studies_project_name")),
    )
    op.create_index("ix_studies_state", "studies", ["state"], unique=False)
    op.create_table(
        "workers",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), server_default="", nullable=False),
        sa.Column("version", sa.Text(), server_default="", nullable=False),
        sa.Column("slots", sa.Integer(), server_default="0", nullable=False),
        sa.Column("gpus", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("cpus", sa.Float(), server_default="0", nullable=False),
        sa.Column("memory", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name=op.f("fk_workers_project_projects"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
        sa.UniqueConstraint("project", "name", name=op.f("uq_workers_project_name")),
    )
    op.create_table(
        "demands",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_demands_study_id_studies"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_demands")),
        prefixes=["UNLOGGED"],
    )
    op.create_index("ix_demands_study", "demands", ["study_id"], unique=False)
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=True),
        sa.Column("trial_number", sa.Integer(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name=op.f("fk_events_project_projects"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_events_study_id_studies"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_study_id"), "events", ["study_id"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind in ('code', 'session')", name=op.f("ck_sessions_kind")),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_sessions_key_id_api_keys"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_key_id"), "sessions", ["key_id"], unique=False)
    op.create_table(
        "trials",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("params", sa.Text(), server_default="{}", nullable=False),
        sa.Column("distributions", sa.Text(), server_default="{}", nullable=False),
        sa.Column("objective_values", sa.Text(), nullable=True),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("user_attrs", sa.Text(), server_default="{}", nullable=False),
        sa.Column("system_attrs", sa.Text(), server_default="{}", nullable=False),
        sa.Column("origin", sa.Text(), server_default="suggested", nullable=False),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("verdict", sa.Text(), server_default="continue", nullable=False),
        sa.Column("judged_step", sa.BigInteger(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("gpu_seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column("finish_hash", sa.LargeBinary(), nullable=True),
        sa.Column("request_key", sa.Text(), nullable=True),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("origin in ('suggested', 'enqueued', 'added')", name=op.f("ck_trials_origin")),
        sa.CheckConstraint("state in ('WAITING', 'RUNNING', 'COMPLETE', 'PRUNED', 'FAIL')", name=op.f("ck_trials_state")),
        sa.CheckConstraint("verdict in ('continue', 'prune', 'pause', 'stop')", name=op.f("ck_trials_verdict")),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name=op.f("fk_trials_project_projects"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_trials_study_id_studies"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trials")),
        sa.UniqueConstraint("study_id", "number", name=op.f("uq_trials_study_id_number")),
        sa.UniqueConstraint("study_id", "request_key", name=op.f("uq_trials_study_id_request_key")),
    )
    op.create_index("ix_trials_revision", "trials", ["study_id", "revision"], unique=False)
    op.create_index("ix_trials_running", "trials", ["study_id"], unique=False, postgresql_where=sa.text("state = 'RUNNING'"))
    op.create_index("ix_trials_state", "trials", ["study_id", "state"], unique=False)
    op.create_index(
        "ix_trials_value", "trials", ["study_id", "value"], unique=False, postgresql_where=sa.text("state = 'COMPLETE'")
    )
    op.create_index(
        "ix_trials_waiting",
        "trials",
        ["study_id", sa.literal_column("priority DESC"), "number"],
        unique=False,
        postgresql_where=sa.text("state = 'WAITING'"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("trial_id", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("gpus", sa.Float(), server_default="0", nullable=False),
        sa.Column("ttl", sa.Float(), nullable=False),
        sa.Column("resumed_from", sa.BigInteger(), nullable=True),
        sa.Column("request_key", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name=op.f("fk_attempts_project_projects"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_attempts_study_id_studies"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_attempts_trial_id_trials"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("trial_id", "epoch", name=op.f("uq_attempts_trial_id_epoch")),
    )
    op.create_index("ix_attempts_expiry", "attempts", ["expires_at"], unique=False, postgresql_where=sa.text("ended_at IS NULL"))
    op.create_index(op.f("ix_attempts_request_key"), "attempts", ["request_key"], unique=False)
    op.create_index("uq_attempts_open", "attempts", ["trial_id"], unique=True, postgresql_where=sa.text("ended_at IS NULL"))
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("trial_id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name=op.f("fk_checkpoints_project_projects"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_checkpoints_trial_id_trials"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
        sa.UniqueConstraint("trial_id", "step", "epoch", name=op.f("uq_checkpoints_trial_id_step_epoch")),
    )
    op.create_table(
        "logs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("trial_id", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_logs_trial_id_trials"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_logs")),
    )
    op.create_index("ix_logs_trial", "logs", ["trial_id", "id"], unique=False)
    op.create_table(
        "reports",
        sa.Column("trial_id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_reports_study_id_studies"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_reports_trial_id_trials"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("trial_id", "step", name=op.f("pk_reports")),
    )
    op.create_index("ix_reports_revision", "reports", ["study_id", "revision"], unique=False)
    for statement in TRIGGERS:
        op.execute(statement)


def downgrade() -> None:
    op.drop_index("ix_reports_revision", table_name="reports")
    op.drop_table("reports")
    op.drop_index("ix_logs_trial", table_name="logs")
    op.drop_table("logs")
    op.drop_table("checkpoints")
    op.drop_index("uq_attempts_open", table_name="attempts", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_index(op.f("ix_attempts_request_key"), table_name="attempts")
    op.drop_index("ix_attempts_expiry", table_name="attempts", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_table("attempts")
    op.drop_index("ix_trials_waiting", table_name="trials", postgresql_where=sa.text("state = 'WAITING'"))
    op.drop_index("ix_trials_value", table_name="trials", postgresql_where=sa.text("state = 'COMPLETE'"))
    op.drop_index("ix_trials_state", table_name="trials")
    op.drop_index("ix_trials_running", table_name="trials", postgresql_where=sa.text("state = 'RUNNING'"))
    op.drop_index("ix_trials_revision", table_name="trials")
    op.drop_table("trials")
    op.drop_index(op.f("ix_sessions_key_id"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index(op.f("ix_events_study_id"), table_name="events")
    op.drop_table("events")
    op.drop_index("ix_demands_study", table_name="demands")
    op.drop_table("demands")
    op.drop_table("workers")
    op.drop_index("ix_studies_state", table_name="studies")
    op.drop_table("studies")
    op.drop_table("idempotency")
    op.drop_table("api_keys")
    op.drop_table("projects")
    op.execute("DROP FUNCTION tuner_final()")
    op.execute("DROP FUNCTION tuner_touch()")
