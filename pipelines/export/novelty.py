"""How unlike the training's a picture is, from its embedding: fitted in NumPy, computed inside the graph.

The distance is Mahalanobis', of the embedding divided by its length, to the mean of training pictures (Müller
& Hein, 2025, "Mahalanobis++: improving OOD detection via feature normalization"; Lee et al., 2018). The
embeddings of other things than faces are mostly short: without the division they lie close to the mean.

The output is not the distance but the share of validation pictures that are less novel: 0.99 is stranger than
99 % of them. docs/decisions/0021-novelty-and-sets.md compares the methods.

    reference = fit_reference(training_embeddings, validation_embeddings)
    model = with_novelty(model, reference, contract)
    reference.novelty(embeddings)               # the same in NumPy
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.export.canonical import canonical
from serving.contract.model import EMBEDDING, METADATA_KEY, NOVELTY, ModelContract, NoveltyOutput

CALIBRATED = NoveltyOutput(threshold=0.99)
"""Block of the contract: what is stranger than 99 % of the validation pictures counts as unfamiliar."""
REFERENCE_PICTURES = 1024
"""Training pictures that the distance is fitted to: eight for each feature of the sample's networks. With all
2,694 of them the AUROC changes by 0.003 at most."""
# Share of an equal variance in all directions that is mixed into the covariance (Ledoit & Wolf, 2004): those
# that hardly vary get no infinite weight. Their formula gives 0.003–0.015 on the sample's networks.
_SHRINKAGE = 0.01
# Values of the matrix, 4 bytes each: up to 447 features have all axes, longer embeddings the most varied.
_MOST_VALUES = 200_000
# Shares of validation pictures whose distances are in the graph: every 2 %, and finer where thresholds are.
_LEVELS = np.concatenate([np.linspace(0, 0.98, 50), [0.99, 0.995, 1.0]])
# Neighbouring distances are at least this share of their whole range apart, so that rounding does not show.
_LEAST_STEP = 1e-3
_TINY = 1e-12
_Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class NoveltyReference:
    """Distribution of training embeddings, and distances of validation pictures."""

    mean: _Array
    """Of embeddings of length 1, float32 [D]."""
    axes: _Array
    """Principal axes divided by the standard deviation along them, float32 [D, k], k ≤ D."""
    variances: _Array
    """Variance along each axis, float32 [k]."""
    rest: float | None
    """Variance along every other direction; None if there is none."""
    knots: _Array
    """Quantiles of validation distances, ascending, float32 [m]."""
    levels: _Array
    """Share of validation pictures below each knot, float32 [m]; from 0 to 1."""
    pictures: int
    """Number of validation pictures."""

    def distance(self, embedding: NDArray[Any]) -> NDArray[np.float64]:
        """Squared Mahalanobis distance [n] of embeddings [n, D]."""
        values = np.asarray(embedding, np.float64)
        lengths = np.sqrt((values**2).sum(axis=1, keepdims=True))
        centred = values / np.maximum(lengths, _TINY) - self.mean
        along = centred @ self.axes.astype(np.float64)
        found = (along**2).sum(axis=1)
        if self.rest is not None:
            beside = (centred**2).sum(axis=1) - (along**2 * self.variances).sum(axis=1)
            found += np.maximum(beside, 0) / self.rest
        return np.asarray(found, np.float64)

    def novelty(self, embedding: NDArray[Any]) -> NDArray[np.float64]:
        """Share of validation pictures that are less novel, [n] in [0, 1], of embeddings [n, D].

        n / (n + 1) is as novel as the most novel of n validation pictures. Beyond it the value goes on rising
        with the distance and stays below 1.
        """
        distance = self.distance(embedding)
        inside = np.interp(distance, self.knots.astype(np.float64), self.levels.astype(np.float64))
        last = float(self.knots[-1])
        beyond = 1 - last / np.maximum(distance, last)
        return np.asarray((inside * self.pictures + beyond) / (self.pictures + 1), np.float64)


def fit_reference(training: NDArray[Any], validation: NDArray[Any]) -> NoveltyReference:
    """Fit the distance to training embeddings [n, D], and its scale to validation embeddings [m, D]."""
    values = np.asarray(training, np.float64)
    unit = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), _TINY)
    mean = unit.mean(axis=0)
    width = values.shape[1]
    _, singular, rows = np.linalg.svd(unit - mean, full_matrices=False)
    own = np.zeros(width)
    own[: len(singular)] = singular**2 / len(values)
    variances = np.maximum((1 - _SHRINKAGE) * own + _SHRINKAGE * own.mean(), _TINY)
    axes = rows[: min(width, _MOST_VALUES // width)]
    count = len(axes)
    along = NoveltyReference(
        mean=mean.astype(np.float32),
        axes=(axes / np.sqrt(variances[:count, np.newaxis])).T.astype(np.float32),
        variances=variances[:count].astype(np.float32),
        rest=float(np.float32(variances[count:].mean())) if count < width else None,
        knots=np.ones(1, np.float32),
        levels=np.ones(1, np.float32),
        pictures=len(validation),
    )
    knots = _ascending(np.quantile(along.distance(validation), _LEVELS))
    return replace(along, knots=knots, levels=_LEVELS.astype(np.float32))


def _ascending(quantiles: NDArray[np.float64]) -> _Array:
    """Move quantiles down where it takes that to have a least step between any two."""
    step = max(_LEAST_STEP * (quantiles[-1] - quantiles[0]), _TINY)
    steps = step * np.arange(len(quantiles))
    knots = steps + np.minimum.accumulate((quantiles - steps)[::-1])[::-1]
    # Distances are divided by the largest one.
    knots[-1] = max(knots[-1], _TINY)
    return np.asarray(knots, np.float32)


def with_novelty(model: bytes, reference: NoveltyReference, contract: ModelContract) -> Any:
    """Add the output `novelty` to a file.

    Args:
        model: the ONNX file, whose output `embedding` is [batch, D].
        reference: of its embeddings.
        contract: of the result, with the block `novelty`.

    Returns:
        onnx.ModelProto in canonical form with its contract.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    proto = onnx.load_from_string(model)
    constants, nodes = _tail(reference)
    proto.graph.initializer.extend(
        numpy_helper.from_array(value, f"novelty_{name}") for name, value in constants.items()
    )
    for operator, inputs, output in nodes:
        names = [f"novelty_{name}" if name not in (EMBEDDING, NOVELTY) else name for name in inputs]
        named = output if output == NOVELTY else f"novelty_{output}"
        proto.graph.node.append(helper.make_node(operator, names, [named]))
    proto.graph.output.append(helper.make_tensor_value_info(NOVELTY, TensorProto.FLOAT, ["batch"]))
    result = canonical(proto)
    result.metadata_props.add(key=METADATA_KEY, value=contract.to_json())
    return result


_Node = tuple[str, Sequence[str], str]
"""Operator, inputs, output."""


def _tail(reference: NoveltyReference) -> tuple[Mapping[str, NDArray[Any]], Sequence[_Node]]:
    """Constants and nodes from `embedding` to `novelty`; operators that opset 17 and 18 define alike."""
    share = reference.pictures / (reference.pictures + 1)
    constants: dict[str, NDArray[Any]] = {
        "columns": np.array([1], np.int64),
        "tiny": np.array(_TINY, np.float32),
        "mean": reference.mean,
        "axes": reference.axes,
        "knots": reference.knots[:-1],
        "slopes": 1 / np.diff(reference.knots),
        "zero": np.array(0, np.float32),
        "one": np.array(1, np.float32),
        "steps": (np.diff(reference.levels) * share).astype(np.float32)[:, np.newaxis],
        "last": np.array(reference.knots[-1]),
        "beyond": np.array(1 - share, np.float32),
    }
    nodes: list[_Node] = [
        ("Mul", [EMBEDDING, EMBEDDING], "squares"),
        ("ReduceSum", ["squares", "columns"], "square"),
        ("Sqrt", ["square"], "length"),
        ("Max", ["length", "tiny"], "divisor"),
        ("Div", [EMBEDDING, "divisor"], "unit"),
        ("Sub", ["unit", "mean"], "centred"),
        ("MatMul", ["centred", "axes"], "along"),
        ("Mul", ["along", "along"], "along_squares"),
        ("ReduceSum", ["along_squares", "columns"], "along_sum"),
    ]
    distance = "along_sum"
    if reference.rest is not None:
        distance = "distance"
        constants |= {
            "variances": reference.variances[:, np.newaxis],
            "rest": np.array(reference.rest, np.float32),
        }
        nodes += [
            ("Mul", ["centred", "centred"], "centred_squares"),
            ("ReduceSum", ["centred_squares", "columns"], "whole"),
            ("MatMul", ["along_squares", "variances"], "explained"),
            ("Sub", ["whole", "explained"], "difference"),
            ("Max", ["difference", "zero"], "beside"),
            ("Div", ["beside", "rest"], "beside_sum"),
            ("Add", ["along_sum", "beside_sum"], distance),
        ]
    # Each step of the table is a ramp from 0 to 1 between two knots; the heights of the steps weight them.
    nodes += [
        ("Sub", [distance, "knots"], "above"),
        ("Mul", ["above", "slopes"], "ramps"),
        ("Clip", ["ramps", "zero", "one"], "passed"),
        ("MatMul", ["passed", "steps"], "inside"),
        ("Max", [distance, "last"], "at_least_last"),
        ("Div", ["last", "at_least_last"], "ratio"),
        ("Sub", ["one", "ratio"], "excess"),
        ("Mul", ["excess", "beyond"], "tail"),
        ("Add", ["inside", "tail"], "column"),
        ("Squeeze", ["column", "columns"], NOVELTY),
    ]
    return constants, nodes
