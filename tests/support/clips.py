"""The drawn clip with known truth, and the model that comes with the sample."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import yaml

from docs.example_clip import ACTORS, DURATION_S, draw_frames, write_clip
from pipelines.core import paths
from pipelines.core.results import read_comparison
from serving.inference.admission import admit
from serving.inference.model_slot import LiveModel, ModelIdentity, write_identity
from serving.score.scorer import Scorer
from serving.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
RATE = 10.0


def drawn_clip(folder: Path) -> Path:
    """Two people at known places with known expressions, `docs.example_clip.ACTORS`, as MP4."""
    return write_clip(folder / "clip.mp4", draw_frames(ACTORS, DURATION_S, rate=RATE), rate=RATE)


def recorded_model(folder: Path) -> Path:
    """A folder with the model that `make run` selected when the sample's results were recorded."""
    name = str(paths.onnx_model(read_comparison(REPOSITORY).selected))
    stages = yaml.safe_load((REPOSITORY / "dvc.lock").read_text())["stages"].values()
    md5 = next(out["md5"] for stage in stages for out in stage.get("outs", []) if out["path"] == name)
    folder.mkdir()
    shutil.copyfile(REPOSITORY / ".dvc/sample/files/md5" / md5[:2] / md5[2:], folder / "model.onnx")
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    write_identity(folder, ModelIdentity(name="emotion", version="3", sha256=digest, source="x", sample=True))
    return folder


def clip_scorer(live: LiveModel, *, embedding: bool = False, threads: int | None = None) -> Scorer:
    """A scorer of clips."""
    scorer = Scorer.configured(Settings(), live, faces="all", embedding=embedding)
    scorer.threads = threads or scorer.threads
    return scorer


def live_model(folder: Path) -> LiveModel:
    """The model of a folder, as scoring has it."""
    return admit(folder, threads=1, max_batch=16)
