"""`make shape` sees what it is meant to see."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests import shape

SOURCE = '''"""A module."""

import json
from typing import TYPE_CHECKING

from serving import b

if TYPE_CHECKING:
    from serving import c

Schema = dict[str, Any]


def untyped(value: dict[str, Any]) -> None:
    """Take anything."""
    from serving.d import name


def aliased() -> Schema:
    return {}


def typed(value: int) -> int:
    return value


def _private(value: dict[str, Any]) -> None: ...
'''


def module(name: str, source: str = "") -> shape.Module:
    path = Path(f"{name.replace('.', '/')}.py")
    return shape.Module(name, path, ast.parse(source), tuple(source.splitlines()))


def test_imports_are_found_anywhere_but_for_types() -> None:
    modules = {name: module(name) for name in ("serving.b", "serving.c", "serving.d")}
    modules["serving.a"] = module("serving.a", SOURCE)
    assert shape.imports_of(modules["serving.a"], modules) == {"serving.b", "serving.d"}


def test_public_untyped_signatures_are_counted_with_their_aliases() -> None:
    assert shape.untyped_signatures([module("serving.a", SOURCE)]) == 2


def test_docstrings_and_blank_lines_are_not_code() -> None:
    assert (
        shape.code_lines(
            module("serving.a", '"""A.\n\nB.\n"""\n\nx = 1\n\n\ndef f() -> None:\n    """C."""\n')
        )
        == 2
    )


@pytest.mark.parametrize(
    ("graph", "groups"),
    [
        ({"a": {"b"}, "b": set()}, []),
        ({"a": {"b"}, "b": {"a"}}, [["a", "b"]]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [["a", "b", "c"]]),
    ],
    ids=["line", "pair", "three"],
)
def test_cycles(graph: dict[str, set[str]], groups: list[list[str]]) -> None:
    assert shape.cycles(graph) == groups


def test_imports_against_the_layers() -> None:
    graph = {"serving.a": {"pipelines.b"}, "pipelines.b": {"serving.a"}, "flows.c": {"pipelines.d.__main__"}}
    assert shape.upward_imports(graph) == [
        "flows.c imports pipelines.d.__main__",
        "serving.a imports pipelines.b",
    ]


def test_a_nested_package_may_have_a_layer_of_its_own() -> None:
    graph = {
        "pipelines.pretrain.a": {"sample_faces.b", "pipelines.core.c"},
        "sample_faces.b": {"pipelines.core.c"},
        "pipelines.core.c": {"sample_faces.b", "pipelines.pretrain.a"},
    }
    assert shape.upward_imports(graph) == [
        "pipelines.core.c imports pipelines.pretrain.a",
        "pipelines.core.c imports sample_faces.b",
    ]


def test_rooms_are_direct_children_and_their_imports_are_counted_once() -> None:
    graph = {
        "pipelines.train.stage": {"pipelines.core.io", "pipelines.core.paths"},
        "pipelines.core.io": set[str](),
        "pipelines.core.paths": set[str](),
        "pipelines.compare": {"pipelines.core.io", "serving.errors"},
        "serving.errors": set[str](),
    }
    assert shape.rooms("pipelines", graph) == (3, 2)


def test_functions_above_the_limit_are_named() -> None:
    body = "\n".join(f"    x{number} = {number}" for number in range(shape.LONGEST_FUNCTION))
    assert not list(shape.long_functions(module("a", f"def f():\n{body.rsplit(chr(10), 1)[0]}\n")))
    assert len(list(shape.long_functions(module("a", f"def f():\n{body}\n")))) == 1
