"""Answers have notes about lines, and a record of what was suggested.

The columns may be empty, so that a server of the version before goes on beside this one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What of an answer's text is about single lines; what was suggested, and what became of it."""
    for name in ("notes", "suggestions"):
        op.add_column("answers", sa.Column(name, sa.JSON(none_as_null=True), nullable=True))
