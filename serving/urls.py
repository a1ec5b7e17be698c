"""URLs that may hold a secret: a password before the host, or a token in the query.

    url = SecretUrl("https://me:secret@mlflow.example")
    f"{url}"            # https://***@mlflow.example
    url.reveal()        # to connect to it

Formatting, logging and `repr` show it masked. Texts of other libraries, which hold URLs as they
were given, go through `mask_urls`, or `mask_paths` where the path is a secret too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

MASK = "***"
# A scheme and what follows it, as far as a URL can go in a text; `sqlite:///PATH` has no user.
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<rest>[^\s/'\"<>][^\s'\"<>]*)")
_SECRET_PARAMETER = re.compile(
    r"(?i)(?P<name>[?&;](?:[\w.-]*(?:password|passwd|pwd|token|secret|key|signature|credential)|sig|auth)=)[^&;\s'\"<>]+"
)


def mask_urls(text: str) -> str:
    """A text in which no URL shows a secret."""
    if "://" not in text:
        return text
    return _SECRET_PARAMETER.sub(rf"\g<name>{MASK}", _URL.sub(_without_user, text))


def mask_paths(text: str) -> str:
    """A text in which web addresses show scheme and host, and other URLs their scheme.

    For addresses of notifications: chat services put the secret into the path, Apprise also into the host's
    place.
    """
    return _URL.sub(_host_only, text)


def _host_only(found: re.Match[str]) -> str:
    scheme, rest = found["scheme"], found["rest"]
    if scheme.lower() not in ("http://", "https://"):
        return f"{scheme}{MASK}"
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    return found[0] if rest in (host, f"{host}/") else f"{scheme}{host}/{MASK}"


def _without_user(found: re.Match[str]) -> str:
    scheme, rest = found["scheme"], found["rest"]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if re.fullmatch(rf"[^:@]*:{re.escape(MASK)}@[^@]*", authority):
        # SQLAlchemy masked the password, and knows that the other word is a name and not a token.
        return found[0]
    if authority.count("@") == 1:
        return f"{scheme}{MASK}@{rest.partition('@')[2]}"
    # An unescaped @ or slash in a password makes a URL that nothing can use, and an error message shows it.
    if "@" in rest and re.fullmatch(r"[^:]*:\d*|[^:@]*|\[[^\]]*\](:\d*)?", authority) is None:
        return f"{scheme}{MASK}@{rest.rpartition('@')[2]}"
    return found[0]


class SecretUrl:
    """A URL that shows itself without its secrets; equal to another with the same value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The URL itself, to connect with; never for a message, a file or a command line."""
        return self._value

    @property
    def public(self) -> str:
        """Scheme, host and path without a last slash, for a link that people open as themselves."""
        parts = urlsplit(self._value)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")

    def __str__(self) -> str:
        return mask_urls(self._value)

    def __repr__(self) -> str:
        return f"SecretUrl({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretUrl) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read from a text; written masked."""
        from pydantic_core import core_schema

        read = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        return core_schema.union_schema(
            [core_schema.is_instance_schema(cls), read],
            serialization=core_schema.to_string_ser_schema(),
        )
