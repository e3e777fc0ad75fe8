"""How does a model come out of yesterday's corpora and today's labels, again and again, without a person beside it?

corpora + exported labels + overlay → groups → a part that is never trained on → candidate → comparison with the
champion on what neither has seen → card and evidence → challenger. Every finished step is kept in a folder of work,
with a digest of all that goes in, so that a run that was stopped goes on, and a run with nothing new ends at once.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from spamguard import __version__
from spamguard.core import normalize
from spamguard.core.manifest import Manifest
from spamguard.errors import AlreadyRunning, DataError
from spamguard_training.corpus import LABELS, CorpusFile, Row, read_rows
from spamguard_training.fit import fold_of
from spamguard_training.groups import joined
from spamguard_training.recipe import Recipe

WORK: Final = ".retrain"
#: How near-duplicate groups are drawn that are never trained on: the same for every run, so that a champion made by one
#: run has not seen them either.
HOLDOUT_SEED: Final = 7_2026
_PARTS: Final = 1000
#: Near-duplicate groups of each label below which a comparison would say nothing.
LEAST_GROUPS: Final = 30
#: What one reader's word weighs beside that of two who agree, unless the recipe says otherwise.
TRUST_WEIGHTS: Final = {"one": 0.7, "two": 1.0, "settled": 1.0}


class Split(NamedTuple):
    """What is trained on, and what is kept back for the comparison."""

    train: list[Row]
    test: list[Row]  #: seen neither by the candidate nor by the champion
    kept_back: int  #: rows that are not trained on, seen by the champion or not


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a run has come."""

    inputs: str  #: digest of everything that is trained on, and how
    against: str | None = None  #: digest of the champion it was measured against; None for none
    candidate: str | None = None  #: name/version, once it is trained
    closed: tuple[str, ...] | None = None  #: what the gate said, once it was measured
    done: bool = False


def read_labels(paths: Sequence[Path]) -> tuple[list[Row], list[CorpusFile], int]:
    """Return exported labels, one a text, with how many contradicted another. Raises DataError.

    Of two labels of one text the more trusted holds, then the newer.
    """
    best: dict[str, Row] = {}
    contradictions = 0
    files = []
    for path in paths:
        found = read_rows(path)
        files.append(CorpusFile(name=path.name, sha256=_digest_of(path), rows=len(found)))
        for row in found:
            other = best.get(row.text)
            contradictions += other is not None and other.label != row.label
            if other is None or _rank(row) >= _rank(other):
                best[row.text] = row
    rows = [
        msgspec.structs.replace(
            row,
            read=True,
            label_source=row.label_source or ("reviewer" if row.source == "own" else row.source),
            reader=row.reader or row.who,
            labelled_at=row.labelled_at or row.at,
        )
        for row in best.values()
    ]
    return rows, files, contradictions


def _rank(row: Row) -> tuple[int, str]:
    return ("one", "two", "settled").index(
        row.trust
    ) if row.trust in TRUST_WEIGHTS else -1, row.labelled_at or row.at or ""


def _digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def merged(rows: Iterable[Row], labels: Sequence[Row], extra: Sequence[Row] = ()) -> list[Row]:
    """Return all rows, one a text, near-duplicates in one group.

    A reader's label of a text replaces the corpus's, and a row that was brought for the comparison replaces both.
    """
    said = {row.text: row for row in (*rows, *labels, *extra)}
    return joined(list(said.values()))


def is_held_back(row: Row, share: float) -> bool:
    """Return whether a row's group belongs to the part that is never trained on."""
    return fold_of(row.group, _PARTS, HOLDOUT_SEED) < share * _PARTS


def split(
    rows: Sequence[Row], extra: Sequence[Row], share: float, champion: Manifest | None, invented: Sequence[Row] = ()
) -> Split:
    """Return what is trained on and what the comparison is made on; `extra` rows were brought for that alone.

    A champion that was made with at least the same part kept back has not seen it; one that was not has seen all but
    labels that are younger than it. Invented rows are trained on only.
    """
    texts = {row.text for row in extra}
    brought = {row.group for row in rows if row.text in texts}  # nor is a near-duplicate of theirs trained on
    train: list[Row] = [*invented]
    kept: list[Row] = []
    for row in rows:
        (kept if is_held_back(row, share) or row.group in brought else train).append(row)
    knows = champion is not None and float(champion.metrics.get("holdout", 0.0)) < share
    unseen = [row for row in kept if not knows or row.text in texts or _younger(row, champion)]
    return Split(train, unseen, len(kept))


def _younger(row: Row, champion: Manifest | None) -> bool:
    if champion is None or row.labelled_at is None:
        return False
    try:
        return datetime.fromisoformat(row.labelled_at) > datetime.fromisoformat(champion.created)
    except (ValueError, TypeError):
        return False


def require_test(rows: Sequence[Row], champion: str | None) -> None:
    """Raise DataError when there is too little that neither model has seen."""
    for label in LABELS:
        groups = len({row.group for row in rows if row.label == label})
        if groups < LEAST_GROUPS:
            whom = f"neither the candidate nor {champion} has" if champion else "the candidate has not"
            raise DataError(
                detail=f"only {groups} near-duplicate groups of {label} are left that {whom} seen, {LEAST_GROUPS} are "
                "needed; bring labelled messages that were never trained on with --test"
            )


def fingerprint(files: Sequence[CorpusFile], recipe: Recipe, share: float) -> str:
    """Return the digest of everything that goes in."""
    parts = [f"{file.name} {file.sha256}" for file in sorted(files, key=lambda file: (file.name, file.sha256))]
    parts += [msgspec.json.encode(recipe).decode(), f"{share} {__version__} {normalize.VERSION}"]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@contextmanager
def locked(root: Path) -> Iterator[Path]:
    """Return the folder of work, for one run at a time. Raises AlreadyRunning, or DataError."""
    work = root / WORK
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / "lock").open("a+", encoding="ascii")
    except OSError as error:
        raise DataError(detail=f"{root} cannot be written ({error.strerror}); choose another --models") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes with the process, however it ends
        except OSError:
            lock.seek(0)
            raise AlreadyRunning(command="spamguard retrain", folder=root, pid=lock.read().strip() or "?") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield work


def read_state(work: Path) -> State | None:
    """Return how far the last run came; None when there was none, or what it left cannot be read."""
    try:
        return msgspec.json.decode((work / "state.json").read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError):
        return None


def write_state(work: Path, state: State) -> None:
    """Keep how far this run has come, in one step."""
    draft = work / ".state.draft"
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(state)) + b"\n")
    draft.replace(work / "state.json")


def forget_folds(work: Path) -> None:
    """Remove the checkpoints of a run that is over, or of one that went in with something else."""
    for path in work.glob("fold-*.npy"):
        path.unlink(missing_ok=True)
