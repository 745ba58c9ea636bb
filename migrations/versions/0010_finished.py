"""The trials of a study that ended last, to be found without the rest: how fast it goes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_trials_finished_at", "trials", ["study_id", "finished_at"], postgresql_where=sa.text("finished_at IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index("ix_trials_finished_at", table_name="trials")
