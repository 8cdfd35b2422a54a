"""The tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.String(length=40)
MOMENT = sa.DateTime(timezone=True)
BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "alias_changes",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("checkpoint_id", ID, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alias_changes"),
    )
    op.create_index("ix_alias_changes_name", "alias_changes", ["name"])

    op.create_table(
        "artifacts",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", ID, nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=True),
        sa.Column("media_type", sa.String(length=100), nullable=False),
        sa.Column("blob_key", sa.String(length=300), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("size", BIGINT, nullable=True),
        sa.Column("job_id", ID, nullable=True),
        sa.Column("fence", BIGINT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
    )
    op.create_index("ix_artifacts_blob_key", "artifacts", ["blob_key"])
    op.create_index("ix_artifacts_job_id", "artifacts", ["job_id"])

    op.create_table(
        "blob_chunks",
        sa.Column("blob_key", sa.String(length=300), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("blob_key", "seq", name="pk_blob_chunks"),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Weights and images do not compress: trying costs time and saves nothing.
        op.execute("ALTER TABLE blob_chunks ALTER COLUMN data SET STORAGE EXTERNAL")
    op.create_table(
        "idempotency_records",
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("route", sa.String(length=100), nullable=False),
        sa.Column("fingerprint", sa.String(length=2000), nullable=False),
        sa.Column("response", DOCUMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key", "route", name="pk_idempotency_records"),
    )
    op.create_table(
        "datasets",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("source", DOCUMENT, nullable=False),
        sa.Column("classes", DOCUMENT, nullable=False),
        sa.Column("splits", DOCUMENT, nullable=False),
        sa.Column("images", BIGINT, nullable=False),
        sa.Column("bytes", BIGINT, nullable=False),
        sa.Column("artifact_id", ID, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifacts.id"], name="fk_datasets_artifact_id_artifacts"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=True),
        sa.Column("alias", sa.String(length=100), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("spec", DOCUMENT, nullable=False),
        sa.Column("dataset", sa.String(length=1024), nullable=False),
        sa.Column("method", ID, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("fence", BIGINT, nullable=False),
        sa.Column("worker", sa.String(length=300), nullable=True),
        sa.Column("lease_expires_at", MOMENT, nullable=True),
        sa.Column("rung_at", MOMENT, nullable=True),
        sa.Column("event_seq", sa.Integer(), nullable=False),
        sa.Column("progress", DOCUMENT, nullable=True),
        sa.Column("error", DOCUMENT, nullable=True),
        sa.Column("snapshot_artifact_id", ID, nullable=True),
        sa.Column("snapshot_step", BIGINT, nullable=True),
        sa.Column("checkpoint_id", ID, nullable=True),
        sa.Column("report_id", ID, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["snapshot_artifact_id"],
            ["artifacts.id"],
            name="fk_jobs_snapshot_artifact_id_artifacts",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_state_lease_expires_at", "jobs", ["state", "lease_expires_at"])
    op.create_index("ix_jobs_updated_at", "jobs", ["updated_at"])

    op.create_table(
        "checkpoints",
        sa.Column("id", ID, nullable=False),
        sa.Column("job_id", ID, nullable=False),
        sa.Column("artifact_id", ID, nullable=False),
        sa.Column("name", sa.String(length=300), nullable=True),
        sa.Column("architecture", sa.String(length=300), nullable=False),
        sa.Column("method", ID, nullable=False),
        sa.Column("classes", DOCUMENT, nullable=False),
        sa.Column("templates", DOCUMENT, nullable=False),
        sa.Column("calibrator", DOCUMENT, nullable=True),
        sa.Column("metrics", DOCUMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifacts.id"], name="fk_checkpoints_artifact_id_artifacts"
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_checkpoints_job_id_jobs"),
        sa.PrimaryKeyConstraint("id", name="pk_checkpoints"),
    )
    op.create_index("ix_checkpoints_job_id", "checkpoints", ["job_id"])

    op.create_table(
        "job_events",
        sa.Column("job_id", ID, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("type", ID, nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", DOCUMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_events_job_id_jobs"),
        sa.PrimaryKeyConstraint("job_id", "seq", name="pk_job_events"),
    )
    op.create_table(
        "job_metrics",
        sa.Column("job_id", ID, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("step", BIGINT, nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_metrics_job_id_jobs"),
        sa.PrimaryKeyConstraint("job_id", "name", "step", name="pk_job_metrics"),
    )
    op.create_table(
        "model_aliases",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("checkpoint_id", ID, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoints.id"], name="fk_model_aliases_checkpoint_id_checkpoints"
        ),
        sa.PrimaryKeyConstraint("name", name="pk_model_aliases"),
    )
    op.create_table(
        "reports",
        sa.Column("id", ID, nullable=False),
        sa.Column("job_id", ID, nullable=False),
        sa.Column("checkpoint_id", ID, nullable=True),
        sa.Column("logits_artifact_id", ID, nullable=True),
        sa.Column("document", DOCUMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoints.id"], name="fk_reports_checkpoint_id_checkpoints"
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_reports_job_id_jobs"),
        sa.ForeignKeyConstraint(
            ["logits_artifact_id"], ["artifacts.id"], name="fk_reports_logits_artifact_id_artifacts"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
    )
    op.create_index("ix_reports_job_id", "reports", ["job_id"])


def downgrade() -> None:
    op.drop_index("ix_reports_job_id", "reports")

    op.drop_table("reports")
    op.drop_table("model_aliases")
    op.drop_table("job_metrics")
    op.drop_table("job_events")
    op.drop_index("ix_checkpoints_job_id", "checkpoints")

    op.drop_table("checkpoints")
    op.drop_index("ix_jobs_updated_at", "jobs")
    op.drop_index("ix_jobs_state_lease_expires_at", "jobs")

    op.drop_table("jobs")
    op.drop_table("datasets")
    op.drop_table("idempotency_records")
    op.drop_table("blob_chunks")
    op.drop_index("ix_artifacts_job_id", "artifacts")
    op.drop_index("ix_artifacts_blob_key", "artifacts")

    op.drop_table("artifacts")
    op.drop_index("ix_alias_changes_name", "alias_changes")

    op.drop_table("alias_changes")
