"""What a release before this one left is used on: a model, a database of observations, results of stages."""

from __future__ import annotations

import os
from pathlib import Path

from flows.repro.commands import environment, run_dvc
from flows.repro.executor import LocalExecutor
from pipelines.run_record import locked_results
from serving.contract import ModelContract
from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.observing import ROW, SWITCHES, write_earlier_database
from tests.support.onnx_models import CLASSES, write_model
from tests.support.serving_models import LEVELS, model_folder, sha256_of

# As the exporter wrote it before contracts had a version 2.
CONTRACT_1 = (
    '{"architecture":"lenet","classes":["angry","disgust","fear","happy","neutral","sad","surprise"],'
    '"dataset":"5555555555555555555555555555555555555555555555555555555555555555",'
    '"input":{"color":"rgb","crop":"none","detector":null,"height":16,"margin":0.0,"resize":"area","width":16},'
    '"temperature":1.0,"version":1,"weights":"scratch"}'
)


def test_a_model_of_version_1_keeps_its_bytes_and_is_served_on_an_earlier_database(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    before = write_model(tmp_path / "before" / "model.onnx", levels=LEVELS, metadata=CONTRACT_1).read_bytes()
    assert (folder / "model.onnx").read_bytes() == before
    assert ModelContract.from_json(CONTRACT_1).to_json() == CONTRACT_1

    settings = settings_in(tmp_path)
    write_earlier_database(settings.database_url.reveal(), version=2)
    with serving(settings) as client:
        ready(client)
        live = client.get("/model").json()["live"]
        assert (live["sha256"], live["contract"]["version"]) == (sha256_of(folder), 1)
        assert client.post("/detect", content=picture_of(3)).json()["emotion"] == CLASSES[3]
        earlier = client.get(f"/predictions/{ROW['id']}").json()
        assert earlier["emotion"] == ROW["predicted"]
        switches = client.get("/model/history").json()["switches"]
        kinds = {switch["reason"]: switch["kind"] for switch in switches}
        assert SWITCHES.items() <= kinds.items()
    # Started again, now on a database of this release.
    with serving(settings) as client:
        ready(client)
        assert len(client.get("/model/history").json()["switches"]) >= len(SWITCHES)


BEFORE = """
stages:
  train:
    cmd: cat code.py > weights.txt
    deps: [code.py]
    outs: [weights.txt]
  export:
    cmd: cat weights.txt > model.txt
    deps: [weights.txt]
    outs: [model.txt]
  machine:
    cmd: echo machine > machine.txt
    always_changed: true
    outs:
    - machine.txt: {cache: false, persist: true}
  retired:
    cmd: echo retired > retired.txt
    outs: [retired.txt]
"""


def test_results_of_the_release_before_stay_valid_where_their_inputs_are_the_same(tmp_path: Path) -> None:
    """A `dvc.lock` whose stages list modules that have moved since, and a stage that is gone."""
    variables = environment(os.environ)
    assert run_dvc(["init", "--no-scm", "--quiet"], tmp_path, variables).status == 0
    (tmp_path / "code.py").write_text("# the network\n")
    (tmp_path / "dvc.yaml").write_text(BEFORE)
    assert run_dvc(["repro", "--quiet"], tmp_path, variables).status == 0

    (tmp_path / "package").mkdir()
    (tmp_path / "code.py").rename(tmp_path / "package" / "code.py")
    after = BEFORE[: BEFORE.index("  retired:")].replace("code.py", "package/code.py")
    (tmp_path / "dvc.yaml").write_text(after)
    executor = LocalExecutor(tmp_path, variables)
    kinds = {stage: executor.run(stage).kind for stage in ("train", "export", "machine")}
    assert kinds == {"train": "ran", "export": "unchanged", "machine": "unchanged"}
    assert list(locked_results(tmp_path)) == ["machine"]
