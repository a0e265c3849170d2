"""`python -m benchmarks.kills`: see the package."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.kills.campaign import Campaign


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description="Messages under kill -9.")
    parser.add_argument("--workflows", type=int, default=200, help="of each kind")
    parser.add_argument("--kills", type=int, default=220)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a directory to keep ledger, effects and store in")
    options = parser.parse_args()

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="perdure-kills-") as temporary:
        directory = options.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        begin = time.perf_counter()
        campaign = Campaign(directory, options.workflows, options.kills, options.seed, say)
        found = campaign.run()
        taken = time.perf_counter() - begin
    for problem in found.problems[:50]:
        say(problem)
    print(f"{campaign.dealt} SIGKILLs in {taken:.0f} s (seed {options.seed}). {found}")
    if found.problems:
        sys.exit(f"{len(found.problems)} problems")
    print("Nothing was lost and nothing was done twice.")


if __name__ == "__main__":
    main()
