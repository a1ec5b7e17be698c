"""Hooks of schemathesis for this service: pictures for the fields that want one.

Its command line imports this; without it every picture would be noise, and no answer ever a 200.
"""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st

from tests.support.pictures import encoded, textured
from tests.support.serving_models import flat

_FILES = [
    *(encoded(textured(seed), name) for seed, name in enumerate(("JPEG", "PNG", "WebP", "BMP"))),
    encoded(textured(5), "JPEG", orientation=6),
    encoded(flat(3, side=24)[0]),
]

for _kind in ("jpeg", "png", "webp", "bmp"):
    schemathesis.openapi.media_type(f"image/{_kind}", st.sampled_from(_FILES))
# Fields of forms; other binary fields get random bytes, which the service must refuse.
schemathesis.openapi.format("binary", st.sampled_from(_FILES) | st.binary(max_size=200))
