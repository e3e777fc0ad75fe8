"""What does the setting of a model stand for at this moment?

The alias and the manifest are read each time, and the manifest's digest says whether it is another model: change times
would miss what Kubernetes does, which swaps one symbolic link (`..data`) for a folder it filled before. A model is read
from the folder that the links lead to, so that a swap in the middle cannot mix two of them.
"""

import os
from pathlib import Path
from typing import Final

from spamguard.backends import artifacts, registry, signing
from spamguard.core.manifest import Manifest, Sighting
from spamguard.core.scorer import ModelArrays
from spamguard.errors import ModelRejected

#: The link that Kubernetes swaps inside a mounted volume.
KUBERNETES_LINK: Final = "..data"


class FollowedModel:
    """A reference to a model: an alias, name, name/version or folder; with `optional`, an alias that may be missing."""

    def __init__(
        self, reference: str, root: Path, *, optional: bool = False, keys: signing.Keys = signing.NO_KEYS
    ) -> None:
        self.reference = reference  #: what is followed; another one holds from the next look on
        self._root = root
        self._keys = keys
        self._optional = optional

    def look(self) -> Sighting | None:
        """Return what the reference stands for, None for nothing at all. Raises ModelNotFound or ModelRejected."""
        if self._optional and self.reference not in registry.read_aliases(self._root):
            return None
        folder = self._folder()
        digest = artifacts.manifest_digest(folder)
        try:
            with os.scandir(folder) as entries:
                stats = [(entry.name, entry.stat()) for entry in entries]
        except OSError as error:
            raise ModelRejected(path=folder, detail=f"its files cannot be listed ({error.strerror})") from None
        return Sighting(digest, tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)))

    def load(self) -> tuple[str, Manifest, ModelArrays]:
        """Return the manifest's digest, the manifest and the arrays, all checked. Raises as `look` does."""
        return artifacts.read_known(self._folder(), self._keys)

    def _folder(self) -> Path:
        folder = registry.resolve(self.reference, self._root)
        swapped = folder / KUBERNETES_LINK
        return (swapped if swapped.is_dir() else folder).resolve()
