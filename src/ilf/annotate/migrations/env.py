"""Alembic's entry: run migrations on the connection that `ilf.annotate.database` hands over."""

from alembic import context

from ilf.annotate.schema import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
