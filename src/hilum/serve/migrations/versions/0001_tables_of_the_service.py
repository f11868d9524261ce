"""tables of the service"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _audit()
    _events()
    _images()
    _notes()
    _sessions()
    _work()
    _deliveries()
    _feedback()
    _results()


def downgrade() -> None:
    op.drop_index(op.f("ix_results_image"), table_name="results")
    op.drop_table("results")
    op.drop_index(op.f("ix_feedback_image"), table_name="feedback")
    op.drop_table("feedback")
    op.drop_index(op.f("ix_deliveries_state"), table_name="deliveries")
    op.drop_index(op.f("ix_deliveries_image"), table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_index("work_due", table_name="work")
    op.drop_index(op.f("ix_work_subject"), table_name="work")
    op.drop_index(op.f("ix_work_owner"), table_name="work")
    op.drop_table("work")
    op.drop_table("sessions")
    op.drop_table("notes")
    op.drop_index(op.f("ix_images_study"), table_name="images")
    op.drop_index(op.f("ix_images_sop"), table_name="images")
    op.drop_index(op.f("ix_images_score"), table_name="images")
    op.drop_index(op.f("ix_images_patient"), table_name="images")
    op.drop_index("images_state", table_name="images")
    op.drop_index("images_received", table_name="images")
    op.drop_table("images")
    op.drop_index(op.f("ix_events_image"), table_name="events")
    op.drop_table("events")
    op.drop_table("audit")


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("image", sa.String(length=32), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index(op.f("ix_events_image"), "events", ["image"], unique=False)


def _images() -> None:
    op.create_table(
        "images",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("received", sa.Double(), nullable=False),
        sa.Column("analysed", sa.Double(), nullable=True),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("sender", sa.String(length=1024), nullable=True),
        sa.Column("name", sa.String(length=1024), nullable=True),
        sa.Column("wanted", sa.String(length=64), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("sop_class", sa.String(length=64), nullable=True),
        sa.Column("sop", sa.String(length=1024), nullable=True),
        sa.Column("series", sa.String(length=1024), nullable=True),
        sa.Column("study", sa.String(length=1024), nullable=True),
        sa.Column("patient", sa.String(length=1024), nullable=True),
        sa.Column("patient_name", sa.String(length=1024), nullable=True),
        sa.Column("study_date", sa.String(length=32), nullable=True),
        sa.Column("accession", sa.String(length=1024), nullable=True),
        sa.Column("modality", sa.String(length=32), nullable=True),
        sa.Column("view", sa.String(length=32), nullable=True),
        sa.Column("manufacturer", sa.String(length=1024), nullable=True),
        sa.Column("syntax", sa.String(length=64), nullable=True),
        sa.Column("rows", sa.Integer(), nullable=True),
        sa.Column("columns", sa.Integer(), nullable=True),
        sa.Column("spacing", sa.JSON(), nullable=True),
        sa.Column("inverted", sa.Boolean(), nullable=False),
        sa.Column("pipeline", sa.String(length=64), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("finding", sa.Boolean(), nullable=True),
        sa.Column("prior", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("images_received", "images", ["received"], unique=False)
    op.create_index("images_state", "images", ["state", "received"], unique=False)
    op.create_index(op.f("ix_images_patient"), "images", ["patient"], unique=False)
    op.create_index(op.f("ix_images_score"), "images", ["score"], unique=False)
    op.create_index(op.f("ix_images_sop"), "images", ["sop"], unique=False)
    op.create_index(op.f("ix_images_study"), "images", ["study"], unique=False)


def _notes() -> None:
    op.create_table(
        "notes",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=1024), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _work() -> None:
    op.create_table(
        "work",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=32), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("lease", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_work_owner"), "work", ["owner"], unique=False)
    op.create_index(op.f("ix_work_subject"), "work", ["subject"], unique=False)
    op.create_index("work_due", "work", ["state", "priority", "due"], unique=False)


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("image", sa.String(length=32), nullable=False),
        sa.Column("result", sa.String(length=32), nullable=True),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("object", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("changed", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image"],
            ["images.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_deliveries_image"), "deliveries", ["image"], unique=False)
    op.create_index(op.f("ix_deliveries_state"), "deliveries", ["state"], unique=False)


def _feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("image", sa.String(length=32), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("by", sa.String(length=1024), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("pipeline", sa.String(length=64), nullable=True),
        sa.Column("finding", sa.String(length=1024), nullable=True),
        sa.Column("boxes", sa.JSON(), nullable=True),
        sa.Column("label", sa.String(length=1024), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["image"],
            ["images.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_feedback_image"), "feedback", ["image"], unique=False)


def _results() -> None:
    op.create_table(
        "results",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("image", sa.String(length=32), nullable=False),
        sa.Column("pipeline", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("made", sa.Double(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("shadow", sa.Boolean(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image"],
            ["images.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_results_image"), "results", ["image"], unique=False)
