"""MLflow costs seconds and 200 MiB: one module names it, and no process that answers loads that one."""

from __future__ import annotations

import ast
from pathlib import Path


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def importers(root: Path, module: str) -> set[str]:
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if any(name == module or name.startswith(f"{module}.") for name in imports_of(path))
    }


def test_only_the_followers_registry_imports_mlflow(repository: Path) -> None:
    serving = repository / "serving"
    assert importers(serving, "mlflow") == {"model_sync/sources.py"}
    assert importers(serving, "serving.model_sync.sources") == {
        "model_sync/poller.py",
        "model_sync/registry_process.py",
    }
    # The answering process starts the follower by name; so does the look-up of scoring, which is that child.
    assert importers(serving, "serving.model_sync.poller") == {"model_sync/resolve.py"}
    assert importers(serving, "serving.model_sync.resolve") == {"score/scorer.py"}
