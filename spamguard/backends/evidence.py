"""Where is the evidence kept that the gate reads?

In `evidence/` of the folder of models, one file a pair of models, named by them; what it is bound to stands inside.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from spamguard.core.gate import FORMAT, Evidence, ModelRef
from spamguard.errors import DataError

FOLDER: Final = "evidence"
_FLOORS: Final = "floors"


def path_of(root: Path, challenger: ModelRef, champion: ModelRef | None) -> Path:
    """Return where the evidence on a pair of models belongs."""
    names = [_plain(challenger), _FLOORS if champion is None else _plain(champion)]
    return root / FOLDER / f"{'_vs_'.join(names)}.json"


def _plain(model: ModelRef) -> str:
    return "".join(char if char.isalnum() or char in ".-" else "@" for char in model.name)


def write(root: Path, evidence: Evidence) -> Path:
    """Keep evidence, in one step; what was found before on the same pair is replaced. Raises DataError."""
    path = path_of(root, evidence.challenger, evidence.champion)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(evidence), indent=2) + b"\n")
        draft.replace(path)
    except OSError as error:
        detail = f"the evidence cannot be written to {path.parent} ({error.strerror}); run where models are released"
        raise DataError(detail=detail) from None
    return path


def read(root: Path, challenger: ModelRef, champion: ModelRef | None) -> Evidence | str:
    """Return the evidence on exactly these two models, or why there is none."""
    path = path_of(root, challenger, champion)
    against = f"against {champion.name}" if champion else "of a first model"
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Evidence)
    except FileNotFoundError:
        return f"nobody measured it {against} yet"
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        return f"the evidence {against} cannot be read ({type(error).__name__})"
    if found.format != FORMAT:
        return f"the evidence {against} has format {found.format}, this release reads {FORMAT}"
    if (found.challenger.digest, found.champion and found.champion.digest) != (
        challenger.digest,
        champion and champion.digest,
    ):
        return f"the evidence {against} is of other models under these names"
    return found
