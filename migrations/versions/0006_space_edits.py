"""The edits of a study's search space."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("space_edits", JSONB(), nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("studies", "space_edits")
