"""The latest attempts, for the view of the fleet."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_attempts_started_at", "attempts", ["started_at"], postgresql_using="brin")


def downgrade() -> None:
    op.drop_index("ix_attempts_started_at", table_name="attempts")
