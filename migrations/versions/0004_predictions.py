"""Predictions that are remembered, their labels, versions of calibrators, and what tests say."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from store.ids import new_id

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.String(length=40)
ALIAS = sa.String(length=100)
MOMENT = sa.DateTime(timezone=True)
NUMBER = sa.Float(precision=53)
BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DOCUMENT = sa.JSON(none_as_null=True).with_variant(
    postgresql.JSONB(none_as_null=True), "postgresql"
)


def upgrade() -> None:
    _calibrators()
    _aliases()
    _predictions()
    _evidence()


def _calibrators() -> None:
    op.create_table(
        "calibrators",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("checkpoint_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("document", DOCUMENT, nullable=False),
        sa.Column("origin", sa.String(length=20), nullable=False),
        sa.Column("n", BIGINT, nullable=False),
        sa.Column("nll_before", NUMBER, nullable=True),
        sa.Column("nll_after", NUMBER, nullable=True),
        sa.Column("held_out", DOCUMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        _to("calibrators", "project_id", "projects"),
        _to("calibrators", "checkpoint_id", "checkpoints"),
        sa.PrimaryKeyConstraint("id", name="pk_calibrators"),
    )
    op.create_index("ix_calibrators_project_id", "calibrators", ["project_id"])
    op.create_index("ix_calibrators_checkpoint_id", "calibrators", ["checkpoint_id"])
    _first_versions()


def _first_versions() -> None:
    """What checkpoints were calibrated with until now is the first version of each."""
    checkpoints = sa.table(
        "checkpoints",
        *(sa.column(name) for name in ("id", "project_id")),
        sa.column("calibrator", DOCUMENT),
        sa.column("created_at", MOMENT),
    )
    plain = ("id", "project_id", "checkpoint_id", "kind", "origin", "n", "nll_before", "nll_after")
    calibrators = sa.table(
        "calibrators",
        *(sa.column(name) for name in plain),
        sa.column("document", DOCUMENT),
        sa.column("created_at", MOMENT),
    )
    connection = op.get_bind()
    found = connection.execute(sa.select(checkpoints).order_by(checkpoints.c.id)).all()
    rows = [
        {
            "id": new_id("cal"),
            "project_id": row.project_id,
            "checkpoint_id": row.id,
            "kind": str(row.calibrator.get("kind", "temperature")),
            "document": row.calibrator,
            "origin": "run",
            "n": int(row.calibrator.get("n", 0)),
            "nll_before": row.calibrator.get("nll_before"),
            "nll_after": row.calibrator.get("nll_after"),
            "created_at": row.created_at,
        }
        for row in found
        if row.calibrator
    ]
    if rows:
        connection.execute(sa.insert(calibrators), rows)


def _aliases() -> None:
    with op.batch_alter_table("model_aliases") as batch:
        batch.add_column(sa.Column("calibrator_id", ID, nullable=True))
        batch.add_column(sa.Column("log_rate", NUMBER, nullable=False, server_default="1"))
        batch.add_column(
            sa.Column("log_images", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch.create_foreign_key(
            "fk_model_aliases_calibrator_id_calibrators", "calibrators", ["calibrator_id"], ["id"]
        )
    with op.batch_alter_table("alias_changes") as batch:
        batch.add_column(sa.Column("calibrator_id", ID, nullable=True))
    # Whoever hears of jobs today is told of nothing else unasked.
    with op.batch_alter_table("webhooks") as batch:
        batch.add_column(sa.Column("events", DOCUMENT, nullable=False, server_default='["job"]'))


def _predictions() -> None:
    op.create_table(
        "predictions",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("alias", ALIAS, nullable=False),
        sa.Column("checkpoint_id", ID, nullable=False),
        sa.Column("calibrator_id", ID, nullable=True),
        sa.Column("class_index", sa.Integer(), nullable=False),
        sa.Column("confidence", NUMBER, nullable=False),
        sa.Column("raw_confidence", NUMBER, nullable=False),
        sa.Column("shift", NUMBER, nullable=True),
        sa.Column("logits", sa.LargeBinary(), nullable=True),
        sa.Column("log_rate", NUMBER, nullable=False),
        sa.Column("image_artifact_id", ID, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        _to("predictions", "project_id", "projects"),
        _to("predictions", "checkpoint_id", "checkpoints"),
        _to("predictions", "calibrator_id", "calibrators"),
        _to("predictions", "image_artifact_id", "artifacts"),
        sa.PrimaryKeyConstraint("id", name="pk_predictions"),
    )
    op.create_index(
        "ix_predictions_project_id_alias_id", "predictions", ["project_id", "alias", "id"]
    )
    op.create_table(
        "labels",
        sa.Column("prediction_id", ID, nullable=False),
        sa.Column("class_index", sa.Integer(), nullable=False),
        sa.Column("key_id", ID, nullable=True),
        sa.Column("given_at", MOMENT, nullable=False),
        sa.Column("changed_at", MOMENT, nullable=True),
        _to("labels", "prediction_id", "predictions"),
        _to("labels", "key_id", "api_keys"),
        sa.PrimaryKeyConstraint("prediction_id", name="pk_labels"),
    )


def _evidence() -> None:
    op.create_table(
        "e_processes",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("alias", ALIAS, nullable=False),
        sa.Column("checkpoint_id", ID, nullable=False),
        sa.Column("calibrator", ID, nullable=False),
        sa.Column("state", DOCUMENT, nullable=True),
        sa.Column("begun_at", MOMENT, nullable=False),
        sa.Column("rejected_at", MOMENT, nullable=True),
        _to("e_processes", "project_id", "projects"),
        _to("e_processes", "checkpoint_id", "checkpoints"),
        sa.PrimaryKeyConstraint(
            "project_id", "alias", "checkpoint_id", "calibrator", name="pk_e_processes"
        ),
    )
    op.create_table(
        "calibration_alerts",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("alias", ALIAS, nullable=False),
        sa.Column("checkpoint_id", ID, nullable=False),
        sa.Column("calibrator_id", ID, nullable=True),
        sa.Column("evidence", NUMBER, nullable=False),
        sa.Column("alpha", NUMBER, nullable=False),
        sa.Column("labels", BIGINT, nullable=False),
        sa.Column("finding", sa.Text(), nullable=True),
        sa.Column("raised_at", MOMENT, nullable=False),
        sa.Column("resolved_at", MOMENT, nullable=True),
        _to("calibration_alerts", "project_id", "projects"),
        _to("calibration_alerts", "checkpoint_id", "checkpoints"),
        _to("calibration_alerts", "calibrator_id", "calibrators"),
        sa.PrimaryKeyConstraint("id", name="pk_calibration_alerts"),
    )
    op.create_index(
        "ix_calibration_alerts_project_id_alias_id",
        "calibration_alerts",
        ["project_id", "alias", "id"],
    )


def _to(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=f"fk_{table}_{column}_{other}")


def downgrade() -> None:
    for table in ("calibration_alerts", "e_processes", "labels", "predictions"):
        op.drop_table(table)
    with op.batch_alter_table("webhooks") as batch:
        batch.drop_column("events")
    with op.batch_alter_table("alias_changes") as batch:
        batch.drop_column("calibrator_id")
    with op.batch_alter_table("model_aliases") as batch:
        batch.drop_constraint("fk_model_aliases_calibrator_id_calibrators", type_="foreignkey")
        for column in ("calibrator_id", "log_rate", "log_images"):
            batch.drop_column(column)
    op.drop_table("calibrators")
