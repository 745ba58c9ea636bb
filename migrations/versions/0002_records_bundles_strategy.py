"""What decided a trial, code shipped with a study, and what the search decided for a study."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bundles",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name=op.f("fk_bundles_project_projects"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("project", "sha256", name=op.f("pk_bundles")),
    )
    op.add_column("studies", sa.Column("bundle", sa.Text(), nullable=True))
    op.create_foreign_key(
        op.f("fk_studies_project_bundle_bundles"),
        "studies",
        "bundles",
        ["project", "bundle"],
        ["project", "sha256"],
        ondelete="RESTRICT",
    )
    op.add_column("studies", sa.Column("strategy", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("attempts", sa.Column("record", sa.Text(), nullable=True))
    op.drop_constraint(op.f("ck_trials_origin"), "trials", type_="check")
    op.create_check_constraint(op.f("ck_trials_origin"), "trials", "origin in ('suggested', 'enqueued', 'added', 'portfolio')")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_trials_origin"), "trials", type_="check")
    op.create_check_constraint(op.f("ck_trials_origin"), "trials", "origin in ('suggested', 'enqueued', 'added')")
    op.drop_column("attempts", "record")
    op.drop_column("studies", "strategy")
    op.drop_constraint(op.f("fk_studies_project_bundle_bundles"), "studies", type_="foreignkey")
    op.drop_column("studies", "bundle")
    op.drop_table("bundles")
