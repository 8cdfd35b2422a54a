"""Jobs and checkpoints carry their warnings; a job says when its alias may move."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    for table in ("jobs", "checkpoints"):
        op.add_column(table, sa.Column("warnings", DOCUMENT, nullable=False, server_default="[]"))
    op.add_column(
        "jobs",
        sa.Column("alias_when", sa.String(length=10), nullable=False, server_default="better"),
    )


def downgrade() -> None:
    op.drop_column("jobs", "alias_when")
    for table in ("checkpoints", "jobs"):
        op.drop_column(table, "warnings")
