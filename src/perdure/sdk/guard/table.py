"""What workflow code must not call, and what it is told to use instead."""

from __future__ import annotations

from typing import Final

_CLOCK = "workflow.time() or workflow.now()"
_DATE = "workflow.now()"
_TIMER = "a difference of workflow.time(); what an activity took is in its history"
_DICE = "workflow.random(), whose methods have the same names"
_UUID = "workflow.uuid4()"
_ACTIVITY = "an activity"
_READ = "an activity, or workflow.side_effect(...) for a short look"
_SETTING = "workflow.side_effect(lambda: os.environ[...]), or an argument of the workflow"
_CONCURRENCY = "start(...) for concurrent activities; a `def` activity runs in a thread of its own"

FUNCTIONS: Final[dict[str, dict[str, str]]] = {
    "time": {
        "time": _CLOCK,
        "time_ns": "workflow.time_ns()",
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
        "sleep": "workflow.sleep(...), which is durable",
    },
    "uuid": {"uuid1": _UUID, "uuid4": _UUID},
    "os": {"urandom": _DICE, "getrandom": _DICE},
    "os.path": {
        "exists": _READ,
        "getmtime": _READ,
        "getsize": _READ,
        "isdir": _READ,
        "isfile": _READ,
        "lexists": _READ,
    },
    "random": {"random": _DICE, "getrandbits": _DICE, "seed": _DICE},
}
"""By module, then by name."""

CLOCKS: Final = {
    "localtime": _DATE,
    "gmtime": _DATE,
    "ctime": _DATE,
}
"""Of `time`: these look at the clock only when they are not given a time."""

METHODS: Final[dict[str, dict[str, str]]] = {
    "threading.Thread": {"start": _CONCURRENCY},
    "threading.Event": {"wait": "wait(...) on a condition"},
    "threading.Condition": {"wait": "wait(...) on a condition"},
    "concurrent.futures.ThreadPoolExecutor": {"submit": _CONCURRENCY},
    "random.SystemRandom": {"random": _DICE, "getrandbits": _DICE, "randbytes": _DICE},
    "pathlib.Path": {"stat": _READ},
    "os._Environ": {"__getitem__": _SETTING, "__iter__": _SETTING},
}
"""By class, then by name."""

DATES: Final = {"now": _DATE, "utcnow": _DATE}
"""Class methods of datetime.datetime. `today` asks `time.time` and so is among FUNCTIONS."""

EVENTS: Final[dict[str, tuple[str, str]]] = {
    "open": ("open()", _READ),
    "_thread.start_joinable_thread": ("a thread's start", _CONCURRENCY),
    "_thread.start_new_thread": ("a thread's start", _CONCURRENCY),
    "os.putenv": ("os.environ's change", _ACTIVITY),
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
    "syslog": "workflow.logger",
    "tempfile": _ACTIVITY,
    "urllib": _ACTIVITY,
    "webbrowser": _ACTIVITY,
}
"""All other audit events of these modules."""

LIBRARIES: Final = {name: instead for name, instead in EVENT_FAMILIES.items() if name != "os"}
"""What to use instead of a whole library, whichever forbidden call inside of it was met first."""

CLASS_NAMES: Final = {"os._Environ.__getitem__": "os.environ", "os._Environ.__iter__": "os.environ"}
"""Methods that a person knows by another name."""
