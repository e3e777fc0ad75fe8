"""How is a model written to a folder, and read back without trusting it?

A folder holds `manifest.json`, `weights.npz` (arrays only: it is read with pickling off), `vocabulary.txt` and
`card.md`. Every file's SHA-256 stands in the manifest and is checked before a byte of the file is used. A
`pipeline.joblib` may lie beside them for people who inspect; nothing here ever opens it. Where keys are given, the
manifest must be signed by one of them before a word of it is believed.
"""

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from spamguard.backends import signing
from spamguard.core.manifest import FILE_NAME, FORMAT, Manifest
from spamguard.core.scorer import ModelArrays, ViewArrays
from spamguard.errors import ModelNotFound, ModelRejected

WEIGHTS: Final = "weights.npz"
VOCABULARY: Final = "vocabulary.txt"
CARD: Final = "card.md"
#: What a folder must hold to serve; the card is for people.
NEEDED: Final = (WEIGHTS, VOCABULARY)


def pack(model: ModelArrays) -> dict[str, bytes]:
    """Return a model's serving files by name; the same arrays give the same bytes."""
    arrays: dict[str, Any] = {
        "intercept": np.array(model.intercept, dtype=np.float64),
        "kind_intercepts": model.kind_intercepts,
    }
    for view in model.views:
        name = view.view.name
        arrays |= {f"{name}.keys": view.keys, f"{name}.idf": view.idf, f"{name}.weights": view.weights}
        if name in model.symbols:
            arrays[f"{name}.codes"], arrays[f"{name}.symbols"] = model.symbols[name]
        if name in model.kind_features:
            arrays[f"{name}.kind_features"] = model.kind_features[name]
            arrays[f"{name}.kind_weights"] = model.kind_weights[name]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return {WEIGHTS: buffer.getvalue(), VOCABULARY: "".join(f"{word}\n" for word in model.words).encode()}


def write(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
    """Write a model folder whole or not at all; return the manifest with the digests of its files."""
    manifest = msgspec.structs.replace(manifest, files={name: _digest(content) for name, content in files.items()})
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    draft.mkdir(parents=True)
    for name, content in files.items():
        (draft / name).write_bytes(content)
    (draft / FILE_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    draft.rename(folder)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Return a folder's manifest. Raises ModelNotFound or ModelRejected."""
    return _manifest(folder, _manifest_content(folder))


def manifest_digest(folder: Path) -> str:
    """Return the SHA-256 of a manifest, which vouches for all its files. Raises ModelNotFound or ModelRejected."""
    return _digest(_manifest_content(folder))


def sign(folder: Path, secret: Path) -> signing.Signature:
    """Sign a folder's manifest with the secret key in a file. Raises ModelNotFound, ModelRejected or DataError."""
    return signing.sign(folder, _manifest_content(folder), signing.read_secret(secret))


def require_signature(folder: Path, keys: signing.Keys) -> str | None:
    """Return which key signed a folder's manifest; None when no key is asked for. Raises as `read` does."""
    return signing.require(folder, _manifest_content(folder), keys)


def _manifest_content(folder: Path) -> bytes:
    try:
        return (folder / FILE_NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ModelNotFound(path=folder) from None
    except OSError as error:
        raise ModelRejected(path=folder, detail=f"{FILE_NAME} cannot be read ({error.strerror})") from None


def _manifest(folder: Path, content: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ModelRejected(path=folder, detail=f"{FILE_NAME} is no manifest ({error})") from None
    if manifest.format != FORMAT:
        detail = f"its format is {manifest.format}, this release reads {FORMAT}; upgrade spamguard"
        raise ModelRejected(path=folder, detail=detail)
    return manifest


def read(folder: Path, keys: signing.Keys = signing.NO_KEYS) -> tuple[Manifest, ModelArrays]:
    """Return a folder's manifest and arrays, every digest checked, and the signature where there are keys.

    Raises ModelNotFound or ModelRejected.
    """
    return read_known(folder, keys)[1:]


def read_known(folder: Path, keys: signing.Keys = signing.NO_KEYS) -> tuple[str, Manifest, ModelArrays]:
    """Return the digest of the manifest that was read, and what `read` returns. Raises as it does."""
    content = _manifest_content(folder)
    signing.require(folder, content, keys)
    manifest = _manifest(folder, content)
    return _digest(content), manifest, _arrays(folder, manifest)


def _arrays(folder: Path, manifest: Manifest) -> ModelArrays:
    files = verified_files(folder, manifest)
    try:
        with np.load(io.BytesIO(files[WEIGHTS]), allow_pickle=False) as arrays:
            return _unpack(manifest, dict(arrays), files[VOCABULARY].decode().splitlines())
    except Exception as error:  # noqa: BLE001 - a damaged archive raises a dozen types out of zipfile, zlib and numpy
        raise ModelRejected(path=folder, detail=f"{WEIGHTS} does not hold what the manifest says ({error})") from None


def verified_files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    """Return the content of every file the manifest names, each digest checked. Raises ModelRejected."""
    missing = [name for name in NEEDED if name not in manifest.files]
    if missing:
        raise ModelRejected(path=folder, detail=f"its manifest names no digest for {', '.join(missing)}")
    return {name: read_file(folder, name, digest) for name, digest in manifest.files.items()}


def read_file(folder: Path, name: str, digest: str) -> bytes:
    """Return the content of one file of a model. Raises ModelRejected when it is not what its digest says."""
    if Path(name).name != name:
        raise ModelRejected(path=folder, detail="its manifest names a file outside its folder")
    try:
        content = (folder / name).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name no file can have
        raise ModelRejected(path=folder, detail=f"{name!r} cannot be read ({error})") from None
    if _digest(content) != digest:
        raise ModelRejected(path=folder, detail=f"{name} is not the file the manifest describes (SHA-256 differs)")
    return content


def _unpack(manifest: Manifest, arrays: Mapping[str, Any], words: list[str]) -> ModelArrays:
    """Return the arrays as a model. Raises KeyError or ValueError when they do not fit the manifest."""
    views = []
    for view in manifest.views:
        loaded = ViewArrays(view, *(arrays[f"{view.name}.{part}"] for part in ("keys", "idf", "weights")))
        if not len(loaded.keys) == len(loaded.idf) == len(loaded.weights):
            raise ValueError(f"the arrays of view {view.name} differ in length")
        if not (np.isfinite(loaded.idf).all() and np.isfinite(loaded.weights).all()):
            raise ValueError(f"the arrays of view {view.name} hold numbers that are not finite")
        views.append(loaded)
    if sum(len(view.keys) for view in views) != manifest.features:
        raise ValueError("the number of features differs")
    if not np.isfinite(arrays["intercept"]):
        raise ValueError("the intercept is not finite")
    names = [view.name for view in manifest.views]
    return ModelArrays(
        words=words,
        symbols={
            name: (arrays[f"{name}.codes"], arrays[f"{name}.symbols"]) for name in names if f"{name}.codes" in arrays
        },
        views=views,
        intercept=float(arrays["intercept"]),
        kinds=manifest.kinds,
        kind_features={name: arrays[f"{name}.kind_features"] for name in names if manifest.kinds},
        kind_weights={name: arrays[f"{name}.kind_weights"] for name in names if manifest.kinds},
        kind_intercepts=arrays["kind_intercepts"],
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
