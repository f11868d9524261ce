"""deliveries wait for a storage commitment; a work item is one piece of work"""

from __future__ import annotations

import hashlib
import time
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_PREFIX = "workitem "
_NOTES = sa.table("notes", sa.column("name", sa.String), sa.column("value", sa.JSON))
_WORK = sa.table(
    "work",
    sa.column("id", sa.String),
    sa.column("kind", sa.String),
    sa.column("subject", sa.String),
    sa.column("details", sa.JSON),
    sa.column("state", sa.String),
    sa.column("priority", sa.Integer),
    sa.column("due", sa.Double),
    sa.column("attempts", sa.Integer),
    sa.column("crashes", sa.Integer),
)


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("commitment", sa.String(length=64), nullable=True))
    op.add_column("deliveries", sa.Column("report", sa.JSON(), nullable=True))
    op.create_index(op.f("ix_deliveries_commitment"), "deliveries", ["commitment"], unique=False)
    op.execute(_WORK.delete().where(_WORK.c.kind == "report"))
    for name, value in _open_items():
        more = {"at": time.time(), "claimed": True, "problem": None}
        op.execute(_NOTES.update().where(_NOTES.c.name == name).values(value=value | more))
        _add("workitem", name.removeprefix(_PREFIX))


def downgrade() -> None:
    op.execute(_WORK.delete().where(_WORK.c.kind == "workitem"))
    for _, value in _open_items():
        for image in value["images"]:
            _add("report", image)
    op.drop_index(op.f("ix_deliveries_commitment"), table_name="deliveries")
    op.drop_column("deliveries", "report")
    op.drop_column("deliveries", "commitment")


def _open_items() -> list[tuple[str, dict[str, Any]]]:
    query = sa.select(_NOTES.c.name, _NOTES.c.value).where(_NOTES.c.name.startswith(_PREFIX))
    return [(name, value) for name, value in op.get_bind().execute(query)]


def _add(kind: str, subject: str) -> None:
    id = hashlib.sha256(f"{kind}\0{subject}\0".encode()).hexdigest()[:32]
    row: dict[str, Any] = {
        "id": id,
        "kind": kind,
        "subject": subject,
        "details": {},
        "state": "waiting",
    }
    row |= {"priority": 0, "due": time.time(), "attempts": 0, "crashes": 0}
    op.execute(_WORK.insert().values(row))
