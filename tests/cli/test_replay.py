"""`perdure replay`, `perdure workflow check-replay` and `export`: as a deployment script would use them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.history.v1 import History

from perdure.testing import TestEngine, assert_replays, parse_history
from tests.testing.shop import ACTIVITIES, WORKFLOWS, Order, forget, subscribe

ORDER = Order("1001", 4200)
SAME = "from tests.testing.shop import subscribe, forget, fulfil\n"
CHANGED = """
from perdure import call, workflow
from tests.testing.shop import Order, charge, forget, remind

@workflow(name="shop.subscribe")
def subscribe(order: Order, months: int) -> list[str]:
    call(charge, order)
    workflow.sleep(days=30)
    if months > 1:
        call(remind, order)
        workflow.sleep(days=1)
    return []
"""


def perdure(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = (
        f"import sys; sys.path.append({str(Path(__file__).parents[2])!r}); from perdure.cli.main import main; main()"
    )
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with ten open subscriptions, six of them in a second month, and two workflows that wait."""
    folder = tmp_path_factory.mktemp("shop")
    with TestEngine(f"sqlite:///{folder}/shop.db", workflows=WORKFLOWS, activities=ACTIVITIES) as engine:
        engine.mock("shop.charge", returns="paid")
        for number in range(10):
            engine.start(subscribe, ORDER, 12, id=f"sub-{number}")
            if number == 5:
                engine.advance("31 days")
        for number in range(2):
            engine.start(forget, ORDER, id=f"forgotten-{number}")
    (folder / "same.py").write_text(SAME, encoding="utf-8")
    (folder / "changed.py").write_text(CHANGED, encoding="utf-8")
    return folder


def test_all_open_executions_pass_under_the_code_that_wrote_them(folder: Path) -> None:
    ran = perdure(folder, "workflow", "check-replay", "--store", "sqlite:///shop.db", "--workflows", "same")
    assert ran.returncode == 0, ran.stderr
    assert "12 replayed, 0 would break" in ran.stdout


def test_a_breaking_change_is_told_for_exactly_those_it_breaks(folder: Path) -> None:
    arguments = ("workflow", "check-replay", "--store", "sqlite:///shop.db", "--workflows", "changed.py")
    ran = perdure(folder, *arguments, "--json")
    assert ran.returncode == 1, ran.stderr
    told: dict[str, Any] = json.loads(ran.stdout)
    assert [problem["workflow_id"] for problem in told["problems"]] == [f"sub-{number}" for number in range(6)]
    assert told["checked"] == {"shop.forget": 2, "shop.subscribe": 10}
    assert told["broken"] == {"shop.subscribe": 6}
    first = told["problems"][0]
    assert first["event"].startswith("ActivityTaskScheduled, activity shop.charge")
    assert "shop.remind" in first["command"] and "changed.py:10" in first["command"]

    ran = perdure(folder, *arguments, "--shown", "1")
    assert ran.returncode == 1
    assert ran.stdout.count("history and code disagree") == 1
    assert "… and 5 more" in ran.stdout
    assert "12 replayed, 6 would break" in ran.stdout


def test_one_type_alone(folder: Path) -> None:
    arguments = ("workflow", "check-replay", "--store", "sqlite:///shop.db", "--workflows", "changed")
    ran = perdure(folder, *arguments, "--type", "shop.forget")
    assert ran.returncode == 0, ran.stderr
    assert "2 replayed, 0 would break" in ran.stdout


def test_types_without_code_are_told_and_a_check_of_nothing_is_no_pass(folder: Path) -> None:
    (folder / "other.py").write_text("from perdure import workflow\n@workflow\ndef other() -> None: ...\n", "utf-8")
    arguments = ("workflow", "check-replay", "--store", "sqlite:///shop.db", "--workflows")
    ran = perdure(folder, *arguments, "other")
    assert ran.returncode == 1
    assert "not judged, for their code was not given: shop.forget (2), shop.subscribe (10)" in ran.stdout
    assert "Nothing was judged" in ran.stdout


def test_with_strict_a_single_type_without_code_is_an_error(folder: Path) -> None:
    (folder / "half.py").write_text(
        "from perdure import wait, workflow\n"
        "@workflow(name='shop.forget')\ndef forget(order: dict) -> str:\n    wait(lambda: False)\n    return ''\n",
        "utf-8",
    )
    arguments = ("workflow", "check-replay", "--store", "sqlite:///shop.db", "--workflows", "half")
    ran = perdure(folder, *arguments)
    assert ran.returncode == 0, ran.stderr
    assert "2 replayed, 0 would break" in ran.stdout and "shop.subscribe (10)" in ran.stdout
    assert perdure(folder, *arguments, "--strict").returncode == 1


def test_an_exported_history_replays_from_its_file(folder: Path) -> None:
    exported = perdure(folder, "workflow", "export", "sub-0", "--store", "sqlite:///shop.db", "--output", "sub-0.json")
    assert exported.returncode == 0, exported.stderr
    assert "sub-0.json: 22 events" in exported.stdout
    assert_replays(folder / "sub-0.json", subscribe)
    printed = perdure(folder, "workflow", "export", "sub-0", "--store", "sqlite:///shop.db")
    assert printed.stdout == (folder / "sub-0.json").read_text(encoding="utf-8")

    events = parse_history((folder / "sub-0.json").read_bytes())
    (folder / "sub-0.bin").write_bytes(History(events=events).SerializeToString())
    both = perdure(folder, "replay", "sub-0.json", "sub-0.bin", "--workflows", "same")
    assert both.returncode == 0, both.stderr
    assert "2 replayed, 0 would break" in both.stdout
    broken = perdure(folder, "replay", "sub-0.json", "--workflows", "changed")
    assert broken.returncode == 1
    assert "history and code disagree at event" in broken.stdout


SLOW = """
from perdure import workflow
from perdure.interceptors import Interceptor, WorkflowInboundInterceptor

class Late(WorkflowInboundInterceptor):
    def execute_workflow(self, input):
        workflow.sleep(1)
        return super().execute_workflow(input)

class Slow(Interceptor):
    def intercept_workflow(self, next):
        return Late(next)

ONE = Slow()
ALL = [ONE, Interceptor()]
NUMBER = 5

@workflow
def patient(name: str) -> str:
    workflow.sleep(60)
    return name
"""


def test_what_interceptors_add_to_a_run_is_replayed_with_them(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW, encoding="utf-8")
    names: dict[str, Any] = {"__name__": "slow"}
    exec(SLOW, names)
    with TestEngine(
        f"sqlite:///{tmp_path}/shop.db", workflows=[names["patient"]], activities=[], interceptors=names["ALL"]
    ) as engine:
        engine.start(names["patient"], "ada", id="p")
        engine.advance("30s")
    ran = perdure(tmp_path, "workflow", "export", "p", "--store", "sqlite:///shop.db", "--output", "p.json")
    assert ran.returncode == 0, ran.stderr
    for arguments in (
        ("replay", "p.json", "--workflows", "slow"),
        ("workflow", "check-replay", "--store", "sqlite:///shop.db", "--workflows", "slow.py"),
    ):
        alone = perdure(tmp_path, *arguments)
        assert alone.returncode == 1 and "1 would break" in alone.stdout
        for given in ("slow:ALL", "slow.py:ONE"):
            ran = perdure(tmp_path, *arguments, "--interceptors", given)
            assert ran.returncode == 0, (ran.stdout, ran.stderr)
            assert "1 replayed, 0 would break" in ran.stdout
    for given, why in {
        "slow": "write MODULE:NAME",
        "slow:NOBODY": "slow has no NOBODY",
        "nowhere:ALL": "nowhere cannot be imported: ModuleNotFound",
        "slow:NUMBER": "interceptors must be of perdure.interceptors.Interceptor, and 5 is not",
    }.items():
        refused = perdure(tmp_path, "replay", "p.json", "--workflows", "slow", "--interceptors", given)
        assert refused.returncode == 1 and why in refused.stderr and "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("replay", "same.py", "--workflows", "same"), "same.py: this is no event history"),
        (("replay", "missing.json", "--workflows", "same"), "does not exist"),
        (("replay", "shop.db", "--workflows", "no_such_module"), "no_such_module cannot be imported: ModuleNotFound"),
        (("workflow", "export", "nobody", "--store", "sqlite:///shop.db"), "There is no workflow 'nobody'"),
        (("workflow", "export", "sub-0", "--store", "sqlite:///shop.db", "--output", "a/b.json"), "cannot be written"),
        (("workflow", "check-replay", "--store", "sqlite:///none.db", "--workflows", "same"), "There is no store"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(folder: Path, arguments: tuple[str, ...], why: str) -> None:
    ran = perdure(folder, *arguments)
    assert ran.returncode in (1, 2)
    assert why in ran.stderr
    assert "Traceback" not in ran.stderr
