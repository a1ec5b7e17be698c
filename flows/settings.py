"""The service's settings, as flows read them: what it sees, keeps and follows is said in one place."""

from __future__ import annotations

from pydantic import ValidationError

from flows.errors import SettingsInvalid
from serving.settings import PREFIX, Settings


def service_settings() -> Settings:
    """The settings that the service itself would have here.

    Raises:
        SettingsInvalid: an environment variable has a value that it cannot have.
    """
    try:
        return Settings()
    except ValidationError as error:
        # Without the value itself: it may be a key or a password.
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = "".join(str(part) for part in first["loc"][:1]).upper().removeprefix(PREFIX)
        # Settings that contradict each other say their own names.
        variable = f"{PREFIX}{name}" if name else "settings"
        raise SettingsInvalid(variable=variable, reason=first["msg"].removeprefix("Value error, ")) from error
