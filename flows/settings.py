"""The service's settings, as flows read them: what it sees, keeps and follows is said in one place.

What a run is called in Prefect's pages: what it does, and why.
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


# Prefect's scheduler marks what it starts.
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

    # Not through the settings: one that is wrong is the run's own failure, told in its state.
    model = os.environ.get("MIEN_MODEL") or Settings.model_fields["model"].default
    return f"drift: {model}, because {reason('', flow_run.tags)}"


def reason(given: str, tags: list[str]) -> str:
    """Why a run runs, as the end of a sentence that begins with "because"."""
    if given.strip():
        return " ".join(given.split()).removeprefix("because ")
    return "it is time (schedule)" if _SCHEDULED in tags else "somebody asked for it"


def profile_of(checkout: Path) -> str:
    """The profile whose settings params.yaml holds; `own settings` when it is none of them."""
    import yaml

    try:
        held = yaml.safe_load((checkout / PARAMS).read_text(encoding="utf-8"))
        for name in profiles(checkout / CONF):
            if yaml.safe_load(compose(name, checkout / CONF)) == held:
                return name
    # A name is all that is at stake; the flow itself says what is wrong.
    except Exception:
        return OWN
    return OWN
