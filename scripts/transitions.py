"""Write docs/transitions.md from the transition tables of the law."""

from __future__ import annotations

from pathlib import Path

from perdure.core.diagrams import document

PAGE = Path(__file__).parent.parent / "docs" / "transitions.md"

if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(document())
    print(f"wrote {PAGE}")
