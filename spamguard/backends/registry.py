"""Which models are there, and which one is meant?

A registry is a folder: `<name>/<version>/manifest.json …` and `aliases.json`, which says what `champion` and
`challenger` are. A model is named by a folder's path, by `name/version`, by `name` (its newest version) or by an
alias. Aliases are replaced in one step, so a reader sees the old or the new one, never half.
"""

import json
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from spamguard.core.manifest import FILE_NAME
from spamguard.errors import ModelNotFound, ModelRejected

ALIASES: Final = "aliases.json"
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


def write_alias(root: Path, alias: str, target: str) -> None:
    """Let an alias stand for name/version, in one step."""
    aliases = {**read_aliases(root), alias: target}
    draft = root / f".{ALIASES}.{os.getpid()}"
    draft.write_text(json.dumps(aliases, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    draft.replace(root / ALIASES)


def resolve(reference: str, root: Path) -> Path:
    """Return the folder of the model a reference means. Raises ModelNotFound."""
    direct = Path(reference)
    if (direct / FILE_NAME).is_file():
        return direct
    target = read_aliases(root).get(reference, reference)
    if (root / target / FILE_NAME).is_file():
        return root / target
    versions = [folder for folder in model_folders(root) if folder.parent.name == target]
    if versions:
        return versions[-1]
    raise ModelNotFound(path=root / target)
