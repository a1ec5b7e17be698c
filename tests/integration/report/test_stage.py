"""The report from the results of seven pretended architectures."""

from __future__ import annotations

import re
import shutil
from copy import deepcopy as copy_of
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.core import paths
from pipelines.core.errors import ResultCorrupt
from pipelines.core.io import write_json
from pipelines.core.records import read_record, write_record
from pipelines.core.results import Coverage, Evaluation, SetScores
from pipelines.core.variants import display_name
from pipelines.explain.selection import Explanation, QuantizedDifference
from pipelines.report.freshness import earlier_stages
from pipelines.report.inputs import read_inputs
from pipelines.report.stage import render, report
from pipelines.robustness.corruptions import CORRUPTIONS
from tests.support.browser import chromium
from tests.support.files import read_json
from tests.support.report_inputs import MODELS, gate, select, write_report_inputs
from tests.support.results import check, verdict

SECTIONS = (
    "comparison",
    "confusion",
    "roc",
    "calibration",
    "slices",
    "unfamiliar",
    "robustness",
    "mistakes",
    "heatmaps",
    "training",
    "weights",
    "data",
    "augmentation",
    "preparation",
    "validation",
    "card",
    "parameters",
    "guide",
)
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """What a test wants to know of an HTML page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.tags.append((tag, values))
        if "id" in values:
            self.ids.append(values["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    root = tmp_path_factory.mktemp("results")
    write_report_inputs(root, request.config.rootpath / "params.yaml")
    return root


@pytest.fixture(scope="module")
def html(results: Path) -> str:
    return render(read_inputs(results))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture(scope="module")
def small_results(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Two architectures only, which takes a third of the time."""
    root = tmp_path_factory.mktemp("small")
    params = yaml.safe_load((request.config.rootpath / "params.yaml").read_text())
    names = ["lenet", "vgg"]
    (root / "wanted.yaml").write_text(yaml.safe_dump(params | {"architectures": names}, sort_keys=False))
    write_report_inputs(root, root / "wanted.yaml", architectures=names)
    return root


@pytest.fixture
def copy(small_results: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(small_results, tmp_path / "copy"))


def section(html: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">(.*?)</section>', html, flags=re.DOTALL)
    assert found, name
    return found[1]


def test_it_asks_for_nothing_outside_itself(html: str, page: Page) -> None:
    addresses = [
        values[name]
        for _, values in page.tags
        for name in ("src", "href", "srcset", "data", "action", "poster")
        if name in values
    ]

    assert all(address.startswith(("#", "data:image/")) for address in addresses)
    assert not {"link", "script", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not re.search(r"url\((?!#)|@import|://", html)


def test_every_section_is_there_with_content_and_in_the_contents(html: str, page: Page) -> None:
    links = [values.get("href") for tag, values in page.tags if tag == "a"]

    for name in SECTIONS:
        assert f"#{name}" in links
        assert "does not exist yet" not in section(html, name), name
        assert len(section(html, name)) > 500, name


def test_every_picture_says_what_it_shows(page: Page) -> None:
    pictures = [values for tag, values in page.tags if tag == "img"]
    charts = [values for tag, values in page.tags if tag == "svg"]

    assert len(pictures) > 100
    assert all(values["alt"] for values in pictures)
    assert len(charts) > 20
    assert all(values["aria-label"] and values["role"] == "img" for values in charts)


def test_the_markup_is_sound(page: Page) -> None:
    assert not page.unbalanced
    assert not page.open
    assert len(set(page.ids)) == len(page.ids)
    targets = {values["href"][1:] for tag, values in page.tags if tag == "a"}
    assert targets <= set(page.ids)


def test_it_says_which_model_how_good_and_what_the_gate_said(html: str, results: Path) -> None:
    test = read_json(results / paths.evaluation_metrics("vgg"))["test"]
    top = html[html.index("<header>") : html.index("</header>")]

    assert "VGG-like" in top
    assert f"{test['accuracy'] * 100:.1f}" in top
    assert f"{test['accuracy_low'] * 100:.1f}" in top
    assert "passed the quality gate" in top


def test_all_architectures_are_compared_and_their_curves_drawn(html: str) -> None:
    for name in ("comparison", "training", "weights", "confusion", "heatmaps"):
        for key, model in MODELS.items():
            title = display_name(model.title, key, weights="scratch")
            assert title in section(html, name), (name, title)


def test_int8_variants_stand_beside_their_twins_with_what_they_gain_and_lose(html: str) -> None:
    comparison = section(html, "comparison")
    for name, model in MODELS.items():
        assert display_name(model.title, f"{name}-int8", weights="scratch") in comparison
    assert comparison.count("× 2.00") == len(MODELS)
    # Elsewhere an architecture stands once.
    assert "int8" not in section(html, "training")
    assert "int8" not in section(html, "confusion")


def test_a_selected_int8_variant_takes_the_place_of_its_twin(copy: Path) -> None:
    select(copy, "vgg-int8", architectures=("lenet", "vgg"))
    explained = copy / paths.EXPLANATIONS / "explain.json"
    apart = QuantizedDifference(pictures=18, same_answer=17, mean_difference=0.0042, max_difference=0.13)
    known = read_record(explained, Explanation, stage="explain")
    write_record(explained, replace(known, architecture="vgg-int8", quantized=apart))

    html = render(read_inputs(copy))

    assert "VGG-like, int8" in html[html.index("<header>") : html.index("</header>")]
    for name in ("confusion", "roc", "calibration", "slices", "mistakes", "card"):
        assert "VGG-like, int8" in section(html, name), name
    assert "same class for 17 of these pictures; there its heatmaps differ by 0.0042" in section(
        html, "heatmaps"
    )
    assert "int8, from the float32 file" in section(html, "card")
    assert "models.vgg.epochs" in section(html, "guide")


def test_novelty_is_shown_for_the_selected_model_and_beside_the_others(copy: Path) -> None:
    inputs = read_inputs(copy)
    shown = section(render(inputs), "unfamiliar")
    assert "93.8\u202f%" in shown
    assert shown.count("0.938") == len(inputs.compared) > 1
    for value in ("0.900", "0.975", "68.8\u202f%", "1.2\u202f%", "drawn-1"):
        assert value in shown, value


def test_prediction_sets_show_the_coverage_that_was_measured(copy: Path) -> None:
    inputs = read_inputs(copy)
    assert inputs.selected is not None
    path = copy / paths.evaluation_metrics(inputs.selected.name)
    known = read_record(path, Evaluation, stage="evaluate")
    all_classes = Coverage(images=240, share=0.912, low=0.869, high=0.945)
    first = Coverage(images=31, share=0.839, low=0.663, high=0.945)
    sets = SetScores(
        coverage=0.9, threshold=0.2, measured=all_classes, mean_size=1.37, classes={inputs.classes[0]: first}
    )
    write_record(path, replace(known, sets=sets))
    shown = section(render(read_inputs(copy)), "calibration")
    for value in (
        "90\u202f%",
        "91.2\u202f%",
        "86.9\u202f%",
        "94.5\u202f%",
        "1.37",
        "83.9\u202f%",
        "66.3\u202f%",
    ):
        assert value in shown, value


def test_missing_pretrained_weights_are_said_loudly_and_only_where_they_are_missed(html: str) -> None:
    top = html[html.index("<header>") : html.index("</header>")]
    warning = re.search(r"<strong>Not pretrained\.</strong> (.*?) started from random weights", top)

    assert warning
    # The ViT of the sample profile names no checkpoint; LeNet never had any.
    assert warning[1] == "MobileNetV2, ResNet-50, EfficientNet-B4"
    assert "MIEN_WEIGHTS_DIR" in section(html, "weights")


def test_the_law_is_named(html: str) -> None:
    assert "Art. 5(1)(f)" in section(html, "card")


def test_it_follows_the_reader_into_the_dark(html: str) -> None:
    assert "prefers-color-scheme: dark" in html
    charts = re.findall(r'<svg class="chart.*?</svg>', html, flags=re.DOTALL)
    assert not any(re.search(r"(?:fill|stroke): #", chart) for chart in charts)


def test_equal_results_give_equal_bytes(results: Path, html: str) -> None:
    assert render(read_inputs(results)) == html


def test_a_rejected_model_is_reported_with_its_reasons(copy: Path) -> None:
    write_record(copy / paths.GATE, gate(passed=False))

    html = render(read_inputs(copy))

    assert "The quality gate rejected the model." in html
    assert "macro-F1 is 0.610" in html
    assert "Production stays at version 1" in html
    assert len(re.findall(r"<li>.*?gate\.max_macro_f1_drop.*?</li>", html)) == 1  # with what to do about it


def test_a_held_model_is_reported_with_what_is_unclear(copy: Path) -> None:
    unclear = check("max_accuracy_drop", unclear=True, reason="unclear whether the drop is below 0.02")
    write_record(copy / paths.GATE, verdict([check("smoke"), unclear], hold=True))

    html = render(read_inputs(copy))

    assert "The quality gate holds the model" in html
    assert len(re.findall(r"<li>unclear whether.*?pipelines\.register\.promote.*?</li>", html)) == 1
    assert ">unclear</span> max_accuracy_drop" in html


def test_nothing_is_said_that_the_registry_changes_later(copy: Path) -> None:
    """A promotion does not make the page again: it names neither the version nor an alias."""
    shown = render(read_inputs(copy))
    write_json(copy / paths.REGISTERED, {"version": 5, "aliases": ["candidate"]})
    assert render(read_inputs(copy)) == shown


LOCK: dict[str, Any] = {
    "train@vgg": {
        "params": {"params.yaml": {"seed": 1, "models.vgg": {"epochs": 3}}},
        "outs": [{"path": "models/vgg/model.weights.h5", "md5": "one"}],
    },
    "export@vgg": {
        "deps": [{"path": "models/vgg/model.weights.h5", "md5": "one"}],
        "outs": [{"path": "onnx/vgg/model.onnx", "md5": "two"}],
    },
    "train@gone": {"params": {"params.yaml": {"seed": 9}}, "outs": [{"path": "models/gone", "md5": "x"}]},
    "register": {"params": {"params.yaml": {"seed": 9}}, "outs": [{"path": "elsewhere", "md5": "x"}]},
}


@pytest.mark.parametrize(
    ("change", "earlier"),
    [
        ({}, []),
        ({"seed": 2}, ["train@vgg"]),
        ({"models": {"vgg": {"epochs": 4}}}, ["train@vgg"]),
        ({"weights": "other"}, ["export@vgg"]),
    ],
)
def test_results_of_an_earlier_run_are_named(
    tmp_path: Path, change: dict[str, Any], earlier: list[str]
) -> None:
    lock = copy_of(LOCK)
    if "weights" in change:
        lock["train@vgg"]["outs"][0]["md5"] = change["weights"]
    settings = {"architectures": ["vgg"], "seed": 1, "models": {"vgg": {"epochs": 3}}} | change
    stages = {"report": {"deps": ["onnx", "models"]}}
    for name, content in {
        "dvc.lock": {"stages": lock},
        "dvc.yaml": {"stages": stages},
        "params.yaml": settings,
    }.items():
        (tmp_path / name).write_text(yaml.safe_dump(content, sort_keys=False))
    assert earlier_stages(tmp_path) == earlier


def test_the_page_says_which_results_are_of_an_earlier_run(copy: Path) -> None:
    assert 'id="earlier"' not in render(read_inputs(copy))
    inputs = replace(read_inputs(copy), earlier=["train@vgg"])
    [note] = re.findall(r'<aside[^>]* id="earlier">.*?</aside>', render(inputs))
    assert "train@vgg" in note


WIDTHS_PX = (1366, 1024, 390)
OVERFLOWING = """() => {
  document.querySelectorAll("details").forEach((details) => (details.open = true));
  return [...document.querySelectorAll("nav ul, .scroll, pre, table, html")]
    .filter((one) => one.scrollWidth > one.clientWidth + 1 && !one.querySelector(".gallery"))
    .map((one) => `${one.tagName} ${one.className} in ${one.closest("section")?.id}`)
    .filter((one) => !one.includes("gallery"));
}"""


def test_nothing_is_cut_off_on_a_laptop_a_tablet_and_a_phone(html: str, tmp_path: Path) -> None:
    """Pictures of seven classes in a row may scroll on a phone; menu, tables and commands may not."""
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    with chromium(tmp_path) as browser:
        for width in WIDTHS_PX:
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.goto((tmp_path / "report.html").as_uri())
            assert page.evaluate(OVERFLOWING) == [], width


def test_markup_in_a_name_stays_text(copy: Path) -> None:
    rejected = verdict([check("smoke", passed=False, reason="<script>alert(1)</script>")])
    write_record(copy / paths.GATE, rejected)

    html = render(read_inputs(copy))

    assert "<script>" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        (paths.PREPARED, {"data": "prepare", "augmentation": "prepare", "card": "compare"}),
        (paths.PREPARE_REPORT, {"preparation": "prepare"}),
        (paths.VALIDATION_REPORT, {"validation": "validate"}),
        (paths.WEIGHTS, {"weights": "weights"}),
        (paths.MODELS, {"training": "train", "card": "evaluate"}),
        (paths.EVALUATIONS, {"confusion": "evaluate", "roc": "evaluate", "slices": "evaluate"}),
        (paths.COMPARISON, {"comparison": "compare", "confusion": "compare", "mistakes": "compare"}),
        (paths.ROBUSTNESS, {"robustness": "robustness"}),
        (paths.EXPLANATIONS, {"heatmaps": "explain"}),
        (paths.GATE, {}),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_a_section_without_its_input_says_so(copy: Path, gone: Path, says: dict[str, str]) -> None:
    if (copy / gone).is_dir():
        shutil.rmtree(copy / gone)
    else:
        (copy / gone).unlink()

    html = render(read_inputs(copy))

    for name, stage in says.items():
        words = re.sub(r"<[^>]+>", "", section(html, name))
        assert "does not exist yet" in words, name
        assert re.search(rf"dvc repro [\w ]*{stage}", words), name


def test_nothing_but_parameters_still_makes_a_report(tmp_path: Path, repository: Path) -> None:
    shutil.copy(repository / "params.yaml", tmp_path)

    report(tmp_path, tmp_path / "report.html")

    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No model is selected yet" in html
    assert not Page(html).unbalanced


def test_robustness_shows_every_corruption_on_a_face(html: str) -> None:
    shown = section(html, "robustness")
    names = re.findall(r'<img src="data:image/webp[^"]+" alt="A test face: ([^"]+)"', shown)
    assert names == ["as it is", *CORRUPTIONS]
    # 5 to 24 right of 24 versions: 290 of 480.
    assert "60.4" in shown
    assert shown.count("<svg") == 2


def test_a_model_without_mistakes_says_so(copy: Path) -> None:
    import pandas as pd

    path = copy / paths.evaluation_predictions("vgg")
    table = pd.read_parquet(path)
    table.assign(predicted=table["label"]).to_parquet(path, index=False)

    assert "No test picture was misclassified." in section(render(read_inputs(copy)), "mistakes")


def test_a_damaged_result_is_one_line_that_names_it(copy: Path) -> None:
    (copy / paths.COMPARISON).write_text('{"metric": "macro')

    with pytest.raises(ResultCorrupt, match=r"comparison\.json.*dvc repro --force --single-item compare"):
        report(copy, copy / "report.html")

    assert not (copy / "report.html").exists()
