"""The checkpoint of another trial from which a trial goes on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trials", sa.Column("source", sa.Uuid(), nullable=True))
    op.create_index("ix_trials_source", "trials", ["source"], postgresql_where=sa.text("source IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("ix_trials_source", table_name="trials")
    op.drop_column("trials", "source")
