"""The comparison's table, its selection and its rendering."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.compare import compare, render
from pipelines.errors import SelectionError
from pipelines.params import SelectionParams


def _evaluation(name: str, macro_f1: float, *, size_mb: float = 1.0, accuracy: float = 0.5) -> dict[str, Any]:
    return {
        "architecture": name,
        "title": name.title(),
        "weights": "scratch",
        "size_mb": size_mb,
        "parameters": 123_456,
        "test": {
            "accuracy": accuracy,
            "accuracy_low": accuracy - 0.1,
            "accuracy_high": accuracy + 0.1,
            "macro_f1": macro_f1,
            "macro_f1_low": macro_f1 - 0.1,
            "macro_f1_high": macro_f1 + 0.1,
            "balanced_accuracy": 0.5,
            "ece": 0.05,
            "images": 100,
        },
    }


def _latency(p50_ms: float) -> dict[str, dict[str, float]]:
    return {
        "batch_1": {"p50_ms": p50_ms, "p95_ms": 2 * p50_ms},
        "batch_16": {"p50_ms": 9 * p50_ms, "p95_ms": 10 * p50_ms},
    }


def _selection(
    metric: str = "macro_f1", *, max_latency_ms: float | None = None, max_size_mb: float | None = None
) -> SelectionParams:
    return SelectionParams(metric=metric, max_latency_ms=max_latency_ms, max_size_mb=max_size_mb)


EVALUATIONS = [
    _evaluation("lenet", 0.6, size_mb=1, accuracy=0.9),
    _evaluation("resnet50", 0.8, size_mb=94),
    _evaluation("vgg", 0.7, size_mb=5),
]
LATENCIES = {"lenet": _latency(0.2), "resnet50": _latency(9.0), "vgg": _latency(2.0)}


def test_the_highest_metric_wins_and_rows_fall() -> None:
    found = compare(EVALUATIONS, LATENCIES, _selection())
    assert found["selected"] == "resnet50"
    assert [row["architecture"] for row in found["rows"]] == ["resnet50", "vgg", "lenet"]


def test_another_metric_selects_another() -> None:
    assert compare(EVALUATIONS, LATENCIES, _selection("accuracy"))["selected"] == "lenet"


def test_a_row_holds_the_figures_of_its_architecture() -> None:
    row = compare(EVALUATIONS, LATENCIES, _selection())["rows"][2]
    assert row == {
        "architecture": "lenet",
        "title": "Lenet",
        "weights": "scratch",
        "size_mb": 1,
        "parameters": 123_456,
        "accuracy": 0.9,
        "accuracy_low": pytest.approx(0.8),
        "accuracy_high": pytest.approx(1.0),
        "macro_f1": 0.6,
        "macro_f1_low": 0.5,
        "macro_f1_high": pytest.approx(0.7),
        "balanced_accuracy": 0.5,
        "ece": 0.05,
        "p50_ms": 0.2,
        "p95_ms": 0.4,
        "batch_16_p50_ms": pytest.approx(1.8),
        "eligible": True,
        "reason": None,
    }


def test_one_over_a_limit_is_passed_over_and_says_why() -> None:
    found = compare(EVALUATIONS, LATENCIES, _selection(max_latency_ms=5))
    assert found["selected"] == "vgg"
    over = found["rows"][0]
    assert (over["architecture"], over["eligible"]) == ("resnet50", False)
    assert over["reason"] == "9 ms at batch 1, at most 5 allowed"


def test_a_figure_on_the_limit_is_within_it() -> None:
    assert compare(EVALUATIONS, LATENCIES, _selection(max_latency_ms=9, max_size_mb=94))["selected"] == (
        "resnet50"
    )


def test_a_tie_goes_to_the_faster_then_to_the_name() -> None:
    tied = [_evaluation(name, 0.7) for name in ("vit", "vgg", "lenet")]
    faster = {"vit": _latency(1), "vgg": _latency(3), "lenet": _latency(2)}
    equal = dict.fromkeys(faster, _latency(1))
    assert compare(tied, faster, _selection())["selected"] == "vit"
    assert compare(tied, equal, _selection())["selected"] == "lenet"


def test_when_none_is_within_the_limits_the_nearest_is_named() -> None:
    with pytest.raises(SelectionError) as caught:
        compare(EVALUATIONS, LATENCIES, _selection(max_latency_ms=0.1, max_size_mb=2))
    assert caught.value.nearest == "lenet"
    assert "selection.max_latency_ms 0.1 and selection.max_size_mb 2" in str(caught.value)
    assert "0.2 ms at batch 1, at most 0.1 allowed" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_table_shows_every_row_and_what_was_passed_over() -> None:
    text = render(compare(EVALUATIONS, LATENCIES, _selection(max_latency_ms=5)))
    lines = text.splitlines()
    assert "macro-F1" in text
    assert [name for line in lines for name in ("resnet50", "vgg", "lenet") if f" {name} " in line] == [
        "resnet50",
        "vgg",
        "lenet",
    ]
    assert next(line for line in lines if " vgg " in line).count("→") == 1
    assert next(line for line in lines if " resnet50 " in line).count("→") == 0
    assert lines[-1] == "resnet50 is passed over: 9 ms at batch 1, at most 5 allowed"


def test_nothing_of_the_table_is_cut_off_at_its_width() -> None:
    evaluation = _evaluation("efficientnet_b4", 0.612, size_mb=312.4)
    evaluation["weights"] = "hf:google/vit-base-patch16-224-in21k"
    text = render(compare([evaluation], {"efficientnet_b4": _latency(1234.56)}, _selection()))
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= 108


def test_an_interval_that_is_unknown_is_left_out() -> None:
    evaluation = _evaluation("vgg", 0.7)
    evaluation["test"] |= dict.fromkeys(("accuracy_low", "accuracy_high", "macro_f1_low", "macro_f1_high"))
    text = render(compare([evaluation], LATENCIES, _selection()))
    assert "–" not in text.splitlines()[-1]
