"""What is decided before a model is trained?

One value, from a TOML file (`training/recipes/`), part of the manifest's digest trail: the same recipe, data, lock and
seed give the same arrays.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from spamguard.core.features import CHARS, CROSSED, SHAPE, SOUNDS, WORDS, View
from spamguard.errors import DataError

VIEWS: Final = {view.name: view for view in (WORDS, CROSSED, CHARS, SOUNDS, SHAPE)}

#: Half private chat, half notices: what an operator's network carries beside spam.
DEFAULT_MIX: Final = {"personal": 0.5, "notice": 0.5}


class Candidate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A classifier to try; cross-validation chooses among them."""

    classifier: str  #: logistic or svm
    strength: float  #: scikit-learn's C


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model is made."""

    name: str = "sms"
    views: tuple[str, ...] = ("words", "crossed", "chars")
    longest_chars: int = 4  #: character n-grams up to this length
    least_groups: int = 3  #: near-duplicate groups a feature must occur in
    candidates: tuple[Candidate, ...] = (Candidate(classifier="logistic", strength=10.0),)
    folds: int = 5
    seed: int = 0
    more_seeds: tuple[int, ...] = ()  #: other splits into folds on which candidates are compared too
    families_each: int = 12  #: rows generated from each hand-written family
    weights: Mapping[str, float] = {}  #: by source; 1 where nothing is said
    read_weight: float = 1.0  #: factor for rows that were read by the label policy
    unread_weight: float = 1.0  #: factor for rows of the headline sources that were not
    label_weights: Mapping[str, float] = {}  #: by label source of exported labels; 1 where nothing is said
    trust_weights: Mapping[str, float] = {}  #: by trust of exported labels: one, two, settled; 1 where nothing is said
    group_cap: float = 0.0  #: most weight a near-duplicate group may have, in rows; 0 is no cap
    headline: tuple[str, ...] = ()  #: sources with both classes; all that have both when empty
    padding: float = 0.0  #: share of the rows that train once more with private messages around them
    padding_weight: float = 0.5  #: what such a copy weighs against its row
    notices: float = 0.0  #: share of the rows that train once more with a notice, or a part of one, beside them
    notices_weight: float = 0.5  #: what such a copy weighs against its row
    rewriting: float = 0.0  #: chance of a row to train once more in each way of rewriting
    rewriting_weight: float = 0.3  #: what such a copy weighs against its row
    copied_rows: int = 60_000  #: of more rows that weigh than this the three shares are taken of so many only
    prior: float = 0.1  #: share of spam that scores are calibrated to
    budget: float = 0.001  #: share of ham the spam cutoff may block, on the mix below
    review_budget: float = 0.01  #: share of ham that may be unsure or blocked
    mix: Mapping[str, float] = msgspec.field(default_factory=lambda: dict(DEFAULT_MIX))  #: kinds of ham for the budgets
    kind_features: int = 40_000  #: most features the category head looks at

    def view_list(self) -> list[View]:
        """Return the views, ready to fit. Raises DataError for an unknown one."""
        unknown = set(self.views) - set(VIEWS)
        if unknown:
            raise DataError(detail=f"the recipe names unknown views {sorted(unknown)}; there are {sorted(VIEWS)}")
        chars = msgspec.structs.replace(CHARS, longest=self.longest_chars)
        return [chars if name == "chars" else VIEWS[name] for name in self.views]


def read_recipe(path: Path | None) -> Recipe:
    """Return the recipe in a TOML file, or the default one. Raises DataError naming what is wrong."""
    if path is None:
        return Recipe()
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Recipe)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise DataError(detail=f"{path} is no recipe ({error})") from None
