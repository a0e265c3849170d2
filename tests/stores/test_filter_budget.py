"""Reading a list filter takes time as its length does, whatever is in it: others wait on the same event loop."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from perdure.api.errors import Rejected
from perdure.core.search_attributes import IndexedType, words
from perdure.frontend import worker_filter
from perdure.frontend.visibility import QUERY_BYTES_MAX
from perdure.stores.visibility import QueryError, bind, parse
from perdure.stores.visibility.parser import CONDITIONS_MAX

CPU_S_MAX = 2.0
"""Of the process, so that a busy machine is not to blame; by the square of the length these took 15 s and more."""
CUSTOM = {"Note": int(IndexedType.TEXT)}


def full(part: str, begin: str = "", end: str = "") -> str:
    """As long a filter as is taken."""
    return begin + part * ((QUERY_BYTES_MAX - len(begin) - len(end)) // len(part)) + end


HOSTILE = {
    "comments without an end": full("/* "),
    "comments one after another": full("/**/"),
    "comments in a comment": full("/*", end="*/"),
    "dashes": full("--"),
    "slashes": full("/"),
    "strings without an end": full("'"),
    "backslashes": full("\\", "WorkflowId = '"),
    "backticks": full("`"),
    "blanks": full(" "),
    "a long name": full("a"),
    "a name of many parts": full("a.", end="a"),
    "digits": full("1", "StartTime = "),
    "a duration of digits": full("1", "ExecutionDuration > '", "x'"),
    "a duration of terms": full("1s", "ExecutionDuration > '", "x'"),
    "a clock": full("1", "ExecutionDuration > '", ":00:00'"),
    "a time": full("1", "StartTime > '", "'"),
    "a text of many words": full("a b c d ", "Note = '", "'"),
    "parentheses": full("("),
    "conditions": full("WorkflowId = 'a' OR ", end="WorkflowId = 'a'"),
    "values": full("'a',", "WorkflowId IN (", "'a')"),
    "fields of an order": full("StartTime,", "ORDER BY ", "StartTime"),
    "groups": full("ExecutionStatus,", "GROUP BY ", "ExecutionStatus"),
}


def cpu_s(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


@pytest.mark.parametrize("name", HOSTILE)
def test_no_filter_takes_long(name: str) -> None:
    def read() -> None:
        try:
            bind(parse(HOSTILE[name]), CUSTOM)
        except QueryError:
            pass  # most of them are no filters

    assert cpu_s(read) < CPU_S_MAX


@pytest.mark.parametrize("part", [" ", "Status", "Status = 'a' AND ", " HostName='' and", "'", "`", '"', "a" * 9 + "="])
def test_no_filter_of_workers_takes_long(part: str) -> None:
    def read() -> None:
        try:
            worker_filter.parse(full(part))
        except Rejected:
            pass  # most of them are no filters

    assert cpu_s(read) < CPU_S_MAX


def test_a_filter_of_workers_has_a_length() -> None:
    with pytest.raises(Rejected, match="longer than"):
        worker_filter.parse(" " * (worker_filter.QUERY_LENGTH_MAX + 1))
    many = " AND ".join(["Status = 'running'"] * (worker_filter.CONDITIONS_MAX + 1))
    with pytest.raises(Rejected, match="more than 32 comparisons"):
        worker_filter.parse(many)
    assert len(worker_filter.parse(many.partition(" AND ")[2])) == worker_filter.CONDITIONS_MAX


@pytest.mark.parametrize("text", ["/* abc", "/* abc  ", "WorkflowId = 'a' /* abc"])
def test_a_comment_without_an_end_is_refused_as_temporal_does(text: str) -> None:
    place = len("select * from table1 where ") + len(text.rstrip()) + 1
    with pytest.raises(QueryError) as refused:
        parse(text)
    assert str(refused.value) == f"malformed SQL query: syntax error at position {place} near '/* abc'"


def test_a_comment_is_as_a_blank() -> None:
    assert parse("WorkflowId/* x **/=/**/'a'") == parse("WorkflowId = 'a'")


def test_a_text_condition_has_so_many_words_and_no_more() -> None:
    text = " ".join(f"w{number}" for number in range(CONDITIONS_MAX))
    assert len(words(text)) == CONDITIONS_MAX
    assert bind(parse(f"Note = '{text}'"), CUSTOM).where
    with pytest.raises(QueryError, match="more than 250 words"):
        bind(parse(f"Note = '{text} more'"), CUSTOM)


def test_an_order_has_so_many_fields_and_no_more() -> None:
    assert len(bind(parse(f"ORDER BY {','.join(['StartTime'] * 16)}"), {}).order) == 16
    with pytest.raises(QueryError, match="more than 16 fields"):
        bind(parse(f"ORDER BY {','.join(['StartTime'] * 17)}"), {})
