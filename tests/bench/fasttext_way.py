"""fastText, frozen as a rival for speed alone: the same words and their pairs, trained on the few labelled samples."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import fasttext
import msgspec

from spamguard.core.normalize import normalize_batch
from spamguard.core.tokenizer import tokenize


def lines(texts: Sequence[str]) -> list[str]:
    return [" ".join(word for word in tokenize(text) if word != " ") for text in normalize_batch(texts)]


def fasttext_way(labelled: Path) -> Callable[[Sequence[str]], list[float]]:
    rows = [msgspec.json.decode(row) for row in labelled.read_bytes().splitlines()]
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        written = zip(rows, lines([row["text"] for row in rows]), strict=True)
        file.writelines(f"__label__{row['label']} {line}\n" for row, line in written)
        file.flush()
        model = fasttext.train_supervised(file.name, dim=100, wordNgrams=2, bucket=200_000, epoch=10, verbose=0)

    def scores(texts: Sequence[str]) -> list[float]:
        # Given a list: for one text its wrapper asks of numpy what version 2 refuses.
        labels, chances = model.predict(lines(texts), k=1)
        return [
            float(chance if label == "__label__spam" else 1 - chance)
            for [label], [chance] in zip(labels, chances, strict=True)
        ]

    return scores
