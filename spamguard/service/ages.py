"""What is traffic compared with, for a worker and for `spamguard drift`?"""

from pathlib import Path

import msgspec

from spamguard.config import Settings
from spamguard.core.ageing import Reference
from spamguard.core.decide import Judge
from spamguard.core.manifest import Manifest
from spamguard.core.scorer import LinearScorer
from spamguard.engine.ageing import Expectation
from spamguard.errors import ConfigError, DataError


def stated_reference(settings: Settings) -> Reference | None:
    """Return the reference the settings name; None for the model's own. Raises ConfigError."""
    if settings.reference is None:
        return None
    try:
        return msgspec.json.decode(settings.reference.read_bytes(), type=Reference)
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        detail = (
            f"reference names {settings.reference}, which cannot be read ({type(error).__name__}); "
            "`spamguard drift --write-reference` makes one"
        )
        raise ConfigError(detail=detail) from None


def write_reference(path: Path, reference: Reference) -> None:
    """Keep a reference, in one step. Raises DataError."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(reference)) + b"\n")
        draft.replace(path)
    except OSError as error:
        raise DataError(detail=f"{path} cannot be written ({error.strerror})") from None


def expectation_of(judge: Judge, manifest: Manifest, stated: Reference | None) -> Expectation:
    """Return what a model expects of the stream; a stated reference goes before its own."""
    words = judge.scorer.words if isinstance(judge.scorer, LinearScorer) else {}
    return Expectation(judge.name, stated or manifest.reference, words)
