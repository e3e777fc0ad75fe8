"""Does a model come back from its folder as it was, and is every kind of damage one sentence?"""

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from spamguard.backends import artifacts
from spamguard.core.manifest import Manifest
from spamguard.core.normalize import normalize_batch
from spamguard.core.scorer import LinearScorer
from spamguard.engine.holder import ready_judge
from spamguard.errors import ModelNotFound, ModelRejected
from tests.cast import EVERYONE
from tests.conftest import Trained, manifest_of


@pytest.fixture
def folder(trained: Trained, tmp_path: Path) -> Path:
    """A sound model folder."""
    path = tmp_path / "small" / "1.0"
    files = artifacts.pack(trained.arrays) | {"card.md": b"# The small model\n"}
    artifacts.write(path, manifest_of(trained.arrays), files)
    return path


def resign(folder: Path, **changed: Any) -> None:
    """Write the manifest anew with the digests of the files as they are: damage that a digest cannot see."""
    path = folder / "manifest.json"
    manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in manifest.files}
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, **({"files": files} | changed))))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the arrays and sign them."""
    with np.load(folder / "weights.npz") as found:
        arrays = dict(found)
    change(arrays)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    (folder / "weights.npz").write_bytes(buffer.getvalue())
    resign(folder)


def test_a_model_comes_back_as_it_was(folder: Path, trained: Trained, scorer: LinearScorer) -> None:
    manifest, arrays = artifacts.read(folder)
    assert manifest == msgspec.structs.replace(manifest_of(trained.arrays), files=manifest.files)
    texts = normalize_batch(EVERYONE)
    again = LinearScorer(arrays)
    assert again.score(texts).log_odds.tolist() == scorer.score(texts).log_odds.tolist()
    assert again.explain_batch(EVERYONE) == scorer.explain_batch(EVERYONE)
    assert ready_judge(manifest, arrays).name == "small/1.0"


def test_the_same_arrays_give_the_same_bytes(trained: Trained) -> None:
    assert artifacts.pack(trained.arrays) == artifacts.pack(trained.arrays)


def test_nothing_but_the_model_is_left_behind(folder: Path) -> None:
    assert [path.name for path in folder.parent.iterdir()] == ["1.0"]
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "weights.npz", "vocabulary.txt", "card.md"}


def test_a_manifest_of_a_later_release_with_more_fields_is_read(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"{", b'{"mood": "good",', 1))
    assert artifacts.read_manifest(folder).name == "small"


def test_a_folder_without_a_manifest_is_not_found_and_the_next_step_is_said(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ModelNotFound, match="spamguard train"):
            artifacts.read(path)


def flip(path: Path, place: int) -> None:
    """Change one byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def cut(folder: Path, size: int) -> None:
    """Leave only the first bytes of the weights, signed."""
    (folder / "weights.npz").write_bytes((folder / "weights.npz").read_bytes()[:size])
    resign(folder)


def pickled(arrays: dict[str, Any]) -> None:
    """Put a pickled object where numbers were."""
    arrays["words.idf"] = np.array([{"os": "system"}], dtype=object)


def put(folder: Path, name: str, content: bytes) -> None:
    """Replace a file and sign it."""
    (folder / name).write_bytes(content)
    resign(folder)


def one_array() -> bytes:
    """Return a single array where an archive of them should be."""
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    return buffer.getvalue()


def make_folder(path: Path) -> None:
    """Put a folder in a file's place."""
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights gone": (lambda folder: (folder / "weights.npz").unlink(), "weights.npz.*cannot be read"),
    "vocabulary gone": (lambda folder: (folder / "vocabulary.txt").unlink(), "vocabulary.txt.*cannot be read"),
    "card gone": (lambda folder: (folder / "card.md").unlink(), "card.md.*cannot be read"),
    "byte of weights": (lambda folder: flip(folder / "weights.npz", 99), "weights.npz.*SHA-256"),
    "byte of vocabulary": (lambda folder: flip(folder / "vocabulary.txt", 3), "vocabulary.txt.*SHA-256"),
    "last byte of card": (lambda folder: flip(folder / "card.md", -1), "card.md.*SHA-256"),
    "weights cut in half": (lambda folder: cut(folder, 5000), "weights.npz does not hold"),
    "weights empty": (lambda folder: cut(folder, 0), "weights.npz does not hold"),
    "weights are one array": (lambda folder: put(folder, "weights.npz", one_array()), "weights.npz does not hold"),
    "weights are garbage": (lambda folder: put(folder, "weights.npz", b"\x80\x04garbage"), "weights.npz does not hold"),
    "pickled objects": (lambda folder: rewrite(folder, pickled), "weights.npz does not hold.*allow_pickle"),
    "array gone": (
        lambda folder: rewrite(folder, lambda a: a.pop("chars.keys")),
        "weights.npz does not hold.*chars.keys",
    ),
    "intercept gone": (lambda folder: rewrite(folder, lambda a: a.pop("intercept")), "intercept"),
    "NaN weight": (lambda folder: rewrite(folder, lambda a: a["chars.weights"].__setitem__(7, np.nan)), "not finite"),
    "infinite idf": (lambda folder: rewrite(folder, lambda a: a["words.idf"].__setitem__(0, np.inf)), "not finite"),
    "NaN intercept": (
        lambda folder: rewrite(folder, lambda a: a.update(intercept=np.array(np.nan))),
        "intercept is not finite",
    ),
    "lengths differ": (
        lambda folder: rewrite(folder, lambda a: a.update({"words.idf": a["words.idf"][:-1]})),
        "differ in length",
    ),
    "features differ": (lambda folder: resign(folder, features=3), "number of features"),
    "vocabulary is no text": (lambda folder: put(folder, "vocabulary.txt", b"\xff"), "does not hold"),
    "no digest of weights": (lambda folder: resign(folder, files={"vocabulary.txt": "0"}), "no digest for weights.npz"),
    "path upwards": (lambda folder: escape(folder, ".."), "cannot be read"),
    "path with NUL": (lambda folder: escape(folder, "a\0b"), "cannot be read"),
    "absolute path": (lambda folder: escape(folder, "/etc/hostname"), "outside its folder"),
    "relative path": (lambda folder: escape(folder, "../1.0/card.md"), "outside its folder"),
    "later format": (lambda folder: resign(folder, format=2), "format is 2.*upgrade"),
    "manifest is a list": (lambda folder: (folder / "manifest.json").write_bytes(b"[]"), "no manifest"),
    "manifest is empty": (lambda folder: (folder / "manifest.json").write_bytes(b""), "no manifest"),
    "manifest is not UTF-8": (lambda folder: (folder / "manifest.json").write_bytes(b'{"name":"\xff"}'), "no manifest"),
    "manifest misses a field": (lambda folder: (folder / "manifest.json").write_bytes(b'{"name":"a"}'), "no manifest"),
    "manifest is deep": (
        lambda folder: (folder / "manifest.json").write_bytes(b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        "no manifest",
    ),
    "manifest is a folder": (lambda folder: make_folder(folder / "manifest.json"), "manifest.json cannot be read"),
    "view that fits no key": (
        lambda folder: edit_manifest(folder, b'"bits": 32', b'"bits": 0'),
        "no manifest.*do not fit",
    ),
}


def escape(folder: Path, name: str) -> None:
    """Let the manifest name a file that is not one of the folder's."""
    files = artifacts.read_manifest(folder).files
    resign(folder, files={**files, name: "0" * 64})


def edit_manifest(folder: Path, old: bytes, new: bytes) -> None:
    """Replace a piece of the manifest."""
    path = folder / "manifest.json"
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_kind_of_damage_is_one_sentence_that_names_the_folder(folder: Path, damage: str) -> None:
    harm, said = DAMAGE[damage]
    harm(folder)
    with pytest.raises(ModelRejected, match=said) as caught:
        artifacts.read(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_any_single_damaged_byte_of_a_signed_archive_is_refused_or_harmless(folder: Path) -> None:
    sound = (folder / "weights.npz").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(sound), 150).tolist():
        (folder / "weights.npz").write_bytes(sound[:place] + bytes((sound[place] ^ 0x55,)) + sound[place + 1 :])
        resign(folder)
        try:
            ready_judge(*artifacts.read(folder))
        except ModelRejected:
            refused += 1
    assert refused > 100


def test_a_stray_pickle_beside_the_model_is_never_opened(folder: Path) -> None:
    (folder / "pipeline.joblib").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    artifacts.read(folder)


def test_the_archive_holds_plain_arrays_only(folder: Path) -> None:
    with zipfile.ZipFile(folder / "weights.npz") as archive:
        assert {Path(name).suffix for name in archive.namelist()} == {".npy"}
    with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays)


def test_a_version_that_is_there_is_not_overwritten(folder: Path, trained: Trained) -> None:
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(OSError, match=r"1\.0"):
        artifacts.write(folder, manifest_of(trained.arrays, prior=0.1), artifacts.pack(trained.arrays))
    assert (folder / "manifest.json").read_bytes() == before
