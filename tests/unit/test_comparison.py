"""The comparison's table, its selection and its rendering."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

import pytest

from pipelines.compare import compare, losses, render
from pipelines.core.errors import SelectionError
from pipelines.core.params import SelectionParams
from pipelines.core.results import Evaluation, Latencies, Losses, VariantTimes
from tests.support.results import evaluation
from tests.support.timings import SAID, TIMING, times

Metric = Literal["macro_f1", "accuracy", "balanced_accuracy"]


def _evaluation(
    name: str,
    macro_f1: float,
    *,
    size_mb: float = 1.0,
    accuracy: float = 0.5,
    recalls: tuple[float | None, ...] = (0.5, 0.5),
) -> Evaluation:
    return evaluation(
        name,
        classes=dict(zip(("happy", "sad"), recalls, strict=True)),
        parameters=123_456,
        size_mb=size_mb,
        accuracy=accuracy,
        accuracy_low=accuracy - 0.1,
        accuracy_high=accuracy + 0.1,
        macro_f1=macro_f1,
        macro_f1_low=macro_f1 - 0.1,
        macro_f1_high=macro_f1 + 0.1,
        balanced_accuracy=0.5,
        ece=0.05,
    )


def _timed(models: Mapping[str, VariantTimes]) -> Latencies:
    """As `reports/latency.json` has them."""
    return Latencies(timing=TIMING, threads=1, rounds=3, models=models)


def _selection(
    metric: Metric = "macro_f1", *, max_latency_ms: float | None = None, max_size_mb: float | None = None
) -> SelectionParams:
    return SelectionParams(metric=metric, max_latency_ms=max_latency_ms, max_size_mb=max_size_mb)


EVALUATIONS = [
    _evaluation("lenet", 0.6, size_mb=1, accuracy=0.9),
    _evaluation("resnet50", 0.8, size_mb=94),
    _evaluation("vgg", 0.7, size_mb=5),
]
LATENCY = _timed({"lenet": times(0.2), "resnet50": times(9.0), "vgg": times(2.0)})


def test_the_highest_metric_wins_and_rows_fall() -> None:
    found = compare(EVALUATIONS, LATENCY, _selection())
    assert found.selected == "resnet50"
    assert [row.architecture for row in found.rows] == ["resnet50", "vgg", "lenet"]


def test_another_metric_selects_another() -> None:
    assert compare(EVALUATIONS, LATENCY, _selection("accuracy")).selected == "lenet"


def test_a_row_holds_the_figures_of_its_architecture() -> None:
    row = compare(EVALUATIONS, LATENCY, _selection()).rows[2]
    assert asdict(row) == {
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
        "twin": None,
        "speed_up": None,
        "accuracy_drop": None,
        "class_drop": None,
        "class_dropped": None,
        "eligible": True,
        "reason": None,
    }


def test_one_over_a_limit_is_passed_over_and_says_why() -> None:
    found = compare(EVALUATIONS, LATENCY, _selection(max_latency_ms=5))
    assert found.selected == "vgg"
    over = found.rows[0]
    assert (over.architecture, over.eligible) == ("resnet50", False)
    assert over.reason == "9 ms at batch 1, at most 5 allowed"


def test_a_figure_on_the_limit_is_within_it() -> None:
    assert compare(EVALUATIONS, LATENCY, _selection(max_latency_ms=9, max_size_mb=94)).selected == (
        "resnet50"
    )


def test_a_tie_goes_to_the_faster_then_to_the_name() -> None:
    tied = [_evaluation(name, 0.7) for name in ("vit", "vgg", "lenet")]
    faster = {"vit": times(1), "vgg": times(3), "lenet": times(2)}
    equal = dict.fromkeys(faster, times(1))
    assert compare(tied, _timed(faster), _selection()).selected == "vit"
    assert compare(tied, _timed(equal), _selection()).selected == "lenet"


def test_when_none_is_within_the_limits_the_nearest_is_named() -> None:
    with pytest.raises(SelectionError) as caught:
        compare(EVALUATIONS, LATENCY, _selection(max_latency_ms=0.1, max_size_mb=2))
    assert caught.value.nearest == "lenet"
    assert "selection.max_latency_ms 0.1 and selection.max_size_mb 2" in str(caught.value)
    assert "0.2 ms at batch 1, at most 0.1 allowed" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_table_shows_every_row_and_what_was_passed_over() -> None:
    text = render(compare(EVALUATIONS, LATENCY, _selection(max_latency_ms=5)))
    lines = text.splitlines()
    assert "macro-F1" in text
    assert [name for line in lines for name in ("resnet50", "vgg", "lenet") if f" {name} " in line] == [
        "resnet50",
        "vgg",
        "lenet",
    ]
    assert next(line for line in lines if " vgg " in line).count("→") == 1
    assert next(line for line in lines if " resnet50 " in line).count("→") == 0
    assert lines[-1] == "resnet50 is not eligible: 9 ms at batch 1, at most 5 allowed"


def test_nothing_of_the_table_is_cut_off_at_its_width() -> None:
    names = ("efficientnet_b4", "efficientnet_b4-int8")
    evaluations = [_evaluation(name, 0.612, size_mb=312.4) for name in names]
    evaluations[1] = replace(evaluations[1], test=replace(evaluations[1].test, accuracy=-0.623))
    evaluations = [replace(one, weights="hf:google/vit-base-patch16-224-in21k") for one in evaluations]
    latency = _timed(dict.fromkeys(names, times(1234.56, speed_up=12.34)))
    text = render(compare(evaluations, latency, _selection()))
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= 108


def test_table_says_when_and_where_the_times_were_measured() -> None:
    found = compare(EVALUATIONS, LATENCY, _selection())
    assert found.timing == TIMING
    assert SAID in " ".join(render(found).split())


def test_an_interval_that_is_unknown_is_left_out() -> None:
    known = _evaluation("vgg", 0.7)
    scores = replace(known.test, accuracy_low=None, accuracy_high=None, macro_f1_low=None, macro_f1_high=None)
    alone = replace(known, test=scores)
    text = render(compare([alone], LATENCY, _selection()))
    assert "–" not in text.splitlines()[-1]


def _family(**changes: Any) -> tuple[list[Evaluation], Latencies]:
    """VGG, right on 160 and 140 of 200 pictures of two classes, its int8 variant with changes, and LeNet."""
    small: dict[str, Any] = {"accuracy": 0.75, "recalls": (0.80, 0.70)} | changes
    return [
        _evaluation("vgg", 0.74, accuracy=0.75, recalls=(0.80, 0.70), size_mb=8),
        _evaluation("vgg-int8", 0.73, size_mb=2, **small),
        _evaluation("lenet", 0.60),
        _evaluation("lenet-int8", 0.90, accuracy=0.1),
    ], _timed(
        {
            "vgg": times(2.5),
            "vgg-int8": times(0.8, speed_up=3.1),
            "lenet": times(0.2),
            "lenet-int8": times(0.1, speed_up=2.0),
        }
    )


FASTEST = SelectionParams(
    metric="macro_f1", max_latency_ms=None, max_size_mb=None, variants="fastest",
    max_accuracy_drop=0.005, max_class_drop=0.02,
)  # fmt: skip


def test_a_variants_loss_is_reported_overall_and_for_the_class_that_loses_most() -> None:
    # 160 → 157 of 200 happy ones, 140 → 142 sad ones: 300 → 299 of 400.
    found = losses(
        _evaluation("vgg-int8", 0.7, accuracy=299 / 400, recalls=(157 / 200, 142 / 200)),
        _evaluation("vgg", 0.7, accuracy=300 / 400, recalls=(160 / 200, 140 / 200)),
    )
    assert found == Losses(accuracy_drop=0.0025, class_drop=0.015, class_dropped="happy")


def test_a_variant_that_is_better_loses_less_than_nothing() -> None:
    found = losses(
        _evaluation("vgg-int8", 0.7, accuracy=0.78, recalls=(0.80, 0.76)),
        _evaluation("vgg", 0.7, accuracy=0.75, recalls=(0.80, 0.70)),
    )
    assert (found.accuracy_drop, found.class_drop, found.class_dropped) == (-0.03, 0.0, "happy")


def test_a_class_without_test_pictures_loses_nothing() -> None:
    twins = [_evaluation(name, 0.7, recalls=(None, 0.7)) for name in ("vgg-int8", "vgg")]
    assert losses(*twins).class_dropped == "sad"
    empty = [_evaluation(name, 0.7, recalls=(None, None)) for name in ("vgg-int8", "vgg")]
    assert losses(*empty) == Losses(accuracy_drop=0.0, class_drop=None, class_dropped=None)


def test_the_fastest_faithful_variant_of_the_best_architecture_is_selected() -> None:
    found = compare(*_family(accuracy=0.746, recalls=(0.792, 0.70)), FASTEST)
    assert found.selected == "vgg-int8"
    row = next(row for row in found.rows if row.architecture == "vgg-int8")
    assert (row.twin, row.speed_up, row.eligible, row.reason) == ("vgg", 3.1, True, None)
    assert (row.accuracy_drop, row.class_drop, row.class_dropped) == (0.004, 0.008, "happy")


@pytest.mark.parametrize(
    ("accuracy", "recalls", "selected"),
    [
        pytest.param(0.745, (0.80, 0.70), "vgg-int8", id="accuracy-on-the-limit"),
        pytest.param(0.744, (0.80, 0.70), "vgg", id="accuracy-beyond-it"),
        pytest.param(0.75, (0.78, 0.72), "vgg-int8", id="recall-on-the-limit"),
        pytest.param(0.75, (0.82, 0.679), "vgg", id="recall-of-one-class-beyond-it"),
    ],
)
def test_a_variant_may_lose_so_much_and_no_more(
    accuracy: float, recalls: tuple[float, float], selected: str
) -> None:
    assert compare(*_family(accuracy=accuracy, recalls=recalls), FASTEST).selected == selected


def test_an_unfaithful_variant_says_what_it_loses_and_cannot_win_by_its_metric() -> None:
    found = compare(*_family(accuracy=0.70, recalls=(0.80, 0.60)), FASTEST)
    reasons = {row.architecture: row.reason for row in found.rows}
    assert found.selected == "vgg"  # lenet-int8 has the highest macro-F1 and lost 40 points of accuracy
    assert reasons["vgg-int8"] == (
        "accuracy falls by 0.05, at most 0.005 allowed; recall of sad falls by 0.1, at most 0.02 allowed"
    )
    assert reasons["lenet-int8"] == "accuracy falls by 0.4, at most 0.005 allowed"
    assert "vgg-int8 is not eligible: accuracy falls by 0.05" in render(found)


def test_a_faithful_variant_that_is_slower_is_not_selected() -> None:
    evaluations, latency = _family()
    slower = replace(latency, models={**latency.models, "vgg-int8": times(2.6, speed_up=0.96)})
    assert compare(evaluations, slower, FASTEST).selected == "vgg"


def test_a_variant_may_be_within_limits_that_its_twin_is_not() -> None:
    limited = FASTEST.model_copy(update={"max_latency_ms": 1.0, "max_size_mb": 4.0})
    found = compare(*_family(), limited)
    assert found.selected == "vgg-int8"
    assert "2.5 ms at batch 1" in str(next(row.reason for row in found.rows if row.architecture == "vgg"))


def test_unless_asked_for_variants_are_only_compared() -> None:
    found = compare(*_family(), _selection())
    assert found.selected == "vgg"
    assert {row.architecture for row in found.rows if not row.eligible} == {"vgg-int8", "lenet-int8"}
    text = render(found)
    assert "not eligible" not in text
    line = next(line for line in text.splitlines() if " vgg-int8 " in line)
    assert " 3.10 " in line
    assert " 0.0/0.0 " in line
