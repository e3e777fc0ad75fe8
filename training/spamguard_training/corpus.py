"""Where do training rows come from, and how does a bad line make itself known?

A corpus is JSON Lines, gzipped or not, one labelled message a line; `datasets/README.md` documents the fields. A
folder is read as all its `train*.jsonl[.gz]` files (or all files, when none is named so), in name order. A table that
was exported from elsewhere is a corpus too: a CSV file whose first line names the columns as the fields are called.
"""

import csv
import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from spamguard.errors import DataError
from spamguard_training.stored import Stored

LABELS = ("ham", "spam")
_NOT_UTF_8: Final = "it is not UTF-8; a file in GBK becomes it by iconv -f GB18030 -t UTF-8"


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One labelled message; `group` is its near-duplicate group and never crosses a split."""

    text: str
    label: str
    source: str = "own"
    id: str = ""  #: first 16 hexadecimal digits of the text's SHA-256; computed when left out
    group: str = ""  #: the message's own id when left out: nothing is then known of its near-duplicates
    lang: str = "zh"
    copies: int = 1
    read: bool = False  #: read by the label policy, not only labelled by its source
    category: str | None = None
    confidence: str | None = None
    public_label: str | None = None
    public_category: str | None = None
    kind: str | None = None
    set: str | None = None
    label_source: str | None = None  #: of exported labels: reviewer, complaint, …: who in general said so
    reader: str | None = None  #: of exported labels: who exactly
    labelled_at: str | None = None  #: of exported labels: RFC 3339
    trust: str | None = None  #: of exported labels: one reader, two who agree, or settled between two
    who: str | None = None  #: the reader, as `spamguard labels export` calls it
    at: str | None = None  #: the moment of the label, as `spamguard labels export` calls it

    @property
    def is_spam(self) -> bool:
        """Whether the label is spam."""
        return self.label == "spam"


class CorpusFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was read, as the manifest names it."""

    name: str
    sha256: str
    rows: int


def corpus_paths(data: Path) -> list[Path]:
    """Return the files of a corpus: the file itself, or a folder's training files. Raises DataError."""
    if data.is_file():
        return [data]
    if not data.is_dir():
        raise DataError(
            detail=f"{data} does not exist; give a .jsonl, .jsonl.gz or .csv file, or a folder of the first two"
        )
    everything = sorted(path for path in data.iterdir() if path.name.endswith((".jsonl", ".jsonl.gz")))
    named = [path for path in everything if path.name.startswith("train")]
    if not everything:
        raise DataError(
            detail=f"{data} holds no .jsonl or .jsonl.gz file; datasets/README.md describes the format. CSV files are "
            "named one by one"
        )
    return named or everything


def _lines(path: Path) -> Iterator[bytes]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            yield from stream
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(detail=f"{path} cannot be read ({type(error).__name__}); is it complete?") from error


def read_rows(path: Path) -> list[Row]:
    """Return a file's rows. Raises DataError naming file and line, never the text."""
    return list(each_row(path))


def each_row(path: Path) -> Iterator[Row]:
    """Yield a file's rows as they are read. Raises DataError naming file and line, never the text."""
    found = _table(path) if path.name.lower().endswith((".csv", ".csv.gz")) else _objects(path)
    for number, row in found:
        if row.label not in LABELS:
            raise DataError(detail=f"{path.name} line {number}: the label must be 'spam' or 'ham'")
        identity = row.id or hashlib.sha256(row.text.encode()).hexdigest()[:16]
        yield msgspec.structs.replace(row, id=identity, group=row.group or identity)


def _objects(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield the rows of a JSON Lines file with the number of their line."""
    decoder = msgspec.json.Decoder(Row)
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            yield number, decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeError) as error:
            said = _reason(error) or _malformed(line)
            raise DataError(detail=f"{path.name} line {number} is not a corpus row ({said})") from None


def _table(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield the rows of a CSV file with the number of the line they end on; empty cells are left out."""
    reader = csv.DictReader(_decoded(path), strict=True)
    try:
        if not {"text", "label"} <= set(reader.fieldnames or ()):
            raise DataError(
                detail=f"the first line of {path.name} must name the columns, text and label among them, with commas "
                "between; other columns are those of datasets/README.md"
            )
        for cells in reader:
            said = "more cells than columns: put a text that holds a comma or a quote into double quotes"
            if None not in cells:
                known = {name: cell for name, cell in cells.items() if cell or (name == "text" and cell is not None)}
                try:
                    yield reader.line_num, msgspec.convert(known, Row, strict=False)
                    continue
                except msgspec.ValidationError as error:
                    said = _reason(error) or "a cell does not fit its column"
            raise DataError(detail=f"{path.name} line {reader.line_num} is not a corpus row ({said})")
    except csv.Error:
        raise DataError(
            detail=f"{path.name} line {reader.line_num} is not a corpus row (malformed CSV: is a quote not closed, or "
            "not doubled within a text?)"
        ) from None


def _decoded(path: Path) -> Iterator[str]:
    for number, line in enumerate(_lines(path), start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise DataError(detail=f"{path.name} line {number} is not a corpus row ({_NOT_UTF_8})") from None


def _malformed(line: bytes) -> str:
    try:
        line.decode()
    except UnicodeDecodeError:
        return _NOT_UTF_8
    return "malformed JSON: one object a line; a table belongs into a file named .csv"


def _reason(error: Exception) -> str:
    """Return what msgspec found wrong without quoting any value, or nothing when it quotes one."""
    said = str(error)
    return said if isinstance(error, msgspec.ValidationError) and "value" not in said.lower() else ""


def stored_rows(rows: Iterable[Row]) -> Stored[Row]:
    """Return rows on disk."""
    return Stored(rows, msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Row).decode)


def read_corpus(paths: Sequence[Path]) -> tuple[Sequence[Row], list[CorpusFile]]:
    """Return the rows of all files, the same text once, and what was read. Raises DataError.

    The rows stay on disk: a corpus may be larger than memory.
    """
    files: list[CorpusFile] = []
    labels: set[str] = set()

    def once() -> Iterator[Row]:
        texts: set[bytes] = set()
        for path in paths:
            read = 0
            for row in each_row(path):
                read += 1
                digest = hashlib.blake2b(row.text.encode(), digest_size=16).digest()
                if digest not in texts:
                    texts.add(digest)
                    labels.add(row.label)
                    yield row
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            files.append(CorpusFile(name=path.name, sha256=sha256, rows=read))

    rows = stored_rows(once())
    if not rows:
        raise DataError(detail=f"{', '.join(file.name for file in files)}: there is no row in it")
    if labels != set(LABELS):
        raise DataError(detail="training needs rows of both labels, spam and ham")
    return rows, files
