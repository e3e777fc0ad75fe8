"""What does the gateway answer over HTTP? As OpenAPI 3.1, served at /openapi.json too."""

from typing import Any, Final

import msgspec

from spamguard.contract.examples import EXAMPLES, MESSAGE
from spamguard.contract.problems import KINDS
from spamguard.contract.schemas import BY_NAME, components
from spamguard.types import SCHEMA_VERSION

DEADLINE_HEADER: Final = "Spamguard-Deadline-Ms"
MOST_DEADLINE_MS: Final = 60_000
PROBLEM_TYPE: Final = "application/problem+json"
#: The setting's default, told in the document.
MOST_MESSAGES: Final = 500

_DECISIONS: Final = """\
Give one message and get its decision, or a list of messages and get their decisions in the same order.

**Nothing is lost by asking twice**: the decision_id is made of tenant and message_id, so a repeat carries the same one.

**There is always an answer in time.** When no decision is ready at the deadline, the fail policy decides: open (the
default) answers `allow` with `reason: unanswered` and `degraded: true`; closed answers 504, for callers that hold the
message and ask again. The answer's header Spamguard-Fail-Policy names it.

**A block can be undone**: it is answered only once its review copy is acknowledged; otherwise the answer is `allow`,
`degraded`, `reason: review_unavailable`, and `would_be` says `block`.

Fields that cannot be read do not lose the message: they are named in `defects`, and it is judged on the rest.

**An account is worth what the key is**: a key made for accounts may state these alone; with another one the request is
refused (403) and nothing judged. With a key made for none, messages are judged as if they stated none, and decisions
have `account` among their `defects`.
"""


def openapi(version: str, *, most_messages: int = MOST_MESSAGES) -> dict[str, Any]:
    """Return the OpenAPI document; `version` is the release it comes with."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "spamguard gateway",
            "version": f"{SCHEMA_VERSION}.0.0",
            "summary": "Asks the spam filter for decisions on SMS.",
            "description": "The same engine and contract as on Kafka. Additions only within version 1.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "x-release": version,
        },
        "servers": [{"url": "http://127.0.0.1:8080", "description": "loopback by default; put TLS in front"}],
        "paths": {
            "/v1/decisions": {"post": _decide(most_messages)},
            "/healthz": {"get": _probe("Does the process turn?", "It does not; restart it.")},
            "/readyz": {"get": _probe("May it be asked?", "Not now; the body says what it waits for.")},
            "/openapi.json": {
                "get": {
                    "operationId": "document",
                    "summary": "This document",
                    "security": [],
                    "responses": {"200": _answer("OpenAPI 3.1", {"type": "object"}), **_problems(405)},
                }
            },
        },
        "components": {
            "schemas": components([BY_NAME[name] for name in ("message", "decision", "problem")]) | {"Probe": _PROBE},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "`spamguard gateway keys add` makes one."}
            },
        },
        "security": [{"key": []}],
    }


def _decide(most_messages: int) -> dict[str, Any]:
    message, decision = {"$ref": "#/components/schemas/Message"}, {"$ref": "#/components/schemas/Decision"}
    asked = {"oneOf": [message, {"type": "array", "items": message, "minItems": 1, "maxItems": most_messages}]}
    told = {"oneOf": [decision, {"type": "array", "items": decision, "minItems": 1}]}
    answer = _answer("a decision, or one a message in the order asked", told)
    answer["headers"] = {
        "Spamguard-Fail-Policy": {
            "description": "what the gateway does when no decision is ready at the deadline",
            "schema": {"type": "string", "enum": ["open", "closed"]},
        },
        "Spamguard-Unanswered": {
            "description": "how many of these decisions the fail policy made; absent for none",
            "schema": {"type": "integer", "minimum": 1},
        },
    }
    answer["content"]["application/json"]["examples"] = {
        name: {"value": msgspec.to_builtins(example)} for name, example in EXAMPLES["decision"].items()
    }
    return {
        "operationId": "decide",
        "summary": "Decide on one message or several",
        "description": _DECISIONS,
        "parameters": [
            {
                "name": DEADLINE_HEADER,
                "in": "header",
                "description": "how long you wait, in milliseconds from the moment your request is complete",
                "schema": {"type": "integer", "minimum": 1, "maximum": MOST_DEADLINE_MS, "default": 500},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": asked,
                    "examples": {
                        "one": {"value": msgspec.to_builtins(MESSAGE)},
                        "several": {"value": [msgspec.to_builtins(one) for one in EXAMPLES["message"].values()]},
                    },
                }
            },
        },
        "responses": {"200": answer, **_problems(400, 401, 403, 405, 408, 413, 415, 422, 429, 500, 503, 504)},
    }


_PROBE: Final = {
    "title": "Probe",
    "type": "object",
    "properties": {
        "ok": {"type": "boolean"},
        "waiting_for": {"type": "array", "items": {"type": "string"}, "description": "what is missing, in words"},
        "degraded": {"type": "array", "items": {"type": "string"}, "description": "what it does without, in words"},
    },
    "required": ["ok", "waiting_for"],
}


def _probe(question: str, otherwise: str) -> dict[str, Any]:
    shape = {"$ref": "#/components/schemas/Probe"}
    return {
        "operationId": question.split()[0].lower() + question.split()[1].lower(),
        "summary": question,
        "security": [],
        "responses": {"200": _answer("It does.", shape), "503": _answer(otherwise, shape), **_problems(405)},
    }


def _answer(words: str, shape: dict[str, Any], media: str = "application/json") -> dict[str, Any]:
    return {"description": words, "content": {media: {"schema": shape}}}


def _problems(*statuses: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status in statuses:
        names = [name for name, kind in KINDS.items() if kind.status == status]
        words = " ".join(f"`{name}`: {KINDS[name].title}" for name in names)
        found[str(status)] = _answer(words, {"$ref": "#/components/schemas/Problem"}, PROBLEM_TYPE)
        if any(KINDS[name].repeat for name in names):
            found[str(status)]["headers"] = {
                "Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 0}}
            }
    return found
