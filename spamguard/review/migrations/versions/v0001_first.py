"""What did the first release keep? Everything in `spamguard.review.tables`, and the index of words.

The tables are made from their definition as long as no release has been made of them; from then on every change is a
step of its own.
"""

from alembic import op

from spamguard.review.search import create_index
from spamguard.review.tables import METADATA

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    connection = op.get_bind()
    METADATA.create_all(connection)
    create_index(connection)
