"""Is another model seen, and does one that is not fit change nothing?"""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from spamguard.backends.clock import ManualClock
from spamguard.core.manifest import Manifest, Sighting
from spamguard.core.scorer import ModelArrays
from spamguard.engine.watching import RETRY_S, ModelWatch, ReadyModel
from spamguard.errors import ModelRejected
from tests.conftest import Trained, manifest_of

GOOD, BETTER = Sighting("good", ()), Sighting("better", ())


class FakeSource:
    """A source that shows and loads what the test says, or raises it."""

    def __init__(self, manifest: Manifest, arrays: ModelArrays) -> None:
        self.seen: Sighting | Exception | None = GOOD
        self.wrong: Exception | None = None
        self.meanwhile: Callable[[], None] = lambda: None
        self.manifest = manifest
        self.loads = 0
        self._arrays = arrays

    def look(self) -> Sighting | None:
        """Show it."""
        if isinstance(self.seen, Exception):
            raise self.seen
        return self.seen

    def load(self) -> tuple[str, Manifest, ModelArrays]:
        """Load it."""
        self.loads += 1
        digest = self.seen.digest if isinstance(self.seen, Sighting) else ""
        self.meanwhile()
        if self.wrong is not None:
            raise self.wrong
        return digest, self.manifest, self._arrays


class Watched:
    """A watch over a fake source, and what it told."""

    def __init__(self, source: FakeSource) -> None:
        self.source = source
        self.clock = ManualClock()
        self.told: list[str] = []
        self.watch = ModelWatch(
            source,
            clock=self.clock,
            on_ready=self._ready,
            on_refused=self.told.append,
            on_well=lambda: self.told.append("well"),
            on_gone=lambda: self.told.append("gone"),
            in_use="good",
        )

    def _ready(self, ready: ReadyModel, took_s: float) -> None:
        assert took_s >= 0
        self.told.append(f"ready {ready.digest} {ready.judge.name}")

    def look(self, times: int = 1) -> list[str]:
        """Look, and return what was told since."""
        self.told.clear()
        for _ in range(times):
            asyncio.run(self.watch.look())
        return self.told


@pytest.fixture
def watched(trained: Trained) -> Watched:
    """A watch while all is well."""
    return Watched(FakeSource(manifest_of(trained.arrays), trained.arrays))


def test_the_model_in_use_is_not_loaded_again(watched: Watched) -> None:
    assert watched.look(3) == []
    assert watched.source.loads == 0


def test_another_digest_is_loaded_once_and_handed_over(watched: Watched) -> None:
    watched.source.seen = BETTER
    assert watched.look(3) == ["ready better small/1.0"]
    assert watched.source.loads == 1


def test_a_bad_model_is_refused_once_with_its_reason_and_a_good_one_makes_all_well(watched: Watched) -> None:
    watched.source.seen, watched.source.wrong = BETTER, ModelRejected(path="m", detail="SHA-256 differs")
    [why] = watched.look(5)
    assert "SHA-256 differs" in why
    assert watched.source.loads == 1
    watched.source.seen = GOOD
    assert watched.look(3) == ["well"]
    watched.source.seen, watched.source.wrong = BETTER, None
    assert watched.look(3) == ["ready better small/1.0"]


def test_a_model_that_fails_this_releases_own_checks_is_refused_too(watched: Watched) -> None:
    watched.source.seen = BETTER
    watched.source.manifest = msgspec.structs.replace(watched.source.manifest, normalizer_version="0")
    [why] = watched.look(2)
    assert "trained under normaliser 0" in why


def test_a_copy_that_goes_on_is_tried_again_as_soon_as_its_files_change(watched: Watched) -> None:
    watched.source.seen = Sighting("better", (("weights.npz", 10, 1),))
    watched.source.wrong = ModelRejected(path="m", detail="SHA-256 differs")
    assert len(watched.look(2)) == 1
    watched.source.seen = Sighting("better", (("weights.npz", 20, 2),))
    assert watched.look(2) == []  # tried, still wrong in the same way, said already
    assert watched.source.loads == 2
    watched.source.seen, watched.source.wrong = Sighting("better", (("weights.npz", 30, 3),)), None
    assert watched.look() == ["ready better small/1.0", "well"]


def test_a_refused_model_whose_files_stay_is_tried_again_after_a_while(watched: Watched) -> None:
    watched.source.seen, watched.source.wrong = BETTER, OSError("a disk that is away")
    assert watched.look() == ["OSError"]
    watched.source.wrong = None
    watched.clock.advance(RETRY_S - 1)
    assert watched.look() == []
    watched.clock.advance(1)
    assert watched.look() == ["ready better small/1.0", "well"]


def test_a_model_that_changes_while_it_is_read_is_no_bad_model(watched: Watched) -> None:
    def move_on() -> None:
        watched.source.seen = GOOD

    watched.source.seen, watched.source.wrong = BETTER, ModelRejected(path="m", detail="half of each")
    watched.source.meanwhile = move_on
    assert watched.look(2) == []


@pytest.mark.parametrize("fault", [ModelRejected(path="aliases.json", detail="no JSON"), PermissionError("no")])
def test_what_cannot_be_looked_at_is_said_once_and_passes(watched: Watched, fault: Exception) -> None:
    watched.source.seen = fault
    assert len(watched.look(4)) == 1
    watched.source.seen = GOOD
    assert watched.look(2) == ["well"]
    assert watched.source.loads == 0


def test_a_reference_that_stands_for_nothing_any_more_is_told_once(watched: Watched) -> None:
    watched.source.seen = None
    assert watched.look(3) == ["gone"]
    watched.source.seen = GOOD
    assert watched.look(3) == ["ready good small/1.0"]
