"""Notes of a trial, studies put away, what the machines of workers were doing lately."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("archived", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("trials", sa.Column("notes", sa.Text(), server_default="", nullable=False))
    op.add_column("workers", sa.Column("usage", postgresql.JSONB(), server_default="[]", nullable=False))


def downgrade() -> None:
    op.drop_column("workers", "usage")
    op.drop_column("trials", "notes")
    op.drop_column("studies", "archived")
