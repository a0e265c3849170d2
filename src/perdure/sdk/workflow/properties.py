"""The part of `workflow` that is about what a run says of itself: memo and search attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.sdk.declare.search_attributes import SearchAttributes
from perdure.sdk.option_names import lists_options
from perdure.sdk.replay.memo import upsert_memo
from perdure.sdk.replay.running import current
from perdure.sdk.replay.search import upsert_search_attributes
from perdure.sdk.texts import sendable


@lists_options
class Properties:
    """A part of `workflow`."""

    @staticmethod
    def memo() -> dict[str, Any]:
        """The notes that the run was started with, and those that it made itself."""
        machine = current("workflow.memo()")
        if machine.memo is None:
            return {}
        fields = machine.memo.fields
        return {name: machine.converter.from_payload(fields[name]) for name in sorted(fields)}

    @staticmethod
    def upsert_memo(values: Mapping[str, Any]) -> None:
        """Set notes of the run, for `memo()` and for whoever describes it; None takes one away.

        Raises:
            PayloadError: a value cannot be serialised.
        """
        upsert_memo(current("workflow.upsert_memo()"), values)

    @staticmethod
    def set_current_details(text: str) -> None:
        """Say where the run stands, in a few words or Markdown, for `temporal workflow metadata` and Temporal's UI.

        It is in no history and costs nothing: a query asks the code for it. Raises TypeError for what is no text.
        """
        machine = current("workflow.set_current_details()")
        machine.check_open()
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"the details of a run are a text, not {type(text).__name__}")
        machine.current_details = sendable(text)

    @staticmethod
    def current_details() -> str:
        """What `set_current_details` last said; "" at first."""
        return current("workflow.current_details()").current_details

    @staticmethod
    def upsert_search_attributes(values: SearchAttributes) -> None:
        """Set values by which the run is listed (`workflow.info().search_attributes`); None takes one away.

        Args:
            values: by name, or by `SearchAttribute` where the type does not follow from the value.

        Raises:
            PayloadError: a value of no type that there is, or not of its key's.
        """
        upsert_search_attributes(current("workflow.upsert_search_attributes()"), values)
