"""A contract of import-linter's that it does not bring: no circle of imports between files, wherever they lie.

Its own `acyclic_siblings` looks at the children of one package at a time, each with all that is below it. Here every
file is a node, and a circle is a strongly connected component of more than one. What is imported for type checkers
alone counts: who reads a file reads those too.
"""

from __future__ import annotations

import grimp
from importlinter import Contract, ContractCheck
from importlinter.application import output


def circles(graph: grimp.ImportGraph) -> list[list[str]]:
    """The circles, each as its files in order; the largest first. Tarjan's algorithm, without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    found: list[list[str]] = []
    for root in sorted(graph.modules):
        if root in index:
            continue
        todo = [(root, iter(sorted(graph.find_modules_directly_imported_by(root))))]
        index[root] = low[root] = len(index)
        path.append(root)
        on_path.add(root)
        while todo:
            module, imported = todo[-1]
            for other in imported:
                if other not in index:
                    index[other] = low[other] = len(index)
                    path.append(other)
                    on_path.add(other)
                    todo.append((other, iter(sorted(graph.find_modules_directly_imported_by(other)))))
                    break
                if other in on_path:
                    low[module] = min(low[module], index[other])
            else:
                todo.pop()
                if todo:
                    low[todo[-1][0]] = min(low[todo[-1][0]], low[module])
                if low[module] == index[module]:
                    cut = path.index(module)
                    component, path[cut:] = path[cut:], []
                    on_path.difference_update(component)
                    if len(component) > 1:
                        found.append(sorted(component))
    return sorted(found, key=len, reverse=True)


class AcyclicFiles(Contract):
    """No file of the root packages imports itself by way of others."""

    type_name = "acyclic_files"

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:
        """Look for circles in all of it."""
        found = circles(graph)
        imports = [
            [
                f"{module} -> {other}"
                for module in circle
                for other in sorted(graph.find_modules_directly_imported_by(module) & set(circle))
            ]
            for circle in found
        ]
        return ContractCheck(kept=not found, metadata={"imports": imports})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Each circle by the imports that make it."""
        for number, lines in enumerate(check.metadata["imports"], start=1):
            output.print_error(f"Circle {number}:")
            for line in lines:
                output.print_error(f"    {line}", bold=False)
