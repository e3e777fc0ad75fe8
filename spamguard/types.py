"""What values travel through the house, from a record's bytes to a published decision?

Everything here is frozen and keyword-only. The structs of the wire (`Message`, `Decision`, …) are msgspec structs,
so that one definition is the type, the JSON codec's schema and, through `msgspec.json.schema`, the contract file.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

SCHEMA_VERSION = 1


class Action(StrEnum):
    """What the machine does with a message."""

    ALLOW = "allow"  #: deliver it
    BLOCK = "block"  #: do not deliver it


class Reason(StrEnum):
    """Why a decision came out as it did; the strings are part of the contract and never change their meaning."""

    SPAM_SCORE = "spam_score"  #: the score reached the spam cutoff
    HAM_SCORE = "ham_score"  #: the score stayed below the ham cutoff
    UNSURE = "unsure"  #: the score lies between the cutoffs: allowed, and offered for review
    NO_EVIDENCE = "no_evidence"  #: too little text the model knows to say anything
    NOT_TEXT = "not_text"  #: a binary message or a delivery receipt
    GUARD = "guard"  #: a guard protects this class of good message; `guard` names it
    CONSENTED = "consented"  #: marketing that the subscriber opted in to
    CATEGORY_ALLOWED = "category_allowed"  #: the tenant's policy allows this category of spam
    LIST_ALLOW = "list_allow"  #: an entry of a list allows it, whatever the score; `list_entry` names it
    LIST_BLOCK = "list_block"  #: an entry of a list blocks it, whatever the score; `list_entry` names it
    LIST_REVIEW = "list_review"  #: allowed, and offered for review because an entry of a list asks for it
    OPTED_OUT = "opted_out"  #: marketing to a subscriber who asked this sender to stop
    OBSERVED = "observed"  #: observe mode: would have been blocked
    ALLOW_ALL = "allow_all"  #: the kill switch is on
    REVIEW_UNAVAILABLE = "review_unavailable"  #: the review copy could not be stored, so the block was not published
    SCORING_FAILED = "scoring_failed"  #: the scorer raised; the message passes, counted and marked degraded
    UNANSWERED = "unanswered"  #: over HTTP: no decision within the caller's deadline; allowed by the fail policy


class Category(StrEnum):
    """What kind of spam it is, as the label policy groups it."""

    FRAUD = "fraud"  #: phishing, impersonation, false prizes and refunds, task and investment fraud
    ILLEGAL = "illegal"  #: invoices, papers, weapons, drugs, exam cheating; adult services
    GAMBLING = "gambling"  #: casinos, betting, tips for them
    LOAN = "loan"  #: loans, cash-out of cards, mass collection threats
    MARKETING = "marketing"  #: promotion of goods and services
    OTHER = "other"  #: harassment, chain letters, and what fits nowhere


class Mode(StrEnum):
    """Whether decisions bind: `enforce` blocks, `observe` always allows and says what it would have done."""

    ENFORCE = "enforce"  #: blocks bind
    OBSERVE = "observe"  #: everything is allowed; `would_be` says what it would have been


class Treatment(StrEnum):
    """What an operator wants done with a category of spam, or with what matches an entry of a list."""

    BLOCK = "block"  #: it is not delivered
    ALLOW = "allow"  #: it is delivered
    REVIEW = "review"  #: allowed, and offered for review


class ListKind(StrEnum):
    """What an entry of a list is compared with."""

    SENDER = "sender"  #: the sender's number or name; with a * at the end all that begin so
    LINK = "link"  #: the account that handed it in, or ACCOUNT/SENDER: what the gateway authenticated
    SIGNATURE = "signature"  #: the 【…】 at either end of the text
    HOST = "host"  #: the host of a link or mail address in the text, and every host below it
    CONTACT = "contact"  #: a phone number, or the name of an account to write to, in the text
    PATTERN = "pattern"  #: an RE2 expression, searched for in the normalised text


class DeadReason(StrEnum):
    """Why a record could not become a message; only a record without a readable message id gets here."""

    EMPTY = "empty"  #: the record has no value (a tombstone)
    NOT_JSON = "not_json"  #: the value cannot be read as JSON
    NOT_AN_OBJECT = "not_an_object"  #: JSON, but no object
    NO_MESSAGE_ID = "no_message_id"  #: none, or one that is no string, empty, or longer than a thousand characters


class Concat(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a part stands in a long SMS. Parts are not joined here: each is judged alone, so join before you ask."""

    ref: int  #: the same for all parts of one SMS
    total: int  #: how many parts there are
    seq: int  #: which part this is, from 1


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One whole SMS, all parts joined; times are RFC 3339 strings or epoch milliseconds.

    >>> Message(message_id="m1", text="晚上一起吃饭吗").direction
    'MT'
    """

    message_id: str  #: the gateway's id; the only field without which there is no decision
    sender: str = ""  #: who sent it, as the network says: a number, a short code, a name; forgeable
    recipient: str = ""  #: whom it is for
    text: str | None = None  #: the whole text, parts joined
    payload_hex: str | None = None  #: the raw user data without its header, for gateways that do not decode
    encoding: str | None = None  #: gsm7, ucs2, gbk, latin1, utf8
    protocol: str | None = None  #: smpp, cmpp, sgip, smgp: gives `data_coding` its meaning
    data_coding: int | None = None  #: the protocol's number for the encoding
    kind: str = "text"  #: text, binary, receipt
    direction: str = "MT"  #: MO, MT, AO, transit
    received_at: str | int | None = None  #: RFC 3339 with an offset (UTC without one), or epoch milliseconds
    operator: str | None = None  #: the network it came from
    tenant: str = ""  #: whose traffic it is; over HTTP the key's own when left out
    account: str | None = None  #: the authenticated account it was handed in by; over HTTP, one the key speaks for
    udh_hex: str | None = None  #: the user data header; carried into review copies and releases, and never judged by
    concat: Concat | None = None  #: which part of a long SMS, where parts were not joined; carried on, never judged by
    consent: str = "unknown"  #: opt_in, opt_out, unknown
    trace_id: str | None = None  #: yours, to follow a message through your systems
    schema_version: int = SCHEMA_VERSION  #: version of the contract


class DefectiveMessage(Message, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A message of which some fields could not be read; it is judged on the rest, counted, and marked."""

    defects: tuple[str, ...] = ()  #: names of the fields that were dropped or repaired


class Clue(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A piece of the text with its pull in log-odds; the clues, the rest and the intercept add up to the score."""

    feature: str  #: the piece as the model read it, after normalisation
    start: int  #: offset into the original text, in characters
    end: int  #: first offset behind the piece
    pull: float  #: log-odds; positive speaks for spam


class Timings(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How long the message waited and was judged, in milliseconds."""

    queue_ms: float  #: from the record's timestamp to the start of judging
    score_ms: float  #: the batch's judging time


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What the machine does with one message, and why; version 1 of the contract."""

    decision_id: str  #: the same for every repeat; keep the first
    message_id: str  #: the message's
    action: Action  #: what to do with the message
    would_be: Action  #: what enforcement would do: differs from `action` in observe mode, under the kill switch, …
    reason: Reason  #: why
    guard: str | None = None  #: which guard protected the message, when the reason is `guard`
    score: float | None = None  #: calibrated probability of spam; absent for what was never scored
    ham_cutoff: float  #: below this score a message is allowed
    spam_cutoff: float  #: from this score on it is spam
    review: bool = False  #: offered for review
    category: Category | None = None  #: the kind of spam, for blocked and unsure messages
    clues: tuple[Clue, ...] = ()  #: at most five, strongest first, for blocked and unsure messages
    campaign_id: str | None = None  #: the same for near-identical messages in bulk; this release gives none
    list_entry: str | None = None  #: id of the entry of a list that matched and counted; never its value
    model: str  #: name/version of the model
    policy: str  #: name of the policy; of one from a file name@digest
    code_version: str  #: release of spamguard
    degraded: bool = False  #: something that should have been done could not be
    late: bool = False  #: judged longer after it was received than the configured limit
    defects: tuple[str, ...] = ()  #: names of message fields that could not be read, or that the key may not state
    breaker: bool = False  #: allowed because the tenant's breaker is open; the reason is `observed`
    suggested_smpp_status: int = 0  #: command_status for a gateway that answers in SMPP; 0 is ESME_ROK
    timings: Timings | None = None  #: how long it took
    decided_at: str  #: RFC 3339, UTC
    schema_version: int = SCHEMA_VERSION  #: version of the contract


class ReviewCopy(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A message with its decision, as the reviewers get it; acknowledged before a block is published."""

    decision: Decision  #: as it is published, unless this copy is not acknowledged
    message: Message  #: the whole message
    source: str  #: topic-partition@offset of the record, or http/tenant
    chance: float | None = None  #: with which an allowed message was drawn by lot; absent when it is here for a reason
    schema_version: int = SCHEMA_VERSION  #: version of the contract


class Release(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A blocked message that is to be delivered after all; repeats carry the same `release_id`: keep the first."""

    release_id: str  #: made of the decision's id
    decision_id: str  #: the block that it takes back
    message: Message  #: whole, with sender and recipient
    reason: str  #: verdict: a reviewer called it ham; case: a subscriber's complaint was right
    released_by: str  #: the reviewer's account
    released_at: str  #: RFC 3339, UTC
    schema_version: int = SCHEMA_VERSION  #: version of the contract


class Label(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What reviewers say of a message and its near-identical copies; never its text or a number."""

    label_id: str  #: made of the item and its verdict; a withdrawal repeats it
    decision_id: str  #: a decision on one of the messages
    message_id: str  #: the message it was made on
    label: str  #: spam, ham
    category: str | None = None  #: by the label policy
    reader: str  #: the reviewer's account
    trust: str  #: one: one reader; two: two readers agree; settled: a lead decided between two
    copies: int = 1  #: near-identical messages it stands for
    model: str  #: name/version of the model whose decision was read
    score: float | None = None  #: the score that decision had
    labelled_at: str  #: RFC 3339, UTC
    withdrawn: bool = False  #: the reviewer took it back
    schema_version: int = SCHEMA_VERSION  #: version of the contract


class ShadowOpinion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one model says of a message, at its own cutoffs."""

    model: str  #: name/version
    score: float | None  #: calibrated probability of spam
    ham_cutoff: float  #: below this score it allows
    spam_cutoff: float  #: from this score on it calls it spam
    would_be: Action  #: what it would do
    reason: Reason  #: why
    category: Category | None  #: the kind of spam


class ShadowReport(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message on which champion and challenger would act differently; never its text or a number."""

    decision_id: str  #: the decision they differ on
    message_id: str  #: the message's
    outcome: str  #: would_block: only the challenger blocks; would_allow: only the champion does
    champion: ShadowOpinion  #: the model that decides
    challenger: ShadowOpinion  #: the model that scores along
    decided_at: str  #: RFC 3339, UTC
    schema_version: int = SCHEMA_VERSION  #: version of the contract


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The coordinates and reason of a record without a readable message id; never its text."""

    reason: DeadReason  #: why
    topic: str  #: where the record stands
    partition: int  #: its partition
    offset: int  #: its offset
    size_bytes: int  #: how long its value is
    seen_at_ms: int  #: when it was read, epoch milliseconds
    schema_version: int = SCHEMA_VERSION  #: version of the contract


class Order(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What somebody switched, and why: the value of a record on the control topic; its key names the switch."""

    on: bool  #: whether the switch is on; off takes an earlier order back
    mode: Mode | None = None  #: the mode that is ordered, where the switch is a mode
    model: str | None = None  #: the model that is to decide, where the switch is the model
    reason: str = ""  #: why
    who: str = ""  #: who ordered it, as the command was told; proves nothing
    since: str = ""  #: RFC 3339, UTC
    schema_version: int = SCHEMA_VERSION  #: version of the contract


class Problem(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Why an HTTP request got no decisions (RFC 9457); it never repeats what was sent."""

    type: str  #: a name of the kind of problem that never changes its meaning
    title: str  #: the kind of problem in a sentence
    status: int  #: the HTTP status
    detail: str = ""  #: what to do about it
    places: tuple[int, ...] = ()  #: which messages of a list are meant, from 0; the first hundred


class ListEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A line of a list: what it is compared with, and what is done with what matches."""

    kind: ListKind  #: what it is compared with
    value: str  #: as somebody wrote it; it is compared in its canonical form
    action: Treatment  #: what is done with what matches
    tenant: str = ""  #: whose messages; empty means everybody's, for an allow entry those without a tenant
    owner: str = ""  #: who answers for it
    reason: str = ""  #: why it is there
    created: str = ""  #: RFC 3339, or a date
    expires: str = ""  #: the same; the entry counts until then, without one for ever


class ListChange(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A change of the lists: the value of a record on the lists topic, whose key is the entry's id."""

    entry: ListEntry | None = None  #: the entry as it is now; None takes it away
    who: str = ""  #: who changed it, as the command was told; proves nothing
    why: str = ""  #: why it was changed
    at: str = ""  #: RFC 3339, UTC
    schema_version: int = SCHEMA_VERSION  #: version of the contract


class OptOut(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A subscriber's wish to be left alone: the value of a record on the opt-out topic, whose key is the mute's hash.

    The numbers are whole, because the gateway has to act on them; workers read the key alone.
    """

    subscriber: str  #: the number that does not want to be written to
    sender: str = ""  #: the number or name that is muted for it
    signature: str = ""  #: or the signature that is
    tenant: str = ""  #: whose messages; empty where there are no tenants
    opted_out: bool = True  #: false takes it back
    message_id: str = ""  #: of the answer that said so
    at: str = ""  #: RFC 3339, UTC
    schema_version: int = SCHEMA_VERSION  #: version of the contract


class Partition(msgspec.Struct, frozen=True, order=True, gc=False):
    """A topic's partition."""

    topic: str
    number: int


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Kafka's wrapper around a value, as a broker delivers it."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int


class Outgoing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record to publish; the partition is chosen by the caller."""

    key: bytes | None
    value: bytes | None


#: Offsets to commit: the next offset to read, a partition.
Offsets = Mapping[Partition, int]
