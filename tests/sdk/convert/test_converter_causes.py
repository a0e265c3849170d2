"""What led to an error about a value is told when it was somebody else's code, and is no stack of ours."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import Converter, PayloadError


class Odd:
    pass


class Model:
    """As pydantic's: its own code says what it becomes."""

    @classmethod
    def model_validate_json(cls, data: bytes) -> Model:
        return cls()

    def model_dump_json(self) -> str:
        return "{}"

    def model_dump(self, **_: Any) -> Any:
        raise LookupError("no such row")


def raised_by(value: Any) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        Converter().to_payload(value)
    return caught.value


def test_a_value_without_a_form_has_no_cause() -> None:
    error = raised_by([Odd()])
    assert "Odd" in str(error)
    assert error.__cause__ is None and error.__suppress_context__


def test_the_code_of_a_value_is_a_cause() -> None:
    error = raised_by([Model()])
    assert isinstance(error.__cause__, LookupError)
    assert "no such row" in str(error)
