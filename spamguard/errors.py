"""What can go wrong, in one small family: each class's docstring is the message, and tells the reader the next step.

The exit codes are part of the command line's contract (`spamguard --help` and the README list them).
"""

from typing import ClassVar


class SpamguardError(Exception):
    """Something went wrong in spamguard: {detail}."""

    exit_code: ClassVar[int] = 1  #: what a command returns to its caller
    retriable: ClassVar[bool] = False  #: whether a loop may try the same thing again

    def __init__(self, **fields: object) -> None:
        self.fields = fields
        template = " ".join((type(self).__doc__ or "").split())
        super().__init__(template.format(**fields))


class ConfigError(SpamguardError):
    """The settings cannot be used: {detail}. See `spamguard config show` for every name, its value and its source."""

    exit_code = 3


class PolicyRejected(SpamguardError):
    """The policy {path} cannot be used: {detail}. Correct it, then look again: `spamguard policy check`."""

    exit_code = 3


class ModelNotFound(SpamguardError):
    """There is no model at {path}. Train one with `spamguard train`, or point --model (SPAMGUARD_MODEL) at one;
    `spamguard models list` shows what is there.
    """

    exit_code = 4


class NobodyAppointed(ModelNotFound):
    """No model in {folder} is the {alias} yet. `spamguard models list` shows what is there,
    `spamguard models promote NAME/VERSION --as {alias} --reason "…"` makes one of them the {alias}.
    """


class ModelRejected(SpamguardError):
    """The model at {path} was refused: {detail}. Restore it from its source or train it again;
    `spamguard models verify` checks every file.
    """

    exit_code = 4


class AliasNotMoved(SpamguardError):
    """The alias {alias} was not moved: {detail}. `spamguard models history` shows its moves,
    `spamguard models list` what it can stand for.
    """

    exit_code = 4


class GateClosed(SpamguardError):
    """The gate stays closed for {model}: {detail}. `spamguard models promote --override "reason"` goes past it, and the
    history keeps the reason.
    """

    exit_code = 8


class BrokerUnavailable(SpamguardError):
    """No Kafka broker answers at {address} ({detail}). Start it, or correct --brokers (SPAMGUARD_BROKERS)."""

    exit_code = 5
    retriable = True


class TopicUnfit(SpamguardError):
    """The topics cannot carry the stream: {detail}. `spamguard check` shows them all;
    `spamguard check --create-topics` creates what is missing.
    """

    exit_code = 5


class CommitRefused(SpamguardError):
    """The broker refused the commit ({detail}): the partitions were given to another worker. The records will be read
    again, and their decisions carry the same ids.
    """

    exit_code = 5


class PublishFailed(SpamguardError):
    """Publishing to {topic} failed ({detail}). Nothing was committed; the records will be read again."""

    exit_code = 5
    retriable = True


class DataError(SpamguardError):
    """The data cannot be used: {detail}."""

    exit_code = 6


class ListRejected(SpamguardError):
    """The list cannot be used: {detail}. `spamguard lists check FILE` names everything that is wrong with it."""

    exit_code = 6


class AlreadyRunning(SpamguardError):
    """Another `{command}` works in {folder} already. Let it finish, or look at process {pid}; one that was
    stopped leaves no lock.
    """

    exit_code = 9
    retriable = True


class NoAnswer(SpamguardError):
    """The gateway at {url} gave no decision ({detail}). The message is yours to hold or to let pass; asking again is
    safe.
    """

    retriable = True


class MissingExtra(SpamguardError):
    """`{command}` needs the extra '{extra}', which is not installed. In a source tree: make env; elsewhere install
    spamguard as before, with [{extra}] behind its name.
    """

    exit_code = 7


class DatabaseUnfit(SpamguardError):
    """The review database cannot be used: {detail}. `spamguard review check` says what it should be."""

    exit_code = 10


class Forbidden(SpamguardError):
    """The role {role} does not allow this ({permission}). Ask a lead or an administrator."""

    exit_code = 10


class NotThere(SpamguardError):
    """There is no such {what}. It may be older than the retention, or its number mistyped."""

    exit_code = 10


class Conflict(SpamguardError):
    """It was not done: {detail}. Load it again and look once more."""

    exit_code = 10


class LoginRefused(SpamguardError):
    """The login was refused: {detail}. `spamguard review users reset-password NAME` gives a new password."""

    exit_code = 10


class ReviewInvalid(SpamguardError):
    """What was given cannot be taken as it is: {detail}."""

    exit_code = 10
