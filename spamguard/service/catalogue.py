"""Which models are there, are they fit for service, and which does an alias stand for?"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple

from spamguard.backends import artifacts, evidence, registry, signing
from spamguard.backends.clock import SystemClock
from spamguard.config import Settings
from spamguard.core.decide import Judge
from spamguard.core.gate import Finding, ModelRef, findings, refusals
from spamguard.core.manifest import FILE_NAME, Manifest
from spamguard.engine.holder import ready_judge
from spamguard.errors import AliasNotMoved, GateClosed, SpamguardError


def models_folder(settings: Settings) -> Path:
    """Return the folder of models: the configured one, or the shipped ones."""
    return settings.models or registry.shipped_models()


#: What is checked of a model last: that it fits this release, its arrays fit together, and the self-tests hold.
LOADS: Final = "arrays and self-tests"


#: What is checked of a model first, where a key is asked for.
SIGNED: Final = "signature"


def trusted_keys(settings: Settings) -> signing.Keys:
    """Return the public keys of which one must have signed every model; none when none is set. Raises ConfigError."""
    return signing.read_public(settings.model_key) if settings.model_key else signing.NO_KEYS


def new_keys(path: Path) -> tuple[str, Path]:
    """Write a new pair of keys; return the public one and the path of its file. Raises DataError."""
    pair = signing.new_keys()
    return pair.public, signing.write_keys(path, pair)


def sign_model(settings: Settings, reference: str, secret: Path) -> tuple[Path, str]:
    """Sign a model that loads; return its folder and the name of the key.

    Raises ModelNotFound, ModelRejected, or DataError for what is no key.
    """
    folder = registry.resolve(reference, models_folder(settings))
    ready_judge(*artifacts.read(folder))
    return folder, artifacts.sign(folder, secret).key


class KnownModel(NamedTuple):
    """A model in the folder of models."""

    name: str  #: name/version
    folder: Path
    aliases: tuple[str, ...]


def known_models(settings: Settings) -> list[KnownModel]:
    """Return the models in the folder of models, whatever state they are in. Raises ModelRejected for bad aliases."""
    root = models_folder(settings)
    aliases = registry.read_aliases(root)
    found = [(f"{folder.parent.name}/{folder.name}", folder) for folder in registry.model_folders(root)]
    return [
        KnownModel(name, folder, tuple(sorted(alias for alias, target in aliases.items() if target == name)))
        for name, folder in found
    ]


def model_folder(settings: Settings) -> Path:
    """Return the folder of the configured model. Raises ModelNotFound."""
    return registry.resolve(settings.model, models_folder(settings))


def read_manifest(folder: Path) -> Manifest:
    """Return what a model says of itself, nothing of it checked. Raises ModelNotFound or ModelRejected."""
    return artifacts.read_manifest(folder)


def verify_model(folder: Path, keys: signing.Keys = ()) -> Iterator[tuple[str, SpamguardError | None]]:
    """Yield everything that is checked of a model, with what is wrong with it: manifest, files, and how it loads.

    Where keys are given, the signature is checked too.
    """
    try:
        manifest = artifacts.read_manifest(folder)
    except SpamguardError as error:
        yield FILE_NAME, error
        return
    yield FILE_NAME, None
    if keys:
        try:
            yield f"{SIGNED} of key {artifacts.require_signature(folder, keys)}", None
        except SpamguardError as error:
            yield SIGNED, error
    sound = True
    for name, digest in manifest.files.items():
        try:
            artifacts.read_file(folder, name, digest)
            yield name, None
        except SpamguardError as error:
            sound = False
            yield name, error
    if sound:
        try:
            ready_judge(*artifacts.read(folder))
            yield LOADS, None
        except SpamguardError as error:
            yield LOADS, error


def load_judge(settings: Settings) -> tuple[Judge, Manifest]:
    """Return the configured model, every digest and self-test checked. Raises ModelNotFound or ModelRejected."""
    manifest, arrays = artifacts.read(model_folder(settings), trusted_keys(settings))
    return ready_judge(manifest, arrays), manifest


class Promotion(NamedTuple):
    """What came of asking for a promotion."""

    move: registry.Move | None  #: None: the alias stood for it already
    findings: list[Finding]  #: what the gate said; empty for a challenger, which decides nothing


def promote_model(
    settings: Settings, reference: str, *, alias: str, who: str, reason: str, override: str | None = None
) -> Promotion:
    """Let an alias stand for a model that passed every check; the champion's has a gate.

    `override` goes past a closed gate and is kept in the history with what the gate said. Raises ModelNotFound or
    ModelRejected for a model that is not fit, GateClosed, AliasNotMoved.
    """
    root = models_folder(settings)
    folder = registry.resolve(reference, root).absolute()
    name = f"{folder.parent.name}/{folder.name}"
    if not registry.names(root, name, folder):
        raise AliasNotMoved(alias=alias, detail=f"{folder} is no model of {root}, and an alias names nothing else")
    if alias != registry.CHAMPION or registry.read_aliases(root).get(alias) == name:
        return Promotion(_move(settings, alias, name, kind="promote", who=who, reason=reason), [])
    ready_judge(*artifacts.read(folder, trusted_keys(settings)))  # what is not fit needs no evidence
    found, closed = _gate(root, name)
    if closed and override is None:
        raise GateClosed(model=name, detail="; ".join(closed))
    passed = f"{override} (the gate said: {'; '.join(closed)})" if closed else None
    return Promotion(_move(settings, alias, name, kind="promote", who=who, reason=reason, override=passed), found)


def fit_for_order(settings: Settings, reference: str, *, override: str | None = None) -> tuple[str, list[Finding]]:
    """Return the name of a model that may be ordered to decide, checked as for a promotion, and what the gate found.

    What the champion stands for, or stood for once, has passed. Raises as `promote_model` does.
    """
    root = models_folder(settings)
    folder = registry.resolve(reference, root).absolute()
    name = f"{folder.parent.name}/{folder.name}"
    if not registry.names(root, name, folder):
        raise AliasNotMoved(
            alias="the order", detail=f"{folder} is no model of {root}, and an order names nothing else"
        )
    ready_judge(*artifacts.read(folder, trusted_keys(settings)))
    passed = {move.target for move in registry.read_history(root) if move.alias == registry.CHAMPION}
    if name in passed or registry.read_aliases(root).get(registry.CHAMPION) == name:
        return name, []
    found, closed = _gate(root, name)
    if closed and override is None:
        raise GateClosed(model=name, detail="; ".join(closed))
    return name, found


def _gate(root: Path, name: str) -> tuple[list[Finding], list[str]]:
    """Return what the gate finds, and what keeps it closed."""
    challenger = ModelRef(name=name, digest=artifacts.manifest_digest(root / name))
    current = registry.read_aliases(root).get(registry.CHAMPION)
    try:
        champion = current and ModelRef(name=current, digest=artifacts.manifest_digest(root / current))
    except SpamguardError:  # a champion that is gone or cannot be read decides nothing that could be compared
        champion = None
    seen = evidence.read(root, challenger, champion or None)
    if isinstance(seen, str):
        return [], [f"{seen}; `spamguard gate {name} --data FILE` does, and needs the extra 'train'"]
    found = findings(seen)
    return found, refusals(found)


def roll_back(settings: Settings, *, alias: str, who: str, reason: str) -> registry.Move:
    """Let an alias stand for what it stood for before. Raises as `promote_model` does."""
    root = models_folder(settings)
    current = registry.read_aliases(root).get(alias)
    target = registry.previous(alias, current, registry.read_history(root))
    if target is None:
        raise AliasNotMoved(
            alias=alias, detail="its history knows nothing it stood for before; promote a model by name"
        )
    move = _move(settings, alias, target, kind="rollback", who=who, reason=reason)
    if move is None:
        raise AliasNotMoved(alias=alias, detail=f"somebody else moved it to {target} meanwhile")
    return move


def _move(
    settings: Settings,
    alias: str,
    name: str,
    *,
    kind: Literal["promote", "rollback"],
    who: str,
    reason: str,
    override: str | None = None,
) -> registry.Move | None:
    root = models_folder(settings)
    ready_judge(*artifacts.read(root / name, trusted_keys(settings)))
    if registry.read_aliases(root).get(alias) == name:
        return None
    at = datetime.fromtimestamp(SystemClock().now(), UTC).isoformat(timespec="seconds")
    return registry.move_alias(root, alias, name, at=at, who=who, reason=reason, kind=kind, override=override)


def alias_history(settings: Settings) -> tuple[list[registry.Move], Mapping[str, str]]:
    """Return every move of an alias, oldest first, and what each stands for now. Raises ModelRejected."""
    root = models_folder(settings)
    return registry.read_history(root), registry.read_aliases(root)


def prune_models(settings: Settings, *, keep: int, really: bool) -> tuple[list[str], list[registry.Kept]]:
    """Return the models that go and those that stay; they go only when it is really meant.

    Raises ModelRejected for aliases that cannot be read, DataError for a folder that cannot be written.
    """
    root = models_folder(settings)
    may, stays = registry.prunable(root, keep=keep)
    for name in may if really else ():
        registry.remove_model(root, name)
    return may, stays
