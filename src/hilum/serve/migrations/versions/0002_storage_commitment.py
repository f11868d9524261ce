"""deliveries wait for a storage commitment"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("commitment", sa.String(length=64), nullable=True))
    op.add_column("deliveries", sa.Column("report", sa.JSON(), nullable=True))
    op.create_index(op.f("ix_deliveries_commitment"), "deliveries", ["commitment"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_deliveries_commitment"), table_name="deliveries")
    op.drop_column("deliveries", "report")
    op.drop_column("deliveries", "commitment")
