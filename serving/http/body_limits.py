"""How many bytes a request's body may have, by its path."""

from __future__ import annotations

from collections.abc import Callable

from serving.http.uploads import FORM_OVERHEAD_BYTES
from serving.protocols.tensors import body_bytes
from serving.runtime.live import LiveModel
from serving.settings import Settings

# JSON bodies hold two short texts.
_OTHER_BYTES = 64 * 1024


class BodyLimits:
    """Path → most bytes."""

    def __init__(self, settings: Settings, live: Callable[[], LiveModel | None]) -> None:
        """Take the settings; `live` gives the model whose tensors are counted, None when there is none."""
        self._settings = settings
        self._live = live
        picture = settings.max_bytes + FORM_OVERHEAD_BYTES
        self._fixed = {
            "/detect": picture,
            "/explain": picture,
            "/detect/batch": settings.max_batch_bytes,
            # Pictures' files in base64 have no size of the model's.
            "/invocations": settings.max_batch_bytes,
        }

    def __call__(self, path: str) -> int:
        """Most bytes of the body of a request for `path`."""
        if path.startswith("/v2/models/") and path.endswith("/infer"):
            return self._tensor_bytes()
        return self._fixed.get(path, _OTHER_BYTES)

    def _tensor_bytes(self) -> int:
        """What the most pictures of the live model need, and never more than all files of a request."""
        live, settings = self._live(), self._settings
        if live is None:
            # The answer is 503, whatever the body's size: it is not read.
            return settings.max_batch_bytes
        return min(settings.max_batch_bytes, body_bytes(live.contract.input, most=settings.max_tensor_images))
