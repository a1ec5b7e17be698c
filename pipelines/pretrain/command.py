"""The command `python -m pipelines.pretrain`: draws, trains, writes the backbone.

    python -m pipelines.pretrain mobilenet_v2
    python -m pipelines.pretrain resnet50 --phases 32:12,64:3 --folder /var/tmp/pretraining
    python -m pipelines.pretrain resnet50 --phases 64:2 --start resnet50.safetensors

A run that was stopped continues after its last epoch when the same command is given again.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

from pipelines.architectures import load_architecture
from pipelines.core.errors import OptionError
from pipelines.core.io import sha256_of
from pipelines.core.params import Params, load_params
from pipelines.pretrain.learning import HELD_OUT, PretrainedBackbone, PretrainPhase, Recipe, pretrain
from pipelines.pretrain.pictures import draw_pictures
from pipelines.train.loop import set_up
from pipelines.weights.drawn import (
    SHIPPED,
    DrawnCard,
    drawn_variables,
    problem_with_drawn,
    read_card,
    shape_options,
    write_drawn,
)

_SEED = 20_000
"""Of the drawn people; any other one gives other people, and none of them is in a sample."""
_FOLDER = Path(".pretraining")


def main() -> None:
    """Draw, train, write one file, print the cost."""
    arguments = _parser().parse_args()
    params = load_params()
    earlier = _earlier(arguments, params)
    recipe = _recipe(arguments)
    started = time.time()
    size_px = recipe.phases[-1].size_px
    pictures = draw_pictures(
        arguments.folder / "pictures", count=arguments.pictures, seed=recipe.seed, size_px=size_px
    )
    drawing_s = time.time() - started
    set_up(params.training, seed=recipe.seed)
    checkpoint = arguments.folder / f"{recipe.architecture}.npz"
    outcome = pretrain(pictures, recipe, params, checkpoint=checkpoint, start=arguments.start)
    path = arguments.out / f"{recipe.architecture}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    card = _card(recipe, params, outcome, len(pictures), earlier=earlier)
    write_drawn(path, drawn_variables(outcome.classifier.backbone), card)
    figures = ", ".join(f"{name} {value:.4g}" for name, value in outcome.figures.items())
    print(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB from {len(pictures):,} pictures; drawing "
        f"{drawing_s:.0f} s, processor time of training {outcome.processor_s:.0f} s; {figures}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.pretrain", description="Pretrain a backbone on drawn faces."
    )
    parser.add_argument("architecture", help="such as mobilenet_v2")
    parser.add_argument("--pictures", type=int, default=40_000, metavar="N", help="drawn pictures (40000)")
    parser.add_argument(
        "--phases",
        default="32:8,64:4",
        metavar="PX:EPOCHS,…",
        help="sides and epochs, the largest side last (32:8,64:4)",
    )
    parser.add_argument("--batch-size", type=int, default=64, metavar="B", help="pictures per step (64)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, metavar="R", help="highest one (0.001)")
    parser.add_argument("--weight-decay", type=float, default=0.01, metavar="D", help="of AdamW (0.01)")
    parser.add_argument(
        "--zero-residuals",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="begin residual blocks as the identity (on)",
    )
    parser.add_argument("--seed", type=int, default=_SEED, metavar="S", help=f"of people and order ({_SEED})")
    parser.add_argument(
        "--folder", type=Path, default=_FOLDER, metavar="DIR", help=f"pictures and checkpoints ({_FOLDER})"
    )
    parser.add_argument(
        "--start", type=Path, metavar="FILE", help="backbone of an earlier run to go on from (random weights)"
    )
    parser.add_argument(
        "--out", type=Path, default=SHIPPED, metavar="DIR", help="where to write ARCHITECTURE.safetensors"
    )
    return parser


def _recipe(arguments: argparse.Namespace) -> Recipe:
    pooling = load_architecture(arguments.architecture).pooling
    if pooling != "average":
        expected = "a network whose weights fit every side: one that ends in the mean of its feature map"
        raise OptionError(
            option="architecture", got=f"{arguments.architecture} ({pooling})", expected=expected
        )
    if arguments.pictures <= HELD_OUT:
        expected = f"more than the {HELD_OUT:,} that show what was learned"
        raise OptionError(option="--pictures", got=arguments.pictures, expected=expected)
    if not 1 <= arguments.batch_size <= arguments.pictures - HELD_OUT:
        expected = f"1 to {arguments.pictures - HELD_OUT:,}, the pictures to learn from"
        raise OptionError(option="--batch-size", got=arguments.batch_size, expected=expected)
    phases = tuple(_phase(text) for text in arguments.phases.split(","))
    largest = max(phase.size_px for phase in phases)
    if phases[-1].size_px != largest or any(largest % phase.size_px for phase in phases):
        expected = "the largest side last, and a multiple of the others"
        raise OptionError(option="--phases", got=arguments.phases, expected=expected)
    return Recipe(
        architecture=arguments.architecture,
        phases=phases,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        weight_decay=arguments.weight_decay,
        seed=arguments.seed,
        zero_residuals=arguments.zero_residuals,
        start=None if arguments.start is None else sha256_of(arguments.start),
    )


def _earlier(arguments: argparse.Namespace, params: Params) -> DrawnCard | None:
    """Card of the run to go on from; None without one."""
    if arguments.start is None:
        return None
    name = arguments.architecture
    problem = problem_with_drawn(arguments.start, name, params.model(name))
    if problem is not None:
        expected = f"a backbone that `python -m pipelines.pretrain {name}` wrote"
        raise OptionError(option="--start", got=problem, expected=expected)
    return read_card(arguments.start)


def _phase(text: str) -> PretrainPhase:
    match = re.fullmatch(r"(\d+):([1-9]\d*)", text.strip())
    if match is None or int(match[1]) < 1:
        raise OptionError(option="--phases", got=text, expected="PX:EPOCHS, such as 32:8")
    return PretrainPhase(size_px=int(match[1]), epochs=int(match[2]))


def _card(
    recipe: Recipe, params: Params, outcome: PretrainedBackbone, pictures: int, *, earlier: DrawnCard | None
) -> DrawnCard:
    """What the file says about itself: with an earlier run, steps, sides and cost are those of both."""
    sizes_px = [phase.size_px for phase in recipe.phases]
    return DrawnCard(
        architecture=recipe.architecture,
        options=shape_options(recipe.architecture, params.model(recipe.architecture)),
        pictures=pictures,
        steps=outcome.steps + (earlier.steps if earlier else 0),
        sizes_px=[*(earlier.sizes_px if earlier else ()), *sizes_px],
        processor_s=round(outcome.processor_s) + (earlier.processor_s if earlier else 0),
        figures={name: round(value, 4) for name, value in outcome.figures.items()},
    )
