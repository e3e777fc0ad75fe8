"""fastText, frozen as a rival: the same words and their pairs, trained on the labelled samples, one message a call."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import fasttext
import msgspec

from spamguard.core.normalize import normalize
from spamguard.core.tokenizer import tokenize


def line(text: str) -> str:
    return " ".join(word for word in tokenize(normalize(text)) if word != " ")


def fasttext_way(labelled: Path) -> Callable[[str], float]:
    rows = [msgspec.json.decode(row) for row in labelled.read_bytes().splitlines()]
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.writelines(f"__label__{row['label']} {line(row['text'])}\n" for row in rows)
        file.flush()
        model = fasttext.train_supervised(file.name, dim=100, wordNgrams=2, bucket=200_000, epoch=10, verbose=0)

    def score(text: str) -> float:
        [labels], [chances] = model.predict([line(text)], k=1)
        return float(chances[0] if labels[0] == "__label__spam" else 1 - chances[0])

    return score
