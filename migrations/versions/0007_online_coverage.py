"""Thresholds of prediction sets follow the labels of an alias."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("e_processes", sa.Column("coverage", DOCUMENT, nullable=True))


def downgrade() -> None:
    op.drop_column("e_processes", "coverage")
