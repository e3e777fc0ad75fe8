"""What changes: what is compared of a list entry is encrypted, and found by the keyed hash of its number.

The key is no business of a migration: entries from before stay as they lie and are read as they are, and the desk seals
them at its first sweep, which is at its start.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    op.add_column("list_entries", sa.Column("sealed", sa.LargeBinary(), nullable=True))
    op.add_column("list_entries", sa.Column("number_hash", sa.String(80), nullable=False, server_default=""))
    op.create_index("ix_list_entries_number", "list_entries", ["number_hash"])
