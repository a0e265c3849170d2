"""The determinism guard: workflow code that asks the world something replay could not repeat fails at once.

Not caught, such code works until the first restart, and then takes another path than its history
says. So inside workflow code, and in whatever it calls, clocks, chance, files, sockets, threads,
processes and the environment raise DeterminismViolation, which names the line and what to use
instead. The workflow task fails even if the code catches it.

How, without loading modules twice and without a cost to workflow code:

* functions are wrapped once, where they live (`time.time`, `uuid.uuid4`, ...), and wherever a module had
  imported them by name before. The wrapper asks whether workflow code runs on this thread: a look
  into an empty set for a process that runs none;
* `datetime.now` and `utcnow` belong to a C type; they are replaced in the type itself, so isinstance,
  subclasses and `from datetime import datetime` are unaffected;
* files, sockets, threads, processes come through CPython's audit hook, whoever opens them and however.

Who is to blame, and for what, `verdict.py` says: not what runs while a module is being imported, not logging,
warnings, tracebacks and `print`, and not the looks by which a library fills what it keeps for later.

Not caught: functions of C extensions that ask the operating system themselves (numpy.random, a
database driver's connect that raises no audit event); builtins captured before the first
`@workflow` anywhere but in a module's globals (`field(default_factory=time.time)`); `os.stat`; the order of
iteration over a set of strings; `id()` and `hash()`; global variables that change. time-machine, the
testing library, overwrites the same C functions in place: when it is loaded, the clocks are left to it.
"""

from perdure.sdk.guard.patches import install

__all__ = ["install"]
