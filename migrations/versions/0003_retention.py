"""Checkpoints and data sets that were deleted keep their rows; bytes are held while copied."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.String(length=40)
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    for table in ("checkpoints", "datasets"):
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("deleted_at", MOMENT, nullable=True))
    op.create_table(
        "blob_holds",
        sa.Column("id", ID, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_blob_holds"),
    )


def downgrade() -> None:
    op.drop_table("blob_holds")
    for table in ("checkpoints", "datasets"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("deleted_at")
