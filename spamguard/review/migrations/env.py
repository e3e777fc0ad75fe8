"""How does Alembic reach the database? Over the connection that `spamguard.review.database` hands it."""

from alembic import context

from spamguard.review.tables import METADATA


def run() -> None:
    """Apply what is missing, on the connection that was handed over."""
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=METADATA, render_as_batch=True
    )
    with context.begin_transaction():
        context.run_migrations()


if hasattr(context, "config"):  # imported by Alembic, and not by a reader of docstrings
    run()
