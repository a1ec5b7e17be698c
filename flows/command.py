"""The command `mien`: a table of sub-commands, each of which is a module that gets the other arguments.

    mien run -f                     the same as `python -m pipelines.run -f`
    mien --help                     lists the sub-commands
    source <(mien completion bash)  completes them; also for zsh

The module replaces this process: it gets the signals, and the exit status is its own. This file imports the
standard library only, so that it starts in a few hundredths of a second, works with any extra installed, and
can be run by its path, as `requirements/mien` does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

USAGE_STATUS = 2
"""Exit status after wrong arguments, as argparse has it."""
MARKERS: Mapping[str, str] = {
    "pipeline": "tensorflow",
    "serving": "evidently",
    "flows": "prefect",
    "signing": "model_signing",
}
"""Extra of pyproject.toml → a package that no other extra installs."""
_NETWORKS = "pipelines/architectures/[!_]*.py"


@dataclass(frozen=True)
class Command:
    """A sub-command."""

    name: str
    module: str | None
    """What `python -m` runs; None for what this file does itself."""
    help: str
    """One line, at most 66 characters."""
    extras: tuple[str, ...] = ()
    """Extras of pyproject.toml that the module needs."""
    offered: str = ""
    """What completion offers as the first argument: words, or a pattern of files, whose names without suffix
    are offered; empty for all names of files."""


_PIPELINE, _SERVING, _FLOWS, _SIGNING = ("pipeline",), ("serving",), ("flows",), ("signing",)
COMMANDS = (
    Command(
        "demo",
        "pipelines.demo",
        "serve the sample's recorded model; nothing is trained",
        _PIPELINE + _SERVING,
    ),
    Command("run", "pipelines.run", "train and compare the networks, register the best one", _PIPELINE),
    # Every profile: conf/ without base.yaml.
    Command("profile", "pipelines.profile", "write params.yaml from conf/", _PIPELINE, "conf/[!b]*.yaml"),
    Command("tune", "pipelines.tune", "search better parameters of a network", _PIPELINE, _NETWORKS),
    Command("pretrain", "pipelines.pretrain", "pretrain a network on drawn faces", _PIPELINE, _NETWORKS),
    Command("evaluate", "pipelines.evaluate.other_data", "evaluate a model on other pictures", _PIPELINE),
    Command("label", "pipelines.labels", "find labels that are probably wrong", _PIPELINE),
    Command("promote", "pipelines.register.promote", "put a registered version into production", _PIPELINE),
    Command("sign", "pipelines.register.sign", "sign a registered version", _PIPELINE + _SIGNING),
    Command("reproduce", "pipelines.register.reproduce", "rebuild a version and compare the two", _PIPELINE),
    Command(
        "relocate", "pipelines.tracking.relocation", "correct MLflow's paths after the project was moved"
    ),
    Command("serve", "serving", "start the service and its page", _SERVING),
    Command("score", "serving.score", "classify a folder of pictures, or the faces of a video", _SERVING),
    Command("key", "serving.http.auth", "make an API key of the service", _SERVING),
    Command(
        "up",
        "flows.dev_stack",
        "start MLflow, Prefect, a worker and the service; Ctrl-C ends all",
        _PIPELINE + _SERVING + _FLOWS,
    ),
    Command("train", "flows.start", "start a training on the worker of `mien up`, and follow it", _FLOWS),
    Command(
        "drift", "flows.drift", "compare the newest answers with the model's reference", _SERVING + _FLOWS
    ),
    Command(
        "collect",
        "flows.collect",
        "turn kept pictures and feedback into a dataset version",
        _PIPELINE + _FLOWS,
    ),
    Command("backup", "flows.backup", "save what git does not hold, in one file", _PIPELINE + _SERVING),
    Command(
        "restore", "flows.backup.restore", "bring a backup back into a fresh clone", _PIPELINE + _SERVING
    ),
    Command(
        "erase",
        "flows.erase",
        "remove a person or an answer, and list what still has them",
        _PIPELINE + _SERVING + _FLOWS,
    ),
    Command("doctor", "flows.doctor", "say what this machine and this checkout lack", _FLOWS),
    Command("completion", None, "print what completes these commands in bash or zsh", offered="bash zsh"),
)

_BASH = """\
# Completion of `mien` for bash: source <(mien completion bash)
_mien() {
  local IFS=$' \\t\\n' offered="" word
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    offered="@NAMES@"
  elif [ "$COMP_CWORD" -eq 2 ]; then
    case "${COMP_WORDS[1]}" in
@CASES@
    esac
  fi
  # A pattern becomes the files that match; one that matches none is left out.
  for word in $offered; do
    word=${word##*/}
    word=${word%.*}
    [[ $word == *"*"* || $word != "${COMP_WORDS[COMP_CWORD]}"* ]] || COMPREPLY+=("$word")
  done
}
complete -o bashdefault -o default -F _mien mien
"""
_ZSH = """\
#compdef mien
# Completion of `mien` for zsh, after compinit: source <(mien completion zsh)
_mien() {
  setopt local_options null_glob
  local offered=""
  local -a names
  if (( CURRENT == 2 )); then
    names=(
@NAMES@
    )
    _describe command names
    return
  elif (( CURRENT == 3 )); then
    case $words[2] in
@CASES@
    esac
  fi
  names=(${=~offered})
  if (( $#names )); then
    compadd -- ${names:t:r}
  else
    _files
  fi
}
if [[ $funcstack[1] == _mien ]]; then
  _mien "$@"
else
  compdef _mien mien
fi
"""


def _cases() -> str:
    return "\n".join(f'      {one.name}) offered="{one.offered}" ;;' for one in COMMANDS if one.offered)


def _bash() -> str:
    names = " ".join(command.name for command in COMMANDS)
    return _BASH.replace("@NAMES@", names).replace("@CASES@", _cases())


def _zsh() -> str:
    texts = (f"{command.name}:{command.help}".replace("'", "'\\''") for command in COMMANDS)
    names = "\n".join(f"      '{text}'" for text in texts)
    return _ZSH.replace("@NAMES@", names).replace("@CASES@", _cases())


COMPLETION = {"bash": _bash, "zsh": _zsh}
"""Shell → what makes its script."""


def usage() -> str:
    """The text of `mien --help`; it fits a terminal of 80 × 24 characters."""
    rows = "\n".join(f"  {command.name:<11} {command.help}" for command in COMMANDS)
    return f"usage: mien COMMAND [ARGUMENT ...]; `mien COMMAND --help` shows its arguments\n{rows}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sub-command that the first argument names.

    Args:
        arguments: of the command, without its own name; None for those of the process.

    Returns:
        The exit status, if no module was started.
    """
    name, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or [""]
    if name in ("-h", "--help", "help"):
        print(usage())
        return 0
    if not name:
        print(usage(), file=sys.stderr)
        return USAGE_STATUS
    command = next((one for one in COMMANDS if one.name == name), None)
    if command is None:
        return _fail(_unknown(name), USAGE_STATUS)
    if command.module is None:
        return _completion(rest)
    problem = _problem(command, command.module)
    if problem is not None:
        return _fail(problem, 1)
    os.execv(sys.executable, [sys.executable, "-m", command.module, *rest])  # noqa: S606 - from the table above


def _fail(message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


def _unknown(name: str) -> str:
    # Loads as much as all other imports together.
    import difflib

    near = difflib.get_close_matches(name.lower(), [command.name for command in COMMANDS], n=1)
    hint = f"did you mean `mien {near[0]}`?" if near else "`mien --help` lists the commands"
    return f"unknown command `mien {name}`; {hint}"


def _completion(arguments: Sequence[str]) -> int:
    text = f"usage: mien completion {'|'.join(COMPLETION)}"
    match arguments:
        case ["-h" | "--help"]:
            print(f"{text}\n\nTo be read by the shell: source <(mien completion SHELL)")
        case [shell] if shell in COMPLETION:
            print(COMPLETION[shell](), end="")
        case _:
            print(text, file=sys.stderr)
            return USAGE_STATUS
    return 0


def _problem(command: Command, module: str) -> str | None:
    """What keeps the module from being started, and what to do; None if nothing does."""
    lacking = [extra for extra in command.extras if PathFinder.find_spec(MARKERS[extra]) is None]
    if lacking:
        packages = ", ".join(MARKERS[extra] for extra in lacking)
        return (
            f"`mien {command.name}` needs packages that are not installed ({packages}, …); in the checkout "
            f"run `make setup`, or `pip install '.[{','.join(lacking)}]'`"
        )
    package = module.partition(".")[0]
    spec = PathFinder.find_spec(package, [str(Path.cwd()), *sys.path])
    # A folder without code has a spec too, without a file.
    if spec is None or spec.origin is None:
        checkout = Path(__file__).resolve().parents[1]
        return f"{Path.cwd()} is not a checkout, it has no {package}/ with code; run `cd {checkout}` first"
    return None


if __name__ == "__main__":
    sys.exit(main())
