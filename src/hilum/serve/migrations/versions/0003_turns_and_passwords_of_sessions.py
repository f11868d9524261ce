"""askers of work take turns; a session ends with the password that it began with"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("work", sa.Column("asked", sa.Double(), nullable=False, server_default="0"))
    op.add_column("work", sa.Column("asker", sa.String(length=1024), nullable=True))
    op.add_column("work", sa.Column("turn", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("sessions", sa.Column("password", sa.String(length=64), nullable=True))
    op.drop_index("work_due", table_name="work")
    op.create_index("work_due", "work", ["state", "priority", "turn", "due"], unique=False)
    op.create_index("work_turn", "work", ["state", "turn"], unique=False)
    op.create_index("work_asker", "work", ["asker", "state", "turn"], unique=False)


def downgrade() -> None:
    for index in ("work_asker", "work_turn", "work_due"):
        op.drop_index(index, table_name="work")
    op.create_index("work_due", "work", ["state", "priority", "due"], unique=False)
    op.drop_column("sessions", "password")
    for column in ("turn", "asker", "asked"):
        op.drop_column("work", column)
