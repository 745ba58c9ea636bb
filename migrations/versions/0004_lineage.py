"""The trial another one repeats, or goes on from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ORIGINS = "'suggested', 'enqueued', 'added', 'portfolio'"


def upgrade() -> None:
    op.add_column("trials", sa.Column("parent", sa.Integer(), nullable=True))
    op.drop_constraint(op.f("ck_trials_origin"), "trials", type_="check")
    op.create_check_constraint(op.f("ck_trials_origin"), "trials", f"origin in ({_ORIGINS}, 'repeat', 'population')")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_trials_origin"), "trials", type_="check")
    op.create_check_constraint(op.f("ck_trials_origin"), "trials", f"origin in ({_ORIGINS})")
    op.drop_column("trials", "parent")
