"""The experiments of one worker, shadow and canary, created from the settings.

experiments = make_experiments(settings, live=slot, following=sync, history=log, listener=metrics, threads=2)
experiments.start()
…
await experiments.close()
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from serving.errors.operation import LocationInvalid
from serving.experiments import canary, shadow
from serving.experiments.canary import Canary
from serving.experiments.shadow import Shadow
from serving.experiments.shadow_client import ShadowSetup
from serving.experiments.shared_state import CanaryJournal
from serving.inference.admission import InputCheck
from serving.inference.batching import Batcher
from serving.inference.model_slot import ModelSlot
from serving.model_sync.location import parse_location
from serving.model_sync.service import ModelSync
from serving.model_sync.state import read_good
from serving.model_sync.watcher import History
from serving.settings import Settings

_log = logging.getLogger(__name__)


class ExperimentListener(canary.CanaryListener, shadow.ShadowListener, Protocol):
    """Listener for the events of both experiments, for example metrics."""


@dataclass(frozen=True, kw_only=True)
class Experiments:
    """The experiments that run next to the live model; each is None when the settings do not ask for it."""

    live: ModelSync
    history: History
    shadow: Shadow | None
    canary: Canary | None
    candidate: ModelSync | None
    """Keeps the canary's model up to date."""

    def start(self) -> None:
        """Start the configured experiments; the live model's synchronisation runs already.

        Raises:
            StartRefused: the cache folder cannot be made.
        """
        if self.candidate is not None:
            self.candidate.start()
        if self.canary is not None:
            self.canary.start()
        else:
            self._end_earlier()
        if self.shadow is not None:
            self.shadow.start()

    async def close(self) -> None:
        """Answer the requests in flight and end the experiments."""
        if self.canary is not None:
            await self.canary.close()
        if self.candidate is not None:
            await asyncio.to_thread(self.candidate.stop)
        if self.shadow is not None:
            await asyncio.to_thread(self.shadow.stop)

    def _end_earlier(self) -> None:
        """Record the end of a canary that ran until a restart switched it off."""
        try:
            previous = CanaryJournal(self.live.folder).stop()
        except OSError as error:
            _log.warning("could not read whether a canary ran before: %s", error)
            return
        good = read_good(self.live.folder)
        if previous is not None and good is not None:
            reason = "canary stops: it was switched off"
            self.history.record_switch(time.time(), previous, good[1], reason, kind="canary")


def make_experiments(
    settings: Settings,
    *,
    live: ModelSlot,
    following: ModelSync,
    history: History,
    listener: ExperimentListener,
    threads: int,
    on_distance: Callable[[str, float], None],
    usable: InputCheck | None = None,
) -> Experiments:
    """Create the experiments that the settings ask for; call it in the event loop that answers requests.

    Raises:
        LocationInvalid: a model's setting is not a model location, or names the live model.
    """
    its_shadow = _shadow(settings, live, following, listener, on_distance) if settings.shadow_model else None
    candidate, its_canary = None, None
    if settings.canary:
        candidate, its_canary = _canary(settings, live, following, history, listener, threads, usable)
    return Experiments(
        live=following,
        history=history,
        shadow=its_shadow,
        canary=its_canary,
        candidate=candidate,
    )


def _canary(
    settings: Settings,
    live: ModelSlot,
    following: ModelSync,
    history: History,
    listener: ExperimentListener,
    threads: int,
    usable: InputCheck | None,
) -> tuple[ModelSync, Canary]:
    location = _checked(settings.canary_model, settings, "MIEN_CANARY_MODEL")
    slot = ModelSlot()
    candidate = ModelSync(
        location,
        slot,
        cache=settings.cache_dir,
        tracking_uri=settings.tracking_uri.reveal(),
        poll_s=settings.poll_s,
        threads=1,
        max_batch=settings.batch_size,
        usable=usable,
        limit_s=settings.model_timeout_s,
        role="canary",
        trusted_keys=settings.trusted_keys,
    )
    return candidate, Canary(
        share=settings.canary,
        location=location,
        live=live,
        candidate=slot,
        absent=lambda: candidate.absent,
        # A separate batcher: a candidate that is slow or fails must not delay the live model.
        batcher=Batcher(
            slot,
            threads=threads,
            max_batch=settings.batch_size,
            max_queue_images=settings.queue_images,
            target_s=settings.target_s,
        ),
        journal=CanaryJournal(following.folder),
        history=history,
        listener=listener,
        max_slowdown=settings.canary_max_slowdown,
        pause_s=settings.canary_pause_s,
    )


def _shadow(
    settings: Settings,
    live: ModelSlot,
    following: ModelSync,
    listener: ExperimentListener,
    on_distance: Callable[[str, float], None],
) -> Shadow:
    setup = ShadowSetup(
        location=_checked(settings.shadow_model or "", settings, "MIEN_SHADOW_MODEL"),
        cache=settings.cache_dir.absolute(),
        tracking_uri=settings.tracking_uri.reveal(),
        poll_s=settings.poll_s,
        model_timeout_s=settings.model_timeout_s,
        face_detector=settings.face_detector,
        face_model=settings.face_model,
        face_margin=settings.face_margin,
        max_faces=settings.max_faces,
        max_pixels=settings.max_pixels,
        trusted_keys=settings.trusted_keys,
    )
    return Shadow(
        setup,
        fraction=settings.shadow_fraction,
        live=live,
        folder=following.folder,
        listener=listener,
        on_distance=on_distance,
    )


def _checked(text: str, settings: Settings, setting: str) -> str:
    location = str(parse_location(text, setting=setting))
    if location == str(parse_location(settings.model)):
        raise LocationInvalid(got=text, reason="this is MIEN_MODEL, the live model itself", setting=setting)
    return location
