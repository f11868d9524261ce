"""Write a migration from what differs between the tables and the newest one.

scripts/new_migration.py NUMBER "what changed"
"""

import sys

from alembic import command
from alembic.config import Config

from hilum.serve.records import MIGRATIONS, Records

records = Records("sqlite://")
if any((MIGRATIONS / "versions").glob("*.py")):
    records.upgrade()
settings = Config()
settings.set_main_option("script_location", str(MIGRATIONS))
with records.engine.connect() as connection:
    settings.attributes["connection"] = connection
    command.upgrade(settings, "head")
    command.revision(settings, sys.argv[2], autogenerate=True, rev_id=sys.argv[1])
