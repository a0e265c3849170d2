"""Exception groups: what is in them, for failures of the wire have one cause and no members.

The members' texts become part of the group's message, their stack traces of its stack trace. A group
may hold a million members, or itself in many places: everything here looks at a bounded number.
"""

from __future__ import annotations

from collections.abc import Iterator

from perdure.sdk.errors import ApplicationError
from perdure.sdk.texts import class_name, field_of, notes_of, text_of
from perdure.sdk.traces import stack_trace

MEMBERS_MAX = 10_000
"""Members that are asked how they are to be retried."""
TOLD_MAX = 50
"""Members whose text is told."""
TRACED_MAX = 5
"""Members whose stack trace is told."""
DEPTH_MAX = 10
_MEMBER_TEXT = 1_000
_MEMBER_TRACE = 3_000

_members_of = BaseExceptionGroup.__dict__["exceptions"].__get__


def members(error: BaseException) -> tuple[BaseException, ...]:
    """The members of a group; none of what is no group."""
    return _members_of(error) if issubclass(type(error), BaseExceptionGroup) else ()


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group and its groups, at most MEMBERS_MAX, each once; of what is no group, itself."""
    open_: list[BaseException] = [error]
    seen: set[int] = set()
    while open_ and len(seen) < MEMBERS_MAX:
        member = open_.pop()
        if id(member) in seen:
            continue
        seen.add(id(member))
        inner = members(member)
        if inner:
            open_.extend(reversed(inner[: MEMBERS_MAX - len(open_)]))
        else:
            yield member


def text(error: BaseException) -> str:
    """The members' types and texts: `[Down: db-7 is down; ExceptionGroup: two (1 sub-exception): [KeyError: 'x']]`."""
    return _Teller().tell(error, 0)


class _Teller:
    def __init__(self) -> None:
        self._left = TOLD_MAX

    def tell(self, group: BaseException, depth: int) -> str:
        told: list[str] = []
        inner = members(group)
        if not inner:
            return ""
        for member in inner:
            if not self._left or depth == DEPTH_MAX:
                told.append(f"… {len(inner) - len(told):,} more")
                break
            self._left -= 1
            own = f"{type_of(member)}: {_text(member)}"
            below = self.tell(member, depth + 1)
            told.append(f"{own}: {below}" if below else own)
        return f"[{'; '.join(told)}]"


def type_of(error: BaseException) -> str:
    """What a failure of this error has for its type."""
    kind = field_of(error, "type") if issubclass(type(error), ApplicationError) else None
    return text_of(kind, 100) if kind else class_name(error)


def _text(error: BaseException) -> str:
    message = field_of(error, "message") if issubclass(type(error), ApplicationError) else None
    return text_of(message or error, _MEMBER_TEXT) + notes_of(error, _MEMBER_TEXT).replace("\n", "; ")


def stack_traces(error: BaseException) -> str:
    """Where the first TRACED_MAX members were raised, under their names; "" of what is no group."""
    if not members(error):
        return ""
    parts: list[str] = []
    for member in leaves(error):
        trace = stack_trace(member, _MEMBER_TRACE)
        if trace:
            parts.append(f"{type_of(member)}:\n{trace}")
        if len(parts) == TRACED_MAX:
            break
    return "".join(parts)


def longest_delay_ns(error: BaseException) -> int | None:
    """The longest `next_retry_delay` that a member of a group asks for; None: none does."""
    if not members(error):
        return None
    asked = [field_of(m, "next_retry_delay_ns") for m in leaves(error) if issubclass(type(m), ApplicationError)]
    return max((delay for delay in asked if type(delay) is int), default=None)
