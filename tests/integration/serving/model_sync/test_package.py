"""What the pipeline registers is what the service follows: the two meet in a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import Registry
from serving.inference.model_slot import ModelSlot
from serving.model_sync.location import Registered
from serving.model_sync.poller import Poller
from serving.model_sync.sources import RegistrySource
from serving.model_sync.watcher import Watcher
from tests.support.mlflow_store import new_store
from tests.support.registry_world import judge_and_register, make_world


def test_registered_model_is_admitted_with_its_lineage_and_self_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # MLflow itself sets it for child processes; it may be left from another test.
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = new_store(tmp_path)
    world = make_world(tmp_path)
    sha256 = world.add_model("lenet")
    judge_and_register(world, world.params(min_accuracy=0.4))
    state = tmp_path / "state"
    state.mkdir()
    location = Registered(name="emotion", by="alias", value="production")
    slot = ModelSlot()

    assert Poller(RegistrySource(location, tracking_uri=uri), state).check()
    Watcher(state, slot, location=str(location), threads=1, max_batch=4).look()

    live = slot.require()
    identity = live.identity
    assert live.warnings == ()
    assert (identity.name, identity.version, identity.sha256) == ("emotion", "1", sha256)
    assert (identity.dataset, identity.architecture) == (world.dataset, "lenet")
    # This folder is not a checkout, so the commit is unknown; its pictures are not the sample's.
    assert (identity.git_commit, identity.data_dvc) == (None, None)
    [version] = Registry("emotion", uri=tracking.connect()).versions()
    assert identity.run_id == version.run_id
    for name in ("card.md", "reference.parquet", "metrics.json", "comparison.json"):
        assert (live.folder / name).is_file()
