"""Whether a trial has kept the outcome constraints of its study."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trials", sa.Column("constraint_values", sa.Text()))
    op.add_column("trials", sa.Column("violation", sa.Float()))


def downgrade() -> None:
    op.drop_column("trials", "violation")
    op.drop_column("trials", "constraint_values")
