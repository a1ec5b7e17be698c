"""A project of a parameter file and folders of originals, and `python -m pipelines.prepare` in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from tests.support.pictures import textured, write_picture

COMMAND = (sys.executable, "-m", "pipelines.prepare")


@dataclass(frozen=True)
class Originals:
    """One project."""

    root: Path
    repository: Path

    @classmethod
    def create(cls, root: Path, repository: Path, **prepare: object) -> Originals:
        """Make a project with the repository's parameters, small pictures, and `prepare` changed as given."""
        params = yaml.safe_load((repository / "params.yaml").read_text())
        params["prepare"] |= {"image_size_px": 16} | prepare
        (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        return cls(root, repository)

    def edit(self, **changes: object) -> None:
        """Set parameters: `edit(validate__min_source_px=8)`."""
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            block, _, name = key.partition("__")
            params[block][name] = value
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def add(self, folder: str, count: int = 1, *, first: int = 0, prefix: str = "p") -> None:
        """Put different pictures into a folder below the root; pictures of other folders are others."""
        for number in range(first, first + count):
            seed = zlib.crc32(f"{folder}/{prefix}{number}".encode())
            write_picture(self.root / folder / f"{prefix}{number}.png", textured(seed, width=32, height=32))

    def add_all(self, folders: Sequence[str], count: int = 1) -> None:
        """`add` for several folders."""
        for folder in folders:
            self.add(folder, count)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the project, `prepare` unless another is given."""
        environment = os.environ | {"PYTHONPATH": str(self.repository), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            command or COMMAND, cwd=self.root, env=environment, capture_output=True, text=True, timeout=300
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def refused(self) -> str:
        """Run `prepare`, which must fail with one line and write nothing; that line."""
        done = self.run(check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        assert not (self.root / "prepared").exists()
        return done.stderr

    @property
    def manifest(self) -> pd.DataFrame:
        """What `prepare` wrote, by source."""
        return pd.read_parquet(self.root / "prepared/manifest.parquet").set_index("source")

    @property
    def splits(self) -> dict[str, str]:
        """Locator of the original → split."""
        return dict(self.manifest["split"])

    @property
    def report(self) -> dict[str, Any]:
        """`reports/prepare.json`."""
        report: dict[str, Any] = json.loads((self.root / "reports/prepare.json").read_text())
        return report
