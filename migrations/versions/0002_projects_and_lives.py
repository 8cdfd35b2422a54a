"""Projects and keys; jobs that pause, wait in line, and tell how an attempt ended; webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.String(length=40)
MOMENT = sa.DateTime(timezone=True)
BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
DEFAULT_PROJECT = "proj_" + 26 * "0"
OWNED = ("datasets", "jobs", "checkpoints", "reports", "alias_changes")


def upgrade() -> None:
    _projects_and_keys()
    for table in (*OWNED, "model_aliases", "idempotency_records"):
        _own(table)
    _name_within_projects("model_aliases", ["project_id", "name"])
    _name_within_projects("idempotency_records", ["project_id", "key", "route"])
    _jobs()
    _webhooks()


def _projects_and_keys() -> None:
    op.create_table(
        "projects",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
        sa.UniqueConstraint("name", name="uq_projects_name"),
    )
    op.execute(
        "INSERT INTO projects (id, name, created_at) "  # noqa: S608 - constants
        f"VALUES ('{DEFAULT_PROJECT}', 'default', CURRENT_TIMESTAMP)"
    )
    op.create_table(
        "api_keys",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("name", sa.String(length=300), nullable=True),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("scopes", DOCUMENT, nullable=False),
        sa.Column("max_running_jobs", sa.Integer(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("revoked_at", MOMENT, nullable=True),
        sa.Column("last_used_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name="fk_api_keys_project_id_projects"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_index("ix_api_keys_project_id", "api_keys", ["project_id"])
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("key_id", ID, nullable=False),
        sa.Column("csrf_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_sessions_key_id_api_keys"),
        sa.PrimaryKeyConstraint("token_sha256", name="pk_sessions"),
    )


def _own(table: str) -> None:
    """Rows from before there were projects belong to the default one."""
    with op.batch_alter_table(table) as batch:
        batch.add_column(sa.Column("project_id", ID, nullable=True))
    op.execute(f"UPDATE {table} SET project_id = '{DEFAULT_PROJECT}'")  # noqa: S608 - constants
    with op.batch_alter_table(table) as batch:
        batch.alter_column("project_id", existing_type=ID, nullable=False)
        batch.create_foreign_key(
            f"fk_{table}_project_id_projects", "projects", ["project_id"], ["id"]
        )
        if table in OWNED:
            batch.create_index(f"ix_{table}_project_id", ["project_id"])


def _name_within_projects(table: str, columns: list[str]) -> None:
    with op.batch_alter_table(table) as batch:
        batch.drop_constraint(f"pk_{table}", type_="primary")
        batch.create_primary_key(f"pk_{table}", columns)


def _jobs() -> None:
    with op.batch_alter_table("jobs") as batch:
        batch.add_column(sa.Column("key_id", ID, nullable=True))
        batch.add_column(sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
        batch.add_column(
            sa.Column("queue", sa.String(length=20), nullable=False, server_default="cpu")
        )
        batch.add_column(sa.Column("processes", sa.Integer(), nullable=False, server_default="1"))
        batch.add_column(sa.Column("retries", sa.Integer(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("max_seconds", sa.Float(precision=53), nullable=True))
        batch.add_column(
            sa.Column("seconds_spent", sa.Float(precision=53), nullable=False, server_default="0")
        )
        batch.add_column(sa.Column("last_exit", DOCUMENT, nullable=True))
        batch.add_column(sa.Column("not_responding_since", MOMENT, nullable=True))
        batch.create_foreign_key("fk_jobs_key_id_api_keys", "api_keys", ["key_id"], ["id"])
        batch.create_index("ix_jobs_state_queue_priority", ["state", "queue", "priority"])


def _webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("secret", sa.String(length=100), nullable=False),
        sa.Column("states", DOCUMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("failing_since", MOMENT, nullable=True),
        sa.Column("disabled_at", MOMENT, nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name="fk_webhooks_project_id_projects"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
    )
    op.create_index("ix_webhooks_project_id", "webhooks", ["project_id"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", ID, nullable=False),
        sa.Column("webhook_id", ID, nullable=False),
        sa.Column("job_id", ID, nullable=True),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("payload", DOCUMENT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=True),
        sa.Column("delivered_at", MOMENT, nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_webhook_deliveries_job_id_jobs"),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name="fk_webhook_deliveries_webhook_id_webhooks"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
        sa.UniqueConstraint(
            "webhook_id", "job_id", "seq", name="uq_webhook_deliveries_webhook_id_job_id_seq"
        ),
    )
    op.create_index("ix_webhook_deliveries_job_id", "webhook_deliveries", ["job_id"])
    op.create_index(
        "ix_webhook_deliveries_webhook_id_next_attempt_at",
        "webhook_deliveries",
        ["webhook_id", "next_attempt_at"],
    )


def downgrade() -> None:
    op.drop_table("webhook_deliveries")
    op.drop_table("webhooks")
    with op.batch_alter_table("jobs") as batch:
        batch.drop_index("ix_jobs_state_queue_priority")
        batch.drop_constraint("fk_jobs_key_id_api_keys", type_="foreignkey")
        for column in (
            "key_id", "priority", "queue", "processes", "retries", "max_seconds", "seconds_spent",
            "last_exit", "not_responding_since",
        ):  # fmt: skip
            batch.drop_column(column)
    _name_within_projects("model_aliases", ["name"])
    _name_within_projects("idempotency_records", ["key", "route"])
    for table in (*OWNED, "model_aliases", "idempotency_records"):
        with op.batch_alter_table(table) as batch:
            if table in OWNED:
                batch.drop_index(f"ix_{table}_project_id")
            batch.drop_constraint(f"fk_{table}_project_id_projects", type_="foreignkey")
            batch.drop_column("project_id")
    op.drop_table("sessions")
    op.drop_table("api_keys")
    op.drop_table("projects")
