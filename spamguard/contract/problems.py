"""What can be wrong with an HTTP request, and what is its sender told to do?

The names are part of the contract: they end the problem's `type`, and never change their meaning.
"""

from typing import Final, NamedTuple

PREFIX: Final = "urn:spamguard:problem:"


class Kind(NamedTuple):
    """A kind of problem."""

    status: int
    title: str
    repeat: bool  #: whether the same request may be sent again, after Retry-After where that is given


KINDS: Final = {
    "not-json": Kind(400, "The body cannot be read as JSON.", False),
    "bad-deadline": Kind(400, "The deadline is no number of milliseconds in range.", False),
    "bad-request": Kind(400, "The request is no HTTP this gateway understands.", False),
    "no-key": Kind(401, "A valid key is needed: Authorization: Bearer sg_….", False),
    "other-tenant": Kind(403, "The key does not speak for this tenant.", False),
    "other-account": Kind(403, "The key does not speak for this account.", False),
    "not-found": Kind(404, "There is nothing at this address.", False),
    "other-method": Kind(405, "The address does not take this method.", False),
    "slow-body": Kind(408, "The body did not arrive in time.", True),
    "too-large": Kind(413, "The body is larger than this gateway takes.", False),
    "too-many-messages": Kind(413, "The list holds more messages than this gateway takes at once.", False),
    "other-type": Kind(415, "The body must be application/json, in UTF-8 and not compressed.", False),
    "no-message-id": Kind(422, "A message has no readable message_id, so no decision can be given on it.", False),
    "no-messages": Kind(422, "The body is neither a message nor a list of at least one.", False),
    "too-fast": Kind(429, "The key sends more messages than its limit allows.", True),
    "too-many-guesses": Kind(429, "Too many wrong keys came from this address.", True),
    "failed": Kind(500, "The gateway failed; the message was not judged.", True),
    "overloaded": Kind(503, "More messages wait than this gateway holds.", True),
    "stopping": Kind(503, "The gateway is starting or stopping.", True),
    "deadline": Kind(504, "There was no decision within the deadline, and the fail policy is closed.", True),
}
