"""A registered version is rebuilt from its commit, with real git and real DVC.

In place of training, the pipeline here copies committed files: what is tested is the way there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.core import paths
from pipelines.core.errors import NotReproducible, RegistryError
from pipelines.core.lineage import read_lineage
from pipelines.core.variants import variants_of
from pipelines.register.reproduce import render, reproduce, stages_summary
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import Registry
from tests.support.mlflow_store import new_store
from tests.support.registry_world import judge_and_register, make_world

MAKE = """\
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
assert len(list(Path("data").rglob("*.png"))) == 30
for name in ("lenet", "lenet-int8"):
  for made in (f"onnx/{name}/model.onnx", f"evaluations/{name}/metrics.json"):
    Path(made).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path("pipelines", made), made)
"""
DVC_YAML = """\
stages:
  evaluate:
    foreach: [lenet]
    do:
      cmd: python pipelines/make.py
      deps: [data, pipelines]
      outs:
      - onnx/${item}/model.onnx
      - evaluations/${item}/metrics.json:
          cache: false
      - onnx/${item}-int8/model.onnx
      - evaluations/${item}-int8/metrics.json:
          cache: false
"""
IGNORED = ("/data", "/mlruns", "/prepared", "/models", "/reports", "/onnx", "/.checkpoints")


@dataclass(frozen=True)
class Checkout:
    """The world as a git and DVC repository whose pipeline makes its model, registered as version 1.

    Its int8 variant is version 2.
    """

    root: Path
    commits: dict[str, str]
    """`good`, the registered one; `other`, which makes other figures; `broken`, which makes nothing."""

    def claim(self, name: str, *, dirty: bool = False, version: int = 1) -> Registry:
        """Let the version say that it comes from that commit."""
        registry = Registry("emotion", uri=tracking.connect())
        tags = {"git_commit": self.commits[name], "dirty": str(dirty).lower()}
        registry.annotate(registry.get(version), tags=tags, description="")
        return registry


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(message: str) -> str:
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message", message)
    return run("git", "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    root = tmp_path_factory.mktemp("checkout")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        # MLflow itself sets it for child processes; it may be left from another test.
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_NO_ANALYTICS", "1")
        for name in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{name}_NAME", "test")
            patch.setenv(f"GIT_{name}_EMAIL", "test@example.invalid")
        new_store(root)
        world = make_world(root)
        world.add_model("lenet")
        good = _as_repository(root)
        judge_and_register(world, world.params(min_accuracy=0.1))
        world.select("lenet-int8")
        judge_and_register(world, world.params(min_accuracy=0.1))
        commits = {"good": good, "other": _other_figures(root), "broken": _broken(root)}
        commits["recorded"] = _recorded(good)
        run("git", "checkout", "--quiet", good)
        yield Checkout(root=root, commits=commits)


def _as_repository(root: Path) -> str:
    made = [
        where(name) for name in variants_of("lenet") for where in (paths.onnx_model, paths.evaluation_metrics)
    ]
    for path in made:
        (root / "pipelines" / path.parent).mkdir(parents=True)
        shutil.copyfile(root / path, root / "pipelines" / path)
    (root / "pipelines/make.py").write_text(MAKE)
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / ".gitignore").write_text("\n".join(IGNORED))
    run("git", "init", "--quiet", "--initial-branch", "main")
    run(sys.executable, "-m", "dvc", "init", "--quiet")
    run(sys.executable, "-m", "dvc", "add", "--quiet", "data")
    return commit("Start")


def _other_figures(root: Path) -> str:
    path = root / "pipelines" / paths.evaluation_metrics("lenet")
    metrics = json.loads(path.read_text())
    metrics["test"]["accuracy"] = 0.7
    path.write_text(json.dumps(metrics))
    return commit("Other figures")


def _broken(root: Path) -> str:
    (root / "pipelines/make.py").write_text("raise SystemExit(3)")
    return commit("Broken")


def _recorded(good: str) -> str:
    """The good commit with what DVC recorded of its results, which therefore lie in the cache."""
    run("git", "checkout", "--quiet", good)
    run(sys.executable, "-m", "dvc", "repro", "--quiet")
    return commit("Results")


@pytest.mark.parametrize("from_scratch", [False, True], ids=["with-cache", "from-scratch"])
def test_what_was_only_restored_from_the_cache_is_not_called_made(
    checkout: Checkout, from_scratch: bool
) -> None:
    done = reproduce(checkout.root, checkout.claim("recorded"), 1, from_scratch=from_scratch)
    assert all(one.equal for one in done.comparisons)
    stages = ["evaluate@lenet"]
    assert (done.made, done.restored) == ((stages, []) if from_scratch else ([], stages))
    assert ("FROM_SCRATCH=1" in stages_summary(done, 1)) is not from_scratch


def test_make_passes_from_scratch_on(request: pytest.FixtureRequest) -> None:
    shown = run(
        *("make", "--dry-run", "--directory", str(request.config.rootpath)),
        *("reproduce", "VERSION=1", "FROM_SCRATCH=1"),
    )
    assert "mien reproduce 1 --from-scratch" in shown


def test_an_int8_variant_is_rebuilt_with_its_architecture(checkout: Checkout) -> None:
    registry = checkout.claim("good", version=2)
    assert registry.get(2).tags["architecture"] == "lenet-int8"
    found = reproduce(checkout.root, registry, 2).comparisons
    assert found[0].registered == str(registry.get(2).sha256)[:16]
    assert all(one.equal for one in found)


@pytest.mark.parametrize("from_scratch", [False, True], ids=["with-cache", "from-scratch"])
def test_same_commit_gives_the_same_model(checkout: Checkout, from_scratch: bool) -> None:
    status = run("git", "status", "--porcelain")
    registry = checkout.claim("good")
    done = reproduce(checkout.root, registry, 1, from_scratch=from_scratch)
    found = done.comparisons
    assert found[0].name == "model.onnx, sha256"
    assert "test/accuracy" in {one.name for one in found}
    assert all(one.equal for one in found)
    assert "DIFFERENT" not in render(found)
    assert run("git", "status", "--porcelain") == status
    assert len(registry.versions()) == 2


def test_version_of_a_changed_tree_is_refused_unless_asked_and_its_difference_shown(
    checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = checkout.claim("other", dirty=True)
    with pytest.raises(NotReproducible, match="add --anyway"):
        reproduce(checkout.root, registry, 1)
    found = reproduce(checkout.root, registry, 1, anyway=True).comparisons
    assert "uncommitted changes" in capsys.readouterr().out
    [line] = [line for line in render(found).splitlines() if "DIFFERENT" in line]
    assert line.split() == ["test/accuracy", "0.9", "0.7", "DIFFERENT"]


def test_broken_pipeline_is_one_line(checkout: Checkout) -> None:
    with pytest.raises(NotReproducible, match="dvc repro evaluate@lenet` failed"):
        reproduce(checkout.root, checkout.claim("broken"), 1)


def test_commit_that_is_not_here_is_reported_with_its_remedy(checkout: Checkout) -> None:
    checkout.commits["lost"] = "0123456789" * 4
    with pytest.raises(NotReproducible, match="git fetch --all"):
        reproduce(checkout.root, checkout.claim("lost"), 1)


def test_unknown_version_names_those_there_are(checkout: Checkout) -> None:
    with pytest.raises(RegistryError, match="no version 7; choose one of these: 1"):
        reproduce(checkout.root, checkout.claim("good"), 7)


def test_lineage_tells_changes_of_code_from_those_of_results(checkout: Checkout) -> None:
    lineage = read_lineage(checkout.root)
    assert len(lineage.commit) == 40
    assert len(lineage.data) == 36  # an MD5 and DVC's `.dir`
    assert not lineage.dirty
    # A run rewrites these itself.
    (checkout.root / paths.evaluation_metrics("lenet")).write_text("{}")
    (checkout.root / "dvc.lock").write_text("")
    assert not read_lineage(checkout.root).dirty
    (checkout.root / "pipelines/make.py").write_text("")
    assert read_lineage(checkout.root).dirty


def test_lineage_outside_git_is_unknown(tmp_path: Path) -> None:
    lineage = read_lineage(tmp_path)
    assert (lineage.commit, lineage.data, lineage.dirty) == ("unknown", "unknown", True)
