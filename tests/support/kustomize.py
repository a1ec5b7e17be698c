"""As much of kustomize as deploy/kubernetes uses: resources, components, namespace, images, JSON patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Thing = dict[str, Any]
KNOWN = {"apiVersion", "kind", "labels", "resources", "components", "namespace", "images", "patches"}


def rendered(folder: Path) -> list[Thing]:
    """The objects that `kubectl kustomize FOLDER` would print."""
    wanted = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert wanted.keys() <= KNOWN, wanted.keys() - KNOWN
    things: list[Thing] = []
    for name in wanted.get("resources", ()):
        things += loaded(folder / name)
    for name in wanted.get("components", ()):
        things += rendered(folder / name)
    for patch in wanted.get("patches", ()):
        patched(things, patch)
    for image in wanted.get("images", ()):
        exchanged(things, image)
    if namespace := wanted.get("namespace"):
        for thing in things:
            thing["metadata"]["namespace"] = namespace
    return things


def loaded(path: Path) -> list[Thing]:
    if path.is_dir():
        return rendered(path)
    return [thing for thing in yaml.safe_load_all(path.read_text()) if thing]


def patched(things: list[Thing], patch: Thing) -> None:
    """RFC 6902, `replace` only: what is not there cannot be replaced."""
    target = patch["target"]
    (thing,) = [
        thing
        for thing in things
        if (thing["kind"], thing["metadata"]["name"]) == (target["kind"], target["name"])
    ]
    for step in yaml.safe_load(patch["patch"]):
        assert step["op"] == "replace"
        *parents, last = step["path"].strip("/").split("/")
        block: Any = thing
        for key in parents:
            block = block[int(key)] if isinstance(block, list) else block[key]
        assert last in block, step["path"]
        block[last] = step["value"]


def exchanged(things: list[Thing], image: Thing) -> None:
    """Give containers the image; one that no container has is a mistake."""
    found = [
        container
        for thing in things
        if thing["kind"] == "Deployment"
        for container in thing["spec"]["template"]["spec"]["containers"]
        if container["image"] == image["name"]
    ]
    assert found, image
    for container in found:
        end = f"@{image['digest']}" if "digest" in image else f":{image['newTag']}"
        container["image"] = image["newName"] + end
