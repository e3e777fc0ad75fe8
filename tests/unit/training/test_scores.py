"""Are out-of-fold scores kept whole, and without a text?"""

from pathlib import Path

import numpy as np
import pytest
from spamguard_training.corpus import Row
from spamguard_training.scores import read_scores, scored_rows, write_scores

from spamguard.errors import DataError


@pytest.mark.parametrize("name", ["scores.jsonl", "scores.npz"])
def test_what_is_written_comes_back_and_holds_no_text(rows: list[Row], tmp_path: Path, name: str) -> None:
    scored = scored_rows(rows, np.linspace(-9.0, 9.0, len(rows)), frozenset({rows[0].source}))
    write_scores(tmp_path / name, scored)
    assert read_scores(tmp_path / name) == scored
    content = (tmp_path / name).read_bytes()
    assert not any(row.text.encode() in content for row in rows if len(row.text) > 10)


@pytest.mark.parametrize("name", ["missing.npz", "bad.npz", "bad.jsonl", "empty.jsonl"])
def test_what_holds_no_scores_says_how_to_get_some(tmp_path: Path, name: str) -> None:
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"{}")
    with pytest.raises(DataError, match="spamguard train --scores"):
        read_scores(tmp_path / name)
