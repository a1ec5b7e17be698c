"""The shape of the source tree: `make shape` prints it and fails when it got worse.

    python tests/shape.py            compare with tests/shape.toml
    python tests/shape.py --write    lower the limits in tests/shape.toml to what is measured

Three things fail outright: an import cycle between modules, an import against the direction of the layers,
and a function of more than 60 lines. Everything else is a ratchet: a figure may fall but not rise. To raise a
limit, edit tests/shape.toml and write the reason beside the number. Standard library only.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMITS = Path(__file__).with_name("shape.toml")
PACKAGES = ("flows", "pipelines", "serving", "sample_faces")
LAYERS = ("flows", "pipelines.pretrain", "sample_faces", "pipelines", "serving")
"""Imports go from left to right only; of nested packages the innermost counts."""
FOLDERS = ("pipelines", "serving", "serving/http", "flows")
"""Folders whose rooms (direct children) and imports between rooms are counted."""
LONGEST_FUNCTION = 60
SMALL_FILE = 60
UNTYPED = re.compile(r"\b(?:dict|Mapping|MutableMapping)\[str, Any\]")


@dataclass(frozen=True)
class Module:
    """A Python source file: its dotted name, its syntax tree and its lines."""

    name: str
    path: Path
    tree: ast.Module
    lines: tuple[str, ...]

    @property
    def is_entry(self) -> bool:
        """Whether the file is an `__init__.py` or a `__main__.py`, which the counts leave out."""
        return self.path.name in {"__init__.py", "__main__.py"}


def read_modules(root: Path) -> dict[str, Module]:
    """All modules of the packages under `root`, by dotted name."""
    modules = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            text = path.read_text(encoding="utf-8")
            modules[name] = Module(name, path.relative_to(root), ast.parse(text), tuple(text.splitlines()))
    return modules


def imports_of(module: Module, modules: dict[str, Module]) -> set[str]:
    """Modules of the tree that `module` imports anywhere in the file, except for types only."""
    found = set()
    for node in _runtime_nodes(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in modules else node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name for name in found if name in modules and name != module.name}


def _runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _runtime_nodes(child)


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in index:
                visit(target)
            if target in stack:
                low[node] = min(low[node], low[target])
        if low[node] == index[node]:
            at = stack.index(node)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                groups.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return groups


def upward_imports(graph: dict[str, set[str]]) -> list[str]:
    """Imports against the direction of `LAYERS`, and imports of an entry module by another module."""
    found = []
    for name, targets in sorted(graph.items()):
        for target in sorted(targets):
            source, reached = _layer(name), _layer(target)
            above = source is not None and reached is not None and reached < source
            if above or target.endswith(".__main__"):
                found.append(f"{name} imports {target}")
    return found


def _layer(module: str) -> int | None:
    """Index in `LAYERS` of the innermost package that holds a module; None outside of them."""
    inside = [layer for layer in LAYERS if module == layer or module.startswith(f"{layer}.")]
    return LAYERS.index(max(inside, key=len)) if inside else None


def long_functions(module: Module) -> Iterator[str]:
    """Functions with more than `LONGEST_FUNCTION` lines, decorators and docstring included."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                where = f"{module.path}:{node.lineno}: {node.name}"
                yield f"{where} has {lines} lines, at most {LONGEST_FUNCTION}"


def code_lines(module: Module) -> int:
    """Lines that are neither blank nor part of a docstring."""
    documented: set[int] = set()
    for node in ast.walk(module.tree):
        for statement in getattr(node, "body", []) if isinstance(getattr(node, "body", None), list) else []:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                documented.update(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
    return sum(1 for number, line in enumerate(module.lines, 1) if line.strip() and number not in documented)


def untyped_signatures(modules: Iterable[Module]) -> int:
    """Public functions and methods that take or return `dict[str, Any]`, or an alias of it."""
    listed = list(modules)
    aliases = {
        target.id
        for module in listed
        for node in module.tree.body
        if isinstance(node, ast.Assign) and UNTYPED.fullmatch(ast.unparse(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    names = re.compile(rf"\b(?:{'|'.join(sorted(aliases))})\b") if aliases else None
    return sum(
        1
        for module in listed
        for function in _public_functions(module.tree)
        if any(UNTYPED.search(text) or (names and names.search(text)) for text in _annotations(function))
    )


def _public_functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in getattr(tree, "body", []):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public_functions(node)


def _annotations(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    arguments = function.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if argument.annotation:
            yield ast.unparse(argument.annotation)
    if function.returns:
        yield ast.unparse(function.returns)


def rooms(folder: str, graph: dict[str, set[str]]) -> tuple[int, int]:
    """Number of rooms (direct children) of a folder, and of imports between two of them."""
    prefix = folder.replace("/", ".") + "."

    def room(name: str) -> str | None:
        child = name[len(prefix) :].split(".")[0] if name.startswith(prefix) else None
        return None if child in {None, "__main__"} else child

    children = {child for name in graph if (child := room(name))}
    arrows = {
        (room(name), room(target))
        for name, targets in graph.items()
        for target in targets
        if room(name) and room(target) and room(name) != room(target)
    }
    return len(children), len(arrows)


def measure(modules: dict[str, Module], graph: dict[str, set[str]]) -> dict[str, int]:
    """The figures of the ratchet, by the names that tests/shape.toml uses."""
    counted = [module for module in modules.values() if not module.is_entry]
    figures = {
        "modules": len(counted),
        "code_lines": sum(code_lines(module) for module in modules.values()),
        "files_below_60_lines": sum(
            len(module.lines) < SMALL_FILE and "architectures" not in module.path.parts for module in counted
        ),
        "untyped_public_signatures": untyped_signatures(modules.values()),
    }
    for folder in FOLDERS:
        key = folder.replace("/", "_")
        figures[f"{key}_rooms"], figures[f"{key}_imports"] = rooms(folder, graph)
    return figures


def write_limits(figures: dict[str, int]) -> None:
    """Lower the limits to the figures; a comment beside a number stays, a number never rises."""
    lines = []
    for line in LIMITS.read_text(encoding="utf-8").splitlines():
        found = re.match(r"(\w+) = (\d+)", line)
        if found and figures[found[1]] < int(found[2]):
            line = line.replace(found[2], str(figures[found[1]]), 1)
        lines.append(line)
    LIMITS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """Print the figures beside their limits; 1 when one is exceeded or a rule is broken."""
    parser = argparse.ArgumentParser(description="The shape of the source tree, held by a ratchet.")
    parser.add_argument("--write", action="store_true", help="lower the limits to what is measured")
    options = parser.parse_args()
    modules = read_modules(ROOT)
    graph = {name: imports_of(module, modules) for name, module in modules.items()}
    figures = measure(modules, graph)
    if options.write:
        write_limits(figures)
    limits = tomllib.loads(LIMITS.read_text(encoding="utf-8"))
    broken = [f"import cycle: {' – '.join(group)}" for group in cycles(graph)]
    broken += [f"import against the layers: {line}" for line in upward_imports(graph)]
    broken += [line for module in modules.values() for line in long_functions(module)]
    for name, value in figures.items():
        over = value > limits[name]
        print(f"{name:<28} {value:>7,}  limit {limits[name]:>7,}{'  exceeded' if over else ''}")
        if over:
            broken.append(f"{name} rose to {value}, limit {limits[name]}; see tests/shape.toml")
    for line in broken:
        print(f"error: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
