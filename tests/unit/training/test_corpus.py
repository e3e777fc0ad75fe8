"""Where do training rows come from, and does a bad line say where it is without saying what it holds?"""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from spamguard_training.corpus import corpus_paths, read_corpus, read_rows

from spamguard.errors import DataError
from tests.cast import INVOICE, LOTTERY, MUM
from tests.conftest import SAMPLES


def line(text: str, label: str = "spam", **more: Any) -> bytes:
    """Return one row of a corpus."""
    row = {"id": "1", "text": text, "label": label, "source": "s", "group": "g"} | more
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def test_the_samples_are_a_corpus_and_every_row_is_whole() -> None:
    rows, [file] = read_corpus([SAMPLES / "labelled.jsonl"])
    content = (SAMPLES / "labelled.jsonl").read_bytes()
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert file.rows == len(content.splitlines()) == len({row.id for row in rows})
    assert {row.label for row in rows} == {"ham", "spam"}
    assert all(row.is_spam == (row.label == "spam") for row in rows)


def test_gzipped_and_plain_files_are_read_alike_and_empty_lines_are_none(tmp_path: Path) -> None:
    content = line(INVOICE, extra={"unknown": 1}) + b"\n  \n" + line(MUM, "ham", category="personal", copies=3)
    (tmp_path / "a.jsonl").write_bytes(content)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(content))
    assert read_rows(tmp_path / "a.jsonl") == read_rows(tmp_path / "b.jsonl.gz")
    assert [(row.text, row.category, row.copies) for row in read_rows(tmp_path / "a.jsonl")] == [
        (INVOICE, None, 1),
        (MUM, "personal", 3),
    ]


def test_a_table_in_csv_is_a_corpus_with_its_columns_in_any_order_and_quotes_as_spreadsheets_write_them(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(
        f'\ufefflabel,note,text,copies\r\nspam,x,"{INVOICE}, ""{LOTTERY}""\n{MUM}",\r\nham,,{MUM},3\r\n'.encode()
    )
    assert [(row.text, row.label, row.copies, row.source) for row in read_rows(path)] == [
        (f'{INVOICE}, "{LOTTERY}"\n{MUM}', "spam", 1, "own"),
        (MUM, "ham", 3, "own"),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"message,class\n{LOTTERY},spam\n".encode(), "must name the columns, text and label"),
        (b"", "must name the columns"),
        (f"text,label\n{LOTTERY},and more,spam\n".encode(), "line 2 .* into double quotes"),
        (f'text,label\n"{LOTTERY},spam\n'.encode(), "quote not closed"),
        (f"text,label\n{LOTTERY}\n".encode(), "line 2 .*required field `label`"),
        (f"text,label,copies\n{LOTTERY},spam,{LOTTERY}\n".encode(), "line 2"),
        (f"text,label\n{LOTTERY},1\n".encode(), "line 2: the label must be 'spam' or 'ham'"),
        (f"text,label\n{LOTTERY},spam\n".encode("gb18030"), "line 2 .*iconv -f GB18030"),
    ],
)
def test_a_bad_table_says_where_and_what_to_do_and_never_the_text(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_rows(path)
    assert LOTTERY[:6] not in str(caught.value)


def test_the_same_text_counts_once_and_the_first_row_wins(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(line(INVOICE) + line(MUM, "ham"))
    (tmp_path / "b.jsonl").write_bytes(line(INVOICE, "ham") + line(LOTTERY))
    rows, files = read_corpus([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])
    assert [(row.text, row.label) for row in rows] == [(INVOICE, "spam"), (MUM, "ham"), (LOTTERY, "spam")]
    assert [file.rows for file in files] == [2, 2]


def test_a_folder_gives_its_training_files_or_all_in_name_order(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl.gz", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in corpus_paths(tmp_path)] == ["a.jsonl.gz", "b.jsonl"]
    (tmp_path / "train-zh.jsonl").touch()
    assert [path.name for path in corpus_paths(tmp_path)] == ["train-zh.jsonl"]
    assert corpus_paths(tmp_path / "b.jsonl") == [tmp_path / "b.jsonl"]


def test_a_corpus_that_is_not_there_is_said_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist; give a \.jsonl"):
        corpus_paths(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no \.jsonl"):
        corpus_paths(tmp_path)


@pytest.mark.parametrize(
    "bad",
    [
        b'{"text": "' + LOTTERY.encode() + b'"\n',
        b'{"text": "' + LOTTERY.encode() + b'"}\n',
        line(LOTTERY, label="maybe " + LOTTERY),
        line(LOTTERY, copies=LOTTERY),
        line(LOTTERY).replace(b'"g"', b'"\xff"'),
        line(LOTTERY).replace(b'"g"', b'"\\ud800"'),
        b"[" + line(LOTTERY)[:-1] + b"]\n",
        b"\xff\xfe\n",
    ],
)
def test_a_bad_line_names_file_and_line_and_never_the_text(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(line(MUM, "ham") + b"\n" + bad)
    with pytest.raises(DataError, match=r"train\.jsonl line 3") as caught:
        read_rows(path)
    assert LOTTERY[:6] not in str(caught.value)


def test_a_damaged_archive_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl.gz"
    sound = gzip.compress(b"".join(line(f"{LOTTERY}{number}") for number in range(200)))
    middle = len(sound) // 2
    broken = [sound[:middle], b"no gzip", sound[:-8] + bytes(8)]
    broken += [
        sound[:place] + bytes((sound[place] ^ 0xFF,)) + sound[place + 1 :] for place in range(20, len(sound), 40)
    ]
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"is it complete|line"):
            read_rows(path)


def test_one_label_alone_is_nothing_to_train_on(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(line(INVOICE) + line(LOTTERY))
    with pytest.raises(DataError, match="both labels"):
        read_corpus([tmp_path / "a.jsonl"])
