# SPDX-License-Identifier: Apache-2.0
"""What alembic runs; :mod:`nova_diskaudit.store.schema` calls it with a connection."""

from alembic import context

from nova_diskaudit.store import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    # SQLite cannot alter a table: it is copied instead.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
