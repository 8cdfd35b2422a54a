"""Workers say that they are there, whether they have a job or not."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.String(length=40)
MOMENT = sa.DateTime(timezone=True)
BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("host", sa.String(length=300), nullable=False),
        sa.Column("pid", BIGINT, nullable=False),
        sa.Column("queues", DOCUMENT, nullable=False),
        sa.Column("devices", DOCUMENT, nullable=False),
        sa.Column("version", sa.String(length=100), nullable=False),
        sa.Column("silent_after_seconds", sa.Float(precision=53), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("heartbeat_at", MOMENT, nullable=False),
        sa.Column("stopped_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.create_index("ix_workers_name", "workers", ["name"])


def downgrade() -> None:
    op.drop_table("workers")
