"""Kill −9 costs at most the last second."""

from __future__ import annotations

import subprocess
import sys
import time

from serving.observations.store import Store

_PROGRAM = """
import sys, time
from serving.observations.recorder import Recorder
from serving.observations.store import Store
from tests.support.observing import NOW, id_of, observation
recorder = Recorder(Store(sys.argv[1]))
recorder.start()
for number in range(100_000):
    recorder.record(observation(number, time=time.time()))
    print(time.time(), flush=True)
    time.sleep(0.002)
"""


def test_kill_costs_at_most_a_second_of_rows(url: str) -> None:
    store = Store(url)
    store.prepare()
    store.close()
    command = [sys.executable, "-c", _PROGRAM, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = float(process.stdout.readline())
        time.sleep(2.5)
        process.kill()
        last = float(process.stdout.read().splitlines()[-1])
    window = store.window("3")
    store.close()
    assert window.rows[0].observation.time <= first
    assert window.rows[-1].observation.time >= last - 1.0
    assert window.total > 100
