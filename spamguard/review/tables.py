"""What does the review database hold, and which questions must it answer at once?

SQLAlchemy Core tables, the same on SQLite and PostgreSQL; migrations/ builds them, and a test
holds the two together. An item has an inner number (`seq`,
small in every index) and an outer `id` that nobody can guess. Numbers of people are stored encrypted and found by keyed
hashes (vault); texts are stored as they are, and words of them in an index of their own (search).
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
#: SQLite counts rows up by itself only for INTEGER PRIMARY KEY.
_SEQ: Final = BigInteger().with_variant(Integer(), "sqlite")

items: Final = Table(
    "items",
    METADATA,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("id", String(24), nullable=False, unique=True),
    Column("status", String(10), nullable=False),
    Column("why", String(10), nullable=False),
    Column("priority", Float, nullable=False),
    Column("version", Integer, nullable=False, default=1),
    Column("copies", Integer, nullable=False),
    Column("blocked", Integer, nullable=False),
    Column("released", Integer, nullable=False, default=0),
    Column("reported", Boolean, nullable=False, default=False),
    Column("shadow", Boolean, nullable=False, default=False),
    Column("lot", Boolean, nullable=False, default=False),
    Column("skeleton", String(32), nullable=False),  #: hash of tenant and text without figures, links and tricks
    Column("text", Text, nullable=False),  #: of the newest decision that was shown
    Column("sender_shown", String(40), nullable=False),
    Column("tenant", String(200), nullable=False),
    Column("direction", String(10), nullable=False),
    Column("action", String(10), nullable=False),
    Column("would_be", String(10), nullable=False),
    Column("reason", String(30), nullable=False),
    Column("guard", String(60)),
    Column("score", Float),
    Column("ham_cutoff", Float, nullable=False),
    Column("spam_cutoff", Float, nullable=False),
    Column("category", String(20)),
    Column("model", String(200), nullable=False),
    Column("policy", String(200), nullable=False),
    Column("clues", Text, nullable=False),  #: JSON
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("label", String(5)),  #: what holds now
    Column("label_category", String(20)),
    Column("decided_ms", BigInteger),  #: when the first verdict that holds was given
    Index("ix_items_queue", "status", "priority", "seq"),
    Index("ix_items_queue_why", "status", "why", "priority", "seq"),
    Index("ix_items_queue_category", "status", "category", "priority", "seq"),
    Index("ix_items_queue_tenant", "status", "tenant", "priority", "seq"),
    Index("ix_items_queue_model", "status", "model", "priority", "seq"),
    Index("ix_items_queue_action", "status", "action", "priority", "seq"),
    Index("ix_items_skeleton", "skeleton"),
    Index("ix_items_last", "last_ms"),
    Index("ix_items_status_last", "status", "last_ms"),
)

#: Bands of each item's sketch: two texts that share one may be near-identical.
bands: Final = Table(
    "item_bands",
    METADATA,
    Column("band", BigInteger, primary_key=True),
    Column("item_seq", BigInteger, ForeignKey("items.seq", ondelete="CASCADE"), primary_key=True),
    Index("ix_item_bands_item_seq", "item_seq"),
)

decisions: Final = Table(
    "decisions",
    METADATA,
    Column("decision_id", String(80), primary_key=True),
    Column("item_seq", BigInteger, ForeignKey("items.seq", ondelete="CASCADE"), nullable=False),
    Column("message_id", String(1000), nullable=False),
    Column("tenant", String(200), nullable=False),
    Column("sender_hash", String(80), nullable=False),
    Column("recipient_hash", String(80), nullable=False),
    Column("numbers", LargeBinary),  #: encrypted: whatever of the message names a person
    Column("decision", Text, nullable=False),  #: JSON, as published
    Column("message", Text, nullable=False),  #: JSON without what `numbers` holds
    Column("action", String(10), nullable=False),
    Column("reason", String(30), nullable=False),
    Column("category", String(20)),
    Column("model", String(200), nullable=False),
    Column("score", Float),
    Column("chance", Float),  #: with which it was drawn for honest figures; None when it was not drawn
    Column("received_ms", BigInteger, nullable=False),
    Column("decided_ms", BigInteger, nullable=False),
    Column("source", String(300), nullable=False),
    Index("ix_decisions_item", "item_seq", "decided_ms"),
    Index("ix_decisions_message_id", "message_id"),
    Index("ix_decisions_sender", "sender_hash", "decided_ms"),
    Index("ix_decisions_recipient", "recipient_hash", "received_ms"),
    Index("ix_decisions_decided", "decided_ms"),
    Index("ix_decisions_drawn", "chance", "decided_ms"),
)

#: What is left of decisions that are older than the retention: numbers for the figures, nothing of anybody.
past_counts: Final = Table(
    "past_counts",
    METADATA,
    Column("day_ms", BigInteger, primary_key=True),
    Column("tenant", String(200), primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("category", String(20), primary_key=True),
    Column("action", String(10), primary_key=True),
    Column("number", BigInteger, nullable=False),
)

past_drawn: Final = Table(
    "past_drawn",
    METADATA,
    Column("id", _SEQ, primary_key=True, autoincrement=True),
    Column("decided_ms", BigInteger, nullable=False),
    Column("tenant", String(200), nullable=False),
    Column("model", String(200), nullable=False),
    Column("category", String(20), nullable=False),
    Column("action", String(10), nullable=False),
    Column("chance", Float, nullable=False),
    Column("label", String(5), nullable=False),
    Index("ix_past_drawn_decided", "decided_ms"),
)

verdicts: Final = Table(
    "verdicts",
    METADATA,
    Column("id", _SEQ, primary_key=True, autoincrement=True),
    Column("item_seq", BigInteger, nullable=False),  #: no foreign key: figures outlive the texts
    Column("item_id", String(24), nullable=False),
    Column("person_id", Integer, nullable=False),
    Column("who", String(60), nullable=False),
    Column("label", String(5), nullable=False),
    Column("category", String(20)),
    Column("note", Text, nullable=False),
    Column("reading", String(10), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("waited_ms", BigInteger, nullable=False),  #: since the item's first message
    Column("was_blocked", Boolean, nullable=False),
    Column("model", String(200), nullable=False),
    Column("machine_category", String(20)),
    Column("tenant", String(200), nullable=False),
    Column("undone_ms", BigInteger),
    Index("ix_verdicts_item_seq", "item_seq"),
    Index("ix_verdicts_person", "person_id", "id"),
    Index("ix_verdicts_at", "at_ms"),
)

releases: Final = Table(
    "releases",
    METADATA,
    Column("release_id", String(64), primary_key=True),  #: made of the decision's id: a repeat is the same release
    Column("decision_id", String(80), nullable=False, unique=True),
    Column("item_seq", BigInteger, nullable=False),
    Column("verdict_id", BigInteger),
    Column("who", String(60), nullable=False),
    Column("reason", String(20), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("published_ms", BigInteger),
    Index("ix_releases_item_seq", "item_seq"),
)

#: What has to go to the stream; written in the transaction that decides it, published afterwards, at least once.
outbox: Final = Table(
    "outbox",
    METADATA,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("kind", String(10), nullable=False),  #: release, label, list
    Column("ref", String(80), nullable=False),  #: release id; verdict id; list entry's id
    Column("body", Text, nullable=False),  #: JSON of a label; the others are put together when they are published
    Column("at_ms", BigInteger, nullable=False),
    Column("taken_ms", BigInteger),  #: being published: it can no longer be called back
    Index("ix_outbox_ref", "ref"),
)

cases: Final = Table(
    "cases",
    METADATA,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("receipt", String(16), nullable=False, unique=True),
    Column("kind", String(10), nullable=False),
    Column("status", String(10), nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("resolved_ms", BigInteger),
    Column("opened_by", String(60), nullable=False),
    Column("channel", String(20), nullable=False),
    Column("assignee", String(60)),
    Column("tenant", String(200), nullable=False),
    Column("number_hash", String(80), nullable=False),
    Column("number_shown", String(40), nullable=False),
    Column("number", LargeBinary),  #: encrypted
    Column("happened_ms", BigInteger),
    Column("message_id", String(1000)),
    Column("decision_id", String(80)),
    Column("item_seq", BigInteger),
    Column("text", Text, nullable=False),
    Column("outcome", String(12)),
    Column("answer", Text, nullable=False),
    Column("satisfaction", Integer),
    Index("ix_cases_queue", "status", "due_ms", "seq"),
    Index("ix_cases_assignee", "assignee", "status", "due_ms"),
    Index("ix_cases_item", "item_seq"),
    Index("ix_cases_number", "number_hash"),
    Index("ix_cases_message_id", "message_id"),
    Index("ix_cases_opened", "opened_ms"),
    Index("ix_cases_resolved", "resolved_ms"),
)

case_notes: Final = Table(
    "case_notes",
    METADATA,
    Column("id", _SEQ, primary_key=True, autoincrement=True),
    Column("case_seq", BigInteger, ForeignKey("cases.seq", ondelete="CASCADE"), nullable=False),
    Column("who", String(60), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Index("ix_case_notes_case", "case_seq", "id"),
)

entries: Final = Table(
    "list_entries",
    METADATA,
    Column("id", _SEQ, primary_key=True, autoincrement=True),
    Column("case_seq", BigInteger, nullable=False),
    Column("receipt", String(16), nullable=False),
    Column("kind", String(5), nullable=False),
    Column("what", String(20), nullable=False),
    Column("value", Text, nullable=False),  #: empty where it is sealed; as it was proposed, from before step 0003
    Column("owner", String(60), nullable=False),
    Column("reason", Text, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("bulk", Boolean, nullable=False),
    Column("status", String(10), nullable=False),
    Column("proposed_by", String(60), nullable=False),
    Column("approved_by", String(60)),
    Column("at_ms", BigInteger, nullable=False),
    Column("tenant", String(200), nullable=False, server_default=""),
    Column("published_ms", BigInteger),
    Column("sealed", LargeBinary),  #: encrypted: what is compared, a sender's or a person's number as a rule
    Column("number_hash", String(80), nullable=False, server_default=""),
    Index("ix_list_entries_number", "number_hash"),
)

people: Final = Table(
    "people",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(60), nullable=False, unique=True),
    Column("role", String(10), nullable=False),
    Column("password", String(200), nullable=False),  #: argon2id
    Column("active", Boolean, nullable=False),
    Column("must_change", Boolean, nullable=False),
    Column("language", String(2), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_login_ms", BigInteger),
)

sessions: Final = Table(
    "sessions",
    METADATA,
    Column("token_hash", String(64), primary_key=True),
    Column("csrf", String(64), nullable=False),
    Column("person_id", Integer, ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)

api_tokens: Final = Table(
    "api_tokens",
    METADATA,
    Column("label", String(60), primary_key=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("role", String(10), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger),
)

#: Tries of something that may be guessed, by a keyed hash of who tries.
attempts: Final = Table(
    "attempts",
    METADATA,
    Column("id", _SEQ, primary_key=True, autoincrement=True),
    Column("what", String(80), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("ix_attempts_what", "what", "at_ms"),
)

audit: Final = Table(
    "audit",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("who", String(80), nullable=False),
    Column("action", String(40), nullable=False),
    Column("target", String(100), nullable=False),
    Column("detail", Text, nullable=False),  #: JSON
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("previous"),
)
