"""How do a running worker's models change without a pause?

The champion decides; a challenger only scores beside it. Both are followed by their alias, loaded aside and verified,
and taken over between two batches; a model that is not fit changes nothing and says why.
"""

import asyncio
import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import structlog

from spamguard import __version__
from spamguard.backends import registry
from spamguard.backends.following import FollowedModel
from spamguard.backends.prometheus import PrometheusMetrics
from spamguard.config import Settings
from spamguard.core.manifest import Manifest
from spamguard.engine.ageing import Expectation
from spamguard.engine.holder import ModelHolder
from spamguard.engine.shadow import Shadow
from spamguard.engine.watching import ModelWatch, ReadyModel, load_ready
from spamguard.interfaces import Clock
from spamguard.service.ages import expectation_of, stated_reference
from spamguard.service.catalogue import models_folder, trusted_keys

log = structlog.get_logger()


class HotModels:
    """The models a worker follows: the one that decides, from the start, and the one in its shadow, where there is one.

    Raises ModelNotFound or ModelRejected when the first model is not fit to start with.
    """

    def __init__(self, settings: Settings, *, metrics: PrometheusMetrics, clock: Clock) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._loading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="models")
        self._swapped_lately = False
        self._keys = trusted_keys(settings)
        self._source = FollowedModel(settings.model, models_folder(settings), keys=self._keys)
        ready = load_ready(self._source)
        self._first_digest = ready.digest
        self._champions: ModelWatch | None = None
        self._reference = stated_reference(settings)
        self.holder = ModelHolder(ready.judge)
        self.manifest = ready.manifest

    def expectation(self) -> Expectation:
        """Return what the model that decides now expects of the stream."""
        return expectation_of(self.holder.judge, self.manifest, self._reference)

    def describe(self) -> None:
        """Let the gauges tell of the first model."""
        self._show(self.manifest)
        self._metrics.gauge("spamguard_model_rejected", 0, role="champion")
        self._metrics.gauge_from("spamguard_model_age_seconds", self._age_s)
        log.info(
            "model_warm",
            model=self.manifest.full_name,
            features=self.manifest.features,
            created=self.manifest.created,
        )

    async def look(self, ordered: str | None) -> None:
        """Let the model decide that is ordered, or the setting's where none is; one that is not fit changes nothing."""
        if self._champions is None:
            self._champions = self._champion()
        self._source.reference = ordered or self._settings.model
        await self._champions.look()

    async def follow(self, shadow: Shadow | None, *, ordered: Callable[[], str | None] = lambda: None) -> None:
        """Look after the models until cancelled, one after the other, so that no two are loaded at once."""
        loop = asyncio.get_running_loop()
        challengers = None if shadow is None else self._challenger(shadow)
        while True:
            await self.look(ordered())
            if challengers is not None:
                await challengers.look()
            await asyncio.sleep(self._settings.model_poll_s)
            if self._swapped_lately:
                self._swapped_lately = False
                await loop.run_in_executor(self._loading, give_memory_back)

    def close(self) -> None:
        """Load nothing more."""
        self._loading.shutdown(wait=False, cancel_futures=True)

    def _champion(self) -> ModelWatch:
        def swap(ready: ReadyModel, took_s: float) -> None:
            before = self.holder.judge.name
            self.holder.swap(ready.judge)
            self._show(ready.manifest, before=before)
            self._swapped("champion", took_s)
            log.info("model_swapped", model=ready.judge.name, before=before, took_s=round(took_s, 3))

        return self._watch("champion", self._source, swap, in_use=self._first_digest)

    def _challenger(self, shadow: Shadow) -> ModelWatch:
        def adopt(ready: ReadyModel | None) -> None:
            if shadow.challenger is not None:
                self._metrics.forget("spamguard_shadow_info", model=shadow.challenger.name)
            shadow.challenger = None if ready is None else ready.judge
            if ready is not None:
                self._metrics.gauge("spamguard_shadow_info", 1, model=ready.judge.name)
            log.info("shadow_changed", model=None if ready is None else ready.judge.name)

        def swap(ready: ReadyModel, took_s: float) -> None:
            adopt(ready)
            self._swapped("challenger", took_s)

        self._metrics.gauge("spamguard_model_rejected", 0, role="challenger")
        source = FollowedModel(registry.CHALLENGER, models_folder(self._settings), optional=True, keys=self._keys)
        return self._watch("challenger", source, swap, on_gone=lambda: adopt(None))

    def _watch(
        self,
        role: str,
        source: FollowedModel,
        swap: Callable[[ReadyModel, float], None],
        *,
        on_gone: Callable[[], None] = lambda: None,
        in_use: str | None = None,
    ) -> ModelWatch:
        def refused(why: str) -> None:
            self._metrics.count("spamguard_model_reloads_total", role=role, outcome="rejected")
            self._metrics.gauge("spamguard_model_rejected", 1, role=role)
            log.error("model_rejected", role=role, why=why)

        return ModelWatch(
            source,
            clock=self._clock,
            on_ready=swap,
            on_refused=refused,
            on_well=lambda: self._metrics.gauge("spamguard_model_rejected", 0, role=role),
            on_gone=on_gone,
            in_use=in_use,
            executor=self._loading,
        )

    def _swapped(self, role: str, took_s: float) -> None:
        self._swapped_lately = True
        self._metrics.count("spamguard_model_reloads_total", role=role, outcome="swapped")
        self._metrics.observe("spamguard_model_swap_seconds", [took_s])

    def _show(self, manifest: Manifest, *, before: str | None = None) -> None:
        """Let the metrics name the deciding model and no other."""
        self.manifest = manifest
        if before is not None:
            self._metrics.forget("spamguard_model_info", model=before, code_version=__version__)
        self._metrics.gauge("spamguard_model_info", 1, model=manifest.full_name, code_version=__version__)

    def _age_s(self) -> float:
        created = datetime.fromisoformat(self.manifest.created)
        return (datetime.fromtimestamp(self._clock.now(), UTC) - created).total_seconds()


def give_memory_back() -> None:
    """Return to the system what a replaced model leaves free; glibc keeps it else, and every swap would cost more."""
    with suppress(OSError, AttributeError):  # other C libraries have no such call, and no such habit
        ctypes.CDLL(None).malloc_trim(0)
