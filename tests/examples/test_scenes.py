"""Every scene of `examples/` is run as a reader would run it, and must show what it is there to show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.chosen import kinds
from tests.servers.stores import new_store

EXAMPLES = Path(__file__).parents[2] / "examples"
SCENES = sorted(EXAMPLES.glob("scene*.py"))

FACTS = {
    "scene01": [
        "✓ without the engine: charged twice, $84.00",
        "✓ with the engine: finished",
        "✓ with the engine: charged once, $42.00",
    ],
    "scene02": [
        "✓ the results of all 3 finished steps are on disk",
        "folded again from the first, are the stored state",
        "✓ each by another process: no memory was needed",
    ],
    "scene03": [
        "✓ it ran again from the top",
        "✓ the recorded result was handed back: the card was charged once",
        "✓ the error says what to use instead",
        "✓ and the line of code",
    ],
    "scene04": [
        "✓ ActivityTaskScheduled is in the history",
        "✓ the effect was still had once",
        "✓ is stopped before it could: effects belong in activities",
    ],
    "scene05": [
        "✓ 30 tasks wait for a worker",
        "✓ what version 1 had recorded was kept",
        "✓ the rest is the work of version 2",
    ],
    "scene06": [
        "✓ the gaps widen, up to the maximum",
        "✓ after three attempts the workflow is told why",
        "✓ one attempt, no more",
        "✓ they come back spread out, not all at once",
    ],
    "scene06a": [
        "✓ the activity ran twice, attempts 1 and 2",
        "✓ both under the same key",
        "✓ the gateway was called twice and charged once",
    ],
    "scene06b": [
        "✓ the bank charged once",
        "✓ nothing of it is there: no row, no table, no completion",
        "✓ the second attempt's row is there, once, without any key",
    ],
    "scene07": [
        "✓ nobody was woken early",
        "✓ all 1000 were asked after thirty days",
    ],
    "scene08": [
        "✓ and its history is as long as before: a query leaves no event",
        "✓ a question that would have an effect is refused",
        "✓ the answer is the new total, with the price that an activity looked up",
        "✓ what the validator rejects leaves no event",
        "✓ none is lost, none is doubled",
        "✓ a closed order still answers: its history is run again",
        "✓ the first one started it, the second one found it",
    ],
    "scene09": [
        "✓ undone in reverse: the lamp is released first",
        "✓ the refund waits for a person, and the pager rang",
        "✓ the reconciliation finds exactly this order",
        "✓ nothing that waits is forgotten",
        "✓ refunded once",
        "✓ who decided and why is in the history",
    ],
    "scene10": [
        "✓ four workflows run, with four histories",
        "✓ the order's history has no step of theirs",
        "✓ the lost one was sent again, the others were not",
        "✓ every reading was made once",
        "✓ under one id, as several runs",
        "✓ each ended soon after it was suggested, at 4,096 events",
        "✓ no payment was lost or doubled from one run to the next",
    ],
    "scene11": [
        "✓ without a gate the check says which run would break",
        "✓ the run is told where history and code part",
        "✓ the year-old run goes on and ends",
        "✓ on its old path",
        "✓ a new run takes the new one",
    ],
    "scene12": [
        "✓ each way had the same effects for all orders, each once",
        "✓ all but choreography tell an order in one history",
        "✓ choreography writes the most",
        "✓ code: undone",
        "✓ state machine: undone",
        "✓ DAG: undone",
        "✓ choreography: undone",
        "✓ code, changed without a gate, would break the open order, and is told so before",
        "✓ behind a gate it would not",
    ],
}


ON_A_FILE = {"scene06b"}
"""Their point is a file that users' functions write in too."""
QUICK = [("scene03", "postgres"), ("scene02", "mariadb")]
"""Played on databases as a rule; `make test-stores` plays all on one kind."""
CASES = [
    (scene, kind)
    for scene in SCENES
    for name in [scene.stem.split("_")[0]]
    for kind in kinds("sqlite", *(kind for quick, kind in QUICK if quick == name))
    if kind == "sqlite" or (name not in ON_A_FILE and kind != "memory")
]


def run(scene: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(scene), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(("scene", "kind"), CASES, ids=[f"{scene.stem}-{kind}" for scene, kind in CASES])
def test_a_scene_shows_what_it_is_there_to_show(scene: Path, kind: str, tmp_path: Path) -> None:
    with new_store(kind, tmp_path) as url:
        played = run(scene, "--store", url) if kind != "sqlite" else run(scene)
    assert played.returncode == 0, played.stdout + played.stderr
    assert played.stderr == ""
    assert "✗" not in played.stdout
    for fact in FACTS[scene.stem.split("_")[0]]:
        assert fact in played.stdout


def test_no_scene_is_without_facts_or_an_entry_in_the_index() -> None:
    index = (EXAMPLES / "README.md").read_text()
    assert {scene.stem.split("_")[0] for scene in SCENES} == set(FACTS)
    assert [scene.name for scene in SCENES if scene.name not in index] == []


def test_a_fact_that_is_not_true_ends_a_scene_with_exit_code_1(tmp_path: Path) -> None:
    scene = tmp_path / "scene99_false.py"
    scene.write_text(
        f"import sys; sys.path.insert(0, {str(EXAMPLES)!r})\n"
        "from stage import play, seen\n"
        "play(__file__, lambda stage: seen('the moon is a lamp', False))\n"
    )
    played = run(scene)
    assert (played.returncode, played.stdout) == (1, "  ✗ the moon is a lamp\n")


def test_the_nightly_bill_makes_up_for_what_it_missed(tmp_path: Path) -> None:
    script = [sys.executable, EXAMPLES / "nightly_bill.py", "0.2"]
    first = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert "nightly-bill-20" in first.stdout
    again = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert "the schedule is there from before" in again.stdout


def test_the_commands_that_the_nightly_bill_names_work_while_it_runs(tmp_path: Path) -> None:
    script = [sys.executable, EXAMPLES / "nightly_bill.py", "60"]
    with subprocess.Popen(script, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            commands: list[str] = []
            for line in running.stdout:
                if "nightly-bill-20" in line:
                    break
                commands += [line.strip()] if line.startswith("    perdure ") else []
            assert [command.split()[1:3] for command in commands] == [
                ["schedule", "list"], ["schedule", "describe"], ["workflow", "list"],
            ]  # fmt: skip
            for command in commands:
                perdure = [sys.executable, "-m", *command.split()]
                shown = subprocess.run(perdure, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
                assert (shown.returncode, shown.stderr) == (0, ""), command
                assert "nightly-bill" in shown.stdout
        finally:
            running.kill()
