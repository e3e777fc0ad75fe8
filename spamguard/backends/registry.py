"""Which models are there, and which one is meant?

A registry is a folder: `<name>/<version>/manifest.json …` and `aliases.json`, which says what `champion` and
`challenger` are. A model is named by a folder's path, by `name/version`, by `name` (its newest version) or by an
alias. Aliases are replaced in one step, so a reader sees the old or the new one, never half. `history.jsonl` beside
them tells of every move: a line is on disk before its alias moves, so no move goes without a trace.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from spamguard.core.manifest import FILE_NAME
from spamguard.errors import AliasNotMoved, DataError, ModelNotFound, ModelRejected, NobodyAppointed

ALIASES: Final = "aliases.json"
HISTORY: Final = "history.jsonl"
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"


def shipped_models() -> Path:
    """Return the folder of the models that come with the package, or with a source tree."""
    inside = Path(str(files("spamguard"))) / "models"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "models"


def model_folders(root: Path) -> list[Path]:
    """Return the folders of all models, by name and then by age of version."""
    folders = (path.parent for path in root.glob(f"[!.]*/[!.]*/{FILE_NAME}"))  # a dot begins a draft being written
    return sorted(folders, key=lambda folder: (folder.parent.name, _age(folder.name)))


def _age(version: str) -> list[tuple[int, str]]:
    """Return a sorting key in which version 10 comes after version 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in version.replace("-", ".").split(".")]


def read_aliases(root: Path) -> Mapping[str, str]:
    """Return what each alias stands for, as name/version. Raises ModelRejected."""
    path = root / ALIASES
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise ModelRejected(path=path, detail="the aliases cannot be read") from None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise ModelRejected(path=path, detail="the aliases must be an object of names")
    return found


class Move(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"source": "from", "target": "to"}):
    """One move of an alias, as a line of the history keeps it."""

    at: str  #: RFC 3339, UTC
    who: str
    kind: Literal["promote", "rollback"]
    alias: str
    source: str | None  #: name/version it stood for before; None at its first move
    target: str  #: name/version it stands for since
    reason: str
    override: str | None = None  #: why the gate was gone past, with what it said; None where it was open


def write_alias(root: Path, alias: str, target: str) -> None:
    """Let an alias stand for name/version, in one step, without a line in the history."""
    aliases = {**read_aliases(root), alias: target}
    draft = root / f".{ALIASES}.{os.getpid()}"
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(json.dumps(aliases, indent=2, sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())  # or a machine that loses power keeps the new name of an empty file
        draft.replace(root / ALIASES)
    finally:
        draft.unlink(missing_ok=True)


def move_alias(
    root: Path,
    alias: str,
    target: str,
    *,
    at: str,
    who: str,
    reason: str,
    kind: Literal["promote", "rollback"],
    override: str | None = None,
) -> Move:
    """Let an alias stand for name/version and keep who did it, when and why. Raises AliasNotMoved or ModelRejected.

    A process that dies between the two leaves a line whose move did not happen; what an alias stands for is said by
    the aliases alone.
    """
    try:
        with (root / HISTORY).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # moves at the same time wait for each other; closing lets go
            source = read_aliases(root).get(alias)
            move = Move(
                at=at, who=who, kind=kind, alias=alias, source=source, target=target, reason=reason, override=override
            )
            size = file.seek(0, os.SEEK_END)
            try:
                os.write(file.fileno(), b"" if _ends_whole(root / HISTORY) else b"\n")
                os.write(file.fileno(), msgspec.json.encode(move) + b"\n")
                os.fsync(file.fileno())
                write_alias(root, alias, target)
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise AliasNotMoved(alias=alias, detail=f"{root} cannot be written ({error.strerror})") from None
    return move


def _ends_whole(path: Path) -> bool:
    """Return False where a dying process left half a line."""
    return path.read_bytes()[-1:] in (b"", b"\n")


def read_history(root: Path) -> list[Move]:
    """Return the moves of all aliases, oldest first; lines that are no moves are left out. Raises ModelRejected."""
    try:
        lines = (root / HISTORY).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ModelRejected(path=root / HISTORY, detail=f"the history cannot be read ({error.strerror})") from None
    moves = []
    for line in lines:
        try:
            moves.append(msgspec.json.decode(line, type=Move))
        except (msgspec.MsgspecError, UnicodeError):
            continue
    return moves


def previous(alias: str, current: str | None, moves: Sequence[Move]) -> str | None:
    """Return what an alias stood for before what it stands for now, or None when nobody knows.

    A rollback takes a promotion back, so a second one goes one promotion further. An alias that was moved without the
    history goes back to what the history knows last.

    >>> def move(kind, source, target):
    ...     return Move(at="", who="", kind=kind, alias="champion", source=source, target=target, reason="")
    >>> ups = [move("promote", "a", "b"), move("promote", "b", "c")]
    >>> previous("champion", "c", ups), previous("champion", "b", [*ups, move("rollback", "c", "b")])
    ('b', 'a')
    """
    stack: list[str] = []
    for move in moves:
        if move.alias != alias:
            continue
        if move.kind == "rollback":
            while stack and stack[-1] != move.target:
                stack.pop()
        elif move.source is not None and stack[-1:] != [move.source]:
            stack.append(move.source)
        if stack[-1:] != [move.target]:
            stack.append(move.target)
    while stack and stack[-1] == current:
        stack.pop()
    return stack[-1] if stack else None


def names(root: Path, name: str, folder: Path) -> bool:
    """Return whether name/version means this folder, so that an alias can stand for it."""
    return (root / name / FILE_NAME).is_file() and (root / name).resolve() == folder.resolve()


def resolve(reference: str, root: Path) -> Path:
    """Return the folder of the model a reference means. Raises ModelNotFound, for an alias NobodyAppointed."""
    direct = Path(reference)
    if (direct / FILE_NAME).is_file():
        return direct
    target = read_aliases(root).get(reference, reference)
    if (root / target / FILE_NAME).is_file():
        return root / target
    versions = [folder for folder in model_folders(root) if folder.parent.name == target]
    if versions:
        return versions[-1]
    if reference in (CHAMPION, CHALLENGER) and target == reference:
        raise NobodyAppointed(folder=root, alias=reference)
    raise ModelNotFound(path=root / target)


class Kept(NamedTuple):
    """A model that pruning leaves alone, and why."""

    name: str
    why: str


def prunable(root: Path, *, keep: int) -> tuple[list[str], list[Kept]]:
    """Return the models (name/version) that may be removed, oldest first, and those that stay. Raises ModelRejected.

    What stays: whatever an alias stands for, the last `keep` models each alias stood for before, and every version
    that is newer than those of its name: it may be a candidate that nobody has tried yet.
    """
    aliases, moves = read_aliases(root), read_history(root)
    why: dict[str, str] = {}
    for alias, target in sorted(aliases.items()):
        why[target] = f"{why[target]}, {alias}" if target in why else alias
    for alias in sorted({move.alias for move in moves}):
        stood = [name for move in moves if move.alias == alias for name in (move.source, move.target) if name]
        for name in [name for name in dict.fromkeys(reversed(stood)) if name != aliases.get(alias)][:keep]:
            why.setdefault(name, f"was {alias}")
    may, stays = [], []
    folders = model_folders(root)
    newest: dict[str, int] = {}
    for place, folder in enumerate(folders):
        if f"{folder.parent.name}/{folder.name}" in why:
            newest[folder.parent.name] = place
    for place, folder in enumerate(folders):
        name = f"{folder.parent.name}/{folder.name}"
        if name in why:
            stays.append(Kept(name, why[name]))
        elif place > newest.get(folder.parent.name, -1):
            stays.append(Kept(name, "newer than what an alias stood for"))
        else:
            may.append(name)
    return may, stays


def remove_model(root: Path, name: str) -> None:
    """Remove a model whole: it is out of every reader's sight before its first file goes. Raises DataError."""
    folder = root / name
    gone = folder.with_name(f".{folder.name}.pruned")
    try:
        folder.rename(gone)
        shutil.rmtree(gone)
    except OSError as error:
        raise DataError(
            detail=f"{name} could not be removed ({error.strerror}); prune where the folder is writable"
        ) from None
