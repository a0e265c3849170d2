"""No file of src imports itself by way of others; and the contract that says so can see one that does."""

from __future__ import annotations

import tomllib
from pathlib import Path

import grimp
import pytest

from tests.tidy.circles import circles
from tests.tidy.files import text_of


def graph_of(*imports: str) -> grimp.ImportGraph:
    """A graph of imports written as `a b`: a imports b."""
    graph = grimp.ImportGraph()
    for line in imports:
        importer, imported = line.split()
        graph.add_import(importer=importer, imported=imported)
    return graph


@pytest.mark.parametrize(
    ("imports", "expected"),
    [
        (["a b", "b c", "a c"], []),
        (["a b", "b a"], [["a", "b"]]),
        (["x a", "a b", "b c", "c a", "c y"], [["a", "b", "c"]]),
        (["p.a q.b", "q.b p.c", "p.c r", "r p.a"], [["p.a", "p.c", "q.b", "r"]]),
        (["a b", "b a", "c d", "d e", "e c", "a c"], [["c", "d", "e"], ["a", "b"]]),
    ],
)
def test_circles_are_found(imports: list[str], expected: list[list[str]]) -> None:
    assert circles(graph_of(*imports)) == expected


def test_there_is_none_in_src() -> None:
    graph = grimp.build_graph("perdure", exclude_type_checking_imports=False, cache_dir=None)
    assert len(graph.modules) > 400
    assert circles(graph) == []


def test_make_layers_looks_for_them_too() -> None:
    settings = tomllib.loads(text_of(Path("pyproject.toml")))["tool"]["importlinter"]
    assert settings["exclude_type_checking_imports"] is False
    assert "acyclic_files" in {contract["type"] for contract in settings["contracts"]}
