"""What changes: list entries know their tenant and when workers heard of them, and cases are found by message id.

Before, an entry matched by words that workers do not know; an account alone could allow. Those become links, and none
of them is published.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    op.add_column("list_entries", sa.Column("tenant", sa.String(200), nullable=False, server_default=""))
    op.add_column("list_entries", sa.Column("published_ms", sa.BigInteger(), nullable=True))
    op.create_index("ix_cases_message_id", "cases", ["message_id"])
    op.execute("UPDATE list_entries SET what = 'link' WHERE what IN ('account', 'link+sender')")
