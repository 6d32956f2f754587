"""Invitations say whom they are for."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A note on each link."""
    op.add_column("links", sa.Column("note", sa.Text(), nullable=False, server_default=""))
