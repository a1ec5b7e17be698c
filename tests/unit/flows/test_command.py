"""The command `mien`: its table, what it passes on, its messages, and completion in a real shell."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from flows.command import COMMANDS, COMPLETION, MARKERS, USAGE_STATUS, Command
from pipelines.core.params import known_architectures
from pipelines.profile import profiles

REPOSITORY = Path(__file__).parents[3]
PROGRAM = shlex.join([sys.executable, "-P", str(REPOSITORY / "flows/command.py")])
LAUNCHER = REPOSITORY / "requirements/mien"
MODULES = [command for command in COMMANDS if command.module is not None]
SHELLS = ("bash", "zsh")
# Shows what reached it, in a module that one of the sub-commands runs.
ECHO = """
import json, os, sys
print(json.dumps([os.getpid(), sys.argv[1:], __name__, sys.executable]))
sys.exit(int(os.environ["STATUS"]))
"""


def mien(*arguments: str, folder: Path = REPOSITORY, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command of `REPOSITORY` in `folder`."""
    return subprocess.run(
        [sys.executable, "-P", str(REPOSITORY / "flows/command.py"), *arguments],
        cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def ids(command: Command) -> str:
    return command.name


# The table


def test_names_and_modules_are_listed_once() -> None:
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)
    assert len({command.module for command in MODULES}) == len(MODULES)


@pytest.mark.parametrize("command", MODULES, ids=ids)
def test_every_module_can_be_run(command: Command) -> None:
    assert command.module is not None
    spec = importlib.util.find_spec(command.module)
    assert spec is not None
    if spec.submodule_search_locations:
        spec = importlib.util.find_spec(f"{command.module}.__main__")
    assert spec is not None
    assert spec.origin is not None
    assert 'if __name__ == "__main__":' in Path(spec.origin).read_text()


@pytest.mark.parametrize("extra", MARKERS)
def test_a_marker_comes_with_its_extra_only(extra: str) -> None:
    """Of the lock files; `dev` has everything."""
    locks = {path.stem: path.read_text() for path in (REPOSITORY / "requirements").glob("*.txt")}
    name = re.escape(canonicalize_name(MARKERS[extra]))
    having = {use for use, text in locks.items() if re.search(rf"^{name}==", text, re.MULTILINE)}
    assert having == {extra, "dev"}
    assert importlib.util.find_spec(MARKERS[extra]) is not None


def test_every_extra_is_one_of_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    needed = {extra for command in COMMANDS for extra in command.extras}
    assert needed <= MARKERS.keys() <= project["optional-dependencies"].keys()


def test_the_entry_point_of_the_package_is_this_command() -> None:
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert list(scripts) == ["mien"]
    main = EntryPoint("mien", scripts["mien"], "console_scripts").load()
    assert main(["--help"]) == 0


def test_the_guide_has_every_command_with_its_module_and_its_extras() -> None:
    page = (REPOSITORY / "docs/commands.md").read_text()
    table = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `mien ")]
    expected = {
        command.name: (
            [f"python -m {command.module}"] if command.module else [],
            [f"`{extra}`" for extra in command.extras],
        )
        for command in COMMANDS
    }
    shown = {
        first.strip("`").split()[1]: (
            re.findall(r"`(python -m [\w.]+)`", runs),
            re.findall(r"`\w+`", extras),
        )
        for first, _, runs, extras in table
    }
    assert shown == expected


def test_commands_of_make_that_a_sub_command_has_call_it() -> None:
    text = (REPOSITORY / "Makefile").read_text()
    recipes = dict(re.findall(r"^([a-z]+):[^\n]*##[^\n]*\n((?:\t.*\n)+)", text, re.MULTILINE))
    shared = {command.name for command in COMMANDS} & recipes.keys()
    assert shared >= {"run", "serve", "up", "train", "doctor", "profile", "reproduce", "relocate"}
    for name in shared:
        assert re.search(rf"\bmien {name}\b", recipes[name]), name


# Help and messages


def test_help_fits_a_screen() -> None:
    done = mien("--help")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    listed = re.findall(r"^  ([a-z]+) {2,}(\S.*)$", done.stdout, re.MULTILINE)
    assert listed == [(command.name, command.help) for command in COMMANDS]


def test_without_a_sub_command_it_shows_the_help_and_fails() -> None:
    done = mien()
    assert (done.returncode, done.stdout) == (USAGE_STATUS, "")
    assert done.stderr == mien("--help").stdout


@pytest.mark.parametrize(
    ("given", "meant"), [("sevre", "serve"), ("promot", "promote"), ("labels", "label"), ("RUN", "run")]
)
def test_an_unknown_sub_command_names_the_nearest(given: str, meant: str) -> None:
    done = mien(given)
    assert done.returncode == USAGE_STATUS
    assert len(done.stderr.splitlines()) == 1
    assert set(re.findall(r"`mien (\w+)`", done.stderr)) == {given, meant}


def test_an_unknown_sub_command_that_is_near_to_none_names_none() -> None:
    done = mien("xyzzy")
    assert done.returncode == USAGE_STATUS
    assert re.findall(r"`mien (\S+)`", done.stderr) == ["xyzzy", "--help"]


def processor_s(*arguments: str) -> float:
    """Processor time of an interpreter, the least of several: other processes use the machine too."""
    times_s = []
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-P", *arguments], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        times_s.append(used.ru_utime + used.ru_stime)
    return min(times_s)


def test_it_starts_at_once_and_loads_the_standard_library_only() -> None:
    assert processor_s(str(REPOSITORY / "flows/command.py"), "--help") < 0.1
    code = "import sys; before = set(sys.modules); import flows.command; print(*(set(sys.modules) - before))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {name.split(".")[0] for name in loaded} <= sys.stdlib_module_names | {"flows"}
    assert {name for name in loaded if name.startswith("flows")} == {"flows", "flows.command"}


# What is passed on


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A folder whose module `serving` shows what it is given."""
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving/__init__.py").touch()
    (tmp_path / "serving/__main__.py").write_text(ECHO)
    return tmp_path


@pytest.mark.parametrize("status", [0, 3, 75])
def test_arguments_and_exit_status_are_the_modules(stand_in: Path, status: int) -> None:
    given = ["--option=a b", "", "--", "*", "$HOME", "--help", "ü"]
    process = subprocess.Popen(
        [sys.executable, "-P", str(REPOSITORY / "flows/command.py"), "serve", *given],
        cwd=stand_in, env=os.environ | {"STATUS": str(status)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    out, _ = process.communicate()
    # The same process: signals reach the module itself.
    assert json.loads(out) == [process.pid, given, "__main__", sys.executable]
    assert process.returncode == status


def test_a_real_module_answers_with_its_status() -> None:
    assert mien("key", "name", "no-such-scope").returncode == 2
    assert mien("relocate", "--help").stdout.startswith("usage: ")


def test_in_another_folder_it_says_where_the_checkout_is(tmp_path: Path) -> None:
    # A folder of that name without code is not the package.
    (tmp_path / "serving").mkdir()
    done = mien("serve", folder=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path) in done.stderr
    assert f"cd {REPOSITORY}" in done.stderr


@pytest.fixture
def bare_python(tmp_path: Path) -> Path:
    """An interpreter with no packages at all."""
    path = tmp_path / "bin/python"
    path.parent.mkdir()
    path.symlink_to(Path(sys.executable).resolve())
    (tmp_path / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
    return path


def test_a_missing_extra_is_named_with_how_to_install_it(bare_python: Path) -> None:
    for command in MODULES:
        if not command.extras:
            continue
        done = subprocess.run(
            [bare_python, "-P", "flows/command.py", command.name],
            cwd=REPOSITORY, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert f"'.[{','.join(command.extras)}]'" in done.stderr
        assert "make setup" in done.stderr
        assert all(MARKERS[extra] in done.stderr for extra in command.extras)


def test_only_what_is_missing_of_several_extras_is_named(bare_python: Path) -> None:
    code = "import site; print(site.getsitepackages()[0])"
    where = subprocess.run([bare_python, "-c", code], capture_output=True, text=True, check=True)
    packages = Path(where.stdout.strip())
    assert packages.is_relative_to(bare_python.parents[1])
    packages.mkdir(parents=True)
    for extra in ("pipeline", "serving"):
        (packages / MARKERS[extra]).mkdir()
        (packages / MARKERS[extra] / "__init__.py").touch()
    done = subprocess.run(
        [bare_python, "-P", "flows/command.py", "up"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "'.[flows]'" in done.stderr


# The launcher


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile, the launcher and the command, with an environment that is there already."""
    root = tmp_path / "check out"
    (root / ".venv/bin").mkdir(parents=True)
    (root / "requirements").mkdir()
    shutil.copytree(REPOSITORY / "flows", root / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "Makefile", root)
    shutil.copy(LAUNCHER, root / "requirements")
    (root / "requirements/dev.txt").touch()
    (root / ".venv/bin/python").symlink_to(sys.executable)
    (root / ".venv/.installed").touch()
    return root


def test_make_setup_writes_a_launcher_that_works_in_every_folder(checkout: Path, tmp_path: Path) -> None:
    made = subprocess.run(["make", "setup"], cwd=checkout, capture_output=True, text=True, check=False)
    assert (made.returncode, made.stderr) == (0, "")
    again = subprocess.run(
        ["make", "--question", ".venv/bin/mien"], cwd=checkout, capture_output=True, check=False
    )
    assert again.returncode == 0
    assert sorted(path.name for path in (checkout / ".venv/bin").iterdir()) == ["mien", "python"]
    expected = mien("--help").stdout
    link = tmp_path / "mien"
    link.symlink_to(checkout / ".venv/bin/mien")
    for program, folder in ((".venv/bin/mien", checkout), (link, checkout / "flows"), (link, tmp_path)):
        done = subprocess.run([program, "--help"], cwd=folder, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


def test_the_launcher_runs_the_checkout_that_it_is_started_in(checkout: Path, tmp_path: Path) -> None:
    subprocess.run(["make", "setup"], cwd=checkout, check=True)
    other = tmp_path / "other"
    (other / "flows").mkdir(parents=True)
    (other / "flows/command.py").write_text("print('of this checkout')")
    done = subprocess.run(
        [checkout / ".venv/bin/mien"], cwd=other, capture_output=True, text=True, check=True
    )
    assert done.stdout == "of this checkout\n"


# Completion


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_has_every_name(shell: str) -> None:
    done = mien("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    words = set(re.findall(r"[a-z_0-9]+", done.stdout))
    assert words >= {command.name for command in COMMANDS}
    assert all(command.offered in done.stdout for command in COMMANDS)
    assert set(COMPLETION) == set(SHELLS)


def test_completion_refuses_another_shell() -> None:
    for arguments in (["completion"], ["completion", "fish"], ["completion", "bash", "zsh"]):
        done = mien(*arguments)
        assert (done.returncode, done.stdout) == (USAGE_STATUS, "")
        assert all(shell in done.stderr for shell in SHELLS)
    assert mien("completion", "--help").returncode == 0


def completed(line: str, folder: Path = REPOSITORY) -> list[str]:
    """What bash offers for the last word of a line, as after Tab."""
    words = line.split(" ")
    script = f"""
        set -eu
        source <({PROGRAM} completion bash)
        COMP_WORDS=({" ".join(map(shlex.quote, words))})
        COMP_CWORD={len(words) - 1}
        _mien mien {shlex.quote(words[-1])} {shlex.quote(words[-2])}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_bash_completes_names_and_the_words_of_the_first_argument(tmp_path: Path) -> None:
    names = [command.name for command in COMMANDS]
    assert completed("mien ", tmp_path) == names
    assert completed("mien pro", tmp_path) == [name for name in names if name.startswith("pro")]
    assert completed("mien completion ", tmp_path) == list(SHELLS)
    assert completed("mien profile ") == list(profiles())
    assert completed("mien tune ") == completed("mien pretrain ") == list(known_architectures())
    assert completed("mien tune mobile") == ["mobilenet_v2"]
    # Outside of a checkout, and where the table offers no words: bash itself completes names of files.
    assert completed("mien tune ", tmp_path) == []
    assert completed("mien score ") == []
    assert completed("mien tune lenet ") == []


def test_bash_asks_for_the_function_and_else_for_files() -> None:
    done = subprocess.run(
        ["bash", "--norc", "-c", f"source <({PROGRAM} completion bash); complete -p mien"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["complete", "-o", "bashdefault", "-o", "default", "-F", "_mien", "mien"]
