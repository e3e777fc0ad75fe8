"""What did the first release keep? These tables, and the index of words, as they were then.

Nothing here follows `spamguard.review.tables`: a database that was made then must be what later steps begin with.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "api_tokens",
        sa.Column("label", sa.String(length=60), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("label", name="pk_api_tokens"),
        sa.UniqueConstraint("token_hash", name="uq_api_tokens_token_hash"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", SEQ, autoincrement=True, nullable=False),
        sa.Column("what", sa.String(length=80), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
    )
    op.create_index("ix_attempts_what", "attempts", ["what", "at_ms"], unique=False)
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.String(length=80), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("target", sa.String(length=100), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
        sa.UniqueConstraint("previous", name="uq_audit_previous"),
    )
    op.create_table(
        "cases",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("receipt", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("resolved_ms", sa.BigInteger(), nullable=True),
        sa.Column("opened_by", sa.String(length=60), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("assignee", sa.String(length=60), nullable=True),
        sa.Column("tenant", sa.String(length=200), nullable=False),
        sa.Column("number_hash", sa.String(length=80), nullable=False),
        sa.Column("number_shown", sa.String(length=40), nullable=False),
        sa.Column("number", sa.LargeBinary(), nullable=True),
        sa.Column("happened_ms", sa.BigInteger(), nullable=True),
        sa.Column("message_id", sa.String(length=1000), nullable=True),
        sa.Column("decision_id", sa.String(length=80), nullable=True),
        sa.Column("item_seq", sa.BigInteger(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=12), nullable=True),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("satisfaction", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name="pk_cases"),
        sa.UniqueConstraint("receipt", name="uq_cases_receipt"),
    )
    op.create_index("ix_cases_assignee", "cases", ["assignee", "status", "due_ms"], unique=False)
    op.create_index("ix_cases_item", "cases", ["item_seq"], unique=False)
    op.create_index("ix_cases_number", "cases", ["number_hash"], unique=False)
    op.create_index("ix_cases_opened", "cases", ["opened_ms"], unique=False)
    op.create_index("ix_cases_queue", "cases", ["status", "due_ms", "seq"], unique=False)
    op.create_index("ix_cases_resolved", "cases", ["resolved_ms"], unique=False)
    op.create_table(
        "items",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("why", sa.String(length=10), nullable=False),
        sa.Column("priority", sa.Float(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("copies", sa.Integer(), nullable=False),
        sa.Column("blocked", sa.Integer(), nullable=False),
        sa.Column("released", sa.Integer(), nullable=False),
        sa.Column("reported", sa.Boolean(), nullable=False),
        sa.Column("shadow", sa.Boolean(), nullable=False),
        sa.Column("lot", sa.Boolean(), nullable=False),
        sa.Column("skeleton", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("sender_shown", sa.String(length=40), nullable=False),
        sa.Column("tenant", sa.String(length=200), nullable=False),
        sa.Column("direction", sa.String(length=10), nullable=False),
        sa.Column("action", sa.String(length=10), nullable=False),
        sa.Column("would_be", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=30), nullable=False),
        sa.Column("guard", sa.String(length=60), nullable=True),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("ham_cutoff", sa.Float(), nullable=False),
        sa.Column("spam_cutoff", sa.Float(), nullable=False),
        sa.Column("category", sa.String(length=20), nullable=True),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("policy", sa.String(length=200), nullable=False),
        sa.Column("clues", sa.Text(), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.String(length=5), nullable=True),
        sa.Column("label_category", sa.String(length=20), nullable=True),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name="pk_items"),
        sa.UniqueConstraint("id", name="uq_items_id"),
    )
    op.create_index("ix_items_last", "items", ["last_ms"], unique=False)
    op.create_index("ix_items_queue", "items", ["status", "priority", "seq"], unique=False)
    op.create_index("ix_items_queue_action", "items", ["status", "action", "priority", "seq"], unique=False)
    op.create_index("ix_items_queue_category", "items", ["status", "category", "priority", "seq"], unique=False)
    op.create_index("ix_items_queue_model", "items", ["status", "model", "priority", "seq"], unique=False)
    op.create_index("ix_items_queue_tenant", "items", ["status", "tenant", "priority", "seq"], unique=False)
    op.create_index("ix_items_queue_why", "items", ["status", "why", "priority", "seq"], unique=False)
    op.create_index("ix_items_skeleton", "items", ["skeleton"], unique=False)
    op.create_index("ix_items_status_last", "items", ["status", "last_ms"], unique=False)
    op.create_table(
        "list_entries",
        sa.Column("id", SEQ, autoincrement=True, nullable=False),
        sa.Column("case_seq", sa.BigInteger(), nullable=False),
        sa.Column("receipt", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=5), nullable=False),
        sa.Column("what", sa.String(length=20), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(length=60), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("bulk", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("proposed_by", sa.String(length=60), nullable=False),
        sa.Column("approved_by", sa.String(length=60), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_list_entries"),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("ref", sa.String(length=80), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("taken_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name="pk_outbox"),
    )
    op.create_index("ix_outbox_ref", "outbox", ["ref"], unique=False)
    op.create_table(
        "past_counts",
        sa.Column("day_ms", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("category", sa.String(length=20), nullable=False),
        sa.Column("action", sa.String(length=10), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day_ms", "tenant", "model", "category", "action", name="pk_past_counts"),
    )
    op.create_table(
        "past_drawn",
        sa.Column("id", SEQ, autoincrement=True, nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("category", sa.String(length=20), nullable=False),
        sa.Column("action", sa.String(length=10), nullable=False),
        sa.Column("chance", sa.Float(), nullable=False),
        sa.Column("label", sa.String(length=5), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_past_drawn"),
    )
    op.create_index("ix_past_drawn_decided", "past_drawn", ["decided_ms"], unique=False)
    op.create_table(
        "people",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("password", sa.String(length=200), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("must_change", sa.Boolean(), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_login_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_people"),
        sa.UniqueConstraint("name", name="uq_people_name"),
    )
    op.create_table(
        "releases",
        sa.Column("release_id", sa.String(length=64), nullable=False),
        sa.Column("decision_id", sa.String(length=80), nullable=False),
        sa.Column("item_seq", sa.BigInteger(), nullable=False),
        sa.Column("verdict_id", sa.BigInteger(), nullable=True),
        sa.Column("who", sa.String(length=60), nullable=False),
        sa.Column("reason", sa.String(length=20), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("published_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("release_id", name="pk_releases"),
        sa.UniqueConstraint("decision_id", name="uq_releases_decision_id"),
    )
    op.create_index("ix_releases_item_seq", "releases", ["item_seq"], unique=False)
    op.create_table(
        "verdicts",
        sa.Column("id", SEQ, autoincrement=True, nullable=False),
        sa.Column("item_seq", sa.BigInteger(), nullable=False),
        sa.Column("item_id", sa.String(length=24), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("who", sa.String(length=60), nullable=False),
        sa.Column("label", sa.String(length=5), nullable=False),
        sa.Column("category", sa.String(length=20), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("reading", sa.String(length=10), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("waited_ms", sa.BigInteger(), nullable=False),
        sa.Column("was_blocked", sa.Boolean(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("machine_category", sa.String(length=20), nullable=True),
        sa.Column("tenant", sa.String(length=200), nullable=False),
        sa.Column("undone_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_verdicts"),
    )
    op.create_index("ix_verdicts_at", "verdicts", ["at_ms"], unique=False)
    op.create_index("ix_verdicts_item_seq", "verdicts", ["item_seq"], unique=False)
    op.create_index("ix_verdicts_person", "verdicts", ["person_id", "id"], unique=False)
    op.create_table(
        "case_notes",
        sa.Column("id", SEQ, autoincrement=True, nullable=False),
        sa.Column("case_seq", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.String(length=60), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["case_seq"], ["cases.seq"], name="fk_case_notes_case_seq", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_case_notes"),
    )
    op.create_index("ix_case_notes_case", "case_notes", ["case_seq", "id"], unique=False)
    op.create_table(
        "decisions",
        sa.Column("decision_id", sa.String(length=80), nullable=False),
        sa.Column("item_seq", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.String(length=1000), nullable=False),
        sa.Column("tenant", sa.String(length=200), nullable=False),
        sa.Column("sender_hash", sa.String(length=80), nullable=False),
        sa.Column("recipient_hash", sa.String(length=80), nullable=False),
        sa.Column("numbers", sa.LargeBinary(), nullable=True),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=30), nullable=False),
        sa.Column("category", sa.String(length=20), nullable=True),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("chance", sa.Float(), nullable=True),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=300), nullable=False),
        sa.ForeignKeyConstraint(["item_seq"], ["items.seq"], name="fk_decisions_item_seq", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("decision_id", name="pk_decisions"),
    )
    op.create_index("ix_decisions_decided", "decisions", ["decided_ms"], unique=False)
    op.create_index("ix_decisions_drawn", "decisions", ["chance", "decided_ms"], unique=False)
    op.create_index("ix_decisions_item", "decisions", ["item_seq", "decided_ms"], unique=False)
    op.create_index("ix_decisions_message_id", "decisions", ["message_id"], unique=False)
    op.create_index("ix_decisions_recipient", "decisions", ["recipient_hash", "received_ms"], unique=False)
    op.create_index("ix_decisions_sender", "decisions", ["sender_hash", "decided_ms"], unique=False)
    op.create_table(
        "item_bands",
        sa.Column("band", sa.BigInteger(), nullable=False),
        sa.Column("item_seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["item_seq"], ["items.seq"], name="fk_item_bands_item_seq", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("band", "item_seq", name="pk_item_bands"),
    )
    op.create_index("ix_item_bands_item_seq", "item_bands", ["item_seq"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name="fk_sessions_person_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_hash", name="pk_sessions"),
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE item_words USING fts5(words, detail=none, "
            "tokenize=\"unicode61 remove_diacritics 0\", prefix='1')"
        )
    else:
        op.execute("CREATE TABLE item_words (rowid BIGINT PRIMARY KEY, words TSVECTOR NOT NULL)")
        op.execute("CREATE INDEX ix_item_words ON item_words USING gin (words)")
