"""The repository keeps the house rules (`rules.py`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.tidy import rules
from tests.tidy.files import ROOT, code_files, python_files, text_of, tracked

PURE = ("src/perdure/core", "src/perdure/sdk/replay")
RULES_THEMSELVES = Path("tests/tidy/test_rules.py")
SERVERS = Path("tests/servers/fixtures.py")


def hold(rule: Callable[[str], list[str]], paths: Iterable[Path]) -> None:
    """Hold these files to a rule; a breach is told as file:line: sentence."""
    complaints = [f"{path}:{complaint}" for path in paths for complaint in rule(text_of(path))]
    assert not complaints, "\n".join(["", *complaints])


@pytest.mark.parametrize("rule", [rules.too_long_file, rules.left_for_later])
def test_code(rule: Callable[[str], list[str]]) -> None:
    hold(rule, code_files())


@pytest.mark.parametrize(
    "rule", [rules.too_long_functions, rules.swallowed_exceptions, rules.bare_excepts, rules.stray_strings]
)
def test_python(rule: Callable[[str], list[str]]) -> None:
    hold(rule, python_files())


def test_docstrings_begin_with_a_noun() -> None:
    hold(rules.docstrings_without_a_noun, python_files("src"))


@pytest.mark.parametrize("rule", [rules.coroutines, rules.impure_imports, rules.clock_reads])
def test_pure_layers(rule: Callable[[str], list[str]]) -> None:
    hold(rule, python_files(*PURE))


def test_only_the_messages_of_temporalio_are_used() -> None:
    hold(rules.foreign_temporalio, python_files("src"))


def test_open_executions_are_found_in_one_way() -> None:
    hold(rules.open_by_hand, python_files("src"))


def test_sdk_and_engine_meet_in_embedded_alone() -> None:
    allowed = ("src/perdure/embedded", "src/perdure/errors.py")  # the latter names errors of both, and does nothing
    others = [path for path in python_files("src") if not path.as_posix().startswith(allowed)]
    hold(rules.sdk_with_engine, others)


@pytest.mark.parametrize("rule", [rules.tests_that_do_not_run, rules.real_sleeps, rules.endless_waits])
def test_tests_run_and_do_not_wait(rule: Callable[[str], list[str]]) -> None:
    hold(rule, (path for path in python_files("tests") if path not in (RULES_THEMSELVES, SERVERS)))


def test_one_place_skips_where_a_server_is_not_installed() -> None:
    assert len(rules.tests_that_do_not_run(text_of(SERVERS))) == 1
    assert not rules.real_sleeps(text_of(SERVERS)) + rules.endless_waits(text_of(SERVERS))


@pytest.mark.parametrize("rule", [rules.machine_paths, rules.registries])
def test_no_traces_of_a_machine(rule: Callable[[str], list[str]]) -> None:
    hold(rule, tracked())


@pytest.mark.parametrize("rule", [rules.lock_addresses, rules.unlocked])
def test_locks(rule: Callable[[str], list[str]]) -> None:
    locks = [path for path in tracked() if path.is_relative_to("requirements")]
    assert {path.stem for path in locks} == {"runtime", "dev", "bench"}
    hold(rule, locks)


def test_locks_hold_what_the_package_asks_for() -> None:
    project = tomllib.loads(text_of(Path("pyproject.toml")))["project"]
    extras = {"runtime": [], **project["optional-dependencies"]}
    without = ("fast", "server", "grpc", "postgres", "mysql")  # tested with `dev`, measured with `bench`
    for name in without:
        assert set(extras.pop(name)) <= set(extras["dev"]) & set(extras["bench"])
    missing = [
        f"{lock}: {name}"
        for lock, extra in extras.items()
        for name in (re.split(r"[^\w.-]", asked)[0] for asked in project["dependencies"] + extra)
        if f"\n{name}==" not in text_of(Path("requirements", f"{lock}.txt"))
    ]
    assert missing == []


def test_invariants_are_named_in_code_and_in_the_docs() -> None:
    """The list in core is the one that counts; the docs tell the same, and nobody cites another."""
    home, document = Path("src/perdure/core/invariants.py"), Path("docs/ARCHITECTURE.md")
    listed = re.findall(r"^(I\d+) +\w", text_of(home), re.MULTILINE)
    assert listed == [f"I{number}" for number in range(1, len(listed) + 1)]
    assert re.findall(r"^\| (I\d+) \|", text_of(document), re.MULTILINE) == listed
    checked = set(re.findall(r"\"(I\d+)\"", text_of(home)))
    assert checked == set(listed), "every invariant that is listed is checked"
    cited = {name for path in python_files("src", "tests") for name in re.findall(r"[\"(](I\d+)[\")]", text_of(path))}
    assert cited <= set(listed)


def test_cited_documents_exist() -> None:
    missing = {
        f"{path} cites {document}"
        for path in tracked()
        for document in rules.cited_documents(text_of(path))
        if not (ROOT / document).exists() and path.parent != Path("tests/tidy")
    }
    assert missing == set()


def test_cited_decisions_exist() -> None:
    known = {path.name[:4] for path in tracked() if path.is_relative_to("docs/adr")}
    missing = {f"{path} cites ADR {n}" for path in tracked() for n in rules.cited_decisions(text_of(path)) - known}
    assert missing == set()


def test_every_decision_is_listed_once() -> None:
    decisions = sorted(path.name for path in (ROOT / "docs/adr").glob("[0-9]*.md"))
    index = text_of(Path("docs/adr/README.md"))
    assert [name for name in decisions if index.count(f"({name})") != 1] == []
    assert len({name[:4] for name in decisions}) == len(decisions), "two decisions share a number"
    assert f"The next free number is {int(decisions[-1][:4]) + 1:04}." in index
