"""Each house rule bites: a sample that breaks it is named, and its repaired twin is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tidy import rules

Rule = Callable[[str], list[str]]
LONG_BODY = "    x = 1\n" * rules.FUNCTION_LINES_MAX
SWALLOWED = "try:\n    f()\nexcept ValueError:\n    pass{}\n"

SAMPLES: list[tuple[Rule, str, str]] = [
    (rules.too_long_file, "x\n" * 601, "x\n" * 600),
    (rules.too_long_functions, "def f():\n" + LONG_BODY, "def f():\n" + LONG_BODY[: -len("    x = 1\n")]),
    (rules.coroutines, "class C:\n    async def f(self): ...\n", "def f(): ...\n"),
    (rules.impure_imports, "def f():\n    import time\n", "import math\n"),
    (rules.impure_imports, "from os.path import join\n", "from collections.abc import Callable\n"),
    (rules.impure_imports, "from _thread import allocate_lock\n", "from _thread import get_ident\n"),
    (rules.clock_reads, "at = datetime.now(UTC)\n", "at = datetime.fromtimestamp(0, UTC)\n"),
    (rules.foreign_temporalio, "from temporalio.client import Client\n", "from temporalio.api.enums.v1 import X\n"),
    (rules.foreign_temporalio, "from temporalio import workflow\n", "import temporalio.api.common.v1\n"),
    (
        rules.sdk_with_engine,
        "import perdure.sdk.worker\nfrom perdure.engine import engine\n",
        "import perdure.sdk.worker\nimport perdure.api\n",
    ),
    (rules.swallowed_exceptions, SWALLOWED.format(""), SWALLOWED.format("  # the file is gone already")),
    (rules.bare_excepts, "try:\n    f()\nexcept:\n    g()\n", "try:\n    f()\nexcept:\n    g()\n    raise\n"),
    (rules.swallowed_exceptions, "with suppress(E):\n    f()\n", "# gone already\nwith suppress(E):\n    f()\n"),
    (
        rules.tests_that_do_not_run,
        "@pytest.mark.skip\ndef test(): ...\n",
        "@pytest.mark.parametrize('a', [1])\ndef t(a): ...\n",
    ),
    (
        rules.stray_strings,
        'def f():\n    g()\n    """Says."""\n',
        'def f():\n    """Says."""\n    x = 1\n    """Of x."""\n',
    ),
    (
        rules.docstrings_without_a_noun,
        'def f():\n    """It is over."""\n',
        'def f():\n    """The run is over."""\n    x = 1\n    """Its name."""\n',
    ),
    (rules.open_by_hand, "QUERY = 'ExecutionStatus = \"Running\"'\n", "from perdure.api.status import OPEN_FILTER\n"),
    (rules.real_sleeps, "time.sleep(1)\n", "clock.advance(1)\n"),
    (rules.endless_waits, "while not ready():\n    pass\n", "eventually(ready, 'it is ready')\n"),
    (rules.endless_waits, "while n() < 3:\n    time.sleep(1)\n", "while True:\n    pass\n"),
    (rules.left_for_later, "# TO" + "DO: later\n", "# done\n"),
    (rules.machine_paths, "open('/wor" + "k/main/x')\n", "open('framework/main/x')\n"),
    (rules.registries, "# see pyp" + "i.org/p/x\n", "# see the package index\n"),
    (rules.lock_addresses, "--index-url x\n", "click==8.1 \\\n    --hash=sha256:00\n"),
    (rules.lock_addresses, "click @ file:///x\n", "click==8.1\n"),
    (
        rules.unlocked,
        "a==1 \\\n    --hash=sha256:00\nb==2\n",
        "# by\na==1 ; python_version < '3' \\\n    --hash=sha256:0\n",
    ),
]


@pytest.mark.parametrize(("rule", "bad", "good"), SAMPLES)
def test_a_rule_names_the_breach_and_spares_the_rest(rule: Rule, bad: str, good: str) -> None:
    assert len(rule(bad)) == 1
    assert rule(good) == []
