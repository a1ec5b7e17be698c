"""A candidate as the gate and a person handle it: aliases in a real MLflow registry."""

from __future__ import annotations

from pathlib import Path

from tests.support.http_service import ready, serving, settings_in, until
from tests.support.mlflow_store import new_store
from tests.support.onnx_models import CLASSES
from tests.support.serving_models import LEVELS, FilledRegistry
from tests.support.trials import SHADOW_S, ask

SWAPPED = (LEVELS[1], LEVELS[0], *LEVELS[2:])


def test_the_alias_candidate_is_tried_until_it_is_promoted(tmp_path: Path) -> None:
    registry = FilledRegistry(new_store(tmp_path), tmp_path / "artifacts")
    registry.promote(registry.add(seed=1))
    candidate = registry.add(seed=2, levels=SWAPPED)
    settings = settings_in(
        tmp_path,
        model="models:/emotion@production",
        tracking_uri=registry.uri,
        canary="100%",
        shadow_model="models:/emotion@candidate",
        shadow_fraction=1.0,
    )
    with serving(settings) as client:
        until(lambda: client.get("/readyz").status_code == 200, SHADOW_S)

        def stands(state: str, reason: str) -> bool:
            found = client.get("/model").json()["canary"]
            return (found["state"], found["reason"]) == (state, reason)

        gone = "models:/emotion@candidate names no model"
        until(lambda: stands("stopped", gone), SHADOW_S)
        assert ask(ready(client), 0).json()["emotion"] == CLASSES[0]

        registry.promote(candidate, alias="candidate")
        until(lambda: stands("running", "100% of the requests are answered by version 2"), SHADOW_S)
        until(lambda: client.get("/model/shadow").json()["reason"] is None, SHADOW_S)
        answer = ask(client, 0).json()
        assert (answer["emotion"], answer["model"]["version"]) == (CLASSES[1], "2")

        registry.demote(alias="candidate")
        until(lambda: stands("stopped", gone), SHADOW_S)
        until(lambda: client.get("/model/shadow").json()["reason"] == gone, SHADOW_S)
        assert ask(client, 0).json()["model"]["version"] == "1"

        registry.promote(candidate, alias="candidate")
        until(lambda: stands("running", "100% of the requests are answered by version 2"), SHADOW_S)
        registry.promote(candidate)
        until(lambda: stands("stopped", "version 2 is live for everybody"), SHADOW_S)
        answer = ask(client, 0).json()
        assert (answer["emotion"], answer["model"].get("canary")) == (CLASSES[1], None)

        def history() -> list[tuple[str, str | None, str]]:
            switches = client.get("/model/history").json()["switches"]
            return [(one["kind"], one["from_version"], one["to_version"]) for one in reversed(switches)]

        expected = [
            ("live", None, "1"),
            ("canary", "1", "2"),
            ("canary", "2", "1"),
            ("canary", "1", "2"),
            ("live", "1", "2"),
            ("canary", "2", "2"),
        ]
        until(lambda: len(history()) >= len(expected))
        assert history() == expected
