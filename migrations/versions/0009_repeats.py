"""The trials of a study that repeat others, to be found without the rest."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_trials_repeats", "trials", ["study_id"], postgresql_where=sa.text("origin = 'repeat'"))


def downgrade() -> None:
    op.drop_index("ix_trials_repeats", table_name="trials")
