"""Metrics of a classifier's predictions: NumPy only, so that every evaluation process starts quickly.

classification  confusion matrix and its metrics, top-k, ROC, log loss
calibration     reliability bins, expected calibration error, Brier losses
bootstrap       95 % intervals, resampling persons rather than pictures
slices          parts of the test set by brightness, contrast, sharpness, colour
attributes      groups of people by given attributes, and the gaps between them
summary         all of these for one model's answers, as they go into metrics.json

A metric that is undefined (a class without pictures, a division by nothing) is NaN in arrays and None
where a single number is returned; `rounded` turns both into JSON's null.
"""

from pipelines.metrics.attributes import AttributeScores, GroupScores, by_attribute
from pipelines.metrics.bootstrap import (
    DECIMALS,
    IntervalEstimate,
    group_confusions,
    group_sums,
    interval_estimate,
    intervals,
    resampled,
    resampled_means,
    rounded,
)
from pipelines.metrics.calibration import (
    Reliability,
    brier_losses,
    calibration_error_of,
    calibration_terms,
    expected_calibration_error,
    reliability,
)
from pipelines.metrics.classification import (
    accuracy,
    balanced_accuracy,
    cohen_kappa,
    confusion_matrix,
    f1,
    log_loss,
    macro_f1,
    precision,
    recall,
    roc_auc,
    roc_auc_of,
    roc_curve,
    top_k_accuracy,
)
from pipelines.metrics.slices import BY_TERCILE, GRAY_MODES, color_slices, tercile_slices
from pipelines.metrics.summary import (
    METRICS,
    Answers,
    BasicScores,
    ClassScores,
    ComparedScores,
    Metric,
    Score,
    TestScores,
    brief,
    by_class,
    by_slice,
    overall,
)

__all__ = [
    "BY_TERCILE",
    "DECIMALS",
    "GRAY_MODES",
    "METRICS",
    "Answers",
    "AttributeScores",
    "BasicScores",
    "ClassScores",
    "ComparedScores",
    "GroupScores",
    "IntervalEstimate",
    "Metric",
    "Reliability",
    "Score",
    "TestScores",
    "accuracy",
    "balanced_accuracy",
    "brief",
    "brier_losses",
    "by_attribute",
    "by_class",
    "by_slice",
    "calibration_error_of",
    "calibration_terms",
    "cohen_kappa",
    "color_slices",
    "confusion_matrix",
    "expected_calibration_error",
    "f1",
    "group_confusions",
    "group_sums",
    "interval_estimate",
    "intervals",
    "log_loss",
    "macro_f1",
    "overall",
    "precision",
    "recall",
    "reliability",
    "resampled",
    "resampled_means",
    "roc_auc",
    "roc_auc_of",
    "roc_curve",
    "rounded",
    "tercile_slices",
    "top_k_accuracy",
]
