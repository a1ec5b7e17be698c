"""Compose `params.yaml` from `conf/`: `python -m pipelines.profile sample` (less than a second).

DVC's Hydra composition is not used because it overwrites a hand-edited `params.yaml` at every run.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipelines.core.cli import run_stage
from pipelines.core.errors import ParamsError, UnknownProfile
from pipelines.core.io import write_text
from pipelines.core.params import parse_params
from pipelines.core.paths import PARAMS

CONF = Path("conf")
BASE = "base"


def profiles(conf: Path = CONF) -> tuple[str, ...]:
    """List the names of the profiles, sorted."""
    return tuple(sorted(path.stem for path in conf.glob("*.yaml") if path.stem != BASE))


def compose(name: str, conf: Path = CONF) -> str:
    """Merge one profile into the base, keeping the base's comments.

    Args:
        name: name of the profile.
        conf: folder with `base.yaml` and one file per profile.

    Returns:
        The validated text of `params.yaml`.

    Raises:
        UnknownProfile: no profile has this name.
        ParamsError: a file is not valid YAML, or a value is invalid.
    """
    if name not in profiles(conf):
        raise UnknownProfile(name=name, known=profiles(conf))
    yaml = YAML()
    yaml.width = 110
    # By default ruamel writes an empty value, which looks like a mistake.
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    yaml.preserve_quotes = True
    values, overlay = (_read(yaml, conf / f"{part}.yaml") for part in (BASE, name))
    _lay_over(values, overlay)
    parse_params(YAML(typ="safe").load(_dump(yaml, values)))
    return _dump(yaml, values)


def _read(yaml: YAML, path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8")) or {}
    except (OSError, YAMLError) as error:
        raise ParamsError(key=str(path), got=str(error).splitlines()[0], expected="readable YAML") from error


def _lay_over(values: MutableMapping[str, Any], overlay: MutableMapping[str, Any]) -> None:
    """Merge blocks key by key; `options` of a model and other values are replaced."""
    for key, value in overlay.items():
        old = values.get(key)
        if isinstance(old, MutableMapping) and isinstance(value, MutableMapping) and key != "options":
            _lay_over(old, value)
        else:
            values[key] = value


def _dump(yaml: YAML, values: Any) -> str:
    text = io.StringIO()
    yaml.dump(values, text)
    return text.getvalue()


def main() -> None:
    """Write `params.yaml` from the profile named on the command line."""
    parser = argparse.ArgumentParser(description="Compose params.yaml from conf/.")
    parser.add_argument("name", help=f"one of {', '.join(profiles())}")
    name = parser.parse_args().name
    write_text(PARAMS, compose(name))
    print(f"params.yaml now contains the profile {name}; run `dvc repro` to update the results")


if __name__ == "__main__":
    run_stage(main)
