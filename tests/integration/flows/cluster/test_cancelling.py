"""A stage on a Dask worker ends when it is cancelled."""

from __future__ import annotations

import threading

from distributed import Client, LocalCluster

from flows.cluster.backends import stopped_when_cancelled

PATIENCE_S = 120

STARTED, STOPPED = threading.Event(), threading.Event()


def stage(patience_s: float) -> bool:
    """What a node does: start, and go on until it is stopped."""
    with stopped_when_cancelled(STOPPED.set):
        STARTED.set()
        return STOPPED.wait(patience_s)


def test_a_cancelled_stage_is_stopped_on_its_worker() -> None:
    with (
        # Without a host Dask's web server would listen on every interface, which not every machine allows.
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            protocol="tcp",
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        future = client.submit(stage, PATIENCE_S, pure=False)
        assert STARTED.wait(PATIENCE_S)
        assert not STOPPED.wait(3.0), "stopped although it is wanted"
        future.cancel()
        assert STOPPED.wait(PATIENCE_S)


def test_where_dask_does_not_run_it_nothing_is_watched() -> None:
    before = threading.active_count()
    with stopped_when_cancelled(lambda: None):
        assert threading.active_count() == before
