"""What workflow code must not call, what kind of asking that is, and what it is told to use instead."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Kind(StrEnum):
    """What is asked of the world; who may ask for it differs by that (`verdict.py`)."""

    CLOCK = "what time it is"
    DICE = "chance"
    LOOK = "a look at files or settings"
    ACT = "an effect, or something that comes from elsewhere"


class Asked(NamedTuple):
    """What a call asks for, and what to use instead."""

    kind: Kind
    instead: str


_CLOCK = Asked(Kind.CLOCK, "workflow.time() or workflow.now()")
_CLOCK_NS = Asked(Kind.CLOCK, "workflow.time_ns()")
_DATE = Asked(Kind.CLOCK, "workflow.now()")
_TIMER = Asked(Kind.CLOCK, "a difference of workflow.time(); what an activity took is in its history")
_SLEEP = Asked(Kind.ACT, "workflow.sleep(...), which is durable")
DICE = Asked(Kind.DICE, "workflow.random(), whose methods have the same names")
_UUID = Asked(Kind.DICE, "workflow.uuid4()")
_ACTIVITY = Asked(Kind.ACT, "an activity")
_READ = Asked(Kind.LOOK, "an activity, or workflow.side_effect(...) for a short look")
WRITE = Asked(Kind.ACT, _READ.instead)
_SETTING = Asked(Kind.LOOK, "workflow.side_effect(lambda: os.environ[...]), or an argument of the workflow")
_CONCURRENCY = Asked(Kind.ACT, "start(...) for concurrent activities; a `def` activity runs in a thread of its own")
_CONDITION = Asked(Kind.ACT, "workflow.wait_condition(...)")
_LOGGER = Asked(Kind.ACT, "workflow.logger")

FUNCTIONS: Final[dict[str, dict[str, Asked]]] = {
    "time": {
        "time": _CLOCK,
        "time_ns": _CLOCK_NS,
        "monotonic": _TIMER,
        "monotonic_ns": _TIMER,
        "perf_counter": _TIMER,
        "perf_counter_ns": _TIMER,
        "process_time": _TIMER,
        "process_time_ns": _TIMER,
        "thread_time": _TIMER,
        "thread_time_ns": _TIMER,
        "clock_gettime": _CLOCK,
        "clock_gettime_ns": _CLOCK,
        "sleep": _SLEEP,
    },
    "uuid": {"uuid1": _UUID, "uuid4": _UUID},
    "os": {"urandom": DICE, "getrandom": DICE},
    "os.path": {
        "exists": _READ,
        "getmtime": _READ,
        "getsize": _READ,
        "isdir": _READ,
        "isfile": _READ,
        "lexists": _READ,
    },
    "random": {"random": DICE, "getrandbits": DICE, "seed": DICE},
    "tempfile": {"gettempdir": _READ, "gettempdirb": _READ},
}
"""By module, then by name."""

CLOCKS: Final = {
    "localtime": _DATE,
    "gmtime": _DATE,
    "ctime": _DATE,
}
"""Of `time`: these look at the clock only when they are not given a time."""

METHODS: Final[dict[str, dict[str, Asked]]] = {
    "threading.Thread": {"start": _CONCURRENCY},
    "threading.Event": {"wait": _CONDITION},
    "threading.Condition": {"wait": _CONDITION},
    "concurrent.futures.ThreadPoolExecutor": {"submit": _CONCURRENCY},
    "random.SystemRandom": {"random": DICE, "getrandbits": DICE, "randbytes": DICE},
    "pathlib.Path": {"stat": _READ},
    "os._Environ": {"__getitem__": _SETTING, "__iter__": _SETTING},
}
"""By class, then by name."""

DATES: Final = {"now": _DATE, "utcnow": _DATE}
"""Class methods of datetime.datetime. `today` asks `time.time` and so is among FUNCTIONS."""

EVENTS: Final[dict[str, tuple[str, Asked]]] = {
    "open": ("open()", _READ),
    "_thread.start_joinable_thread": ("a thread's start", _CONCURRENCY),
    "_thread.start_new_thread": ("a thread's start", _CONCURRENCY),
    "os.fwalk": ("os.fwalk()", _READ),
    "os.getxattr": ("os.getxattr()", _READ),
    "os.listdir": ("os.listdir()", _READ),
    "os.listxattr": ("os.listxattr()", _READ),
    "os.putenv": ("os.environ's change", _ACTIVITY),
    "os.scandir": ("os.scandir()", _READ),
    "os.walk": ("os.walk()", _READ),
    "os.unsetenv": ("os.environ's change", _ACTIVITY),
    "socket.__new__": ("socket.socket()", _ACTIVITY),
    "subprocess.Popen": ("subprocess", _ACTIVITY),
    "sqlite3.connect": ("sqlite3.connect()", _ACTIVITY),
}
"""Audit events by name, and how the call is named."""

EVENT_FAMILIES: Final = {
    "fcntl": _ACTIVITY,
    "ftplib": _ACTIVITY,
    "glob": _READ,
    "http": _ACTIVITY,
    "imaplib": _ACTIVITY,
    "mmap": _ACTIVITY,
    "nntplib": _ACTIVITY,
    "os": _ACTIVITY,
    "poplib": _ACTIVITY,
    "pty": _ACTIVITY,
    "shutil": _ACTIVITY,
    "signal": _ACTIVITY,
    "smtplib": _ACTIVITY,
    "socket": _ACTIVITY,
    "syslog": _LOGGER,
    "tempfile": _ACTIVITY,
    "urllib": _ACTIVITY,
    "webbrowser": _ACTIVITY,
}
"""All other audit events of these modules."""

LIBRARIES: Final = {name: asked.instead for name, asked in EVENT_FAMILIES.items() if name != "os"}
"""What to use instead of a whole library, whichever forbidden call inside of it was met first."""

CLASS_NAMES: Final = {"os._Environ.__getitem__": "os.environ", "os._Environ.__iter__": "os.environ"}
"""Methods that a person knows by another name."""
