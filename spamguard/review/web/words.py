"""In which language does a visitor read, and what does each phrase say in it?

A catalogue is one flat file a language, `words/<language>.toml`: a key, a phrase, `{name}` where a value goes.
"""

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from spamguard.errors import Conflict, ReviewInvalid, SpamguardError

LANGUAGES: Final[Mapping[str, str]] = {"zh": "中文", "en": "English"}
#: What is spoken where a browser names neither.
FALLBACK: Final = "en"

Say = Callable[..., str]


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Return a language's phrases by key."""
    text = (files(__package__) / "words" / f"{language}.toml").read_text(encoding="utf-8")
    return {key: str(phrase) for key, phrase in tomllib.loads(text).items()}


def speaker(language: str) -> Say:
    """Return the function that says a key in a language. It raises KeyError for a key that has no phrase.

    >>> speaker("zh")("label.spam")
    '垃圾短信'
    """
    phrases = catalogue(language)

    def say(key: str, /, **values: object) -> str:
        phrase = phrases[key]
        return phrase.format(**values) if values else phrase

    return say


def told(say: Say, error: SpamguardError) -> str:
    """Return the sentence of a refusal in a visitor's language, by the key that stands where the desk refuses.

    Without a key there is none: empty.
    """
    key, status = error.fields.get("key"), 409 if isinstance(error, Conflict) else 400
    if not isinstance(error, (Conflict, ReviewInvalid)) or key is None:
        return ""
    return say(f"refused.{status}", detail=say(f"refusal.{key}", **error.fields))


def preferred(accept_language: str) -> str:
    """Return the language a browser asks for, by the order of its Accept-Language header.

    >>> preferred("fr, en;q=0.7, zh-CN;q=0.9")
    'zh'
    """
    wishes: list[tuple[float, str]] = []
    for part in accept_language.split(","):
        tag, _, quality = part.strip().partition(";q=")
        try:
            wish = float(quality or 1)
        except ValueError:
            continue
        wishes.append((wish, tag.partition("-")[0].lower()))
    for _, tag in sorted(wishes, key=lambda wish: -wish[0]):
        if tag in LANGUAGES:
            return tag
    return FALLBACK
