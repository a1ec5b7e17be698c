"""The service's settings as flows read them, and the names of flow runs in Prefect's pages.

A run's name says what it does and why.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flows.errors import SettingsInvalid
from pipelines.core.paths import PARAMS
from pipelines.profile import CONF, compose, profiles
from pipelines.tracking.runs import sqlite_file
from serving.settings import PREFIX, Settings


def service_settings() -> Settings:
    """The service's settings, from this environment.

    Raises:
        SettingsInvalid: an environment variable has an invalid value.
    """
    try:
        return Settings()
    except ValidationError as error:
        # Without the value itself: it may be a key or a password.
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = "".join(str(part) for part in first["loc"][:1]).upper().removeprefix(PREFIX)
        # The message of an error about several settings contains their names.
        variable = f"{PREFIX}{name}" if name else "settings"
        raise SettingsInvalid(variable=variable, reason=first["msg"].removeprefix("Value error, ")) from error


def has_observations(settings: Settings) -> bool:
    """Whether the database of observations exists: opening an SQLite file that does not would create it."""
    file = sqlite_file(settings.database_url.reveal())
    return file is None or file.exists()


# Tag of runs that Prefect's scheduler creates.
_SCHEDULED = "auto-scheduled"
OWN = "own settings"


def training_run_name() -> str:
    """`training: sample, because …`, from the parameters of the run that is starting."""
    from prefect.runtime import flow_run

    given: Mapping[str, Any] = flow_run.parameters
    settings = given.get("profile") or profile_of(Path.cwd())
    chosen = given.get("architectures")
    what = f"{settings}, only {' and '.join(chosen)}" if chosen else settings
    return f"training: {what}, because {reason(given.get('reason', ''), flow_run.tags)}"


def drift_run_name() -> str:
    """`drift: models:/emotion@production, because …`."""
    from prefect.runtime import flow_run

    # Not `service_settings`: an invalid setting must fail the run itself, with a message in its state.
    model = os.environ.get("MIEN_MODEL") or Settings.model_fields["model"].default
    return f"drift: {model}, because {reason('', flow_run.tags)}"


def reason(given: str, tags: list[str]) -> str:
    """The reason of a run, as the end of a sentence that begins with "because"."""
    if given.strip():
        return " ".join(given.split()).removeprefix("because ")
    return "it is time (schedule)" if _SCHEDULED in tags else "somebody asked for it"


def profile_of(checkout: Path) -> str:
    """The profile whose settings params.yaml has; `own settings` if it differs from all of them."""
    import yaml

    try:
        params = yaml.safe_load((checkout / PARAMS).read_text(encoding="utf-8"))
        for name in profiles(checkout / CONF):
            if yaml.safe_load(compose(name, checkout / CONF)) == params:
                return name
    # Only the name depends on it; the flow itself reports a damaged file.
    except Exception:
        return OWN
    return OWN
