"""Where each network's training started."""

from __future__ import annotations

from pipelines.architectures import load_architecture
from pipelines.core.variants import SCRATCH
from pipelines.report.inputs import Inputs, ModelInputs
from pipelines.report.page import Section, absent

_ID, _TITLE, _SHORT = "weights", "Where the weights come from", "Weights"


def section(inputs: Inputs) -> Section:
    """Origin by architecture; loud where pretrained weights could not be had."""
    known = [model for model in inputs.models if model.origin is not None]
    if not known:
        return absent(_ID, _TITLE, short=_SHORT, lacks="The weights' origin", stage="weights")
    return Section(
        id=_ID,
        title=_TITLE,
        short=_SHORT,
        context={
            "models": [
                {
                    "title": model.title,
                    "name": model.name,
                    "origin": (model.origin or {})["origin"],
                    "reason": (model.origin or {})["reason"],
                    "lacking": is_lacking(inputs, model),
                }
                for model in known
            ],
            "lacking": [model.title for model in known if is_lacking(inputs, model)],
            "source": inputs.params.weights.source,
        },
    )


def is_lacking(inputs: Inputs, model: ModelInputs) -> bool:
    """Whether the network was to start from pretrained weights and did not, for there were none."""
    if model.origin is None or model.origin["origin"] != SCRATCH or inputs.params.weights.source == SCRATCH:
        return False
    options = inputs.params.model(model.name).options
    return load_architecture(model.name).pretrained_weights(options) is not None
