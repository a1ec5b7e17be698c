"""GET / (the page), its files, and GET /about (data retention, limits and access)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from serving.detection.bodies import Fraction, Length, Positive
from serving.errors.requests import NotFound
from serving.http.auth import Caller
from serving.http.endpoint import Dependencies, Endpoint, Routes, documented
from serving.http.request.body import json_response
from serving.http.static import PageFile, page_files
from serving.http.stream import RECORD_EVERY_S

# The page loads only its own files, has no inline code and builds no markup from text, so that names and
# labels cannot become scripts. Only this page may use the camera.
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "permissions-policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
}
# The path contains a hash of the files, so a cached file is never out of date.
_IMMUTABLE = "public, max-age=31536000, immutable"
FORMATS = ("image/jpeg", "image/png", "image/webp", "image/bmp")
"""Media types of accepted pictures."""

routes = Routes("operation")


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What is kept of pictures, and how long."""

    observations_days: Positive
    """Retention of observations, days."""
    pictures_fraction: Fraction
    """Fraction of the pictures that are kept; 0: none."""
    pictures_days: Positive
    """Retention of kept pictures, days."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureLimits:
    """Limits of one picture."""

    bytes: Length
    pixels: Length
    faces: Length
    formats: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamRates:
    """Rates of one stream."""

    frames_per_s: Positive
    observations_per_s: Positive


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """Retention, limits and access."""

    access: Literal["given", "key", "closed"]
    """Whether this client is answered: yes, with a key, not from this address."""
    kept: Kept
    limits: PictureLimits
    stream: StreamRates
    labels: bool
    """Whether this client may label pictures: some are kept, and its key has scope `label`."""


@routes.add("GET", "/", scope="open")
async def page(request: Request) -> Response:
    """The page; 304 if the client has the current one."""
    found = await asyncio.to_thread(page_files)
    return _sent(request, found.index, caching="no-cache", headers=HEADERS)


@routes.add("GET", "/page/{version}/{name:path}", scope="open")
async def page_file(request: Request) -> Response:
    """A file of the page."""
    found = await asyncio.to_thread(page_files)
    version, name = request.path_params["version"], request.path_params["name"]
    if version != found.version or name not in found.others:
        raise NotFound("the page does not have this file, or is a newer version; reload the page")
    return _sent(request, found.others[name], caching=_IMMUTABLE, headers={})


# Below the folder every path is open, so that a wrong one is refused as unknown and not for want of a key.
routes.endpoints.append(Endpoint(method="GET", path="/page/{other:path}", scope="open"))


@routes.add("GET", "/about", scope="open", answer=About)
async def about(request: Request) -> Response:
    """Retention of pictures, limits of pictures, and whether the client needs a key."""
    dependencies: Dependencies = request.state.dependencies
    settings = dependencies.settings
    caller: Caller = request.scope["state"]["caller"]
    return json_response(
        About(
            access="given" if caller.scope != "open" else "key" if settings.api_keys else "closed",
            kept=Kept(
                observations_days=settings.retention_days,
                pictures_fraction=settings.keep_images,
                pictures_days=settings.keep_images_days,
            ),
            limits=PictureLimits(
                bytes=settings.max_bytes,
                pixels=settings.max_pixels,
                faces=settings.max_faces,
                formats=FORMATS,
            ),
            labels=settings.keep_images > 0 and caller.may("label"),
            stream=StreamRates(frames_per_s=settings.stream_fps, observations_per_s=1 / RECORD_EVERY_S),
        )
    )


def _sent(request: Request, file: PageFile, *, caching: str, headers: dict[str, str]) -> Response:
    headers = {
        **headers,
        "content-type": file.media_type,
        "cache-control": caching,
        "etag": file.etag,
        "vary": "accept-encoding",
    }
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if file.gzipped is None or "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.body, headers=headers)
    return Response(file.gzipped, headers={**headers, "content-encoding": "gzip"})
