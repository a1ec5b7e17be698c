"""Draw the procedural sample dataset.

    python -m sample_faces --out data                               # the committed sample, about 15 s
    python -m sample_faces --per-class 40 --out drifted --identities 2000-2100 --glasses 1 --low-light 1
    python -m sample_faces --framing portrait --expressions subtle --out harder
    python -m sample_faces --sheet docs/images/sample.jpg           # the picture in the README

The same arguments give the same bytes, on any number of cores.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from pipelines.core.cli import run_stage
from pipelines.core.errors import SampleError
from sample_faces.action_units import CLARITIES, CLASSES
from sample_faces.dataset import SampleSpec, write_sample
from sample_faces.scene import FRAMINGS
from sample_faces.sheet import draw_sheet, write_sheet

_SHEET_PX = 104
_SHEET_PEOPLE = (52, 45, 6, 1, 48, 0)


def main() -> None:
    """Read the command line, draw, say what was drawn."""
    arguments = _parser().parse_args()
    spec = _spec(arguments)
    if arguments.sheet:
        people = arguments.people or list(_SHEET_PEOPLE)
        sheet = draw_sheet(spec, people, intensity=arguments.intensity)
        write_sheet(arguments.sheet, sheet)
        print(f"{arguments.sheet}: {len(people)} people × {len(CLASSES)} classes")
        return
    if arguments.out is None:
        raise SampleError(option="--out", got="nothing", expected="a folder (or --sheet with a file)")
    images = write_sample(spec, arguments.out, processes=arguments.processes)
    print(f"{arguments.out}: {images} images of {len(CLASSES)} classes")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sample_faces", description="Draw faces with emotions.")
    parser.add_argument("--per-class", type=int, default=600, metavar="N", help="images of each class (600)")
    parser.add_argument("--seed", type=int, default=20, metavar="S", help="of people and pictures (20)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write, one subfolder per class")
    parser.add_argument("--size", type=int, metavar="PX", help="rows and columns of an image (72)")
    parser.add_argument(
        "--identities", default="0-1399", metavar="A-B", help="people, first to last (0-1399)"
    )
    parser.add_argument(
        "--per-person", type=int, default=3, metavar="N", help="images of a person, 1-7, before the next (3)"
    )
    parser.add_argument("--processes", type=int, metavar="P", help="worker processes (one per core)")
    parser.add_argument(
        "--framing", choices=FRAMINGS, default="face", help="forehead to chin, or head and neck (face)"
    )
    parser.add_argument(
        "--expressions", choices=CLARITIES, default="clear", help="how strongly they tend to show (clear)"
    )
    shift = parser.add_argument_group("shifts, for drift tests")
    shift.add_argument(
        "--darker", type=float, default=0.0, metavar="F", help="take this share of brightness away"
    )
    shift.add_argument(
        "--blur", type=float, default=0.0, metavar="SIGMA", help="standard deviation of the blur, px"
    )
    shift.add_argument(
        "--class-mix", default="", metavar="CLASS=SHARE,…", help="happy=0.5: half of all images"
    )
    shift.add_argument(
        "--glasses", type=float, default=0.16, metavar="SHARE", help="people with glasses (0.16)"
    )
    shift.add_argument(
        "--low-light", type=float, default=0.05, metavar="SHARE", help="images in low light (0.05)"
    )
    sheet = parser.add_argument_group("contact sheet")
    sheet.add_argument("--sheet", type=Path, metavar="FILE", help="write one picture instead of a folder")
    sheet.add_argument("--people", type=int, nargs="+", metavar="ID", help="who is on it, one row each")
    sheet.add_argument(
        "--intensity", type=float, metavar="I", help="of all expressions, 0-1 (as in the sample)"
    )
    return parser


def _spec(arguments: argparse.Namespace) -> SampleSpec:
    _check("--per-class", arguments.per_class, 1, 1_000_000)
    _check("--seed", arguments.seed, 0, 2**63 - 1)
    _check("--per-person", arguments.per_person, 1, len(CLASSES))
    size_px = arguments.size or (_SHEET_PX if arguments.sheet else SampleSpec.size_px)
    _check("--size", size_px, 32, 512)
    for name in ("glasses", "low_light", "darker"):
        _check(f"--{name.replace('_', '-')}", getattr(arguments, name), 0, 1)
    _check("--blur", arguments.blur, 0, 20)
    if arguments.processes is not None:
        _check("--processes", arguments.processes, 1, 512)
    if arguments.intensity is not None:
        _check("--intensity", arguments.intensity, 0, 1)
    return SampleSpec(
        per_class=arguments.per_class,
        seed=arguments.seed,
        size_px=size_px,
        identities=_identities(arguments.identities),
        per_person=arguments.per_person,
        framing=arguments.framing,
        clarity=arguments.expressions,
        class_mix=_class_mix(arguments.class_mix),
        glasses=arguments.glasses,
        low_light=arguments.low_light,
        darker=arguments.darker,
        blur=arguments.blur,
    )


def _check(option: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise SampleError(option=option, got=f"{value:g}", expected=f"{low:g} to {high:g}")


def _identities(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if not match or int(match[1]) > int(match[2]):
        raise SampleError(option="--identities", got=repr(text), expected="FIRST-LAST, such as 0-1399")
    return int(match[1]), int(match[2])


def _class_mix(text: str) -> dict[str, float]:
    mix = {}
    for entry in filter(None, text.split(",")):
        match = re.fullmatch(r"([a-z]+)=(0?\.\d+|0|1|1\.0+)", entry.strip())
        if not match:
            raise SampleError(
                option="--class-mix", got=repr(entry), expected="CLASS=SHARE, such as happy=0.5"
            )
        mix[match[1]] = float(match[2])
    return mix


if __name__ == "__main__":
    run_stage(main)
