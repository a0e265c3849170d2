"""An engine for the shop, as the plugin's own factory would make it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perdure.testing import TestEngine
from tests.testing.shop import ACTIVITIES, WORKFLOWS


@pytest.fixture
def engine() -> Iterator[TestEngine]:
    with TestEngine(workflows=WORKFLOWS, activities=ACTIVITIES) as engine:
        yield engine
