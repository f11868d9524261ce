"""Run by Alembic within a connection that `Records.upgrade` (or a developer) gives."""

from __future__ import annotations

from alembic import context

from hilum.serve.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=False,  # the caller's transaction is the one
)
context.run_migrations()
