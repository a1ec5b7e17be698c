"""The stage that describes the machine: a quick command, and what it reads from the system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.machine import cpu_model, quota_cores


def describe(root: Path, repository: Path, *before: str) -> dict[str, object]:
    done = subprocess.run(
        [*before, sys.executable, "-m", "pipelines.machine"],
        cwd=root,
        env={"PYTHONPATH": str(repository), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads((root / "reports/machine.json").read_text())
    return found


def test_it_tells_processor_cores_and_runtime_and_no_name(tmp_path: Path, repository: Path) -> None:
    import onnxruntime

    found = describe(tmp_path, repository)
    assert set(found) == {"cpu", "architecture", "cores", "quota_cores", "onnxruntime"}
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert found["architecture"] == os.uname().machine
    assert found["onnxruntime"] == onnxruntime.__version__
    assert os.uname().nodename not in json.dumps(found)


def test_file_is_rewritten_only_when_it_differs(tmp_path: Path, repository: Path) -> None:
    first = describe(tmp_path, repository)
    path = tmp_path / "reports/machine.json"
    before = path.stat()
    assert describe(tmp_path, repository) == first
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.write_text(path.read_text().replace('"cores": ', '"cores": 1000'))
    assert describe(tmp_path, repository) == first


def test_fewer_usable_cores_are_another_machine(tmp_path: Path, repository: Path) -> None:
    core = min(os.sched_getaffinity(0))
    assert describe(tmp_path, repository, "taskset", "--cpu-list", str(core))["cores"] == 1


def test_it_needs_the_standard_library_only(repository: Path) -> None:
    """So that it costs next to nothing at every `dvc repro`."""
    code = (
        "import sys; before = set(sys.modules); import pipelines.machine as m; m.this_machine();"
        "names = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(*(names - set(sys.stdlib_module_names) - {'pipelines', 'serving'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(repository)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == ""


def test_the_command_imports_no_library_that_takes_seconds(tmp_path: Path, repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pipelines.machine"],
        cwd=tmp_path, env={"PYTHONPATH": str(repository)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert {"pipelines", "json"} <= imported
    assert not imported & {"cv2", "keras", "mlflow", "onnxruntime", "pandas", "pydantic", "tensorflow"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD  EPYC 7763\nmodel name\t: Other\n",
            "AMD EPYC 7763",
        ),
        (
            "processor\t: 0\nCPU implementer\t: 0x41\nCPU variant\t: 0x1\nCPU part\t: 0xd40\n",
            "CPU implementer 0x41, CPU part 0xd40, CPU variant 0x1",
        ),
        ("", None),
    ],
)
def test_processor_is_read_from_what_linux_says_of_it(text: str, expected: str | None) -> None:
    assert cpu_model(text) == expected


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/a/b", {"a/b/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "400000 100000\n"}, 4.0),
        ("0::/a/b", {"a/b/cpu.max": "300000 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/", {"cpu.max": "50000 100000\n"}, 0.5),  # in a container with a namespace of its own
        ("0::/", {}, None),
        ("0::/a", {"a/cpu.max": "max 100000\n"}, None),
        (
            "3:cpu,cpuacct:/a\n2:memory:/b",
            {"cpu/a/cpu.cfs_quota_us": "250000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            2.5,
        ),
        (
            "3:cpu:/a",
            {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            None,
        ),
        ("", {}, None),
    ],
)
def test_quota_is_the_smallest_of_the_groups(
    tmp_path: Path, own: str, files: dict[str, str], expected: float | None
) -> None:
    for name, text in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text)
    (tmp_path / "own").write_text(own)
    assert quota_cores(tmp_path / "own", tmp_path / "groups") == expected
