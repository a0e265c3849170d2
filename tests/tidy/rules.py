"""The house rules that no linter knows, each a pure function from source text to complaints.

A rule returns one sentence per breach, with the line, and an empty list when all is well.
`test_rules.py` proves that each rule bites; `test_repository.py` holds the repository to them.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70

# What pure code may import: values and types, nothing that reaches the outside world.
PURE_MODULES = {
    "__future__", "abc", "bisect", "collections", "contextlib", "copy", "dataclasses", "enum", "functools", "hashlib",
    "heapq", "inspect", "itertools", "math", "operator", "re", "struct", "sys", "traceback", "types", "typing", "zlib",
    "google", "greenlet", "msgspec", "perdure", "temporalio",
}  # fmt: skip

# Which thread runs this is a question about identity, not the outside world; a point in time is a value
# (that nobody asks the class for the present one is checked by `clock_reads`).
PURE_NAMES = {"_thread.get_ident", "contextvars.ContextVar", "datetime.UTC", "datetime.datetime", "datetime.timedelta"}

# Written with a bracket in the middle so that this file does not accuse itself.
LEFT_FOR_LATER = re.compile(r"\b(TO[D]O|FIX[M]E|XX[X]|HAC[K])\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(wor[k]|roo[t]|hom[e]/\w+|far[m]|opt/pyp[i]|tmp/la[b])/")
REGISTRY = re.compile(
    r"\b(pyp[i]\.org|pythonhoste[d]\.org|npmj[s]\.(com|org)|ghc[r]\.io|quay\.i[o]|docker\.i[o]|conda\.anacond[a])"
)
LOCK_ADDRESS = re.compile(r"://|^\s*(-i|-f|--(extra-)?index-url|--find-links)\b|^\S+ @ ", re.MULTILINE)


@cache
def parse(source: str) -> ast.Module:
    """The syntax tree (several rules ask for the same one)."""
    return ast.parse(source)


def matches(pattern: re.Pattern[str], text: str, what: str) -> list[str]:
    """One complaint per line where the pattern is found."""
    lines = enumerate(text.splitlines(), start=1)
    return [f"{number}: {what}: {line.strip()[:100]}" for number, line in lines if pattern.search(line)]


def too_long_file(source: str) -> list[str]:
    """A file has at most 600 lines."""
    count = source.count("\n")
    return [f"1: {count} lines, at most {FILE_LINES_MAX}: split it by subject"] if count > FILE_LINES_MAX else []


def too_long_functions(source: str) -> list[str]:
    """A function has at most 70 lines, its docstring and signature included."""
    return [
        f"{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES_MAX}"
        for node in ast.walk(parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]


def coroutines(source: str) -> list[str]:
    """Pure code has no `async def`, `await`, `async for` or `async with`."""
    kinds = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    return [f"{node.lineno}: async code in a pure layer" for node in ast.walk(parse(source)) if isinstance(node, kinds)]


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Every import, wherever it stands in the file: (line, dotted name)."""
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module or ''}.{alias.name}") for alias in node.names)


def impure_imports(source: str) -> list[str]:
    """Pure code imports values and types alone."""
    return [
        f"{line}: a pure layer imports {name}"
        for line, name in imports(source)
        if name.split(".")[0] not in PURE_MODULES and name not in PURE_NAMES
    ]


def clock_reads(source: str) -> list[str]:
    """Pure code is told the time and never asks for it."""
    return [
        f"{node.lineno}: a pure layer reads the clock with {ast.unparse(node)}"
        for node in ast.walk(parse(source))
        if isinstance(node, ast.Attribute) and re.fullmatch(r"(datetime|date)\.(now|today|utcnow)", ast.unparse(node))
    ]


def foreign_temporalio(source: str) -> list[str]:
    """Of `temporalio` we use the protobuf messages alone, never the SDK that they are shipped with."""
    foreign = {
        line: name
        for line, name in imports(source)
        if name.startswith("temporalio.") and not re.match(r"temporalio\.api(\.|$)", name)
    }
    return [f"{line}: imports {name}; only temporalio.api is allowed" for line, name in foreign.items()]


def sdk_with_engine(source: str) -> list[str]:
    """SDK and engine meet in `embedded` alone."""
    names = {".".join(name.split(".")[:2]) for _, name in imports(source)}
    inner = {"perdure.engine", "perdure.stores", "perdure.core", "perdure.frontend"} & names
    if "perdure.sdk" in names and inner:
        return [f"1: imports perdure.sdk and {', '.join(sorted(inner))}: only perdure.embedded may join them"]
    return []


@cache
def comment_lines(source: str) -> frozenset[int]:
    """Numbers of the lines that hold a comment."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return frozenset(token.start[0] for token in tokens if token.type == tokenize.COMMENT)


def _does_nothing(body: list[ast.stmt]) -> bool:
    return all(
        isinstance(statement, ast.Pass)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for statement in body
    )


def _suppresses(node: ast.With | ast.AsyncWith) -> bool:
    return any(ast.unparse(item.context_expr).startswith(("suppress(", "contextlib.suppress(")) for item in node.items)


def _droppers(source: str) -> Iterator[ast.ExceptHandler | ast.With | ast.AsyncWith]:
    for node in ast.walk(parse(source)):
        if (isinstance(node, ast.ExceptHandler) and _does_nothing(node.body)) or (
            isinstance(node, ast.With | ast.AsyncWith) and _suppresses(node)
        ):
            yield node


def swallowed_exceptions(source: str) -> list[str]:
    """An exception that is dropped (`pass`, `suppress`) needs a comment that says why that is safe."""
    return [
        f"{node.lineno}: drops an exception without a comment that says why that is safe"
        for node in _droppers(source)
        if comment_lines(source).isdisjoint(range(node.lineno - 1, (node.end_lineno or node.lineno) + 1))
    ]


def bare_excepts(source: str) -> list[str]:
    """`except:` catches KeyboardInterrupt and SystemExit too: it must raise again."""
    return [
        f"{node.lineno}: a bare except that does not raise again"
        for node in ast.walk(parse(source))
        if isinstance(node, ast.ExceptHandler)
        and node.type is None
        and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
    ]


def tests_that_do_not_run(source: str) -> list[str]:
    """Tests run, always: no skip, no xfail."""
    unproven = re.compile(r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)")
    return [
        f"{node.lineno}: {ast.unparse(node)}: a test runs or does not exist"
        for node in ast.walk(parse(source))
        if isinstance(node, ast.Attribute) and unproven.fullmatch(ast.unparse(node))
    ]


def real_sleeps(source: str) -> list[str]:
    """Tests wait for events, or move an injected clock; a sleep that is itself the subject says so in a comment."""
    return [
        f"{node.lineno}: time.sleep: wait for an event, move an injected clock, or say in a comment why it is meant"
        for node in ast.walk(parse(source))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) == "time.sleep"
        and comment_lines(source).isdisjoint((node.lineno, node.lineno - 1))
    ]


def endless_waits(source: str) -> list[str]:
    """A wait for a condition has an end: a loop that only looks again hangs the suite when it never holds."""
    return [
        f"{node.lineno}: a loop that waits without a bound: use tests.eventually.eventually, or wait for an event"
        for node in ast.walk(parse(source))
        if isinstance(node, ast.While)
        and not isinstance(node.test, ast.Constant)  # code under test may be meant to spin
        and all(_only_waits(statement) for statement in node.body)
    ]


def _only_waits(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Pass | ast.Continue):
        return True
    return isinstance(statement, ast.Expr) and (
        isinstance(statement.value, ast.Constant) or "time.sleep(" in ast.unparse(statement)
    )


def stray_strings(source: str) -> list[str]:
    """A string among a function's statements documents the assignment before it; elsewhere nobody ever reads it."""
    return [
        f"{after.lineno}: a string that is no docstring: it stands behind the first statement"
        for node in ast.walk(parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for before, after in pairwise(node.body)
        if isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
        and not isinstance(before, ast.Assign | ast.AnnAssign)
    ]


PRONOUN = re.compile(r"(it|its|they|them|their|those|these|that|whoever)\b", re.IGNORECASE)


def docstrings_without_a_noun(source: str) -> list[str]:
    """The subject of a docstring is named: a pronoun in front has nothing yet to stand for, and is read twice."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [
        (getattr(node, "lineno", 1), ast.get_docstring(node) or "")
        for node in ast.walk(parse(source))
        if isinstance(node, owners)
    ]
    return [f"{line}: begins with a pronoun: {text.splitlines()[0]}" for line, text in texts if PRONOUN.match(text)]


def open_by_hand(source: str) -> list[str]:
    """Which executions are open is said in api/status.py: who spells it again forgets the paused ones."""
    return [
        f"{node.lineno}: a filter for open executions: use perdure.api.status"
        for node in ast.walk(parse(source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.search(r"ExecutionStatus\s*(=|IN)\s*\(?[\"']Running", node.value)
    ]


def left_for_later(text: str) -> list[str]:
    """What is not done is not in the code."""
    return matches(LEFT_FOR_LATER, text, "left for later")


def machine_paths(text: str) -> list[str]:
    """No path of the machine that something was written on."""
    return matches(MACHINE_PATH, text, "a path of one machine")


def registries(text: str) -> list[str]:
    """No registry host names: where packages come from is the installing machine's business."""
    return matches(REGISTRY, text, "a registry's host name")


def lock_addresses(text: str) -> list[str]:
    """A lock file has names, versions, hashes; no addresses."""
    return matches(LOCK_ADDRESS, text, "an address in a lock file")


def unlocked(text: str) -> list[str]:
    """Every requirement of a lock is pinned and has at least one hash."""
    entries = re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    return [
        f"1: {entry.splitlines()[0]} is not pinned and hashed"
        for entry in entries
        if entry.strip() and not ("==" in entry.splitlines()[0] and "--hash=sha256:" in entry)
    ]


def cited_documents(text: str) -> set[Path]:
    """Documents of ours that a text names by path, e.g. `docs/ARCHITECTURE.md`."""
    return {Path(name) for name in re.findall(r"\b(docs/[\w./-]+\.(?:md|mmd|svg))\b", text)}


def cited_decisions(text: str) -> set[str]:
    """Numbers of the decisions that a text names, e.g. "ADR" and `0003`."""
    return set(re.findall(r"\bADR[ -](\d{4})\b", text))
