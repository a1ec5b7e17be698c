"""What a cluster engine says before it reaches for anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flows.cluster.connections import Kind, connection
from flows.cluster.settings import cluster_settings
from flows.errors import ClusterError, ParametersInvalid


def test_without_settings_nodes_are_this_machine_s(tmp_path: Path) -> None:
    settings = cluster_settings(tmp_path, {"MIEN_CLUSTER_ADDRESS": " "})
    assert (settings.address, settings.repository, settings.gpus) == (None, str(tmp_path), 0)


@pytest.mark.parametrize("gpus", ["some", "-1", "0.5"])
def test_a_number_of_gpus_that_is_none_is_refused(tmp_path: Path, gpus: str) -> None:
    with pytest.raises(ParametersInvalid, match=f"MIEN_CLUSTER_GPUS: got '{gpus}', expected a whole number"):
        cluster_settings(tmp_path, {"MIEN_CLUSTER_GPUS": gpus})


@pytest.mark.parametrize(("kind", "package"), [("ray", "ray"), ("dask", "prefect_dask.task_runners")])
def test_a_package_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ClusterError, match=rf"^engine {kind}: .* is not installed; .*'mien\[{kind}\]'`$"):
        connection(kind, cluster_settings(tmp_path, {}), most=1)
